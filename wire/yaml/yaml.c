#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <yaml.h>

#include "base/mem.h"
#include "wire/yaml/yaml.h"

/* Files that people write are small; what is larger is a mistake or an attack. */
#define YAML_BYTES_MAX ((size_t)1 << 20)
#define YAML_DEPTH_MAX 64

struct yaml_doc {
	char *name;
	json_t *value;
	json_t *lines; /* JSON pointer -> line, from 1 */
};

struct reader {
	const char *name;
	yaml_parser_t parser;
	struct text at; /* JSON pointer of the value being read */
	json_t *lines;
	struct oc_fail *reterr;
};

static void event_done(yaml_event_t *e)
{
	yaml_event_delete(e);
}

static enum oc_err refuse(struct reader *r, const yaml_mark_t *mark, const char *fmt, ...) PRINTF_LIKE(3, 4);
static enum oc_err refuse(struct reader *r, const yaml_mark_t *mark, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return oc_fail_field(r->reterr, OC_BAD_REQUEST, text_str(&r->at), "%s:%zu: %s", r->name,
			     mark->line + 1, text);
}

static enum oc_err next(struct reader *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev))
		return OC_OK;
	return refuse(r, &r->parser.problem_mark, "%s%s%s",
		      r->parser.problem ? r->parser.problem : "not YAML", r->parser.context ? " " : "",
		      r->parser.context ? r->parser.context : "");
}

/* Appends "/key" escaped as RFC 6901 says; returns the length to cut back to. */
static size_t go_in(struct reader *r, const char *key)
{
	size_t was = r->at.len;

	text_add(&r->at, "/");
	for (; *key; key++) {
		if (*key == '~')
			text_add(&r->at, "~0");
		else if (*key == '/')
			text_add(&r->at, "~1");
		else
			text_add_n(&r->at, key, 1);
	}
	return was;
}

static void go_out(struct reader *r, size_t was)
{
	r->at.len = was;
	if (r->at.s)
		r->at.s[was] = '\0';
}

static bool is_digits(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

/* -?(0|[1-9][0-9]*) of the YAML 1.2 JSON schema, so "007" and "1_000" stay text. */
static bool is_integer(const char *s)
{
	if (*s == '-')
		s++;
	return is_digits(s) && (s[0] != '0' || s[1] == '\0');
}

static bool is_number(const char *s)
{
	char head[64];
	size_t n = strcspn(s, ".eE");

	if (n == 0 || n >= sizeof(head))
		return false;
	memcpy(head, s, n);
	head[n] = '\0';
	if (!is_integer(head))
		return false;
	s += n;
	if (*s == '.') {
		n = strspn(s + 1, "0123456789");
		if (n == 0)
			return false;
		s += 1 + n;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '-' || *s == '+')
			s++;
		return is_digits(s);
	}
	return *s == '\0';
}

static enum oc_err scalar(struct reader *r, const yaml_event_t *ev, json_t **ret)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	const char *tag = (const char *)ev->data.scalar.tag;
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	json_t *v = NULL;

	if (tag && !str_eq(tag, YAML_STR_TAG))
		return refuse(r, &ev->start_mark,
			      "the tag '%.100s' is not taken; quote the text or drop the tag", tag);
	if (!str_utf8_ok(s, len))
		return refuse(r, &ev->start_mark, "the text is not UTF-8, or has a NUL in it");
	if (tag || !plain) {
		v = json_stringn(s, len);
	} else if (len == 0 || str_eq(s, "null") || str_eq(s, "~")) {
		v = json_null();
	} else if (str_eq(s, "true")) {
		v = json_true();
	} else if (str_eq(s, "false")) {
		v = json_false();
	} else if (is_integer(s)) {
		long long n;

		if (!str_to_long(s, INT64_MIN, INT64_MAX, &n))
			return refuse(r, &ev->start_mark, "the number '%.40s' is too large", s);
		v = json_integer(n);
	} else if (is_number(s)) {
		double d = strtod(s, NULL);

		if (!isfinite(d))
			return refuse(r, &ev->start_mark, "the number '%.40s' is too large", s);
		v = json_real(d);
	} else {
		v = json_stringn(s, len);
	}
	if (!v)
		return refuse(r, &ev->start_mark, "the text cannot be kept");
	*ret = v;
	return OC_OK;
}

