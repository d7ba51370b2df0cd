#include <stdarg.h>
#include "base/mem.h"
#include "contracts/plan.h"

struct plan_contract {
	const struct operation_list *ops_ref;
	struct json_schema *schema;  /* of the plan, without the params */
	struct json_schema **params; /* one per operation, in the list's order */
	char *published;
};

/* What lint finds beyond the schema. RULE(id, keyword, sentence): the reference is printed from here. */
#define LINT_RULES                                                                                                                                                                     \
	RULE(L_SIZE, "size", "The plan's canonical text is at most 256 KiB.")                                                                                                          \
	RULE(L_ACTION, "unknown_action",                                                                                                                                               \
	     "Every action is an operation of a loaded adapter; the nearest one is named.")                                                                                            \
	RULE(L_TIMEOUT, "timeout_max", "timeout_s is within the operation's limit.")                                                                                                   \
	RULE(L_PERMIT, "not_permitted",                                                                                                                                                \
	     "What policy must allow first (a script body) is allowed for the tenant.")                                                                                                \
	RULE(L_KIND, "kind", "The plan is of the kind that is asked for.")                                                                                                             \
	RULE(L_UNDO, "undo",                                                                                                                                                           \
	     "Undo steps stand only in rollback plans that the system derived, and need an adapter that can undo.")                                                                    \
	RULE(L_ROLLBACK, "rollback",                                                                                                                                                   \
	     "Each step can be taken back: rollback.steps, the step's compensate, or the adapter's undo; or a person says in rollback.none why not. A rollback plan has no rollback.") \
	RULE(L_FIELD, "field", "A check has the fields of its kind, and no others.")                                                                                                   \
	RULE(L_COMPARE, "compare", "A measuring check has exactly one of threshold and ratio_to_baseline.")                                                                            \
	RULE(L_BASELINE, "baseline", "ratio_to_baseline needs baseline_s beside checks.")                                                                                              \
	RULE(L_UNIT, "unit", "err_rate is a fraction from 0 to 1; rates and latencies are not negative.")                                                                              \
	RULE(L_WINDOW, "window", "A window is no shorter than a bucket and no longer than the deadline.")                                                                              \
	RULE(L_PROBE, "probe",                                                                                                                                                         \
	     "A probe check names a step that has run by then, of an adapter that can probe.")

enum lint_rule {
#define RULE(id, keyword, sentence) id,
	LINT_RULES
#undef RULE
		LINT_RULE_COUNT
};
static const struct {
	const char *keyword, *sentence;
} lint_rules[] = {
#define RULE(id, keyword, sentence) { keyword, sentence },
	LINT_RULES
#undef RULE
};

struct lint {
	const struct plan_contract *c;
	const struct plan_lint_options *o;
	struct plan_findings *f;
	enum plan_kind kind;
};

static struct plan_finding *add(struct plan_findings *f, const char *pointer, const char *keyword)
{
	static _Thread_local struct plan_finding spill;
	struct plan_finding *i = f->count < PLAN_FINDINGS_MAX ? &f->item[f->count] : &spill;

	f->count++;
	memset(i, 0, sizeof(*i));
	snprintf(i->pointer, sizeof(i->pointer), "%s", pointer);
	snprintf(i->keyword, sizeof(i->keyword), "%s", keyword);
	return i;
}

