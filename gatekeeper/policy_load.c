/* From YAML to a compiled set: every mistake is found here and named by file and line. */
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "gatekeeper/policy_impl.h"
#include "policy_files.h"
#include "wire/yaml/yaml.h"

#define FILES_MAX     256
#define RULES_MAX     100000
#define CONDS_MAX     4000000
#define DEPTH_MAX     16
#define IN_MAX        1024
#define DAY_S         86400
#define EXPIRES_MAX_S (90 * DAY_S)

struct loader {
	struct policy *p;
	const struct yaml_doc *doc;
	char at[512]; /* JSON pointer of what is being read */
	struct oc_fail *reterr;
	size_t rules_cap, conds_cap, lists_cap;
	json_t *ids;      /* rule id -> number */
	json_t *set_once; /* key -> file that said it */
};

/* ---- saying where ---- */

static enum oc_err wrong(struct loader *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum oc_err wrong(struct loader *l, const char *fmt, ...)
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

/* Goes one level down; leave() comes back up. */
static size_t enter(struct loader *l, const char *key)
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

static size_t enter_at(struct loader *l, size_t i)
{
	char key[24];

	snprintf(key, sizeof(key), "%zu", i);
	return enter(l, key);
}

static void leave(struct loader *l, size_t was)
{
	l->at[was] = '\0';
}

/* ---- small values ---- */

static enum oc_err only_keys(struct loader *l, const json_t *obj, const char *const *keys, size_t n,
			     const char *what)
{
	const char *key;
	json_t *v;

	if (!json_is_object(obj))
		return wrong(l, "%s must be a mapping", what);
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
		enter(l, key);
		wrong(l, "%s has no '%s'; it may have: %s", what, key, text_str(&list));
		text_done(&list);
		return OC_INVALID;
	}
	return OC_OK;
}
#define ONLY_KEYS(l, obj, what, ...)                            \
	only_keys(l, obj, (const char *const[]){ __VA_ARGS__ }, \
		  ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })), what)

static enum oc_err read_seconds(struct loader *l, const json_t *v, int64_t max, int64_t *ret)
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
		return wrong(
			l,
			"must be a time of at least 1s and at most %lldd: seconds, or a number with s, m, h or d",
			(long long)(max / DAY_S));
	*ret = n * unit;
	return OC_OK;
}

static enum oc_err read_text(struct loader *l, const json_t *v, size_t max, const char **ret)
{
	if (!json_is_string(v) || !*json_string_value(v) || json_string_length(v) > max)
		return wrong(l, "must be a text of 1 to %zu characters", max);
	*ret = json_string_value(v);
	return OC_OK;
}

static enum oc_err read_globs(struct loader *l, const json_t *v, const json_t **ret)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return wrong(l, "must be a list of texts (* and ? may stand in them)");
	json_array_foreach(v, i, item)
	{
		size_t was = enter_at(l, i);
		const char *text;
		enum oc_err err = read_text(l, item, 256, &text);

		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	if (ret)
		*ret = v;
	return OC_OK;
}

static enum oc_err read_roles(struct loader *l, const json_t *v, unsigned *ret)
{
	unsigned bits = 0;
	size_t i;
	json_t *item;

	if (!json_is_array(v) || json_array_size(v) == 0)
		return wrong(l, "must be a list of roles: viewer, operator, approver, admin, service");
	json_array_foreach(v, i, item)
	{
		unsigned bit = policy_role_bit(json_string_value(item));

		if (!bit) {
			enter_at(l, i);
			return wrong(
				l,
				"there is no such role; the roles are viewer, operator, approver, admin, service");
		}
		bits |= bit;
	}
	*ret = bits;
	return OC_OK;
}

static enum oc_err read_answer(struct loader *l, const json_t *v, enum policy_answer *ret)
{
	int a = json_is_string(v) ? policy_answer_parse(json_string_value(v)) : -1;

	if (a < 0)
		return wrong(l, "the answer must be allow, ask or deny");
	*ret = (enum policy_answer)a;
	return OC_OK;
}

static enum oc_err read_approvers(struct loader *l, const json_t *v, unsigned *roles, unsigned *count)
{
	const json_t *n;
	enum oc_err err = ONLY_KEYS(l, v, "approvers", "roles", "count");
	size_t was;

	if (err != OC_OK)
		return err;
	if (json_object_get(v, "roles")) {
		was = enter(l, "roles");
		err = read_roles(l, json_object_get(v, "roles"), roles);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	n = json_object_get(v, "count");
	if (n) {
		was = enter(l, "count");
		if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > 20)
			return wrong(l, "must be a whole number from 1 to 20: how many different people");
		*count = (unsigned)json_integer_value(n);
		leave(l, was);
	}
	return OC_OK;
}

