/* Small values of a policy file, and the place where each was found. */
#include "gatekeeper/policy_reader.h"
#include <stdarg.h>
#include <stdlib.h>
#include "base/mem.h"

enum oc_err load_wrong(struct loader *l, const char *fmt, ...)
{
	char text[700], near[sizeof(l->at)];
	int line = yaml_line(l->doc, l->at);
	va_list ap;

	/* what is missing has no line: then that of what it is missing from */
	snprintf(near, sizeof(near), "%s", l->at);
	while (line <= 0 && strrchr(near, '/')) {
		*strrchr(near, '/') = '\0';
		line = yaml_line(l->doc, near);
	}

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (line > 0)
		return oc_fail_field(l->reterr, OC_INVALID, l->at, "%s:%d: %s", yaml_name(l->doc), line,
				     text);
	return oc_fail_field(l->reterr, OC_INVALID, l->at, "%s: %s", yaml_name(l->doc), text);
}

/* Goes one level down; load_leave() comes back up. */
size_t load_enter(struct loader *l, const char *key)
{
	size_t was = strlen(l->at), n = was;

	if (n < sizeof(l->at) - 1)
		l->at[n++] = '/';
	for (; *key && n < sizeof(l->at) - 2; key++) {
		if (*key == '~' || *key == '/') {
			l->at[n++] = '~';
			l->at[n++] = *key == '~' ? '0' : '1';
		} else {
			l->at[n++] = *key;
		}
	}
	l->at[n < sizeof(l->at) ? n : sizeof(l->at) - 1] = '\0';
	return was;
}

size_t load_enter_at(struct loader *l, size_t i)
{
	char key[24];

	snprintf(key, sizeof(key), "%zu", i);
	return load_enter(l, key);
}

void load_leave(struct loader *l, size_t was)
{
	l->at[was] = '\0';
}

/* ---- small values ---- */

enum oc_err load_only_keys(struct loader *l, const json_t *obj, const char *const *keys, size_t n,
			   const char *what)
{
	const char *key;
	json_t *v;

	if (!json_is_object(obj))
		return load_wrong(l, "%s must be a mapping", what);
	json_object_foreach((json_t *)obj, key, v)
	{
		bool known = false;
		struct text list = { 0 };

		for (size_t i = 0; i < n; i++)
			known |= str_eq(key, keys[i]);
		if (known)
			continue;
		for (size_t i = 0; i < n; i++)
			text_addf(&list, "%s%s", i ? ", " : "", keys[i]);
		load_enter(l, key);
		load_wrong(l, "%s has no '%s'; it may have: %s", what, key, text_str(&list));
		text_done(&list);
		return OC_INVALID;
	}
	return OC_OK;
}

enum oc_err load_seconds(struct loader *l, const json_t *v, int64_t max, int64_t *ret)
{
	long long n = -1;
	int64_t unit = 1;

	if (json_is_integer(v)) {
		n = json_integer_value(v);
	} else if (json_is_string(v)) {
		char digits[32];
		size_t len = strlen(json_string_value(v));

		snprintf(digits, sizeof(digits), "%s", json_string_value(v));
		if (len > 1 && len < sizeof(digits)) {
			char last = digits[len - 1];

			unit = last == 's'   ? 1
			       : last == 'm' ? 60
			       : last == 'h' ? 3600
			       : last == 'd' ? DAY_S
					     : 0;
			digits[len - 1] = '\0';
			if (!unit || !str_to_long(digits, 1, max, &n))
				n = -1;
		}
	}
	if (n < 1 || n > max / unit)
		return load_wrong(
			l,
			"must be a time of at least 1s and at most %lldd: seconds, or a number with s, m, h or d",
			(long long)(max / DAY_S));
	*ret = n * unit;
	return OC_OK;
}

enum oc_err load_text(struct loader *l, const json_t *v, size_t max, const char **ret)
{
	if (!json_is_string(v) || !*json_string_value(v) || json_string_length(v) > max)
		return load_wrong(l, "must be a text of 1 to %zu characters", max);
	*ret = json_string_value(v);
	return OC_OK;
}

enum oc_err load_globs(struct loader *l, const json_t *v, const json_t **ret)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return load_wrong(l, "must be a list of texts (* and ? may stand in them)");
	json_array_foreach(v, i, item)
	{
		size_t was = load_enter_at(l, i);
		const char *text;
		enum oc_err err = load_text(l, item, 256, &text);

		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	if (ret)
		*ret = v;
	return OC_OK;
}

enum oc_err load_roles(struct loader *l, const json_t *v, unsigned *ret)
{
	unsigned bits = 0;
	size_t i;
	json_t *item;

	if (!json_is_array(v) || json_array_size(v) == 0)
		return load_wrong(l, "must be a list of roles: viewer, operator, approver, admin, service");
	json_array_foreach(v, i, item)
	{
		unsigned bit = policy_role_bit(json_string_value(item));

		if (!bit) {
			load_enter_at(l, i);
			return load_wrong(
				l,
				"there is no such role; the roles are viewer, operator, approver, admin, service");
		}
		bits |= bit;
	}
	*ret = bits;
	return OC_OK;
}

enum oc_err load_answer(struct loader *l, const json_t *v, enum policy_answer *ret)
{
	int a = json_is_string(v) ? policy_answer_parse(json_string_value(v)) : -1;

	if (a < 0)
		return load_wrong(l, "the answer must be allow, ask or deny");
	*ret = (enum policy_answer)a;
	return OC_OK;
}

enum oc_err load_approvers(struct loader *l, const json_t *v, unsigned *roles, unsigned *count)
{
	const json_t *n;
	enum oc_err err = ONLY_KEYS(l, v, "approvers", "roles", "count");
	size_t was;

	if (err != OC_OK)
		return err;
	if (json_object_get(v, "roles")) {
		was = load_enter(l, "roles");
		err = load_roles(l, json_object_get(v, "roles"), roles);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	n = json_object_get(v, "count");
	if (n) {
		was = load_enter(l, "count");
		if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > 20)
			return load_wrong(l,
					  "must be a whole number from 1 to 20: how many different people");
		*count = (unsigned)json_integer_value(n);
		load_leave(l, was);
	}
	return OC_OK;
}
