#include "ingest/telemetry.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include "base/hash.h"
#include "base/mem.h"

#define CHUNK      ((size_t)64 << 10)
#define RECORD_MAX 8192

struct tel_arena {
	struct tel_arena *next;
	size_t used, size;
	max_align_t data[];
};

const char *tel_kind_name(enum tel_kind kind)
{
	static const char *const names[] = { "metrics", "logs", "spans" };

	return kind < TEL_KINDS ? names[kind] : "?";
}

void tel_batch_init(struct tel_batch *b, enum tel_kind kind)
{
	memset(b, 0, sizeof(*b));
	b->kind = kind;
}

void tel_batch_done(struct tel_batch *b)
{
	for (struct tel_arena *a = b->arena, *next; a; a = next) {
		next = a->next;
		free(a);
	}
	for (uint32_t i = 0; i < b->rejects; i++)
		free(b->reject[i].record);
	free(b->reject);
	if (b->owned)
		b->owned_free(b->owned);
	free(b->resource);
	free(b->point);
	free(b->log);
	free(b->span);
	memset(b, 0, sizeof(*b));
}

void *tel_alloc(struct tel_batch *b, size_t size)
{
	struct tel_arena *a = b->arena;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!a || a->size - a->used < size) {
		size_t room = size > CHUNK ? size : CHUNK;

		a = malloc(sizeof(*a) + room);
		if (!a)
			a = mem_alloc(sizeof(*a) + room); /* aborts with a sentence */
		a->used = 0;
		a->size = room;
		a->next = b->arena;
		b->arena = a;
	}
	p = (char *)a->data + a->used;
	a->used += size;
	memset(p, 0, size);
	return p;
}

struct tel_str tel_copy(struct tel_batch *b, const char *s, size_t n)
{
	char *p;

	if (n == 0)
		return (struct tel_str){ "", 0 };
	p = tel_alloc(b, n);
	memcpy(p, s, n);
	return (struct tel_str){ p, (uint32_t)n };
}

struct tel_str tel_printf(struct tel_batch *b, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	return tel_cut(tel_copy(b, buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1), sizeof(buf));
}

struct tel_str tel_cut(struct tel_str s, uint32_t max)
{
	if (s.n <= max)
		return s;
	s.n = max;
	while (s.n && ((unsigned char)s.s[s.n] & 0xc0) == 0x80)
		s.n--;
	return s;
}

/* ---- attributes */

void tel_attrs_add(struct tel_attrs *a, struct tel_str key, struct tel_str value, uint32_t value_max)
{
	if (key.n == 0 || key.n > TEL_NAME_MAX)
		return;
	if (a->n == TEL_ATTRS_MAX) {
		a->over = true;
		return;
	}
	a->attr[a->n++] = (struct tel_attr){ key, tel_cut(value, value_max) };
}

static int key_order(struct tel_str a, struct tel_str b)
{
	int d = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);

	return d ? d : a.n < b.n ? -1 : a.n > b.n;
}

bool tel_attrs_end(struct tel_batch *b, struct tel_attrs *a, const struct tel_attr **ret, uint32_t *ret_n)
{
	struct tel_attr *out;
	uint32_t n = 0;

	/* by insertion: lists are short and mostly sorted, and it keeps the order of equal keys */
	for (uint32_t i = 1; i < a->n; i++) {
		struct tel_attr x = a->attr[i];
		uint32_t k = i;

		for (; k > 0 && key_order(a->attr[k - 1].key, x.key) > 0; k--)
			a->attr[k] = a->attr[k - 1];
		a->attr[k] = x;
	}
	*ret = NULL;
	*ret_n = 0;
	if (a->over)
		return false;
	if (a->n == 0)
		return true;
	out = tel_alloc(b, a->n * sizeof(*out));
	for (uint32_t i = 0; i < a->n; i++)
		if (n == 0 || !tel_str_eq(out[n - 1].key, a->attr[i].key))
			out[n++] = a->attr[i];
	*ret = out;
	*ret_n = n;
	return true;
}

struct tel_str tel_attr_find(const struct tel_attr *attr, uint32_t n, const char *key)
{
	size_t len = strlen(key);

