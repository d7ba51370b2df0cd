#include "ingest/lines.h"
#include <math.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/otlp_point.h"
#include "wire/json/fast.h"

/* What a member means, by its name. The first that is there wins. */
enum role { TIME, TEXT, LEVEL, SERVICE, HOST, TRACE, SPAN, NAMESPACE, POD, ENV, ROLES };
static const char *const names[ROLES][16] = {
	[TIME] = { "timestamp", "@timestamp", "time", "_timestamp", "ts", "date", "datetime", "timereported",
                  NULL },
	[TEXT] = { "message", "msg", "log", "body", "MESSAGE", "short_message", "text", NULL },
	[LEVEL] = { "level", "severity", "log.level", "severity_text", "levelname", "lvl", "loglevel",
                  "syslogseverity-text", "PRIORITY", NULL },
	[SERVICE] = { "service.name", "service", "service_name", "app", "application", "appname", "app-name",
                  "programname", "SYSLOG_IDENTIFIER", NULL },
	[HOST] = { "host.name", "host", "hostname", "_HOSTNAME", NULL },
	[TRACE] = { "trace_id", "traceId", "traceid", "trace.id", NULL },
	[SPAN] = { "span_id", "spanId", "spanid", "span.id", NULL },
	[NAMESPACE] = { "service.namespace", "namespace", "k8s.namespace.name", NULL },
	[POD] = { "k8s.pod.name", "pod", NULL },
	[ENV] = { "deployment.environment", "environment", "env", NULL },
};

struct place {
	struct tel_batch *b;
	yyjson_doc **doc; /* texts are lent from all of them */
	size_t docs, cap;
	/* lines of one sender mostly name the same resource */
	struct tel_attrs last;
	uint32_t resource;
	bool has_resource;
};

static void docs_free(void *owned)
{
	yyjson_doc **d = owned;

	for (size_t i = 0; d[i]; i++)
		yyjson_doc_free(d[i]);
	free(d);
}

static void keep_doc(struct place *at, yyjson_doc *doc)
{
	if (at->docs + 1 >= at->cap) {
		at->cap = at->cap ? at->cap * 2 : 64;
		at->doc = mem_grow(at->doc, at->cap, sizeof(*at->doc));
		at->b->owned = at->doc;
		at->b->owned_free = docs_free;
	}
	at->doc[at->docs++] = doc;
	at->doc[at->docs] = NULL;
}

static struct tel_str text_of(struct place *at, yyjson_val *v)
{
	struct tel_str s = { "", 0 };
	char *json;
	size_t n;

	if (yyjson_is_str(v))
		return otlp_text(at->b, yyjson_get_str(v), yyjson_get_len(v));
	if (!v || yyjson_is_null(v))
		return s;
	json = fast_json_text(v, &n);
	s = otlp_text(at->b, tel_copy(at->b, json, n).s, n);
	free(json);
	return s;
}

static yyjson_val *member(yyjson_val *obj, enum role role)
{
	yyjson_val *v = NULL;

	for (const char *const *n = names[role]; *n && !v; n++)
		v = yyjson_obj_get(obj, *n);
	return v;
}

static bool known(const char *key, size_t len)
{
	for (enum role r = 0; r < ROLES; r++)
		for (const char *const *n = names[r]; *n; n++)
			if (strlen(*n) == len && memcmp(*n, key, len) == 0)
				return true;
	return false;
}

/* Seconds, milliseconds, microseconds or nanoseconds since 1970: each has its own size for the next centuries. */
static int64_t epoch_us(double v)
{
	if (!(v > 0) || v > 9e18)
		return 0;
	return (int64_t)(v < 1e11 ? v * 1e6 : v < 1e14 ? v * 1e3 : v < 1e17 ? v : v / 1e3);
}

/* False: there is one and it is none. */
static bool time_of(yyjson_val *v, int64_t *ret)
{
	*ret = 0;
	if (!v || yyjson_is_null(v))
		return true;
	if (yyjson_is_num(v)) {
		*ret = epoch_us(yyjson_get_num(v));
	} else if (yyjson_is_str(v)) {
		const char *s = yyjson_get_str(v);
		char *end;

		if (clock_parse(s, ret) != 0) {
			double d = strtod(s, &end);

			*ret = *s && *end == '\0' ? epoch_us(d) : 0;
		}
	}
	return *ret > 0;
}

static uint8_t severity_of(struct place *at, yyjson_val *v)
{
	static const uint8_t syslog[] = { 24, 22, 21, 17, 13, 10, 9, 5 };
	struct tel_str s;

	if (yyjson_is_uint(v))
		return yyjson_get_uint(v) < 8 ? syslog[yyjson_get_uint(v)] : 0;
	s = text_of(at, v);
	if (s.n == 1 && s.s[0] >= '0' && s.s[0] <= '7')
		return syslog[s.s[0] - '0'];
	return tel_severity(s);
}