static void found(struct lint *l, enum lint_rule rule, const char *pointer, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
static void found(struct lint *l, enum lint_rule rule, const char *pointer, const char *fmt, ...)
{
	struct plan_finding *i = add(l->f, pointer, lint_rules[rule].keyword);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(i->text, sizeof(i->text), fmt, ap);
	va_end(ap);
}

/* --- the contract */

/* Adds "if the action is this one, params are so" to both kinds of steps. The $id keeps references
 * inside the params schema pointing into itself. */
static void publish_params(json_t *schema, const struct operation *op, const json_t *params)
{
	static const char *const steps[] = { "step", "plain_step" };
	AUTO(str) char *id = mem_printf("https://opscase.dev/contracts/params/%s", op->name);
	json_t *defs = json_object_get(schema, "$defs");
	json_t *copy = json_deep_copy(params);
	bool must = json_array_size(json_object_get(params, "required")) > 0;
	char key[160], ref[200];

	if (json_is_object(copy))
		json_object_set_new(copy, "$id", json_string(id));
	snprintf(key, sizeof(key), "params %s", op->name);
	snprintf(ref, sizeof(ref), "%s", id);
	json_object_set_new(defs, key, copy);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		json_t *step = json_object_get(defs, steps[i]);
		json_t *all = json_object_get(step, "allOf");
		json_t *rule = json_pack("{s:{s:{s:{s:s}}},s:{s:{s:{s:s}}}}", "if", "properties", "action",
					 "const", op->name, "then", "properties", "params", "$ref", ref);

		if (must)
			json_object_set_new(json_object_get(rule, "then"), "required",
					    json_pack("[s]", "params"));
		if (!all) {
			all = json_array();
			json_object_set_new(step, "allOf", all);
		}
		json_array_append_new(all, rule);
	}
}

enum oc_err plan_contract_new(const struct operation_list *ops, struct plan_contract **ret,
			      struct oc_fail *reterr)
{
	AUTO(plan_contract) struct plan_contract *c = mem_alloc(sizeof(*c));
	AUTO(json) json_t *schema = NULL;
	AUTO(str) char *enforced = NULL;
	json_t *names = json_array(), *action;
	struct oc_fail why = { 0 };
	enum oc_err err;

	err = json_read_own(contract_file("contracts/plan.schema.json"), &schema, reterr);
	if (err != OC_OK) {
		json_decref(names);
		return err;
	}
	for (size_t i = 0; i < ops->count; i++)
		json_array_append_new(names, json_string(ops->item[i].name));
	/* An empty enum is no schema; "no adapter is loaded" is then said by lint itself. */
	action = json_object_get(json_object_get(schema, "$defs"), "action");
	if (ops->count > 0)
		json_object_set(action, "enum", names);
	json_decref(names);
	enforced = json_text(schema);
	err = json_schema_compile(enforced, &c->schema, reterr);
	if (err != OC_OK)
		return err;

	c->ops_ref = ops;
	c->params = mem_array(ops->count ? ops->count : 1, sizeof(*c->params));
	for (size_t i = 0; i < ops->count; i++) {
		const struct operation *op = &ops->item[i];
		AUTO(json) json_t *params = NULL;

		err = json_schema_compile(op->params_schema_text, &c->params[i], &why);
		if (err == OC_OK)
			err = json_read_own(op->params_schema_text, &params, &why);
		if (err != OC_OK)
			return oc_fail(reterr, OC_INVALID, "the params schema of %s is not usable: %s",
				       op->name, why.text);
		publish_params(schema, op, params);
	}
	c->published = json_text(schema);
	*ret = TAKE(c);
	return OC_OK;
}

void plan_contract_free(struct plan_contract *c)
{
	if (!c)
		return;
	json_schema_free(c->schema);
	for (size_t i = 0; c->params && i < c->ops_ref->count; i++)
		json_schema_free(c->params[i]);
	free(c->params);
	free(c->published);
	free(c);
}

const struct operation_list *plan_contract_operations(const struct plan_contract *c)
{
	return c->ops_ref;
}
const char *plan_contract_schema(const struct plan_contract *c)
{
	return c->published;
}

/* --- unknown actions */

static size_t distance(const char *a, const char *b)
{
	size_t row[65], n = strlen(b);

	if (n > 64 || strlen(a) > 64)
		return 64;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; *a; i++, a++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t up = row[j], best = corner + (*a != b[j - 1]);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = up;
			row[j] = best;
		}
	}
	return row[n];
}

