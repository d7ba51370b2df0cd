#include "base/err.h"
#include <stdarg.h>
#include <string.h>

static const struct err_row {
	const char *name;
	int http, exitcode;
	const char *title, *advice;
} err_rows[] = {
#define ERR(id, http, exitcode, title, advice) { #id, http, exitcode, title, advice },
#include "base/err.def"
#undef ERR
};

static const struct err_row *err_row(enum oc_err err)
{
	return &err_rows[(size_t)err < ARRAY_LEN(err_rows) ? err : OC_BUG];
}

static void PRINTF_LIKE(4, 0)
	fail_fill(struct oc_fail *f, enum oc_err err, const char *field, const char *fmt, va_list ap)
{
	if (!f)
		return;
	f->err = err;
	snprintf(f->field, sizeof(f->field), "%s", field ? field : "");
	/* A text may quote the one it replaces, so it is made aside first. */
	char text[sizeof(f->text)];
	vsnprintf(text, sizeof(text), fmt, ap);
	memcpy(f->text, text, sizeof(text));
}

enum oc_err oc_fail(struct oc_fail *reterr, enum oc_err err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail_fill(reterr, err, NULL, fmt, ap);
	va_end(ap);
	return err;
}

enum oc_err oc_fail_field(struct oc_fail *reterr, enum oc_err err, const char *field, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail_fill(reterr, err, field, fmt, ap);
	va_end(ap);
	return err;
}

int oc_err_http(enum oc_err err)
{
	return err_row(err)->http;
}
int oc_err_exit(enum oc_err err)
{
	return err_row(err)->exitcode;
}
const char *oc_err_name(enum oc_err err)
{
	return err_row(err)->name;
}
const char *oc_err_title(enum oc_err err)
{
	return err_row(err)->title;
}
const char *oc_err_advice(enum oc_err err)
{
	return err_row(err)->advice;
}
