#include "llm/redact.h"
#include <ctype.h>
#include "base/mem.h"

struct redact {
	struct name {
		char *placeholder, *value;
	} *name;
	size_t count;
	unsigned hosts, ips, mails;
};

struct redact *redact_new(void)
{
	return mem_alloc(sizeof(struct redact));
}

void redact_free(struct redact *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++) {
		free(r->name[i].placeholder);
		free(r->name[i].value);
	}
	free(r->name);
	free(r);
}

static void keep(struct redact *r, const char *placeholder, const char *value, size_t n)
{
	r->name = mem_grow(r->name, r->count + 1, sizeof(*r->name));
	r->name[r->count++] = (struct name){ mem_strdup(placeholder), mem_strndup(value, n) };
}

static void put(struct redact *r, struct text *out, const char *kind, unsigned *number, const char *s,
		size_t n)
{
	char placeholder[40];

	for (size_t i = 0; i < r->count; i++)
		if (strlen(r->name[i].value) == n && strncmp(r->name[i].value, s, n) == 0 &&
		    str_starts(r->name[i].placeholder, kind)) {
			text_add(out, r->name[i].placeholder);
			return;
		}
	if (r->count == REDACT_MAX) {
		text_addf(out, "%s_GONE", kind);
		return;
	}
	snprintf(placeholder, sizeof(placeholder), "%s_%u", kind, ++*number);
	keep(r, placeholder, s, n);
	text_add(out, placeholder);
}

/* --- what a run of characters is */

static bool in_run(char c)
{
	return isalnum((unsigned char)c) || strchr("._-@+:", c);
}

static bool is_ip4(const char *s, size_t n)
{
	unsigned dots = 0, digits = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '.') {
			if (!digits)
				return false;
			dots++;
			digits = 0;
		} else if (isdigit((unsigned char)s[i])) {
			if (++digits > 3)
				return false;
		} else {
			return false;
		}
	}
	return dots == 3 && digits;
}

static bool is_ip6(const char *s, size_t n)
{
	unsigned colons = 0, hex = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == ':')
			colons++;
		else if (isxdigit((unsigned char)s[i]))
			hex++;
		else
			return false;
	}
	return colons >= 3 && hex && n >= 5 && (colons == 7 || memmem(s, n, "::", 2));
}

static bool is_mail(const char *s, size_t n)
{
	const char *at = memchr(s, '@', n);

	return at && at > s && memchr(at, '.', n - (size_t)(at - s)) && at + 1 < s + n;
}

/* Names with a domain that ends in letters; versions, metrics and files are none. */
static bool is_host(const char *s, size_t n)
{
	static const char *const ends[] = { ".local", ".internal", ".lan", ".corp", ".com",
					    ".net",   ".org",      ".io",  ".dev",  ".cn",
					    ".home",  ".svc",      ".de",  ".eu",   ".cloud" };

	if (n < 5 || memchr(s, '@', n) || memchr(s, ':', n) || memchr(s, '_', n))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t k = strlen(ends[i]);

		if (n > k && strncasecmp(s + n - k, ends[i], k) == 0)
			return true;
	}
	return false;
}

/* A key's own look: a known beginning, or long and of mixed kinds. */
static bool is_token(const char *s, size_t n)
{
	static const char *const begins[] = { "sk-",  "ghp_", "gho_", "glpat-", "xoxb-", "xoxp-",
					      "AKIA", "eyJ",  "AIza", "hvs.",   "npm_",  "dckr_pat_" };
	unsigned upper = 0, lower = 0, digit = 0, other = 0;

	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (n >= strlen(begins[i]) + 12 && strncmp(s, begins[i], strlen(begins[i])) == 0)
			return true;
	for (size_t i = 0; i < n; i++) {
		upper += isupper((unsigned char)s[i]) != 0;
		lower += islower((unsigned char)s[i]) != 0;
		digit += isdigit((unsigned char)s[i]) != 0;
		other += !isalnum((unsigned char)s[i]);
	}
	return n >= 24 && upper >= 3 && lower >= 3 && digit >= 3 && other <= n / 8;
}