static void unknown_action(struct lint *l, const char *pointer, const char *name)
{
	const struct operation_list *ops = l->c->ops_ref;
	AUTO(text) struct text all = { 0 };
	const char *nearest = NULL;
	size_t best = strlen(name) / 3 + 2;

	for (size_t i = 0; i < ops->count; i++) {
		size_t d = distance(name, ops->item[i].name);

		/* the first half right ("k8s.restart") is as near as a slip of the finger */
		if (d > best && str_starts(name, ops->item[i].adapter ? ops->item[i].adapter : "?") &&
		    !nearest)
			d = best;
		if (d <= best) {
			best = d;
			nearest = ops->item[i].name;
		}
		text_addf(&all, "%s%s", all.len ? ", " : "", ops->item[i].name);
	}
	if (nearest)
		found(l, L_ACTION, pointer,
		      "'%.80s' is not an operation of a loaded adapter; did you mean '%s'?", name, nearest);
	else
		found(l, L_ACTION, pointer,
		      "'%.80s' is not an operation of a loaded adapter; there are: %.300s", name,
		      ops->count ? text_str(&all) : "none at all");
}

/* --- checks */

enum { F_MUST = 1, F_MAY = 2 };
static const struct {
	const char *name;
	char metric, call, probe, http;
} check_fields[] = {
	{ "resource",          F_MUST, 0,      0,      0      },
        { "metric",            F_MUST, 0,      0,      0      },
	{ "labels",            F_MAY,  0,      0,      0      },
        { "src",               0,      F_MUST, 0,      0      },
	{ "dst",               0,      F_MUST, 0,      0      },
        { "field",             0,      F_MUST, 0,      0      },
	{ "aggregate",         F_MUST, F_MAY,  0,      0      },
        { "op",                F_MUST, F_MUST, 0,      0      },
	{ "threshold",         F_MAY,  F_MAY,  0,      0      },
        { "ratio_to_baseline", F_MAY,  F_MAY,  0,      0      },
	{ "window_s",          F_MUST, F_MUST, 0,      0      },
        { "min_samples",       F_MAY,  F_MAY,  0,      0      },
	{ "no_data",           F_MAY,  F_MAY,  0,      0      },
        { "step",              0,      0,      F_MUST, 0      },
	{ "url",               0,      0,      0,      F_MUST },
        { "expect_status",     0,      0,      0,      F_MAY  },
};

static char field_rule(size_t i, enum plan_check_kind kind)
{
	switch (kind) {
	case CHECK_METRIC:
		return check_fields[i].metric;
	case CHECK_CALL:
		return check_fields[i].call;
	case CHECK_PROBE:
		return check_fields[i].probe;
	case CHECK_HTTP:
		return check_fields[i].http;
	default:
		return F_MAY;
	}
}

static void lint_fields(struct lint *l, const json_t *check, enum plan_check_kind kind, const char *at)
{
	char where[200];

	for (size_t i = 0; i < ARRAY_LEN(check_fields); i++) {
		const char *name = check_fields[i].name;
		bool there = json_object_get(check, name) != NULL;
		char rule = field_rule(i, kind);

		snprintf(where, sizeof(where), "%s/%s", at, name);
		if (rule == F_MUST && !there)
			found(l, L_FIELD, where, "a %s check needs %s", plan_check_kind_name(kind), name);
		else if (rule == 0 && there)
			found(l, L_FIELD, where, "a %s check has no %s", plan_check_kind_name(kind), name);
	}
}

static void lint_measure(struct lint *l, const json_t *verify, const json_t *check, enum plan_check_kind kind,
			 const char *at)
{
	const json_t *threshold = json_object_get(check, "threshold"),
		     *ratio = json_object_get(check, "ratio_to_baseline");
	const char *field = json_str(check, "field");
	long long window = json_int_or(check, "window_s", 0), deadline = json_int_or(verify, "deadline_s", 0);
	int bucket = !l->o ? 0 : kind == CHECK_CALL ? l->o->call_bucket_s : l->o->metric_bucket_s;
	char where[200];

	if (!threshold == !ratio)
		found(l, L_COMPARE, at, "exactly one of threshold and ratio_to_baseline is needed");
	if (ratio && !json_object_get(verify, "baseline_s"))
		found(l, L_BASELINE, at,
		      "ratio_to_baseline needs baseline_s beside checks: how far back does the baseline reach?");
	snprintf(where, sizeof(where), "%s/threshold", at);
	if (kind == CHECK_CALL && json_is_number(threshold)) {
		double t = json_number_value(threshold);

		if (str_eq(field, "err_rate") && (t < 0 || t > 1))
			found(l, L_UNIT, where, "err_rate is a fraction from 0 to 1; %g would be %g %%", t,
			      t * 100);
		else if (t < 0)
			found(l, L_UNIT, where, "%s is never negative", field ? field : "it");
	}
	snprintf(where, sizeof(where), "%s/window_s", at);
	if (bucket > 0 && window > 0 && window < bucket)
		found(l, L_WINDOW, where,
		      "a window of %lld s is shorter than one bucket of %d s and could never be measured",
		      window, bucket);
	if (deadline > 0 && window > deadline)
		found(l, L_WINDOW, where, "a window of %lld s does not fit into the deadline of %lld s",
		      window, deadline);
}