/* ---- conditions ---- */

static enum oc_err add_cond(struct loader *l, enum cond_op op, uint32_t *ret)
{
	struct policy *p = l->p;

	if (p->conds_count == CONDS_MAX)
		return wrong(l, "the policy has more than %d conditions", CONDS_MAX);
	if (p->conds_count == l->conds_cap) {
		l->conds_cap = l->conds_cap ? l->conds_cap * 2 : 256;
		p->conds = mem_grow(p->conds, l->conds_cap, sizeof(*p->conds));
	}
	memset(&p->conds[p->conds_count], 0, sizeof(*p->conds));
	p->conds[p->conds_count].op = (uint8_t)op;
	*ret = (uint32_t)p->conds_count++;
	return OC_OK;
}

static void end_cond(struct loader *l, uint32_t at)
{
	l->p->conds[at].next = (uint32_t)l->p->conds_count;
}

static enum oc_err read_value(struct loader *l, enum fact_id id, const json_t *v, bool glob,
			      union fact_value *ret)
{
	const struct fact_row *row = fact_row(id);

	switch (row->type) {
	case FACT_IS_BOOL:
		if (!json_is_boolean(v))
			return wrong(l, "fact '%s' is true or false", row->name);
		ret->truth = json_is_true(v);
		return OC_OK;
	case FACT_IS_NUMBER:
		if (!json_is_number(v))
			return wrong(l, "fact '%s' is a number", row->name);
		ret->number = json_number_value(v);
		return OC_OK;
	case FACT_IS_TEXT:
		if (!json_is_string(v) || json_string_length(v) > 512)
			return wrong(l, "fact '%s' is a text", row->name);
		if (!glob && !fact_value_ok(id, json_string_value(v)))
			return wrong(l, "fact '%s' is never '%s'; it is one of %s", row->name,
				     json_string_value(v), row->values);
		ret->text = json_string_value(v);
		return OC_OK;
	}
	return OC_BUG;
}

static bool same_value(enum fact_type type, union fact_value a, union fact_value b)
{
	return type == FACT_IS_TEXT ? str_eq(a.text, b.text) : a.number == b.number;
}

static enum oc_err read_in(struct loader *l, enum fact_id id, const json_t *v, uint32_t cond)
{
	struct policy *p = l->p;
	size_t i, first = p->lists_count;
	json_t *item;

	if (fact_row(id)->type == FACT_IS_BOOL)
		return wrong(l, "fact '%s' is true or false: compare it with one of them",
			     fact_row(id)->name);
	if (!json_is_array(v) || json_array_size(v) == 0 || json_array_size(v) > IN_MAX)
		return wrong(l, "must be a list of 1 to %d values", IN_MAX);
	json_array_foreach(v, i, item)
	{
		union fact_value value;
		size_t was = enter_at(l, i);
		enum oc_err err = read_value(l, id, item, false, &value);
		bool twice = false;

		if (err != OC_OK)
			return err;
		leave(l, was);
		for (size_t j = first; j < p->lists_count; j++)
			twice |= same_value(fact_row(id)->type, p->lists[j], value);
		if (twice)
			continue;
		if (p->lists_count == l->lists_cap) {
			l->lists_cap = l->lists_cap ? l->lists_cap * 2 : 64;
			p->lists = mem_grow(p->lists, l->lists_cap, sizeof(*p->lists));
		}
		p->lists[p->lists_count++] = value;
	}
	p->conds[cond].list.at = (uint32_t)first;
	p->conds[cond].list.count = (uint32_t)(p->lists_count - first);
	return OC_OK;
}

static const struct {
	const char *name;
	enum cond_op op;
} ops[] = {
	{ "eq",     C_EQ     },
        { "ne",     C_NE     },
        { "gt",     C_GT     },
        { "ge",     C_GE     },
        { "lt",     C_LT     },
	{ "le",     C_LE     },
        { "in",     C_IN     },
        { "glob",   C_GLOB   },
        { "exists", C_EXISTS },
};

/* One comparison of one fact. */
static enum oc_err read_leaf(struct loader *l, enum fact_id id, enum cond_op op, const json_t *v)
{
	const struct fact_row *row = fact_row(id);
	union fact_value value = { .number = 0 };
	enum oc_err err;
	uint32_t at;

