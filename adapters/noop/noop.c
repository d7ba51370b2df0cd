/* noop - the smallest adapter: it changes nothing and says so. Read it before writing one. */
#include "common/answer.h"
#include "noop_manifest.h"

#include <stdbool.h>
#include <string.h>

static json_int_t wanted(const struct opscase_action *act)
{
	json_t *params = answer_object(act->params);
	json_int_t changed = json_integer_value(json_object_get(params, "changed"));

	json_decref(params);
	return changed;
}

static int noop_validate(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx;
	if (wanted(act) < 0)
		return answer_error(reply, OPSCASE_REFUSED, "`changed` is below 0");
	return reply->send(reply, OPSCASE_VALID, "{}");
}

static int noop_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx, (void)act;
	return reply->send(reply, OPSCASE_WOULD_DO, "{\"changes\":[],\"diff\":\"\"}");
}

/* What is expected is what probe said: {"state": "as it is"}, or nothing of it. */
static bool same_world(const struct opscase_action *act)
{
	json_t *expected = act->expected_binding ? answer_object(act->expected_binding) : NULL;
	const char *state = json_string_value(json_object_get(expected, "state"));
	bool same = !json_object_get(expected, "state") || (state && strcmp(state, "as it is") == 0);

	json_decref(expected);
	return same;
}

static int noop_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx;
	if (!same_world(act))
		return answer(reply, OPSCASE_WORLD_CHANGED,
			      json_pack("{s:{s:s}}", "found", "state", "as it is"));
	return answer(reply, OPSCASE_DONE, json_pack("{s:I}", "changed", wanted(act)));
}

/* The state that it wants is the one that is there. */
static int noop_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx, (void)act;
	return reply->send(reply, OPSCASE_APPLIED, "{\"binding\":{\"state\":\"as it is\"},\"info\":{}}");
}

static int noop_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	(void)ctx, (void)act;
	return reply->send(reply, OPSCASE_DONE, "{\"changed\":0}");
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = "noop",
	.version = "1",
	.manifest = noop_manifest,
	.validate = noop_validate,
	.dry_run = noop_dry_run,
	.run = noop_run,
	.probe = noop_probe,
	.undo = noop_undo,
};