/* Probes may name the first `known` steps of `steps`. */
static void lint_probe(struct lint *l, const json_t *check, const json_t *steps, size_t known, const char *at)
{
	const json_t *v = json_object_get(check, "step");
	const struct operation *op;
	char where[200];
	long long n;

	if (!json_is_integer(v))
		return; /* said by the schema or by lint_fields */
	n = json_integer_value(v);
	snprintf(where, sizeof(where), "%s/step", at);
	if (n < 0 || (size_t)n >= known) {
		found(l, L_PROBE, where, "step %lld has not run by then; the steps are counted from 0", n);
		return;
	}
	op = operation_find(l->c->ops_ref, json_str_or(json_array_get(steps, (size_t)n), "action", ""));
	if (op && !op->has_probe)
		found(l, L_PROBE, where, "the adapter of %s cannot probe, so it cannot confirm anything",
		      op->name);
}

static void lint_verify(struct lint *l, const json_t *verify, const json_t *steps, size_t known,
			const char *at)
{
	size_t i;
	json_t *check;

	json_array_foreach(json_object_get(verify, "checks"), i, check)
	{
		enum plan_check_kind kind = plan_check_kind_parse(json_str(check, "kind"));
		char where[160];

		if (kind == CHECK_KIND_COUNT)
			continue; /* said by the schema */
		snprintf(where, sizeof(where), "%s/checks/%zu", at, i);
		lint_fields(l, check, kind, where);
		if (kind == CHECK_METRIC || kind == CHECK_CALL)
			lint_measure(l, verify, check, kind, where);
		else if (kind == CHECK_PROBE)
			lint_probe(l, check, steps, known, where);
	}
}

/* --- steps */

static void lint_params(struct lint *l, const struct operation *op, const json_t *step, const char *at)
{
	const json_t *params = json_object_get(step, "params");
	AUTO(str) char *text = params ? json_text(params) : mem_strdup("{}");
	struct schema_findings f;
	char where[256];

	if (params && !json_is_object(params))
		return; /* said by the schema */
	if (json_schema_check(l->c->params[op - l->c->ops_ref->item], text, &f, NULL) == OC_OK)
		return;
	for (size_t i = 0; i < f.count && i < SCHEMA_FINDINGS_MAX; i++) {
		struct plan_finding *p;

		snprintf(where, sizeof(where), "%s/params%.*s", at, (int)(sizeof(where) - strlen(at) - 8),
			 f.item[i].pointer);
		p = add(l->f, where, f.item[i].keyword);
		snprintf(p->text, sizeof(p->text), "%s", f.item[i].text);
	}
}

/* Something is there, and it is neither false nor null: how manifests say "when". */
static bool given(const json_t *params, const char *pointer)
{
	const json_t *v = json_at(params, pointer);

	return v && !json_is_null(v) && !json_is_false(v);
}

