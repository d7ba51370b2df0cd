#include "params.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *word, *plural;
} kinds[] = {
	[KIND_DEPLOYMENT] = { "deployment",  "deployments"  },
	[KIND_STATEFULSET] = { "statefulset", "statefulsets" },
	[KIND_DAEMONSET] = { "daemonset",   "daemonsets"   },
};

/* Which fields an action needs, and which it may have. */
enum {
	NEED_IMAGE = 1,
	NEED_REPLICAS = 2,
	MAY_REPLICAS = 4,
	MAY_REVISION = 8,
	NEED_WEIGHT = 16,
	ONLY_DEPLOYMENT = 32
};
static const struct {
	const char *word;
	unsigned rule;
	int64_t min_replicas;
} actions[] = {
	[ACTION_RESTART] = { "restart",   0,					    0 },
	[ACTION_SET_IMAGE] = { "set_image", NEED_IMAGE,                                   0 },
	[ACTION_SCALE] = { "scale",     NEED_REPLICAS,                                0 },
	[ACTION_UNDO] = { "undo",      MAY_REVISION,                                 0 },
	[ACTION_STATUS] = { "status",    0,					    0 },
	[ACTION_CANARY] = { "canary",    NEED_IMAGE | MAY_REPLICAS | ONLY_DEPLOYMENT,  1 },
	[ACTION_WEIGHT] = { "weight",    NEED_WEIGHT | MAY_REPLICAS | ONLY_DEPLOYMENT, 1 },
	[ACTION_PROMOTE] = { "promote",   NEED_IMAGE | ONLY_DEPLOYMENT,                 0 },
};

const char *kind_word(enum work_kind kind)
{
	return kinds[kind].word;
}

const char *kind_plural(enum work_kind kind)
{
	return kinds[kind].plural;
}

bool action_has_canary(enum work_action action)
{
	return action == ACTION_CANARY || action == ACTION_WEIGHT || action == ACTION_PROMOTE;
}

/* A DNS name (label or subdomain): what may stand in a path of the API without escaping. */
static bool is_dns(const char *s, size_t max, bool dots)
{
	size_t n = strlen(s);

	if (n == 0 || n > max || !strchr("abcdefghijklmnopqrstuvwxyz0123456789", s[0]) || s[n - 1] == '-' ||
	    s[n - 1] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", s[i]) || (s[i] == '.' && !dots))
			return false;
		if (s[i] == '.' && (s[i + 1] == '-' || s[i + 1] == '.' || s[i - 1] == '-'))
			return false;
	}
	return true;
}

#define REFUSE(...)                                       \
	do {                                              \
		snprintf(ret_why, why_size, __VA_ARGS__); \
		return false;                             \
	} while (0)