	for (uint32_t i = 0; i < n; i++)
		if (attr[i].key.n == len && memcmp(attr[i].key.s, key, len) == 0)
			return attr[i].value;
	return (struct tel_str){ NULL, 0 };
}

static void quote(struct text *out, struct tel_str s)
{
	static const char hex[] = "0123456789abcdef";
	uint32_t from = 0;

	text_add_n(out, "\"", 1);
	for (uint32_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];
		char esc[7] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], 0 };

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		text_add_n(out, s.s + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\') {
			esc[1] = (char)c;
			text_add_n(out, esc, 2);
		} else {
			text_add_n(out, esc, 6);
		}
	}
	text_add_n(out, s.s + from, s.n - from);
	text_add_n(out, "\"", 1);
}

void tel_attrs_json(const struct tel_attr *attr, uint32_t n, struct text *out)
{
	text_add_n(out, "{", 1);
	for (uint32_t i = 0; i < n; i++) {
		if (i)
			text_add_n(out, ",", 1);
		quote(out, attr[i].key);
		text_add_n(out, ":", 1);
		quote(out, attr[i].value);
	}
	text_add_n(out, "}", 1);
}

/* ---- resources */

/* What stands in a URN: no blanks, no control characters. */
static struct tel_str urn_part(struct tel_batch *b, struct tel_str s)
{
	struct tel_str out;
	char *p;

	s = tel_cut(s, 200);
	out = tel_copy(b, s.s, s.n);
	p = (char *)out.s;
	for (uint32_t i = 0; i < out.n; i++)
		if ((unsigned char)p[i] <= ' ' || p[i] == 0x7f)
			p[i] = '_';
	return out;
}

static bool urn_ok(struct tel_str s)
{
	uint32_t i = 4;

	if (s.n < 7 || s.n > 512 || memcmp(s.s, "urn:", 4) != 0)
		return false;
	while (i < s.n &&
	       ((s.s[i] >= 'a' && s.s[i] <= 'z') || (s.s[i] >= '0' && s.s[i] <= '9') || s.s[i] == '-'))
		i++;
	if (i == 4 || i + 1 >= s.n || s.s[i] != ':' || s.s[4] == '-')
		return false;
	for (; i < s.n; i++)
		if ((unsigned char)s.s[i] <= ' ' || s.s[i] == 0x7f)
			return false;
	return true;
}

static struct tel_str first_of(const struct tel_resource *r, const char *a, const char *b)
{
	struct tel_str s = tel_attr_find(r->attr, r->attrs, a);

	return s.n ? s : b ? tel_attr_find(r->attr, r->attrs, b) : s;
}

#define S(x) (int)(x).n, (x).s

static void name_resource(struct tel_batch *b, struct tel_resource *r)
{
	struct tel_str own = first_of(r, "opscase.urn", NULL), service = first_of(r, "service.name", NULL);
	struct tel_str ns = first_of(r, "service.namespace", "k8s.namespace.name");
	struct tel_str host = first_of(r, "host.name", NULL), db = first_of(r, "db.system", "db.system.name");
	const char *colon;

	if (urn_ok(own))
		r->urn = own;
	else if (service.n && ns.n)
		r->urn = tel_printf(b, "urn:k8s:svc:%.*s/%.*s", S(urn_part(b, ns)), S(urn_part(b, service)));
	else if (service.n)
		r->urn = tel_printf(b, "urn:svc:%.*s", S(urn_part(b, service)));
	else if (db.n && first_of(r, "db.namespace", "db.name").n)
		r->urn = tel_printf(b, "urn:db:%.*s:%.*s/%.*s", S(urn_part(b, db)),
				    S(urn_part(b, host.n ? host : TEL_STR("unknown"))),
				    S(urn_part(b, first_of(r, "db.namespace", "db.name"))));
	else if (host.n)
		r->urn = tel_printf(b, "urn:host:%.*s", S(urn_part(b, host)));
	else
		r->urn = TEL_STR("urn:svc:unknown");
	colon = memrchr(r->urn.s + 4, ':', r->urn.n - 4);
	if (colon) {
		r->urn_type = (struct tel_str){ r->urn.s + 4, (uint32_t)(colon - r->urn.s - 4) };
		r->name = (struct tel_str){ colon + 1, (uint32_t)(r->urn.s + r->urn.n - colon - 1) };
	} else {
		r->urn_type = TEL_STR("thing");
		r->name = (struct tel_str){ r->urn.s + 4, r->urn.n - 4 };
	}
	r->env = first_of(r, "deployment.environment.name", "deployment.environment");
	r->region = first_of(r, "cloud.region", NULL);
	r->zone = first_of(r, "cloud.availability_zone", NULL);
}

