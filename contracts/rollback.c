#include "base/mem.h"
#include "contracts/plan.h"

static json_t *undo_step(const json_t *step, const struct plan_applied *applied)
{
	static const char *const kept[] = { "action", "params", "target", "timeout_s", "retry" };
	AUTO(json) json_t *before = NULL;
	json_t *undo = json_object(), *info;

	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (json_object_get(step, kept[i]))
			json_object_set(undo, kept[i], json_object_get(step, kept[i]));
	json_object_set_new(undo, "undo", json_true());
	json_object_set_new(undo, "undo_of", json_integer(applied->seq));
	if (applied->before && json_read_own(applied->before, &before, NULL) == OC_OK) {
		info = json_object_get(before, "info");
		if (!info)
			info = before;
		if (json_is_object(info))
			json_object_set(undo, "before", info);
	}
	return undo;
}

/* Takes the applied steps back, last one first. moved[i] is where step i of the plan went, or -1. */
static enum oc_err derive(const json_t *plan, const struct operation_list *ops,
			  const struct plan_applied *applied, size_t count, json_t *steps,
			  int moved[PLAN_STEPS_MAX], struct oc_fail *reterr)
{
	bool done[PLAN_STEPS_MAX] = { false };

	for (int seq = PLAN_STEPS_MAX - 1; seq >= 0; seq--) {
		const struct plan_applied *a = NULL;
		const struct operation *op;
		const json_t *step;
		json_t *back;

		for (size_t i = 0; i < count; i++)
			if (applied[i].seq == seq)
				a = &applied[i];
		if (!a || done[seq])
			continue;
		done[seq] = true;
		step = json_array_get(json_object_get(plan, "steps"), (size_t)seq);
		if (!step)
			return oc_fail(reterr, OC_INVALID,
				       "step %d was applied, but the plan has no such step", seq);
		op = operation_find(ops, json_str_or(step, "action", ""));
		back = json_object_get(step, "compensate");
		if (back)
			json_array_append_new(steps, json_deep_copy(back));
		else if (plan_can_undo(op, json_object_get(step, "params")))
			json_array_append_new(steps, undo_step(step, a));
		else if (plan_changes_nothing(op))
			continue;
		else
			return oc_fail(
				reterr, OC_INVALID,
				"step %d (%s) cannot be taken back: it has no compensate, and its adapter has no undo",
				seq, json_str_or(step, "action", "?"));
		moved[seq] = (int)json_array_size(steps) - 1;
	}
	if (json_array_size(steps) == 0)
		return oc_fail(reterr, OC_INVALID,
			       "what was applied changed nothing: there is nothing to take back");
	return OC_OK;
}

/* verify with its probes pointing at the new steps; probes of steps that went nowhere are left out. */
static json_t *moved_verify(const json_t *verify, const int moved[PLAN_STEPS_MAX])
{
	json_t *v = json_is_object(verify) ? json_deep_copy(verify) : json_object();
	json_t *checks = json_array(), *c;
	size_t i;

	json_array_foreach(json_object_get(verify, "checks"), i, c)
	{
		json_t *copy;

		if (str_eq(json_str(c, "kind"), "probe")) {
			long long step = json_int_or(c, "step", -1);

			if (step < 0 || step >= PLAN_STEPS_MAX || moved[step] < 0)
				continue;
			copy = json_deep_copy(c);
			json_object_set_new(copy, "step", json_integer(moved[step]));
		} else {
			copy = json_deep_copy(c);
		}
		json_array_append_new(checks, copy);
	}
	json_object_set_new(v, "checks", checks);
	return v;
}

static void probe_every_step(json_t *verify, const json_t *steps, const struct operation_list *ops)
{
	json_t *checks = json_object_get(verify, "checks"), *step;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		const struct operation *op = operation_find(ops, json_str_or(step, "action", ""));

		if (op && op->has_probe)
			json_array_append_new(checks,
					      json_pack("{s:s,s:i}", "kind", "probe", "step", (int)i));
	}
}

/* A title may have 300 characters; it is cut between two of them. */
static char *short_title(const char *of)
{
	size_t n = strlen(of);

	if (n > 280)
		for (n = 280; n > 0 && ((unsigned char)of[n] & 0xc0) == 0x80; n--)
			;
	return mem_printf("Take back: %.*s", (int)n, of);
}

enum oc_err plan_derive_rollback(const json_t *plan, const struct operation_list *ops,
				 const struct plan_applied *applied, size_t count, json_t **ret,
				 struct oc_fail *reterr)
{
	const json_t *given = json_object_get(plan, "rollback");
	AUTO(json) json_t *steps = NULL, *verify = NULL;
	AUTO(str) char *title = NULL;
	int moved[PLAN_STEPS_MAX];
	json_t *doc;
	enum oc_err err;

	if (plan_kind_parse(json_str(plan, "kind")) == PLAN_ROLLBACK)
		return oc_fail(reterr, OC_INVALID, "the plan is a rollback itself: it is not rolled back");
	if (count == 0)
		return oc_fail(reterr, OC_INVALID,
			       "nothing of the plan was applied: there is nothing to take back");
	if (json_str(given, "none"))
		return oc_fail(reterr, OC_INVALID, "the plan says that there is no way back: %.300s",
			       json_str(given, "none"));
	for (size_t i = 0; i < PLAN_STEPS_MAX; i++)
		moved[i] = -1;
	if (json_array_size(json_object_get(given, "steps")) > 0) {
		steps = json_deep_copy(json_object_get(given, "steps"));
	} else {
		steps = json_array();
		err = derive(plan, ops, applied, count, steps, moved, reterr);
		if (err != OC_OK)
			return err;
	}
	/* A verify written for the rollback counts its own steps. */
	if (json_object_get(given, "verify"))
		verify = json_deep_copy(json_object_get(given, "verify"));
	else
		verify = moved_verify(json_object_get(plan, "verify"), moved);
	if (json_array_size(json_object_get(verify, "checks")) == 0)
		probe_every_step(verify, steps, ops);
	if (json_array_size(json_object_get(verify, "checks")) == 0)
		return oc_fail(reterr, OC_INVALID,
			       "nothing could show that the rollback worked: give rollback.verify");

	title = short_title(json_str_or(plan, "title", "the plan"));
	doc = json_pack("{s:s,s:s,s:O,s:{},s:O}", "title", "-", "kind", "rollback", "steps", steps,
			"rollback", "verify", verify);
	json_put(doc, "title", title);
	*ret = doc;
	return OC_OK;
}