static enum oc_err value(struct reader *r, const yaml_event_t *ev, unsigned depth, json_t **ret);

static enum oc_err sequence(struct reader *r, unsigned depth, json_t **ret)
{
	AUTO(json) json_t *list = json_array();
	enum oc_err err;

	for (size_t i = 0;; i++) {
		__attribute__((cleanup(event_done))) yaml_event_t ev = { 0 };
		char index[24];
		json_t *item = NULL;
		size_t was;

		err = next(r, &ev);
		if (err != OC_OK)
			return err;
		if (ev.type == YAML_SEQUENCE_END_EVENT)
			break;
		snprintf(index, sizeof(index), "%zu", i);
		was = go_in(r, index);
		err = value(r, &ev, depth, &item);
		if (err != OC_OK)
			return err;
		go_out(r, was);
		json_array_append_new(list, item);
	}
	*ret = TAKE(list);
	return OC_OK;
}

static enum oc_err mapping(struct reader *r, unsigned depth, json_t **ret)
{
	AUTO(json) json_t *map = json_object();
	enum oc_err err;

	for (;;) {
		__attribute__((cleanup(event_done))) yaml_event_t key = { 0 };
		__attribute__((cleanup(event_done))) yaml_event_t ev = { 0 };
		const char *name;
		json_t *item = NULL;
		size_t was;

		err = next(r, &key);
		if (err != OC_OK)
			return err;
		if (key.type == YAML_MAPPING_END_EVENT)
			break;
		if (key.type == YAML_ALIAS_EVENT || (key.type == YAML_SCALAR_EVENT && key.data.scalar.anchor))
			return refuse(r, &key.start_mark, "anchors and aliases are not taken; write it out");
		if (key.type != YAML_SCALAR_EVENT)
			return refuse(r, &key.start_mark, "a key must be a plain text");
		name = (const char *)key.data.scalar.value;
		if (key.data.scalar.tag && !str_eq((const char *)key.data.scalar.tag, YAML_STR_TAG))
			return refuse(r, &key.start_mark, "the tag '%.100s' is not taken",
				      (const char *)key.data.scalar.tag);
		if (!str_utf8_ok(name, key.data.scalar.length))
			return refuse(r, &key.start_mark, "the key is not UTF-8, or has a NUL in it");
		if (str_eq(name, "<<") && key.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
			return refuse(r, &key.start_mark, "merge keys (<<) are not taken; write it out");
		if (json_object_get(map, name))
			return refuse(r, &key.start_mark, "the key '%.100s' stands here twice", name);
		was = go_in(r, name);
		/* where the key stands, since that is where one looks; value() keeps it */
		json_object_set_new(r->lines, text_str(&r->at),
				    json_integer((json_int_t)key.start_mark.line + 1));
		err = next(r, &ev);
		if (err != OC_OK)
			return err;
		err = value(r, &ev, depth, &item);
		if (err != OC_OK)
			return err;
		go_out(r, was);
		json_object_set_new(map, name, item);
	}
	*ret = TAKE(map);
	return OC_OK;
}

static enum oc_err value(struct reader *r, const yaml_event_t *ev, unsigned depth, json_t **ret)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	const char *want = NULL;