static void resource_attr(struct place *at, struct tel_attrs *a, yyjson_val *v, struct tel_str key)
{
	struct tel_str s = { "", 0 };

	if (yyjson_is_obj(v)) /* {"host":{"name":"h"}}, as Elastic's schema has it */
		v = yyjson_obj_get(v, "name");
	if (v)
		s = text_of(at, v);
	if (s.n)
		tel_attrs_add(a, key, s, TEL_LABEL_MAX);
}

static enum oc_err resource_of(struct place *at, yyjson_val *o, uint32_t *ret, struct oc_fail *reterr)
{
	yyjson_val *k8s = yyjson_obj_get(o, "kubernetes");
	struct tel_attrs a = { .n = 0 };
	bool same;
	enum oc_err err;

	resource_attr(at, &a, member(o, SERVICE), TEL_STR("service.name"));
	if (k8s && a.n == 0)
		resource_attr(at, &a, yyjson_obj_get(k8s, "container_name"), TEL_STR("service.name"));
	resource_attr(at, &a, k8s ? yyjson_obj_get(k8s, "namespace_name") : member(o, NAMESPACE),
		      TEL_STR("service.namespace"));
	resource_attr(at, &a, k8s ? yyjson_obj_get(k8s, "pod_name") : member(o, POD),
		      TEL_STR("k8s.pod.name"));
	resource_attr(at, &a,
		      k8s && yyjson_obj_get(k8s, "host") ? yyjson_obj_get(k8s, "host") : member(o, HOST),
		      TEL_STR("host.name"));
	resource_attr(at, &a, member(o, ENV), TEL_STR("deployment.environment"));
	same = at->has_resource && at->last.n == a.n;
	for (uint32_t i = 0; same && i < a.n; i++)
		same = tel_str_eq(a.attr[i].key, at->last.attr[i].key) &&
		       tel_str_eq(a.attr[i].value, at->last.attr[i].value);
	if (same) {
		*ret = at->resource;
		return OC_OK;
	}
	at->last = a;
	err = tel_resource_add(at->b, &a, ret, reterr);
	at->has_resource = err == OC_OK;
	at->resource = *ret;
	return err;
}

static char *line_copy(const char *line, size_t len)
{
	return mem_strndup(line, len > 8192 ? 8192 : len);
}

static enum oc_err take_object(struct place *at, yyjson_val *o, const char *line, size_t len, bool *ret_taken,
			       struct oc_fail *reterr)
{
	struct tel_attrs attrs = { .n = 0 };
	yyjson_val *key, *text = member(o, TEXT);
	yyjson_obj_iter it;
	struct tel_log *l;
	uint32_t resource;
	int64_t time_us;
	enum oc_err err;

	*ret_taken = false;
	if (!time_of(member(o, TIME), &time_us)) {
		tel_reject(at->b, 1, line_copy(line, len),
			   "a time that is none: neither RFC 3339 nor a number since 1970");
		return OC_OK;
	}
	err = resource_of(at, o, &resource, reterr);
	if (err == OC_OK)
		err = tel_log_add(at->b, &l, reterr);
	if (err != OC_OK)
		return err;
	l->resource = resource;
	l->time_us = time_us;
	l->scope = (struct tel_str){ "", 0 };
	l->severity_text = tel_cut(text_of(at, member(o, LEVEL)), 64);
	l->severity = severity_of(at, member(o, LEVEL));
	l->body = tel_cut(text ? text_of(at, text) : text_of(at, o), TEL_TEXT_MAX);
	if (yyjson_is_str(member(o, TRACE)))
		l->has_trace = str_unhex(yyjson_get_str(member(o, TRACE)), l->trace_id, 16);
	if (yyjson_is_str(member(o, SPAN)))
		l->has_span = str_unhex(yyjson_get_str(member(o, SPAN)), l->span_id, 8);
	it = yyjson_obj_iter_with(o);
	while ((key = yyjson_obj_iter_next(&it))) {
		yyjson_val *v = yyjson_obj_iter_get_val(key);

		if (!known(yyjson_get_str(key), yyjson_get_len(key)) && attrs.n < TEL_ATTRS_MAX)
			tel_attrs_add(&attrs, text_of(at, key), text_of(at, v), TEL_TEXT_MAX);
	}
	(void)tel_attrs_end(at->b, &attrs, &l->attr, &l->attrs);
	*ret_taken = true;
	return OC_OK;
}

static enum oc_err take_line(struct place *at, const char *line, size_t len, bool *ret_taken,
			     struct oc_fail *reterr)
{
	struct oc_fail why = { 0 };
	yyjson_doc *doc = NULL;
	yyjson_val *root, *o;
	yyjson_arr_iter it;
	enum oc_err err = OC_OK;