/* "password=", "token: ", "Authorization: Bearer " before it. */
static bool is_asked(const char *text, const char *at)
{
	static const char *const names[] = { "password", "passwd", "secret", "token",
					     "api_key",  "apikey", "bearer", "authorization" };
	const char *p = at;

	while (p > text && (strchr(" \t=\"':", p[-1]) && p[-1]))
		p--;
	if (p == at || p == text)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t k = strlen(names[i]);

		if ((size_t)(p - text) >= k && strncasecmp(p - k, names[i], k) == 0)
			/* "token bucket" is a thing; "token=bucket" and "Bearer x" are not */
			return memchr(p, '=', (size_t)(at - p)) || memchr(p, ':', (size_t)(at - p)) ||
			       str_eq(names[i], "bearer");
	}
	return false;
}

char *redact_text(struct redact *r, const char *text)
{
	struct text out = { 0 };

	for (const char *p = text; *p;) {
		size_t n = 0, trail;

		while (p[n] && in_run(p[n]))
			n++;
		if (!n) {
			text_add_n(&out, p++, 1);
			continue;
		}
		/* a full stop or colon at the end belongs to the sentence */
		for (trail = n; trail > 0 && strchr(".:-", p[trail - 1]); trail--)
			;
		if (!trail)
			trail = n;
		if (is_asked(text, p) && !strncasecmp(p, "bearer", 6))
			text_add_n(&out, p, trail);
		else if (is_asked(text, p) || is_token(p, trail))
			text_add(&out, "TOKEN_GONE");
		else if (is_mail(p, trail))
			put(r, &out, "MAIL", &r->mails, p, trail);
		else if (is_ip4(p, trail) || is_ip6(p, trail))
			put(r, &out, "IP", &r->ips, p, trail);
		else if (is_host(p, trail))
			put(r, &out, "HOST", &r->hosts, p, trail);
		else {
			const char *colon = memchr(p, ':', trail);

			/* "10.0.0.1:8080", "web.internal:80" */
			if (colon && colon > p &&
			    (is_ip4(p, (size_t)(colon - p)) || is_host(p, (size_t)(colon - p)))) {
				if (is_ip4(p, (size_t)(colon - p)))
					put(r, &out, "IP", &r->ips, p, (size_t)(colon - p));
				else
					put(r, &out, "HOST", &r->hosts, p, (size_t)(colon - p));
				text_add_n(&out, colon, trail - (size_t)(colon - p));
			} else {
				text_add_n(&out, p, trail);
			}
		}
		text_add_n(&out, p + trail, n - trail);
		p += n;
	}
	return text_take(&out);
}

static bool boundary(char c)
{
	return !isalnum((unsigned char)c) && c != '_';
}

char *redact_back(const struct redact *r, const char *text)
{
	struct text out = { 0 };

	for (const char *p = text; *p;) {
		const struct name *hit = NULL;

		if (p == text || boundary(p[-1]))
			for (size_t i = 0; i < r->count && !hit; i++) {
				size_t k = strlen(r->name[i].placeholder);

				/* IP_1 is not the begin of IP_12 */
				if (strncmp(p, r->name[i].placeholder, k) == 0 && boundary(p[k]))
					hit = &r->name[i];
			}
		if (hit) {
			text_add(&out, hit->value);
			p += strlen(hit->placeholder);
		} else {
			text_add_n(&out, p++, 1);
		}
	}
	return text_take(&out);
}

json_t *redact_json_back(const struct redact *r, const json_t *doc)
{
	const char *key;
	json_t *out, *v;
	size_t i;

	if (json_is_string(doc)) {
		AUTO(str) char *s = redact_back(r, json_string_value(doc));

		return json_string(s);
	}
	if (json_is_array(doc)) {
		out = json_array();
		json_array_foreach(doc, i, v) json_array_append_new(out, redact_json_back(r, v));
		return out;
	}
	if (json_is_object(doc)) {
		out = json_object();
		json_object_foreach((json_t *)doc, key, v)
		{
			AUTO(str) char *k = redact_back(r, key);

			json_object_set_new(out, k, redact_json_back(r, v));
		}
		return out;
	}
	return json_deep_copy(doc);
}

json_t *redact_map(const struct redact *r)
{
	json_t *o = json_object();

	for (size_t i = 0; i < r->count; i++)
		json_put(o, r->name[i].placeholder, r->name[i].value);
	return o;
}

struct redact *redact_from_map(const json_t *map)
{
	struct redact *r = redact_new();
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)map, key, v) if (json_is_string(v) && r->count < REDACT_MAX)
		keep(r, key, json_string_value(v), strlen(json_string_value(v)));
	return r;
}
