/* `when`: conditions over facts, compiled into a flat list. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "gatekeeper/policy_reader.h"

#define CONDS_MAX 4000000
#define DEPTH_MAX 16
#define IN_MAX    1024

static enum oc_err add_cond(struct loader *l, enum cond_op op, uint32_t *ret)
{
	struct policy *p = l->p;

	if (p->conds_count == CONDS_MAX)
		return load_wrong(l, "the policy has more than %d conditions", CONDS_MAX);
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
			return load_wrong(l, "fact '%s' is true or false", row->name);
		ret->truth = json_is_true(v);
		return OC_OK;
	case FACT_IS_NUMBER:
		if (!json_is_number(v))
			return load_wrong(l, "fact '%s' is a number", row->name);
		ret->number = json_number_value(v);
		return OC_OK;
	case FACT_IS_TEXT:
		if (!json_is_string(v) || json_string_length(v) > 512)
			return load_wrong(l, "fact '%s' is a text", row->name);
		if (!glob && !fact_value_ok(id, json_string_value(v)))
			return load_wrong(l, "fact '%s' is never '%s'; it is one of %s", row->name,
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
		return load_wrong(l, "fact '%s' is true or false: compare it with one of them",
				  fact_row(id)->name);
	if (!json_is_array(v) || json_array_size(v) == 0 || json_array_size(v) > IN_MAX)
		return load_wrong(l, "must be a list of 1 to %d values", IN_MAX);
	json_array_foreach(v, i, item)
	{
		union fact_value value;
		size_t was = load_enter_at(l, i);
		enum oc_err err = read_value(l, id, item, false, &value);
		bool twice = false;

		if (err != OC_OK)
			return err;
		load_leave(l, was);
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
			return load_wrong(l, "exists is true or false");
		value.truth = json_is_true(v);
		break;
	case C_GLOB:
		if (row->type != FACT_IS_TEXT)
			return load_wrong(l, "fact '%s' is %s: glob needs a text", row->name,
					  fact_type_name(row->type));
		err = read_value(l, id, v, true, &value);
		break;
	case C_GT:
	case C_GE:
	case C_LT:
	case C_LE:
		if (row->type != FACT_IS_NUMBER)
			return load_wrong(l, "fact '%s' is %s: it has no order", row->name,
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
		return load_wrong(l, "there is no fact '%s'; `opscase policy reference` lists them", name);
	if (json_is_array(v))
		return read_leaf(l, id, C_IN, v);
	if (!json_is_object(v))
		return read_leaf(l, id, C_EQ, v);
	if (json_object_size(v) == 0)
		return load_wrong(l, "fact '%s' is compared with nothing", name);
	json_object_foreach((json_t *)v, key, arg)
	{
		size_t was = load_enter(l, key), i;

		for (i = 0; i < ARRAY_LEN(ops) && !str_eq(ops[i].name, key); i++)
			;
		if (i == ARRAY_LEN(ops))
			return load_wrong(
				l,
				"there is no comparison '%s'; there are eq, ne, gt, ge, lt, le, in, glob, exists",
				key);
		err = read_leaf(l, id, ops[i].op, arg);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	return OC_OK;
}

static enum oc_err read_list(struct loader *l, enum cond_op op, const json_t *v, unsigned depth)
{
	uint32_t at;
	size_t i;
	json_t *item;
	enum oc_err err;

	if (!json_is_array(v) || json_array_size(v) == 0)
		return load_wrong(l, "must be a list of conditions, and not an empty one");
	err = add_cond(l, op, &at);
	if (err != OC_OK)
		return err;
	json_array_foreach(v, i, item)
	{
		size_t was = load_enter_at(l, i);

		err = load_when(l, item, depth + 1);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	end_cond(l, at);
	return OC_OK;
}

/* A mapping is a conjunction: of all/any/not groups and of facts. */
enum oc_err load_when(struct loader *l, const json_t *v, unsigned depth)
{
	const char *key;
	json_t *item;
	enum oc_err err;
	uint32_t at;

	if (depth > DEPTH_MAX)
		return load_wrong(l, "conditions are nested deeper than %d levels", DEPTH_MAX);
	if (json_is_array(v))
		return read_list(l, C_ALL, v, depth);
	if (str_eq(json_string_value(v), "always")) {
		err = add_cond(l, C_ALWAYS, &at);
		if (err == OC_OK)
			end_cond(l, at);
		return err;
	}
	if (!json_is_object(v) || json_object_size(v) == 0)
		return load_wrong(l,
				  "a condition is a mapping of facts, all, any or not; or the word always");
	err = add_cond(l, C_ALL, &at);
	if (err != OC_OK)
		return err;
	json_object_foreach((json_t *)v, key, item)
	{
		size_t was = load_enter(l, key);

		if (str_eq(key, "all")) {
			err = read_list(l, C_ALL, item, depth);
		} else if (str_eq(key, "any")) {
			err = read_list(l, C_ANY, item, depth);
		} else if (str_eq(key, "not")) {
			uint32_t not_at;

			err = add_cond(l, C_NOT, &not_at);
			if (err == OC_OK)
				err = load_when(l, item, depth + 1);
			if (err == OC_OK)
				end_cond(l, not_at);
		} else {
			err = read_fact(l, key, item);
		}
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	end_cond(l, at);
	return OC_OK;
}
