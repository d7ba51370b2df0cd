/* YAML 1.1 of other people's tools: Ansible's variables, plays and inventories. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <yaml.h>

#include "base/mem.h"
#include "wire/yaml/yaml.h"

#define LOOSE_BYTES_MAX  ((size_t)4 << 20)
#define LOOSE_DEPTH_MAX  64
/* Values, with those that aliases repeat: nine lines of aliases can ask for a billion. */
#define LOOSE_VALUES_MAX 100000

struct loose {
	const char *name;
	yaml_parser_t parser;
	json_t *anchors; /* name -> value */
	json_t *sizes;   /* name -> how many values it holds */
	size_t values;
	struct oc_fail *reterr;
};

static void event_done(yaml_event_t *e)
{
	yaml_event_delete(e);
}

static enum oc_err refuse(struct loose *r, const yaml_mark_t *mark, const char *what)
{
	return oc_fail(r->reterr, OC_BAD_REQUEST, "%s:%zu: %s", r->name, mark->line + 1, what);
}

static enum oc_err next(struct loose *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev))
		return OC_OK;
	return refuse(r, &r->parser.problem_mark, r->parser.problem ? r->parser.problem : "not YAML");
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

/* Decimal, 0x, 0 and 0b numbers with underscores, as YAML 1.1 has them. */
static json_t *integer(const char *s)
{
	char digits[72];
	size_t n = 0;
	const char *p = s + (*s == '-' || *s == '+'), *end_p = p;
	int base = 10;
	long long v;
	char *end;

	if (*p == '0' && (p[1] == 'x' || p[1] == 'b')) {
		base = p[1] == 'x' ? 16 : 2;
		p += 2;
	} else if (*p == '0' && p[1]) {
		base = 8;
		p++;
	}
	end_p = p;
	if (*s == '-')
		digits[n++] = '-';
	for (; *end_p && n + 1 < sizeof(digits); end_p++) {
		bool ok = base == 16 ? strchr("0123456789abcdefABCDEF", *end_p) != NULL
				     : *end_p >= '0' && *end_p < '0' + base;

		if (*end_p == '_' && end_p > p)
			continue;
		if (!ok)
			return NULL;
		digits[n++] = *end_p;
	}
	digits[n] = '\0';
	if (*end_p || n == (size_t)(*s == '-'))
		return NULL;
	errno = 0;
	v = strtoll(digits, &end, base);
	return errno || *end ? NULL : json_integer(v);
}

static json_t *number(const char *s)
{
	const char *p = s + (*s == '-' || *s == '+');
	size_t whole = strspn(p, "0123456789_"), part;
	char *end;
	double d;

	if (p[whole] != '.' || strlen(s) > 60 || strchr(s, '_'))
		return NULL;
	part = strspn(p + whole + 1, "0123456789");
	if (whole + part == 0)
		return NULL;
	p += whole + 1 + part;
	if (*p && !((*p == 'e' || *p == 'E') && (p[1] == '-' || p[1] == '+')))
		return NULL;
	d = strtod(s, &end);
	return *end || !isfinite(d) ? NULL : json_real(d);
}

static json_t *plain(const char *s, size_t len)
{
	static const char *const yes[] = {
		"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL
	};
	static const char *const no[] = { "no",    "No",  "NO",  "false", "False",
					  "FALSE", "off", "Off", "OFF",   NULL };
	static const char *const nothing[] = { "", "~", "null", "Null", "NULL", NULL };
	json_t *v;

	if (one_of(s, nothing))
		return json_null();
	if (one_of(s, yes))
		return json_true();
	if (one_of(s, no))
		return json_false();
	v = integer(s);
	if (!v)
		v = number(s);
	return v ? v : json_stringn(s, len);
}

static enum oc_err scalar(struct loose *r, const yaml_event_t *ev, json_t **ret)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	bool as_text = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || ev->data.scalar.tag;

	if (!str_utf8_ok(s, len))
		return refuse(r, &ev->start_mark, "the text is not UTF-8, or has a NUL in it");
	*ret = as_text ? json_stringn(s, len) : plain(s, len);
	return *ret ? OC_OK : refuse(r, &ev->start_mark, "the text cannot be kept");
}

static enum oc_err value(struct loose *r, const yaml_event_t *ev, unsigned depth, json_t **ret);

static enum oc_err sequence(struct loose *r, unsigned depth, json_t **ret)
{
	AUTO(json) json_t *list = json_array();

	for (;;) {
		__attribute__((cleanup(event_done))) yaml_event_t ev = { 0 };
		json_t *item = NULL;
		enum oc_err err = next(r, &ev);

		if (err != OC_OK)
			return err;
		if (ev.type == YAML_SEQUENCE_END_EVENT)
			break;
		err = value(r, &ev, depth, &item);
		if (err != OC_OK)
			return err;
		json_array_append_new(list, item);
	}
	*ret = TAKE(list);
	return OC_OK;
}

