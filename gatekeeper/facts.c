#include "gatekeeper/facts.h"

static const struct fact_row rows[FACT_COUNT] = {
#define TEXT                                            FACT_IS_TEXT
#define NUMBER                                          FACT_IS_NUMBER
#define BOOL                                            FACT_IS_BOOL
#define STEP                                            FACT_PER_STEP
#define PLAN                                            FACT_PER_PLAN
#define FACT(id, name, type, per, effort, values, help) { name, type, per, effort, values, help },
#include "gatekeeper/facts.def"
#undef FACT
#undef TEXT
#undef NUMBER
#undef BOOL
#undef STEP
#undef PLAN
};

#define FACT_HUGE 1e15 /* jsonb would write 1e308 out, digit by digit */

const struct fact_row *fact_row(enum fact_id id)
{
	return &rows[id];
}

enum fact_id fact_find(const char *name)
{
	for (int i = 0; name && i < FACT_COUNT; i++)
		if (strcmp(name, rows[i].name) == 0)
			return (enum fact_id)i;
	return FACT_COUNT;
}

const char *fact_type_name(enum fact_type type)
{
	switch (type) {
	case FACT_IS_BOOL:
		return "true or false";
	case FACT_IS_NUMBER:
		return "a number";
	case FACT_IS_TEXT:
		return "a text";
	}
	return "";
}

bool fact_value_ok(enum fact_id id, const char *text)
{
	const char *p = rows[id].values;
	size_t n = strlen(text);

	if (!*p)
		return true;
	while (*p) {
		size_t len = strcspn(p, "|");

		if (len == n && strncmp(p, text, n) == 0)
			return true;
		p += len + (p[len] == '|');
	}
	return false;
}

json_t *facts_json(const struct facts *f)
{
	json_t *obj = json_object();

	for (int i = 0; i < FACT_COUNT; i++) {
		json_t *v = NULL;

		if (!fact_known(f, (enum fact_id)i))
			continue;
		switch (rows[i].type) {
		case FACT_IS_BOOL:
			v = json_boolean(f->v[i].truth);
			break;
		case FACT_IS_NUMBER: {
			double d = f->v[i].number;

			if (d > FACT_HUGE)
				d = FACT_HUGE;
			if (d < -FACT_HUGE)
				d = -FACT_HUGE;
			v = d == floor(d) && fabs(d) <= FACT_HUGE ? json_integer((json_int_t)d)
								  : json_real(d);
			break;
		}
		case FACT_IS_TEXT:
			v = json_string(f->v[i].text);
			break;
		}
		json_object_set_new(obj, rows[i].name, v);
	}
	return obj;
}

enum oc_err facts_read(const json_t *obj, struct facts *ret, struct oc_fail *reterr)
{
	struct facts f = { 0 };
	const char *key;
	json_t *v;

	if (!json_is_object(obj))
		return oc_fail(reterr, OC_INVALID, "facts are an object of names and values");
	json_object_foreach((json_t *)obj, key, v)
	{
		enum fact_id id = fact_find(key);

		if (id == FACT_COUNT)
			return oc_fail_field(reterr, OC_INVALID, key, "there is no fact '%s'", key);
		if (json_is_null(v))
			continue;
		switch (rows[id].type) {
		case FACT_IS_BOOL:
			if (!json_is_boolean(v))
				goto wrong;
			fact_bool(&f, id, json_is_true(v));
			break;
		case FACT_IS_NUMBER:
			if (!json_is_number(v))
				goto wrong;
			fact_number(&f, id, json_number_value(v));
			break;
		case FACT_IS_TEXT:
			if (!json_is_string(v))
				goto wrong;
			if (!fact_value_ok(id, json_string_value(v)))
				return oc_fail_field(reterr, OC_INVALID, key,
						     "fact '%s' cannot be '%s': it is one of %s", key,
						     json_string_value(v), rows[id].values);
			fact_text(&f, id, json_string_value(v));
			break;
		}
		continue;
wrong:
		return oc_fail_field(reterr, OC_INVALID, key, "fact '%s' is %s", key,
				     fact_type_name(rows[id].type));
	}
	*ret = f;
	return OC_OK;
}
