#include "store/case_doc.h"
#include "wire/json/json.h"

enum kind { TEXT, NUMBER, TIME };

static const struct member {
	const char *name; /* with quotes, colon and the comma before it */
	enum kind kind;
} members[CD_COUNT] = {
#define X(id, name, expression, kind) { ",\"" name "\":", kind },
	CASE_DOC(X)
#undef X
};

/* "2026-01-02 03:04:05.678+00" as jsonb writes it: a T between, and minutes in the offset. */
static void add_time(struct text *out, const char *s)
{
	size_t n = strlen(s);

	if (n < 20 || s[10] != ' ') {
		json_quote(out, s); /* infinity */
		return;
	}
	text_add(out, "\"");
	text_add_n(out, s, 10);
	text_add(out, "T");
	text_add_n(out, s + 11, n - 11);
	if (s[n - 3] == '+' || s[n - 3] == '-')
		text_add(out, ":00");
	text_add(out, "\"");
}

void case_doc_write(struct text *out, const struct pg_result *r, unsigned row, unsigned first)
{
	for (unsigned i = 0; i < CD_COUNT; i++) {
		const char *v = pg_text(r, row, first + i);

		text_add(out, members[i].name + (i == 0));
		if (!v)
			text_add(out, "null");
		else if (members[i].kind == NUMBER)
			text_add(out, v);
		else if (members[i].kind == TIME)
			add_time(out, v);
		else
			json_quote(out, v);
	}
}