bool params_parse(const char *text, struct params *ret_params, char *ret_why, size_t why_size)
{
	static const char *const known[] = { "namespace", "kind",     "name",        "action", "container",
					     "image",     "replicas", "to_revision", "weight" };
	struct params *p = ret_params;
	const char *field, *kind, *action;
	json_t *value;
	size_t i;
	unsigned rule;

	*p = (struct params){ .replicas = -1, .weight = -1 };
	p->json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (!json_is_object(p->json))
		REFUSE("the params are no JSON object");
	json_object_foreach(p->json, field, value)
	{
		for (i = 0; i < sizeof known / sizeof known[0] && strcmp(known[i], field) != 0; i++)
			;
		if (i == sizeof known / sizeof known[0])
			REFUSE("there is no parameter '%.64s'", field);
		if (i >= 6 ? !json_is_integer(value) || json_integer_value(value) < 0
			   : !json_is_string(value))
			REFUSE("'%s' is %s", field, i >= 6 ? "no whole number from 0 up" : "no text");
		if (i < 6 && json_string_length(value) != strlen(json_string_value(value)))
			REFUSE("'%s' holds a NUL", field);
	}
	p->namespace_name = json_string_value(json_object_get(p->json, "namespace"));
	p->name = json_string_value(json_object_get(p->json, "name"));
	p->container = json_string_value(json_object_get(p->json, "container"));
	p->image = json_string_value(json_object_get(p->json, "image"));
	kind = json_string_value(json_object_get(p->json, "kind"));
	action = json_string_value(json_object_get(p->json, "action"));
	if ((value = json_object_get(p->json, "replicas")))
		p->replicas = json_integer_value(value);
	if ((value = json_object_get(p->json, "to_revision")))
		p->to_revision = json_integer_value(value);
	if ((value = json_object_get(p->json, "weight")))
		p->weight = json_integer_value(value);

	if (!p->namespace_name || !is_dns(p->namespace_name, 63, false))
		REFUSE("'namespace' is missing or no name of a namespace");
	if (!p->name || !is_dns(p->name, 253, true))
		REFUSE("'name' is missing or no name of a workload");
	for (i = 0; kind && i < sizeof kinds / sizeof kinds[0] && strcmp(kinds[i].word, kind) != 0; i++)
		;
	if (i == sizeof kinds / sizeof kinds[0])
		REFUSE("'kind' is deployment, statefulset or daemonset, not '%.64s'", kind);
	p->kind = kind ? (enum work_kind)i : KIND_DEPLOYMENT;
	for (i = 0; action && i < sizeof actions / sizeof actions[0] && strcmp(actions[i].word, action) != 0;
	     i++)
		;
	if (!action || i == sizeof actions / sizeof actions[0])
		REFUSE("'action' is missing or unknown");
	p->action = (enum work_action)i;
	rule = actions[i].rule;

	if ((rule & NEED_IMAGE) && (!p->container || !p->image))
		REFUSE("%s needs 'container' and 'image'", action);
	if (!(rule & NEED_IMAGE) && (p->container || p->image))
		REFUSE("%s takes no 'container' or 'image'", action);
	if (p->container && !is_dns(p->container, 63, false))
		REFUSE("'container' is no name of a container");
	if (p->image &&
	    (strlen(p->image) == 0 || strlen(p->image) > 1024 || strpbrk(p->image, " \t\r\n\v\f")))
		REFUSE("'image' is no image reference");
	if ((rule & NEED_REPLICAS) && p->replicas < 0)
		REFUSE("%s needs 'replicas'", action);
	if (!(rule & (NEED_REPLICAS | MAY_REPLICAS)) && p->replicas >= 0)
		REFUSE("%s takes no 'replicas'", action);
	if (p->replicas > 10000 || (p->replicas >= 0 && p->replicas < actions[i].min_replicas))
		REFUSE("'replicas' of %s is from %lld to 10000", action, (long long)actions[i].min_replicas);
	if (!(rule & MAY_REVISION) && json_object_get(p->json, "to_revision"))
		REFUSE("%s takes no 'to_revision'", action);
	if ((rule & NEED_WEIGHT) ? p->weight < 0 || p->weight > 100 : p->weight >= 0)
		REFUSE((rule & NEED_WEIGHT) ? "%s needs 'weight' from 0 to 100" : "%s takes no 'weight'",
		       action);
	if ((rule & ONLY_DEPLOYMENT) && p->kind != KIND_DEPLOYMENT)
		REFUSE("%s is for a deployment", action);
	if (p->action == ACTION_SCALE && p->kind == KIND_DAEMONSET)
		REFUSE("a daemonset has one pod per node and is not scaled");
	if (p->action == ACTION_WEIGHT && p->replicas == 1 && p->weight > 0 && p->weight < 100)
		REFUSE("one pod cannot be shared out: 'replicas' of 2 or more, or 'weight' 0 or 100");
	if ((rule & ONLY_DEPLOYMENT) && strlen(p->name) > 253 - strlen("-canary"))
		REFUSE("the name is too long to have -canary added to it");
	snprintf(p->canary_name, sizeof p->canary_name, "%.252s-canary", p->name);
	return true;
}

void params_done(struct params *params)
{
	json_decref(params->json);
	params->json = NULL;
}

bool weight_share(int64_t total, int64_t weight, int64_t *ret_canary, int64_t *ret_stable)
{
	int64_t canary = (total * weight + 50) / 100;

	if (total < 1)
		return false;
	if (weight > 0 && weight < 100) {
		if (total < 2)
			return false;
		canary = canary < 1 ? 1 : canary > total - 1 ? total - 1 : canary;
	}
	*ret_canary = canary;
	*ret_stable = total - canary;
	return true;
}