static uint64_t hash_attrs(const struct tel_attr *attr, uint32_t n)
{
	uint64_t h = n;

	for (uint32_t i = 0; i < n; i++)
		h = tel_hash(tel_hash(h, attr[i].key.s, attr[i].key.n), attr[i].value.s, attr[i].value.n);
	return h;
}

static bool same_attrs(const struct tel_resource *a, const struct tel_resource *b)
{
	if (a->attrs != b->attrs)
		return false;
	for (uint32_t i = 0; i < a->attrs; i++)
		if (!tel_str_eq(a->attr[i].key, b->attr[i].key) ||
		    !tel_str_eq(a->attr[i].value, b->attr[i].value))
			return false;
	return true;
}

enum oc_err tel_resource_add(struct tel_batch *b, struct tel_attrs *attrs, uint32_t *ret,
			     struct oc_fail *reterr)
{
	struct tel_resource r = { 0 };

	attrs->over = false; /* more than are kept: the first ones stand for the resource */
	(void)tel_attrs_end(b, attrs, &r.attr, &r.attrs);
	r.hash = hash_attrs(r.attr, r.attrs);
	for (uint32_t i = b->resources; i-- > 0;)
		if (b->resource[i].hash == r.hash && same_attrs(&b->resource[i], &r)) {
			*ret = i;
			return OC_OK;
		}
	if (b->resources == TEL_RESOURCES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %d resources in one request",
			       TEL_RESOURCES_MAX);
	name_resource(b, &r);
	if (b->resources == b->cap_resources) {
		b->cap_resources = b->cap_resources ? b->cap_resources * 2 : 4;
		b->resource = mem_grow(b->resource, b->cap_resources, sizeof(*b->resource));
	}
	*ret = b->resources;
	b->resource[b->resources++] = r;
	return OC_OK;
}

void tel_attrs_add_instance(struct tel_attrs *a, const struct tel_resource *r)
{
	struct tel_str key = TEL_STR("service.instance.id"),
		       value = first_of(r, "service.instance.id", "k8s.pod.name");

	if (!value.n && !(r->urn.n > 9 && memcmp(r->urn.s, "urn:host:", 9) == 0)) {
		value = first_of(r, "host.name", NULL);
		key = TEL_STR("host.name");
	}
	/* a point's own label of that name came first and stays */
	if (value.n)
		tel_attrs_add(a, key, value, TEL_LABEL_MAX);
}

/* ---- records */

static enum oc_err grow(struct tel_batch *b, void *list, size_t size, struct oc_fail *reterr)
{
	void **at = list;