	err = add_cond(l, op, &at);
	if (err != OC_OK)
		return err;
	l->p->conds[at].fact = (uint8_t)id;
	switch (op) {
	case C_IN:
		err = read_in(l, id, v, at);
		break;
	case C_EXISTS:
		if (!json_is_boolean(v))
			return wrong(l, "exists is true or false");
		value.truth = json_is_true(v);
		break;
	case C_GLOB:
		if (row->type != FACT_IS_TEXT)
			return wrong(l, "fact '%s' is %s: glob needs a text", row->name,
				     fact_type_name(row->type));
		err = read_value(l, id, v, true, &value);
		break;
	case C_GT:
	case C_GE:
	case C_LT:
	case C_LE:
		if (row->type != FACT_IS_NUMBER)
			return wrong(l, "fact '%s' is %s: it has no order", row->name,
				     fact_type_name(row->type));
		err = read_value(l, id, v, false, &value);
		break;
	default:
		err = read_value(l, id, v, false, &value);
		break;
	}
	if (err != OC_OK)
		return err;
	if (op != C_IN)
		l->p->conds[at].v = value;
	if ((op == C_EQ || op == C_NE) && row->type == FACT_IS_TEXT &&
	    strlen(value.text) < sizeof(l->p->conds[at].copy)) {
		snprintf(l->p->conds[at].copy, sizeof(l->p->conds[at].copy), "%s", value.text);
		l->p->conds[at].small = true;
	}
	end_cond(l, at);
	return OC_OK;
}

static enum oc_err read_fact(struct loader *l, const char *name, const json_t *v)
{
	enum fact_id id = fact_find(name);
	const char *key;
	json_t *arg;
	enum oc_err err;

	if (id == FACT_COUNT)
		return wrong(l, "there is no fact '%s'; `opscase policy reference` lists them", name);
	if (json_is_array(v))
		return read_leaf(l, id, C_IN, v);
	if (!json_is_object(v))
		return read_leaf(l, id, C_EQ, v);
	if (json_object_size(v) == 0)
		return wrong(l, "fact '%s' is compared with nothing", name);
	json_object_foreach((json_t *)v, key, arg)
	{
		size_t was = enter(l, key), i;

		for (i = 0; i < ARRAY_LEN(ops) && !str_eq(ops[i].name, key); i++)
			;
		if (i == ARRAY_LEN(ops))
			return wrong(
				l,
				"there is no comparison '%s'; there are eq, ne, gt, ge, lt, le, in, glob, exists",
				key);
		err = read_leaf(l, id, ops[i].op, arg);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	return OC_OK;
}

static enum oc_err read_when(struct loader *l, const json_t *v, unsigned depth);

static enum oc_err read_list(struct loader *l, enum cond_op op, const json_t *v, unsigned depth)
{
	uint32_t at;
	size_t i;
	json_t *item;
	enum oc_err err;

	if (!json_is_array(v) || json_array_size(v) == 0)
		return wrong(l, "must be a list of conditions, and not an empty one");
	err = add_cond(l, op, &at);
	if (err != OC_OK)
		return err;
	json_array_foreach(v, i, item)
	{
		size_t was = enter_at(l, i);

		err = read_when(l, item, depth + 1);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	end_cond(l, at);
	return OC_OK;
}

/* A mapping is a conjunction: of all/any/not groups and of facts. */
static enum oc_err read_when(struct loader *l, const json_t *v, unsigned depth)
{
	const char *key;
	json_t *item;
	enum oc_err err;
	uint32_t at;

	if (depth > DEPTH_MAX)
		return wrong(l, "conditions are nested deeper than %d levels", DEPTH_MAX);
	if (json_is_array(v))
		return read_list(l, C_ALL, v, depth);
	if (str_eq(json_string_value(v), "always")) {
		err = add_cond(l, C_ALWAYS, &at);
		if (err == OC_OK)
			end_cond(l, at);
		return err;
	}
	if (!json_is_object(v) || json_object_size(v) == 0)
		return wrong(l, "a condition is a mapping of facts, all, any or not; or the word always");
	err = add_cond(l, C_ALL, &at);
	if (err != OC_OK)
		return err;
	json_object_foreach((json_t *)v, key, item)
	{
		size_t was = enter(l, key);

		if (str_eq(key, "all")) {
			err = read_list(l, C_ALL, item, depth);
		} else if (str_eq(key, "any")) {
			err = read_list(l, C_ANY, item, depth);
		} else if (str_eq(key, "not")) {
			uint32_t not_at;

			err = add_cond(l, C_NOT, &not_at);
			if (err == OC_OK)
				err = read_when(l, item, depth + 1);
			if (err == OC_OK)
				end_cond(l, not_at);
		} else {
			err = read_fact(l, key, item);
		}
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	end_cond(l, at);
	return OC_OK;
}

/* ---- rules ---- */

static bool id_ok(const char *id)
{
	if (str_empty(id) || strlen(id) > 64 || str_starts(id, "builtin."))
		return false;
	return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(id);
}

static enum oc_err place_rule(struct loader *l, const json_t *v, const char *id, size_t *ret)
{
	struct policy *p = l->p;
	const json_t *before = json_object_get(l->ids, id);
	bool replaces = json_bool_or(v, "replaces", false);