/* What a merge key brings stands behind what is written out. */
static void merge(json_t *map, const json_t *from)
{
	const json_t *one;
	size_t i;

	if (json_is_object(from))
		json_object_update_missing(map, (json_t *)from);
	json_array_foreach(from, i, one) if (json_is_object(one))
		json_object_update_missing(map, (json_t *)one);
}

static enum oc_err mapping(struct loose *r, unsigned depth, json_t **ret)
{
	AUTO(json) json_t *map = json_object();
	AUTO(json) json_t *merged = NULL;

	for (;;) {
		__attribute__((cleanup(event_done))) yaml_event_t key = { 0 };
		__attribute__((cleanup(event_done))) yaml_event_t ev = { 0 };
		const char *name;
		json_t *item = NULL;
		enum oc_err err = next(r, &key);

		if (err != OC_OK)
			return err;
		if (key.type == YAML_MAPPING_END_EVENT)
			break;
		if (key.type != YAML_SCALAR_EVENT)
			return refuse(r, &key.start_mark, "a key must be a plain text");
		name = (const char *)key.data.scalar.value;
		if (!str_utf8_ok(name, key.data.scalar.length))
			return refuse(r, &key.start_mark, "the key is not UTF-8, or has a NUL in it");
		err = next(r, &ev);
		if (err == OC_OK)
			err = value(r, &ev, depth, &item);
		if (err != OC_OK)
			return err;
		if (str_eq(name, "<<") && key.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
			json_decref(merged);
			merged = item;
		} else {
			json_object_set_new(map, name, item);
		}
	}
	merge(map, merged);
	*ret = TAKE(map);
	return OC_OK;
}

static enum oc_err alias(struct loose *r, const yaml_event_t *ev, json_t **ret)
{
	const char *name = (const char *)ev->data.alias.anchor;
	json_t *v = json_object_get(r->anchors, name);

	if (!v)
		return refuse(r, &ev->start_mark, "an alias without its anchor before it");
	r->values += (size_t)json_integer_value(json_object_get(r->sizes, name));
	if (r->values > LOOSE_VALUES_MAX)
		return refuse(r, &ev->start_mark, "the aliases ask for too many values");
	/* a copy: a list may not hold the same value twice and be changed in one place */
	*ret = json_deep_copy(v);
	return OC_OK;
}

static enum oc_err value(struct loose *r, const yaml_event_t *ev, unsigned depth, json_t **ret)
{
	const yaml_char_t *anchor = NULL;
	size_t before = r->values;
	enum oc_err err;

	if (++r->values > LOOSE_VALUES_MAX)
		return refuse(r, &ev->start_mark, "too many values");
	if (depth >= LOOSE_DEPTH_MAX)
		return refuse(r, &ev->start_mark, "nested too deep");
	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return alias(r, ev, ret);
	case YAML_SCALAR_EVENT:
		anchor = ev->data.scalar.anchor;
		err = scalar(r, ev, ret);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = ev->data.sequence_start.anchor;
		err = sequence(r, depth + 1, ret);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = ev->data.mapping_start.anchor;
		err = mapping(r, depth + 1, ret);
		break;
	default:
		return refuse(r, &ev->start_mark, "a value is missing");
	}
	if (err == OC_OK && anchor && str_utf8_ok((const char *)anchor, strlen((const char *)anchor))) {
		json_object_set(r->anchors, (const char *)anchor, *ret);
		json_object_set_new(r->sizes, (const char *)anchor,
				    json_integer((json_int_t)(r->values - before)));
	}
	return err;
}

static enum oc_err document(struct loose *r, json_t **ret)
{
	for (;;) {
		__attribute__((cleanup(event_done))) yaml_event_t ev = { 0 };
		enum oc_err err = next(r, &ev);

		if (err != OC_OK)
			return err;
		if (ev.type == YAML_STREAM_START_EVENT || ev.type == YAML_DOCUMENT_START_EVENT)
			continue;
		if (ev.type == YAML_STREAM_END_EVENT || ev.type == YAML_DOCUMENT_END_EVENT) {
			*ret = json_null();
			return OC_OK;
		}
		return value(r, &ev, 0, ret);
	}
}

enum oc_err yaml_read_loose(const char *name, const char *text, size_t len, json_t **ret,
			    struct oc_fail *reterr)
{
	struct loose r = { .name = name, .reterr = reterr };
	json_t *v = NULL;
	enum oc_err err;

	if (len > LOOSE_BYTES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "%s: the file has %zu bytes; at most %zu are taken",
			       name, len, LOOSE_BYTES_MAX);
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text ? text : ""), len);
	r.anchors = json_object();
	r.sizes = json_object();
	err = document(&r, &v);
	yaml_parser_delete(&r.parser);
	json_decref(r.anchors);
	json_decref(r.sizes);
	if (err == OC_OK)
		*ret = v;
	return err;
}