	if (b->records == TEL_RECORDS_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %d records in one request", TEL_RECORDS_MAX);
	if (b->records == b->cap_records) {
		b->cap_records = b->cap_records ? b->cap_records * 2 : 64;
		*at = mem_grow(*at, b->cap_records, size);
	}
	memset((char *)*at + b->records * size, 0, size);
	b->records++;
	return OC_OK;
}

#define ADD(name, kind_, field)                                                                             \
	enum oc_err name(struct tel_batch *b, struct field **ret, struct oc_fail *reterr)                   \
	{                                                                                                   \
		enum oc_err err = b->kind == (kind_) ? OC_OK                                                \
						     : oc_fail(reterr, OC_BUG, "a record of another kind"); \
                                                                                                            \
		if (err == OC_OK)                                                                           \
			err = grow(b, &b->LIST_##field, sizeof(struct field), reterr);                      \
		if (err == OC_OK)                                                                           \
			*ret = &b->LIST_##field[b->records - 1];                                            \
		return err;                                                                                 \
	}
#define LIST_tel_point point
#define LIST_tel_log   log
#define LIST_tel_span  span
ADD(tel_point_add, TEL_METRICS, tel_point)
ADD(tel_log_add, TEL_LOGS, tel_log)
ADD(tel_span_add, TEL_SPANS, tel_span)

void tel_record_drop(struct tel_batch *b)
{
	b->records--;
}

void tel_reject(struct tel_batch *b, uint64_t n, char *take_record, const char *fmt, ...)
{
	size_t have = strlen(b->why);
	char text[160];
	va_list ap;

	b->rejected += n;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* a name of the sender's may have been cut in the middle of a character */
	text[tel_cut((struct tel_str){ text, (uint32_t)strlen(text) }, sizeof(text) - 2).n] = '\0';
	for (size_t len = strlen(text); len && !str_utf8_ok(text, len);)
		text[--len] = '\0';
	if (n && b->rejects < TEL_REJECTED_KEPT) {
		struct tel_rejected *r;

		b->reject = mem_grow(b->reject, b->rejects + 1, sizeof(*b->reject));
		r = &b->reject[b->rejects++];
		if (take_record && strlen(take_record) > RECORD_MAX)
			take_record[tel_cut((struct tel_str){ take_record, (uint32_t)strlen(take_record) },
					    RECORD_MAX)
					    .n] = '\0';
		*r = (struct tel_rejected){ .record = take_record };
		snprintf(r->why, sizeof(r->why), "%s", text);
	} else {
		free(take_record);
	}
	/* each reason once, and only the first ones: a sender's log is not a dump */
	if (strstr(b->why, text) || have + strlen(text) + 3 > sizeof(b->why))
		return;
	snprintf(b->why + have, sizeof(b->why) - have, "%s%s", have ? "; " : "", text);
}

/* ---- severities */

uint8_t tel_severity(struct tel_str w)
{
	static const struct {
		const char *word;
		uint8_t severity;
	} words[] = {
		{ "trace",         1  },
		{ "debug",         5  },
		{ "info",          9  },
		{ "information",   9  },
		{ "informational", 9  },
		{ "notice",        10 },
		{ "warn",          13 },
		{ "warning",       13 },
		{ "error",         17 },
		{ "err",           17 },
		{ "severe",        17 },
		{ "critical",      21 },
		{ "crit",          21 },
		{ "alert",         22 },
		{ "fatal",         21 },
		{ "panic",         24 },
		{ "emerg",         24 },
		{ "emergency",     24 },
		{ "t",             1  },
		{ "d",             5  },
		{ "i",             9  },
		{ "w",             13 },
		{ "e",             17 },
		{ "f",             21 },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strlen(words[i].word) == w.n && strncasecmp(words[i].word, w.s, w.n) == 0)
			return words[i].severity;
	return 0;
}

const char *tel_severity_name(uint8_t s)
{
	return s == 0   ? "INFO"
	       : s < 5  ? "TRACE"
	       : s < 9  ? "DEBUG"
	       : s < 13 ? "INFO"
	       : s < 17 ? "WARN"
	       : s < 21 ? "ERROR"
			: "FATAL";
}

/* ---- hashing: eight bytes at a time, multiplied and folded, under a seed nobody outside knows */

static uint64_t secret;
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
	hash_random(&secret, sizeof(secret));
	secret |= 1;
}

static uint64_t fold128(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t tel_hash(uint64_t seed, const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t h, w;

	pthread_once(&secret_once, make_secret);
	h = seed ^ secret ^ (n * UINT64_C(0x9e3779b97f4a7c15));
	for (; n >= 8; n -= 8, s += 8) {
		memcpy(&w, s, 8);
		h = fold128(h ^ w ^ UINT64_C(0xa0761d6478bd642f), secret ^ UINT64_C(0xe7037ed1a0b428db));
	}
	w = 0;
	if (n)
		memcpy(&w, s, n);
	return fold128(h ^ w ^ UINT64_C(0x8ebc6af09c88c6e3), secret ^ UINT64_C(0x589965cc75374cc3));
}