	if (ev->type == YAML_ALIAS_EVENT)
		return refuse(r, &ev->start_mark, "anchors and aliases are not taken; write it out");
	if (ev->type == YAML_SCALAR_EVENT) {
		anchor = ev->data.scalar.anchor;
	} else if (ev->type == YAML_SEQUENCE_START_EVENT) {
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
		want = YAML_SEQ_TAG;
	} else if (ev->type == YAML_MAPPING_START_EVENT) {
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
		want = YAML_MAP_TAG;
	} else {
		return refuse(r, &ev->start_mark, "a value is missing");
	}
	if (anchor)
		return refuse(r, &ev->start_mark, "anchors and aliases are not taken; write it out");
	if (tag && !str_eq((const char *)tag, want))
		return refuse(r, &ev->start_mark, "the tag '%.100s' is not taken", (const char *)tag);
	if (!json_object_get(r->lines, text_str(&r->at)))
		json_object_set_new(r->lines, text_str(&r->at),
				    json_integer((json_int_t)ev->start_mark.line + 1));
	if (ev->type == YAML_SCALAR_EVENT)
		return scalar(r, ev, ret);
	if (depth >= YAML_DEPTH_MAX)
		return refuse(r, &ev->start_mark, "nested deeper than %d levels", YAML_DEPTH_MAX);
	return ev->type == YAML_SEQUENCE_START_EVENT ? sequence(r, depth + 1, ret)
						     : mapping(r, depth + 1, ret);
}

static enum oc_err document(struct reader *r, json_t **ret)
{
	AUTO(json) json_t *v = NULL;
	bool done = false;
	enum oc_err err;

	while (!done) {
		__attribute__((cleanup(event_done))) yaml_event_t ev = { 0 };

		err = next(r, &ev);
		if (err != OC_OK)
			return err;
		switch (ev.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		case YAML_DOCUMENT_START_EVENT:
			if (v)
				return refuse(r, &ev.start_mark,
					      "a second document begins here; one file is one document");
			break;
		case YAML_STREAM_END_EVENT:
			done = true;
			break;
		default:
			err = value(r, &ev, 0, &v);
			if (err != OC_OK)
				return err;
		}
	}
	if (!v)
		return oc_fail(r->reterr, OC_BAD_REQUEST, "%s:1: the file is empty", r->name);
	*ret = TAKE(v);
	return OC_OK;
}

enum oc_err yaml_read(const char *name, const char *text, size_t len, struct yaml_doc **ret,
		      struct oc_fail *reterr)
{
	AUTO(json) json_t *lines = NULL;
	json_t *v = NULL;
	struct reader r = { .name = name, .reterr = reterr };
	enum oc_err err;

	if (len > YAML_BYTES_MAX)
		return oc_fail(reterr, OC_BAD_REQUEST, "%s:1: the file has %zu bytes; at most %zu are taken",
			       name, len, YAML_BYTES_MAX);
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text ? text : ""), len);
	r.lines = lines = json_object();
	err = document(&r, &v);
	yaml_parser_delete(&r.parser);
	text_done(&r.at);
	if (err != OC_OK)
		return err;

	*ret = mem_alloc(sizeof(**ret));
	(*ret)->name = mem_strdup(name);
	(*ret)->value = v;
	(*ret)->lines = TAKE(lines);
	return OC_OK;
}

enum oc_err yaml_read_file(const char *path, struct yaml_doc **ret, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(str) char *buf = NULL;
	size_t n;

	if (!f)
		return oc_fail(reterr, errno == ENOENT ? OC_NOT_FOUND : OC_BAD_REQUEST, "%s: %s", path,
			       strerror(errno));
	buf = mem_alloc(YAML_BYTES_MAX + 2);
	n = fread(buf, 1, YAML_BYTES_MAX + 1, f);
	if (ferror(f))
		return oc_fail(reterr, OC_BAD_REQUEST, "%s: %s", path, strerror(errno));
	return yaml_read(path, buf, n, ret, reterr);
}

void yaml_close(struct yaml_doc *doc)
{
	if (!doc)
		return;
	free(doc->name);
	json_decref(doc->value);
	json_decref(doc->lines);
	free(doc);
}

json_t *yaml_value(const struct yaml_doc *doc)
{
	return doc->value;
}
const char *yaml_name(const struct yaml_doc *doc)
{
	return doc->name;
}

int yaml_line(const struct yaml_doc *doc, const char *pointer)
{
	return (int)json_integer_value(json_object_get(doc->lines, pointer));
}