	if (before && !replaces)
		return wrong(
			l, "there is a rule '%s' already, at %s; say replaces: true to put this in its place",
			id, p->rules[json_integer_value(before)].where);
	if (!before && replaces)
		return wrong(l, "rule '%s' replaces nothing: no file before this one has it", id);
	if (before) {
		*ret = (size_t)json_integer_value(before);
		free(p->rules[*ret].where);
		p->rules[*ret] = (struct rule){ 0 };
		return OC_OK;
	}
	if (p->rules_count == RULES_MAX)
		return wrong(l, "the policy has more than %d rules", RULES_MAX);
	if (p->rules_count == l->rules_cap) {
		l->rules_cap = l->rules_cap ? l->rules_cap * 2 : 64;
		p->rules = mem_grow(p->rules, l->rules_cap, sizeof(*p->rules));
	}
	*ret = p->rules_count++;
	p->rules[*ret] = (struct rule){ 0 };
	json_object_set_new(l->ids, id, json_integer((json_int_t)*ret));
	return OC_OK;
}

static enum oc_err read_rule(struct loader *l, const json_t *v)
{
	const json_t *item;
	const char *id;
	struct rule r = { 0 };
	enum oc_err err;
	size_t was, at = 0;

	err = ONLY_KEYS(l, v, "a rule", "id", "when", "answer", "approvers", "expires", "reason", "replaces");
	if (err != OC_OK)
		return err;
	id = json_str(v, "id");
	if (!id_ok(id))
		return wrong(
			l,
			"a rule needs an id of up to 64 letters, digits, '.', '_' and '-' (builtin. is taken)");
	item = json_object_get(v, "replaces");
	if (item && !json_is_boolean(item))
		return wrong(l, "replaces is true or false");
	err = place_rule(l, v, id, &at);
	if (err != OC_OK)
		return err;
	r.id = id;
	r.where = mem_printf("%s:%d", yaml_name(l->doc), yaml_line(l->doc, l->at));
	l->p->rules[at] = r; /* so that it is freed whatever comes */

	was = enter(l, "answer");
	err = read_answer(l, json_object_get(v, "answer"), &r.answer);
	if (err != OC_OK)
		return err;
	leave(l, was);