	*ret_taken = false;
	if (fast_json_read(line, len, TEL_BYTES_MAX, &doc, &why) != OC_OK) {
		tel_reject(at->b, 1, line_copy(line, len), "%s", why.text);
		return OC_OK;
	}
	keep_doc(at, doc);
	root = yyjson_doc_get_root(doc);
	if (yyjson_is_obj(root))
		return take_object(at, root, line, len, ret_taken, reterr);
	yyjson_arr_iter_init(root, &it);
	while (err == OC_OK && (o = yyjson_arr_iter_next(&it))) {
		AUTO(str) char *text = NULL;
		size_t n = 0;

		if (!yyjson_is_obj(o)) {
			tel_reject(at->b, 1, fast_json_text(o, NULL),
				   "neither an object nor a list of objects");
			continue;
		}
		text = fast_json_text(o, &n);
		err = take_object(at, o, text, n, ret_taken, reterr);
	}
	if (!yyjson_is_arr(root))
		tel_reject(at->b, 1, line_copy(line, len), "neither an object nor a list of objects");
	return err;
}

/* The next line that is not blank; false at the end. */
static bool next_line(const char **p, const char *end, const char **ret, size_t *ret_len)
{
	while (*p < end) {
		const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *from = *p;
		size_t n = (size_t)((nl ? nl : end) - from);

		*p = nl ? nl + 1 : end;
		while (n && (from[n - 1] == '\r' || from[n - 1] == ' '))
			n--;
		if (n) {
			*ret = from;
			*ret_len = n;
			return true;
		}
	}
	return false;
}

enum oc_err lines_read(const char *body, size_t len, struct tel_batch *ret, struct oc_fail *reterr)
{
	struct place at = { .b = ret };
	const char *p = body, *line;
	size_t n, blank = 0;
	enum oc_err err = OC_OK;
	bool taken;

	tel_batch_init(ret, TEL_LOGS);
	if (len > TEL_BYTES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %zu bytes", TEL_BYTES_MAX);
	while (blank < len && strchr(" \t\r\n", body[blank]) && body[blank])
		blank++;
	/* a list may go over several lines */
	if (blank < len && body[blank] == '[')
		err = take_line(&at, body, len, &taken, reterr);
	else
		while (err == OC_OK && next_line(&p, body + len, &line, &n))
			err = take_line(&at, line, n, &taken, reterr);
	if (err != OC_OK)
		tel_batch_done(ret);
	return err;
}

/* ---- _bulk */

static void item(struct text *items, const char *action, struct tel_str index, const char *why)
{
	struct tel_attr row[2] = {
		{ TEL_STR("_index"), index                                      },
		{ TEL_STR("reason"), { why, (uint32_t)(why ? strlen(why) : 0) } },
	};
	struct text t = { 0 };

	tel_attrs_json(row, 1, &t); /* {"_index":"x"} */
	t.s[t.len - 1] = '\0';
	text_addf(items, "%s{\"%s\":%s,\"status\":%d", items->len ? "," : "", action, t.s, why ? 400 : 201);
	t.len = 0;
	if (why) {
		tel_attrs_json(row + 1, 1, &t);
		text_addf(items, ",\"error\":{\"type\":\"document_parsing_exception\",%s", t.s + 1);
	} else {
		text_add(items, ",\"result\":\"created\"");
	}
	text_add(items, "}}");
	text_done(&t);
}

enum oc_err lines_read_bulk(const char *body, size_t len, struct tel_batch *ret, struct text *items,
			    bool *ret_errors, struct oc_fail *reterr)
{
	struct place at = { .b = ret };
	const char *p = body, *line;
	enum oc_err err = OC_OK;
	size_t n;

	*ret_errors = false;
	tel_batch_init(ret, TEL_LOGS);
	if (len > TEL_BYTES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %zu bytes", TEL_BYTES_MAX);
	while (err == OC_OK && next_line(&p, body + len, &line, &n)) {
		AUTO(yyjson_doc) yyjson_doc *doc = NULL;
		yyjson_val *root = NULL, *what = NULL;
		const char *action = "index";
		struct tel_str index = { "", 0 };
		uint64_t rejected = ret->rejected;
		bool taken = false;

		if (fast_json_read(line, n, TEL_BYTES_MAX, &doc, NULL) == OC_OK)
			root = yyjson_doc_get_root(doc);
		if ((what = yyjson_obj_get(root, "create")))
			action = "create";
		else
			what = yyjson_obj_get(root, "index");
		if (!what) {
			tel_reject(ret, 1, line_copy(line, n), "not an index or create action");
			*ret_errors = true;
			item(items, action, index, "not an index or create action");
			continue;
		}
		if (yyjson_is_str(yyjson_obj_get(what, "_index")))
			index = otlp_text(ret, yyjson_get_str(yyjson_obj_get(what, "_index")),
					  yyjson_get_len(yyjson_obj_get(what, "_index")));
		if (!next_line(&p, body + len, &line, &n)) {
			tel_reject(ret, 1, NULL, "an action without its document");
			item(items, action, index, "an action without its document");
			*ret_errors = true;
			break;
		}
		err = take_line(&at, line, n, &taken, reterr);
		if (err != OC_OK)
			break;
		taken = ret->rejected == rejected;
		*ret_errors = *ret_errors || !taken;
		item(items, action, index,
		     taken          ? NULL
		     : ret->rejects ? ret->reject[ret->rejects - 1].why
				    : "not taken");
	}
	if (err != OC_OK)
		tel_batch_done(ret);
	return err;
}
