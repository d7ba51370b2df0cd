#include "api/revision.h"
#include "base/mem.h"
#include "contracts/plan.h"

static const char *const asks[] = { "adapter", "action",     "script", "params",   "target", "timeout_s",
				    "retry",   "compensate", "steps",  "rollback", "verify", "plan" };

static json_t *given(const json_t *body, const char *key)
{
	json_t *v = json_object_get(body, key);

	return json_is_null(v) ? NULL : v;
}

bool revision_empty(const json_t *body)
{
	for (size_t i = 0; i < ARRAY_LEN(asks); i++)
		if (given(body, asks[i]))
			return false;
	return true;
}

/* "script" has one operation, "k8s" several: then the body says which. */
static enum oc_err operation_of(const json_t *body, const struct operation_list *ops,
				const struct operation **ret, struct oc_fail *reterr)
{
	const char *adapter = json_str(body, "adapter"), *action = json_str(body, "action");
	const struct operation *found = NULL;

	if (action) {
		*ret = operation_find(ops, action);
		if (!*ret)
			return oc_fail_field(reterr, OC_INVALID, "/action",
					     "no loaded adapter offers '%.60s'", action);
		if (adapter && !str_eq((*ret)->adapter, adapter))
			return oc_fail_field(reterr, OC_INVALID, "/action", "'%s' is of adapter %s", action,
					     (*ret)->adapter);
		return OC_OK;
	}
	if (!adapter)
		return oc_fail_field(reterr, OC_INVALID, "/adapter", "say which adapter the step is for");
	*ret = operation_find(ops, adapter);
	if (*ret)
		return OC_OK;
	for (size_t i = 0; i < ops->count; i++) {
		if (!str_eq(ops->item[i].adapter, adapter))
			continue;
		if (found)
			return oc_fail_field(reterr, OC_INVALID, "/action",
					     "adapter '%.60s' has several operations: say which", adapter);
		found = &ops->item[i];
	}
	if (!found)
		return oc_fail_field(reterr, OC_INVALID, "/adapter", "adapter '%.60s' is not loaded",
				     adapter);
	*ret = found;
	return OC_OK;
}

static enum oc_err one_step(const json_t *body, const struct operation_list *ops, json_t **ret,
			    const struct operation **ret_op, struct oc_fail *reterr)
{
	static const struct operation_list none = { 0 };
	const struct operation *op = NULL;
	AUTO(json) json_t *params = NULL;
	json_t *step;
	enum oc_err err = operation_of(body, ops ? ops : &none, &op, reterr);

	if (err != OC_OK)
		return err;
	params = given(body, "params") ? json_deep_copy(given(body, "params")) : json_object();
	if (given(body, "script"))
		json_object_set(params, "script", given(body, "script"));
	step = json_pack("{s:s, s:O, s:I, s:I}", "action", op->name, "params", params, "timeout_s",
			 (json_int_t)json_int_or(body, "timeout_s",
						 op->timeout_default_s >= 10 ? op->timeout_default_s : 60),
			 "retry", (json_int_t)json_int_or(body, "retry", 0));
	if (given(body, "target"))
		json_object_set(step, "target", given(body, "target"));
	if (given(body, "compensate"))
		json_object_set(step, "compensate", given(body, "compensate"));
	*ret = step;
	*ret_op = op;
	return OC_OK;
}

/* Probe checks name a step by number: those of steps that are gone would probe something else. */
static json_t *verify_for(const json_t *verify, size_t steps)
{
	json_t *copy = json_is_object(verify) ? json_deep_copy(verify) : json_object();
	json_t *kept = json_array(), *check;
	size_t i;

	json_array_foreach(json_object_get(copy, "checks"), i, check)
	{
		if (str_eq(json_str(check, "kind"), "probe") &&
		    json_int_or(check, "step", 0) >= (long long)steps)
			continue;
		json_array_append(kept, check);
	}
	if (json_array_size(kept) == 0)
		json_array_append_new(kept, json_pack("{s:s, s:i}", "kind", "probe", "step", 0));
	json_object_set_new(copy, "checks", kept);
	return copy;
}

enum oc_err revision_plan(const json_t *current, const json_t *body, const struct operation_list *ops,
			  json_t **ret, struct oc_fail *reterr)
{
	AUTO(json) json_t *plan = NULL;
	AUTO(json) json_t *step = NULL;
	const struct operation *op = NULL;
	enum oc_err err;

	if (given(body, "plan")) {
		*ret = json_deep_copy(given(body, "plan"));
		return OC_OK;
	}
	plan = json_is_object(current) ? json_deep_copy(current) : json_object();
	if (!json_str(plan, "title"))
		json_put(plan, "title", "as given to /adapter/exec");
	if (given(body, "steps")) {
		json_object_set(plan, "steps", given(body, "steps"));
	} else if (given(body, "adapter") || given(body, "action") || given(body, "script") ||
		   given(body, "params")) {
		err = one_step(body, ops, &step, &op, reterr);
		if (err != OC_OK)
			return err;
		json_object_set_new(plan, "steps", json_pack("[O]", step));
	}
	if (!json_equal(json_object_get(plan, "steps"), json_object_get(current, "steps"))) {
		/* The old way back takes back steps that will never have been made. */
		json_object_set_new(plan, "rollback", json_object());
		json_object_set_new(plan, "verify",
				    verify_for(json_object_get(plan, "verify"),
					       json_array_size(json_object_get(plan, "steps"))));
		json_object_del(plan, "risk_score");
		/* A single step that nothing takes back: said as such, so that policy and the approver know it. */
		if (op && !given(body, "compensate") && !plan_can_undo(op, json_object_get(step, "params"))) {
			AUTO(str)
			char *none = mem_printf("%s has no undo, and no other way back was given", op->name);

			json_object_set_new(plan, "rollback", json_pack("{s:s}", "none", none));
		}
	}
	if (given(body, "rollback"))
		json_object_set(plan, "rollback", given(body, "rollback"));
	if (given(body, "verify"))
		json_object_set(plan, "verify", given(body, "verify"));
	*ret = TAKE(plan);
	return OC_OK;
}