	r.reason = "";
	if (json_object_get(v, "reason")) {
		was = enter(l, "reason");
		err = read_text(l, json_object_get(v, "reason"), 500, &r.reason);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	item = json_object_get(v, "approvers");
	if (item) {
		was = enter(l, "approvers");
		if (r.answer != POLICY_ASK)
			return wrong(l, "approvers make sense only where the answer is ask");
		err = read_approvers(l, item, &r.roles, &r.quorum);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	item = json_object_get(v, "expires");
	if (item) {
		was = enter(l, "expires");
		err = read_seconds(l, item, EXPIRES_MAX_S, &r.expires_s);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	item = json_object_get(v, "when");
	if (!item)
		return wrong(l, "rule '%s' says no when (the word always is one)", id);
	was = enter(l, "when");
	r.cond = (uint32_t)l->p->conds_count;
	err = read_when(l, item, 0);
	if (err != OC_OK)
		return err;
	leave(l, was);
	l->p->rules[at] = r;
	return OC_OK;
}

/* ---- freeze windows ---- */

static const char *const months[] = { "jan", "feb", "mar", "apr", "may", "jun",
				      "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const days[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

static bool cron_number(const char **s, const char *const *names, size_t names_count, int min, int max,
			int *ret)
{
	char *end;
	long n;

	for (size_t i = 0; i < names_count; i++) {
		if (strncasecmp(*s, names[i], 3) == 0) {
			*s += 3;
			*ret = (int)i + min;
			return true;
		}
	}
	if (**s < '0' || **s > '9')
		return false;
	n = strtol(*s, &end, 10);
	if (n < min || n > max)
		return false;
	*s = end;
	*ret = (int)n;
	return true;
}

static bool cron_field(const char *s, const char *const *names, size_t names_count, int min, int max,
		       uint64_t *ret)
{
	uint64_t bits = 0;

	for (;;) {
		int from = min, to = max, step = 1;

		if (*s == '*') {
			s++;
		} else {
			if (!cron_number(&s, names, names_count, min, max, &from))
				return false;
			to = from;
			if (*s == '-') {
				s++;
				if (!cron_number(&s, names, names_count, min, max, &to) || to < from)
					return false;
			}
		}
		if (*s == '/') {
			s++;
			if (!cron_number(&s, NULL, 0, 1, max, &step))
				return false;
		}
		for (int i = from; i <= to; i += step)
			bits |= UINT64_C(1) << i;
		if (*s == '\0')
			break;
		if (*s++ != ',')
			return false;
	}
	*ret = bits;
	return true;
}

bool cron_parse(const char *text, struct cron *ret)
{
	char field[5][128];
	uint64_t bits[5];
	struct cron c;

	if (strlen(text) > 500 || sscanf(text, "%127s %127s %127s %127s %127s", field[0], field[1], field[2],
					 field[3], field[4]) != 5)
		return false;
	/* nothing may come after the fifth */
	for (int i = 0; i < 5; i++) {
		text += strspn(text, " \t");
		if (strncmp(text, field[i], strlen(field[i])) != 0)
			return false;
		text += strlen(field[i]);
	}
	if (text[strspn(text, " \t")] != '\0')
		return false;
	if (!cron_field(field[0], NULL, 0, 0, 59, &bits[0]) ||
	    !cron_field(field[1], NULL, 0, 0, 23, &bits[1]) ||
	    !cron_field(field[2], NULL, 0, 1, 31, &bits[2]) ||
	    !cron_field(field[3], months, 12, 1, 12, &bits[3]))
		return false;
	/* cron counts from Sunday (0 and 7); we keep Monday first */
	if (strpbrk(field[4], "0123456789")) {
		uint64_t sunday_first;

		if (!cron_field(field[4], NULL, 0, 0, 7, &sunday_first))
			return false;
		sunday_first |= sunday_first >> 7;
		bits[4] = (sunday_first >> 1 & 0x3f) | (sunday_first & 1) << 6;
	} else if (!cron_field(field[4], days, 7, 0, 6, &bits[4])) {
		return false;
	}
	c.minute = bits[0];
	c.hour = (uint32_t)bits[1];
	c.dom = (uint32_t)bits[2];
	c.month = (uint32_t)bits[3];
	c.dow = (uint32_t)bits[4];
	*ret = c;
	return true;
}

static enum oc_err read_moment(struct loader *l, const json_t *obj, const char *key, int64_t *ret)
{
	const json_t *v = json_object_get(obj, key);
	size_t was = enter(l, key);

	if (v && (!json_is_string(v) || clock_parse(json_string_value(v), ret) != 0))
		return wrong(l, "must be a time like 2026-12-20T00:00:00Z");
	leave(l, was);
	return OC_OK;
}

static enum oc_err read_freeze(struct loader *l, const json_t *v)
{
	static const char *const lists[] = { "tenants", "environments", "except" };
	struct freeze w = { .from_us = INT64_MIN, .to_us = INT64_MAX };
	const json_t **where[] = { &w.tenants, &w.environments, &w.except };
	struct policy *p = l->p;
	enum oc_err err;
	size_t was;

	err = ONLY_KEYS(l, v, "a freeze window", "name", "from", "to", "cron", "tenants", "environments",
			"except");
	if (err != OC_OK)
		return err;
	was = enter(l, "name");
	err = read_text(l, json_object_get(v, "name"), 64, &w.name);
	if (err != OC_OK)
		return err;
	leave(l, was);
	err = read_moment(l, v, "from", &w.from_us);
	if (err == OC_OK)
		err = read_moment(l, v, "to", &w.to_us);
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "cron")) {
		was = enter(l, "cron");
		if (!json_is_string(json_object_get(v, "cron")) || !cron_parse(json_str(v, "cron"), &w.cron))
			return wrong(
				l,
				"must be five fields, minute hour day month weekday; the window is open in every "
				"minute that fits all of them, for example \"* 18-23 * * fri\"");
		w.has_cron = true;
		leave(l, was);
	}
	if (!w.has_cron && (!json_object_get(v, "from") || !json_object_get(v, "to")))
		return wrong(l, "a freeze window needs from and to, or cron");
	if (w.from_us >= w.to_us)
		return wrong(l, "the window ends before it begins");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (!json_object_get(v, lists[i]))
			continue;
		was = enter(l, lists[i]);
		err = read_globs(l, json_object_get(v, lists[i]), where[i]);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	p->freezes = mem_grow(p->freezes, p->freezes_count + 1, sizeof(*p->freezes));
	p->freezes[p->freezes_count++] = w;
	return OC_OK;
}

static enum oc_err read_budget(struct loader *l, const json_t *v)
{
	struct budget_row row = {
		.tenant = "*", .operation = "*", .budget = { .limit = 2, .window_s = DAY_S }
	};
	struct policy *p = l->p;
	const json_t *item;
	enum oc_err err;
	size_t was;

	err = ONLY_KEYS(l, v, "a budget", "tenant", "operation", "limit", "window");
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "tenant")) {
		was = enter(l, "tenant");
		err = read_text(l, json_object_get(v, "tenant"), 256, &row.tenant);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	if (json_object_get(v, "operation")) {
		was = enter(l, "operation");
		err = read_text(l, json_object_get(v, "operation"), 256, &row.operation);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	was = enter(l, "limit");
	item = json_object_get(v, "limit");
	if (str_eq(json_string_value(item), "none"))
		row.budget.limit = -1;
	else if (json_is_integer(item) && json_integer_value(item) >= 0 &&
		 json_integer_value(item) <= 1000000)
		row.budget.limit = (int)json_integer_value(item);
	else
		return wrong(l, "must be a whole number of forward runs, or the word none");
	leave(l, was);
	if (json_object_get(v, "window")) {
		was = enter(l, "window");
		err = read_seconds(l, json_object_get(v, "window"), 90 * DAY_S, &row.budget.window_s);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	p->budgets = mem_grow(p->budgets, p->budgets_count + 1, sizeof(*p->budgets));
	p->budgets[p->budgets_count++] = row;
	return OC_OK;
}

/* ---- the top of a file ---- */

static enum oc_err read_default(struct loader *l, const json_t *v)
{
	struct policy *p = l->p;
	enum oc_err err;
	size_t was;

	err = ONLY_KEYS(l, v, "default", "answer", "approvers", "expires", "reason");
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "answer")) {
		was = enter(l, "answer");
		err = read_answer(l, json_object_get(v, "answer"), &p->default_answer);
		if (err == OC_OK && p->default_answer == POLICY_ALLOW)
			err = wrong(l, "what no rule speaks of is asked or denied, never allowed");
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	if (json_object_get(v, "approvers")) {
		was = enter(l, "approvers");
		err = read_approvers(l, json_object_get(v, "approvers"), &p->default_roles,
				     &p->default_quorum);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	if (json_object_get(v, "expires")) {
		was = enter(l, "expires");
		err = read_seconds(l, json_object_get(v, "expires"), EXPIRES_MAX_S, &p->default_expires_s);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	if (json_object_get(v, "reason")) {
		was = enter(l, "reason");
		err = read_text(l, json_object_get(v, "reason"), 500, &p->default_reason);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	return OC_OK;
}

static enum oc_err read_version(struct loader *l, const json_t *v)
{
	if (!json_is_integer(v) || json_integer_value(v) != 1)
		return wrong(l, "version must be 1, the only one there is");
	return OC_OK;
}

static enum oc_err read_self_approval(struct loader *l, const json_t *v)
{
	if (str_eq(json_string_value(v), "deny"))
		l->p->self_approval = SELF_APPROVAL_DENY;
	else if (str_eq(json_string_value(v), "warn"))
		l->p->self_approval = SELF_APPROVAL_WARN;
	else
		return wrong(l, "self_approval is deny or warn");
	return OC_OK;
}

static enum oc_err read_freeze_answer(struct loader *l, const json_t *v)
{
	enum oc_err err = read_answer(l, v, &l->p->freeze_answer);

	if (err == OC_OK && l->p->freeze_answer == POLICY_ALLOW)
		return wrong(l, "a freeze asks or denies");
	return err;
}

static enum oc_err read_break_glass(struct loader *l, const json_t *v)
{
	enum oc_err err = ONLY_KEYS(l, v, "break_glass", "roles");
	size_t was;

	if (err != OC_OK)
		return err;
	was = enter(l, "roles");
	err = read_roles(l, json_object_get(v, "roles"), &l->p->break_glass);
	if (err == OC_OK)
		leave(l, was);
	return err;
}

static enum oc_err read_kill_switch(struct loader *l, const json_t *v)
{
	enum oc_err err;
	size_t was;

	if (json_is_boolean(v)) {
		l->p->killed_all |= json_is_true(v);
		return OC_OK;
	}
	err = ONLY_KEYS(l, v, "kill_switch", "global", "tenants");
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "global") && !json_is_boolean(json_object_get(v, "global"))) {
		enter(l, "global");
		return wrong(l, "global is true or false");
	}
	l->p->killed_all |= json_bool_or(v, "global", false);
	if (!json_object_get(v, "tenants"))
		return OC_OK;
	was = enter(l, "tenants");
	err = read_globs(l, json_object_get(v, "tenants"), NULL);
	if (err != OC_OK)
		return err;
	leave(l, was);
	json_array_extend(l->p->killed, json_object_get(v, "tenants"));
	return OC_OK;
}

static enum oc_err read_permits(struct loader *l, const json_t *v)
{
	const char *need;
	json_t *list;

	if (!json_is_object(v))
		return wrong(l, "permits is a mapping: a need, and the tenants that have it");
	json_object_foreach((json_t *)v, need, list)
	{
		size_t was = enter(l, need);
		json_t *have = json_object_get(l->p->permits, need);
		enum oc_err err;

		if (!id_ok(need))
			return wrong(l, "a need is a name of up to 64 letters, digits, '.', '_' and '-'");
		err = read_globs(l, list, NULL);
		if (err != OC_OK)
			return err;
		leave(l, was);
		if (!have) {
			json_object_set_new(l->p->permits, need, json_array());
			have = json_object_get(l->p->permits, need);
		}
		json_array_extend(have, list);
	}
	return OC_OK;
}

static enum oc_err each(struct loader *l, const json_t *v,
			enum oc_err (*one)(struct loader *, const json_t *), const char *what)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return wrong(l, "must be a list of %s", what);
	json_array_foreach(v, i, item)
	{
		size_t was = enter_at(l, i);
		enum oc_err err = one(l, item);

		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	return OC_OK;
}

static enum oc_err read_rules(struct loader *l, const json_t *v)
{
	return each(l, v, read_rule, "rules");
}

static enum oc_err read_freezes(struct loader *l, const json_t *v)
{
	return each(l, v, read_freeze, "freeze windows");
}

static enum oc_err read_budgets(struct loader *l, const json_t *v)
{
	return each(l, v, read_budget, "budgets");
}

static const struct {
	const char *name;
	enum oc_err (*read)(struct loader *, const json_t *);
	bool once; /* in one file only: two files that differ would be a riddle */
} sections[] = {
	{ "version",       read_version,       false },
	{ "default",       read_default,       true  },
	{ "self_approval", read_self_approval, true  },
	{ "break_glass",   read_break_glass,   true  },
	{ "freeze_answer", read_freeze_answer, true  },
	{ "kill_switch",   read_kill_switch,   false },
	{ "permits",       read_permits,       false },
	{ "budgets",       read_budgets,       false },
	{ "freeze",        read_freezes,       false },
	{ "rules",         read_rules,         false },
};

static enum oc_err read_file(struct loader *l, const json_t *v)
{
	const char *key;
	json_t *item;

	l->at[0] = '\0';
	if (!json_is_object(v))
		return wrong(l, "a policy file is a mapping with version, rules and so on");
	if (!json_object_get(v, "version"))
		return wrong(l, "version: 1 is missing");
	json_object_foreach((json_t *)v, key, item)
	{
		size_t was = enter(l, key), i;
		enum oc_err err;

		for (i = 0; i < ARRAY_LEN(sections) && !str_eq(sections[i].name, key); i++)
			;
		if (i == ARRAY_LEN(sections))
			return wrong(
				l,
				"there is no '%s' in a policy; there are version, default, self_approval, break_glass, "
				"freeze_answer, kill_switch, permits, budgets, freeze, rules",
				key);
		if (sections[i].once && json_object_get(l->set_once, key))
			return wrong(l, "'%s' is set in %s already", key, json_str(l->set_once, key));
		if (sections[i].once)
			json_put(l->set_once, key, yaml_name(l->doc));
		err = sections[i].read(l, item);
		if (err != OC_OK)
			return err;
		leave(l, was);
	}
	return OC_OK;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->rules_count; i++)
		free(p->rules[i].where);
	free(p->rules);
	free(p->conds);
	free(p->lists);
	free(p->freezes);
	free(p->budgets);
	json_decref(p->permits);
	json_decref(p->killed);
	json_decref(p->files);
	free(p->text);
	free(p->slots);
	free(p->cand);
	free(p->always);
	free(p);
}

static void loader_done(struct loader *l)
{
	json_decref(l->ids);
	json_decref(l->set_once);
}
static inline void oc_auto_loader(struct loader *l)
{
	loader_done(l);
}

enum oc_err policy_compile(const struct policy_source *files, size_t count, struct policy **ret,
			   struct oc_fail *reterr)
{
	AUTO(policy) struct policy *p = mem_alloc(sizeof(*p));
	AUTO(loader)
	struct loader l = { .p = p, .reterr = reterr, .ids = json_object(), .set_once = json_object() };

	p->files = json_array();
	p->permits = json_object();
	p->killed = json_array();
	p->default_answer = POLICY_ASK;
	p->default_reason = "no rule speaks of it";
	p->default_roles = ROLE_APPROVER | ROLE_ADMIN;
	p->default_quorum = 1;
	p->default_expires_s = 4 * 3600;
	p->freeze_answer = POLICY_DENY;
	p->budgets = mem_array(1, sizeof(*p->budgets));
	p->budgets[p->budgets_count++] = (struct budget_row){
		.tenant = "*", .operation = "*", .budget = { .limit = 2, .window_s = DAY_S }
	};

	if (count > FILES_MAX)
		return oc_fail(reterr, OC_INVALID, "more than %d policy files", FILES_MAX);
	for (size_t i = 0; i < count; i++) {
		AUTO(yaml) struct yaml_doc *doc = NULL;
		enum oc_err err = yaml_read(files[i].name, files[i].text, files[i].len, &doc, reterr);

		if (err != OC_OK)
			return err;
		l.doc = doc;
		json_array_append(p->files, yaml_value(doc));
		err = read_file(&l, yaml_value(doc));
		if (err != OC_OK)
			return err;
	}
	p->text = json_canonical(p->files);
	hash_sha256_hex(p->text, strlen(p->text), p->hash);
	policy_index(p);
	*ret = TAKE(p);
	return OC_OK;
}

enum oc_err policy_builtin(struct policy **ret, struct oc_fail *reterr)
{
	struct policy_source files[16];
	size_t n = 0;

	for (const struct embedded_file *e = policy_files; e->name && n < ARRAY_LEN(files); e++)
		files[n++] = (struct policy_source){ .name = e->name, .text = e->text, .len = e->len };
	return policy_compile(files, n, ret, reterr);
}

/* ---- a folder ---- */

struct folder {
	struct policy_source files[FILES_MAX];
	size_t count;
};

static void folder_done(struct folder *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free((char *)f->files[i].name);
		free((char *)f->files[i].text);
	}
}
static inline void oc_auto_folder(struct folder *f)
{
	folder_done(f);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct policy_source *)a)->name, ((const struct policy_source *)b)->name);
}

static int is_policy(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && ((n > 5 && str_eq(e->d_name + n - 5, ".yaml")) ||
				       (n > 4 && str_eq(e->d_name + n - 4, ".yml")));
}

#define FILE_MAX ((size_t)4 << 20)

static enum oc_err slurp(const char *path, char **ret, size_t *ret_len, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(text) struct text t = { 0 };
	char buf[16384];
	size_t n;

	if (!f)
		return oc_fail(reterr, OC_NOT_FOUND, "%s: %m", path);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
		text_add_n(&t, buf, n);
		if (t.len > FILE_MAX)
			return oc_fail(reterr, OC_TOO_LARGE, "%s is larger than %zu bytes", path, FILE_MAX);
	}
	if (ferror(f))
		return oc_fail(reterr, OC_UNAVAILABLE, "%s: %m", path);
	*ret_len = t.len;
	*ret = text_take(&t);
	return OC_OK;
}

enum oc_err policy_load(const char *dir, struct policy **ret, struct oc_fail *reterr)
{
	AUTO(folder) struct folder folder = { .count = 0 };
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return oc_fail(reterr, OC_NOT_FOUND, "policy folder %s: %m", dir);
	while ((e = readdir(d))) {
		struct policy_source *f = &folder.files[folder.count];
		AUTO(str) char *path = NULL, *text = NULL;
		enum oc_err err;

		if (!is_policy(e))
			continue;
		if (folder.count == FILES_MAX) {
			closedir(d);
			return oc_fail(reterr, OC_INVALID, "policy folder %s has more than %d files", dir,
				       FILES_MAX);
		}
		path = mem_printf("%s/%s", dir, e->d_name);
		err = slurp(path, &text, &f->len, reterr);
		if (err != OC_OK) {
			closedir(d);
			return err;
		}
		f->name = TAKE(path);
		f->text = TAKE(text);
		folder.count++;
	}
	closedir(d);
	if (folder.count == 0)
		return oc_fail(reterr, OC_INVALID, "policy folder %s has no *.yaml file", dir);
	qsort(folder.files, folder.count, sizeof(folder.files[0]), by_name);
	return policy_compile(folder.files, folder.count, ret, reterr);
}
