#include "ingest/detail_taker.h"
#include <inttypes.h>
#include <stdio.h>

static void quote(struct text *out, struct tel_str s)
{
	static const char digits[] = "0123456789abcdef";
	size_t from = 0;

	text_add_n(out, "\"", 1);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];
		char code[7] = "\\u00";

		if (c >= ' ' && c != '"' && c != '\\' && c != 127)
			continue;
		text_add_n(out, s.s + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\') {
			code[1] = (char)c;
			text_add_n(out, code, 2);
		} else if (c == '\n') {
			text_add_n(out, "\\n", 2);
		} else if (c == '\t') {
			text_add_n(out, "\\t", 2);
		} else {
			code[4] = digits[c >> 4];
			code[5] = digits[c & 15];
			text_add_n(out, code, 6);
		}
	}
	text_add_n(out, s.s + from, s.n - from);
	text_add_n(out, "\"", 1);
}

#define ADD(out, literal) text_add_n(out, literal, sizeof(literal) - 1)

static void add_hex(struct text *out, const uint8_t *id, size_t n)
{
	char hex[33];

	str_hex(id, n, hex);
	text_add_n(out, hex, 2 * n);
	ADD(out, "\"");
}

static void add_number(struct text *out, int64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRId64, v);

	text_add_n(out, digits, (size_t)n);
}

static void add_attributes(struct text *out, const struct tel_attr *attr, uint32_t n)
{
	if (!n)
		return;
	ADD(out, ",\"attributes\":{");
	for (uint32_t i = 0; i < n; i++) {
		if (i)
			ADD(out, ",");
		quote(out, attr[i].key);
		ADD(out, ":");
		quote(out, attr[i].value);
	}
	ADD(out, "}");
}

static void add_text(struct text *out, const char *lead, size_t lead_n, struct tel_str s)
{
	if (!s.n)
		return;
	text_add_n(out, lead, lead_n);
	quote(out, s);
}
#define ADD_TEXT(out, name, s) add_text(out, ",\"" name "\":", sizeof(",\"" name "\":") - 1, s)

static void begin(struct text *out, int64_t time_us, const struct tel_batch *b, uint32_t resource)
{
	ADD(out, "{\"time_us\":");
	add_number(out, time_us);
	if (resource < b->resources)
		ADD_TEXT(out, "resource", b->resource[resource].urn);
}

/* When it was not given, when it was seen. */
static int64_t log_time(const struct tel_log *l)
{
	return l->time_us ? l->time_us : l->observed_us;
}

void tel_log_line(const struct tel_batch *b, const struct tel_log *l, struct text *out)
{
	const char *severity = tel_severity_name(l->severity);

	begin(out, log_time(l), b, l->resource);
	ADD_TEXT(out, "severity", ((struct tel_str){ severity, (uint32_t)strlen(severity) }));
	if (l->has_trace) {
		ADD(out, ",\"trace_id\":\"");
		add_hex(out, l->trace_id, sizeof(l->trace_id));
	}
	if (l->has_span) {
		ADD(out, ",\"span_id\":\"");
		add_hex(out, l->span_id, sizeof(l->span_id));
	}
	ADD_TEXT(out, "scope", l->scope);
	ADD_TEXT(out, "body", l->body);
	add_attributes(out, l->attr, l->attrs);
	ADD(out, "}");
}

void tel_span_line(const struct tel_batch *b, const struct tel_span *s, struct text *out)
{
	static const struct tel_str kinds[] = { TEL_STR("unset"),  TEL_STR("internal"), TEL_STR("server"),
						TEL_STR("client"), TEL_STR("producer"), TEL_STR("consumer") };

	begin(out, s->start_us, b, s->resource);
	ADD(out, ",\"trace_id\":\"");
	add_hex(out, s->trace_id, sizeof(s->trace_id));
	ADD(out, ",\"span_id\":\"");
	add_hex(out, s->span_id, sizeof(s->span_id));
	if (s->has_parent) {
		ADD(out, ",\"parent_id\":\"");
		add_hex(out, s->parent_id, sizeof(s->parent_id));
	}
	ADD_TEXT(out, "name", s->name);
	ADD_TEXT(out, "kind", kinds[s->kind <= TEL_SPAN_CONSUMER ? s->kind : 0]);
	if (s->error)
		ADD(out, ",\"error\":true");
	ADD(out, ",\"duration_us\":");
	add_number(out, s->end_us > s->start_us ? s->end_us - s->start_us : 0);
	ADD_TEXT(out, "scope", s->scope);
	ADD_TEXT(out, "status", s->status_text);
	add_attributes(out, s->attr, s->attrs);
	ADD(out, "}");
}

static void take(void *ctx, long long tenant_id, const char *tenant, const struct tel_batch *b, uint64_t seq)
{
	AUTO(text) struct text line = { 0 };

	(void)seq;
	for (uint32_t i = 0; i < b->records && b->kind != TEL_METRICS; i++) {
		struct detail_record r;

		line.len = 0;
		if (b->kind == TEL_LOGS) {
			tel_log_line(b, &b->log[i], &line);
			r = (struct detail_record){ .time_us = log_time(&b->log[i]),
						    .trace_id = b->log[i].has_trace ? b->log[i].trace_id
										    : NULL };
		} else {
			tel_span_line(b, &b->span[i], &line);
			r = (struct detail_record){ .time_us = b->span[i].start_us,
						    .trace_id = b->span[i].trace_id };
		}
		r.line = line.s;
		r.len = line.len;
		detail_add(ctx, tenant_id, tenant, b->kind == TEL_LOGS ? "logs" : "traces", &r);
	}
}

static enum oc_err flush(void *ctx, struct pg *pg, uint64_t upto, struct oc_fail *reterr)
{
	(void)upto;
	return detail_flush(ctx, pg, reterr);
}

static void committed(void *ctx)
{
	detail_committed(ctx);
}

static void forget(void *ctx)
{
	detail_forget(ctx);
}

struct tel_taker detail_taker(struct detail_writer *w)
{
	return (struct tel_taker){
		.ctx = w, .take = take, .flush = flush, .committed = committed, .forget = forget
	};
}