static void lint_needs(struct lint *l, const struct operation *op, const json_t *step, const char *at)
{
	const json_t *params = json_object_get(step, "params");

	for (size_t i = 0; l->o && l->o->permits && i < op->needs_count; i++) {
		const struct operation_need *need = &op->needs[i];
		char where[256];

		if (need->pointer && !given(params, need->pointer))
			continue;
		if (l->o->permits(l->o->ctx, need->name, l->o->tenant))
			continue;
		snprintf(where, sizeof(where), "%s/params%s", at, need->pointer ? need->pointer : "");
		found(l, L_PERMIT, where, "policy does not permit '%s' to tenant '%s'", need->name,
		      l->o->tenant ? l->o->tenant : "");
	}
}

static const struct operation *lint_action(struct lint *l, const json_t *step, const char *at)
{
	const char *action = json_str(step, "action");
	const struct operation *op = action ? operation_find(l->c->ops_ref, action) : NULL;
	long long timeout = json_int_or(step, "timeout_s", 0);
	char where[160];

	snprintf(where, sizeof(where), "%s/action", at);
	if (action && !op)
		unknown_action(l, where, action);
	if (!op)
		return NULL;
	lint_params(l, op, step, at);
	lint_needs(l, op, step, at);
	snprintf(where, sizeof(where), "%s/timeout_s", at);
	if (op->timeout_max_s && timeout > (long long)op->timeout_max_s)
		found(l, L_TIMEOUT, where, "%s takes at most %u s; the plan gives it %lld s", op->name,
		      op->timeout_max_s, timeout);
	return op;
}

bool plan_can_undo(const struct operation *op, const json_t *params)
{
	return op && op->reversible && op->has_undo &&
	       (!op->reversible_pointer || given(params, op->reversible_pointer));
}

bool plan_changes_nothing(const struct operation *op)
{
	return op && op->blast == BLAST_NONE && op->repeatable;
}

static void lint_steps(struct lint *l, const json_t *plan)
{
	const json_t *steps = json_object_get(plan, "steps");
	const json_t *rollback = json_object_get(plan, "rollback");
	bool has_rollback = json_object_get(rollback, "steps") || json_object_get(rollback, "none");
	size_t i;
	json_t *step;

	json_array_foreach(steps, i, step)
	{
		const struct operation *op;
		const json_t *compensate = json_object_get(step, "compensate");
		char at[64], where[128];

		if (i >= PLAN_STEPS_MAX)
			break;
		snprintf(at, sizeof(at), "/steps/%zu", i);
		op = lint_action(l, step, at);
		snprintf(where, sizeof(where), "%s/compensate", at);
		if (compensate)
			lint_action(l, compensate, where);
		else if (op && l->kind == PLAN_FORWARD && !has_rollback && !plan_changes_nothing(op) &&
			 !plan_can_undo(op, json_object_get(step, "params")))
			found(l, L_ROLLBACK, at,
			      "%s cannot be taken back: give the step a compensate, or the plan rollback.steps (or rollback.none with a reason)",
			      op->name);
		snprintf(where, sizeof(where), "%s/verify", at);
		lint_verify(l, json_object_get(step, "verify"), steps, i + 1, where);
		snprintf(where, sizeof(where), "%s/undo", at);
		if (!json_object_get(step, "undo"))
			continue;
		if (l->kind != PLAN_ROLLBACK || !l->o || !l->o->undo_allowed)
			found(l, L_UNDO, where,
			      "undo steps are only made by the system, from what it recorded; ask for resume(rollback)");
		else if (op && !plan_can_undo(op, json_object_get(step, "params")))
			found(l, L_UNDO, where, "the adapter of %s has no undo for these params", op->name);
	}
}

static void lint_rollback(struct lint *l, const json_t *plan)
{
	const json_t *rollback = json_object_get(plan, "rollback"),
		     *steps = json_object_get(rollback, "steps");
	size_t i;
	json_t *step;

	if (l->kind == PLAN_ROLLBACK && json_object_size(rollback) > 0)
		found(l, L_ROLLBACK, "/rollback", "a rollback plan needs no rollback of its own; write {}");
	else if (json_object_get(rollback, "none") && (!l->o || !l->o->none_allowed))
		found(l, L_ROLLBACK, "/rollback/none", "only a person may say that there is no way back");
	json_array_foreach(steps, i, step)
	{
		char at[64];

		if (i >= PLAN_STEPS_MAX)
			break;
		snprintf(at, sizeof(at), "/rollback/steps/%zu", i);
		lint_action(l, step, at);
	}
	lint_verify(l, json_object_get(rollback, "verify"), steps, json_array_size(steps),
		    "/rollback/verify");
}

static void lint_kind(struct lint *l, const json_t *plan)
{
	const json_t *said = json_object_get(plan, "kind");
	enum plan_kind kind = said ? plan_kind_parse(json_string_value(said)) : PLAN_FORWARD;

	l->kind = l->o && l->o->kind != PLAN_NONE ? l->o->kind : kind;
	if (kind != PLAN_NONE && kind != l->kind)
		found(l, L_KIND, "/kind", "a %s plan is asked for, and this is a %s plan",
		      plan_kind_name(l->kind), plan_kind_name(kind));
	if (l->kind == PLAN_NONE)
		l->kind = PLAN_FORWARD;
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

enum oc_err plan_lint(const struct plan_contract *contract, const json_t *doc,
		      const struct plan_lint_options *options, struct plan_findings *ret,
		      struct oc_fail *reterr)
{
	AUTO(json) json_t *plan = doc ? json_deep_copy(doc) : NULL;
	AUTO(str) char *text = NULL;
	struct plan_findings *f = mem_alloc(sizeof(*f));
	struct lint l = { .c = contract, .o = options, .f = f };
	struct schema_findings sf = { 0 };
	enum oc_err err = OC_OK;

	plan_normalize(plan);
	text = plan ? json_canonical(plan) : mem_strdup("null");
	if (strlen(text) > PLAN_BYTES_MAX) {
		found(&l, L_SIZE, "", "the plan has %zu bytes; at most %zu are taken", strlen(text),
		      PLAN_BYTES_MAX);
	} else {
		if (json_schema_check(contract->schema, text, &sf, NULL) != OC_OK)
			for (size_t i = 0; i < sf.count && i < SCHEMA_FINDINGS_MAX; i++) {
				struct plan_finding *p;

				/* said better below, with what was probably meant */
				if (str_eq(sf.item[i].keyword, "enum") &&
				    ends_in(sf.item[i].pointer, "/action"))
					continue;
				p = add(f, sf.item[i].pointer, sf.item[i].keyword);
				snprintf(p->text, sizeof(p->text), "%s", sf.item[i].text);
			}
		lint_kind(&l, plan);
		lint_steps(&l, plan);
		lint_rollback(&l, plan);
		lint_verify(&l, json_object_get(plan, "verify"), json_object_get(plan, "steps"),
			    json_array_size(json_object_get(plan, "steps")), "/verify");
		/* whatever the schema said and nobody could say better still counts */
		if (f->count == 0 && sf.count > 0)
			snprintf(add(f, sf.item[0].pointer, sf.item[0].keyword)->text,
				 sizeof(f->item[0].text), "%s", sf.item[0].text);
	}
	if (f->count > 0)
		err = oc_fail_field(reterr, OC_INVALID, f->item[0].pointer, "%s%s%s", f->item[0].pointer,
				    f->item[0].pointer[0] ? ": " : "", f->item[0].text);
	if (ret)
		*ret = *f;
	free(f);
	return err;
}

bool plan_complete(const struct plan_contract *contract, const json_t *plan)
{
	return plan_lint(contract, plan, NULL, NULL, NULL) == OC_OK;
}

json_t *plan_findings_json(const struct plan_findings *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->count && i < PLAN_FINDINGS_MAX; i++) {
		json_t *o = json_object();

		json_put(o, "pointer", f->item[i].pointer);
		json_put(o, "keyword", f->item[i].keyword);
		json_put(o, "text", f->item[i].text);
		json_array_append_new(list, o);
	}
	return list;
}

void plan_lint_reference(struct text *out)
{
	text_add(out, "| keyword | what must hold |\n|---|---|\n");
	for (size_t i = 0; i < LINT_RULE_COUNT; i++)
		text_addf(out, "| `%s` | %s |\n", lint_rules[i].keyword, lint_rules[i].sentence);
}
