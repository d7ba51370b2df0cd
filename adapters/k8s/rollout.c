#include "rollout.h"

#include "object.h"

#include <stdio.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *a, const char *b)
{
	const char *s = json_string_value(object_at(object, a, b, NULL));

	return s ? s : "";
}

static int64_t status_number(const json_t *object, const char *name)
{
	return object_number(object_at(object, "status", name, NULL), 0);
}

static const json_t *condition(const json_t *object, const char *type)
{
	const json_t *list = object_at(object, "status", "conditions", NULL);
	const json_t *c;
	size_t i;

	json_array_foreach((json_t *)list, i, c)
	{
		const char *t = json_string_value(json_object_get(c, "type"));

		if (t && strcmp(t, type) == 0)
			return c;
	}
	return NULL;
}

static const char *member(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static bool is_kind(const json_t *object, const char *kind)
{
	return strcmp(member(object, "kind"), kind) == 0;
}

static bool observed(const json_t *object)
{
	return object_number(object_at(object, "metadata", "generation", NULL), 0) <=
	       status_number(object, "observedGeneration");
}

#define SAY(view, ...) snprintf((view)->sentence, sizeof(view)->sentence, __VA_ARGS__)
#define WHY(view, ...) snprintf((view)->why, sizeof(view)->why, __VA_ARGS__)

static enum rollout_state judge_deployment(const json_t *o, struct rollout_view *v)
{
	const char *name = object_name(o);
	const json_t *progressing = condition(o, "Progressing");
	int64_t want = object_replicas(o);
	int64_t updated = status_number(o, "updatedReplicas"), replicas = status_number(o, "replicas");
	int64_t available = status_number(o, "availableReplicas");

	if (!observed(o)) {
		SAY(v, "Waiting for deployment spec update to be observed...");
		return ROLLOUT_WAITING;
	}
	if (strcmp(member(progressing, "reason"), "ProgressDeadlineExceeded") == 0) {
		SAY(v, "deployment \"%s\" exceeded its progress deadline: %s", name,
		    member(progressing, "message"));
		return ROLLOUT_FAILED;
	}
	if (updated < want) {
		SAY(v,
		    "Waiting for deployment \"%s\" rollout to finish: %lld out of %lld new replicas have been updated...",
		    name, (long long)updated, (long long)want);
		return ROLLOUT_WAITING;
	}
	if (replicas > updated) {
		SAY(v,
		    "Waiting for deployment \"%s\" rollout to finish: %lld old replicas are pending termination...",
		    name, (long long)(replicas - updated));
		return ROLLOUT_WAITING;
	}
	if (available < updated) {
		SAY(v,
		    "Waiting for deployment \"%s\" rollout to finish: %lld of %lld updated replicas are available...",
		    name, (long long)available, (long long)updated);
		return ROLLOUT_WAITING;
	}
	SAY(v, "deployment \"%s\" successfully rolled out", name);
	return ROLLOUT_COMPLETE;
}

static bool leaves_pods_alone(const json_t *o)
{
	const char *type = json_string_value(object_at(o, "spec", "updateStrategy", "type", NULL));

	return type && strcmp(type, "RollingUpdate") != 0;
}

static enum rollout_state judge_daemonset(const json_t *o, struct rollout_view *v)
{
	const char *name = object_name(o);
	int64_t want = status_number(o, "desiredNumberScheduled"),
		updated = status_number(o, "updatedNumberScheduled");
	int64_t available = status_number(o, "numberAvailable");

	if (leaves_pods_alone(o)) {
		SAY(v, "rollout status is only available for RollingUpdate strategy type");
		return ROLLOUT_UNWATCHED;
	}
	if (!observed(o)) {
		SAY(v, "Waiting for daemon set spec update to be observed...");
		return ROLLOUT_WAITING;
	}
	if (updated < want) {
		SAY(v,
		    "Waiting for daemon set \"%s\" rollout to finish: %lld out of %lld new pods have been updated...",
		    name, (long long)updated, (long long)want);
		return ROLLOUT_WAITING;
	}
	if (available < want) {
		SAY(v,
		    "Waiting for daemon set \"%s\" rollout to finish: %lld of %lld updated pods are available...",
		    name, (long long)available, (long long)want);
		return ROLLOUT_WAITING;
	}
	SAY(v, "daemon set \"%s\" successfully rolled out", name);
	return ROLLOUT_COMPLETE;
}

static enum rollout_state judge_statefulset(const json_t *o, struct rollout_view *v)
{
	int64_t want = object_replicas(o), ready = status_number(o, "readyReplicas");
	int64_t updated = status_number(o, "updatedReplicas");
	const json_t *rolling = object_at(o, "spec", "updateStrategy", "rollingUpdate", NULL);

	if (leaves_pods_alone(o)) {
		SAY(v, "rollout status is only available for RollingUpdate strategy type");
		return ROLLOUT_UNWATCHED;
	}
	if (status_number(o, "observedGeneration") == 0 || !observed(o)) {
		SAY(v, "Waiting for statefulset spec update to be observed...");
		return ROLLOUT_WAITING;
	}
	if (ready < want) {
		SAY(v, "Waiting for %lld pods to be ready...", (long long)(want - ready));
		return ROLLOUT_WAITING;
	}
	if (json_is_object(rolling)) {
		int64_t partition = object_number(json_object_get(rolling, "partition"), -1);

		if (partition >= 0 && updated < want - partition) {
			SAY(v,
			    "Waiting for partitioned roll out to finish: %lld out of %lld new pods have been updated...",
			    (long long)updated, (long long)(want - partition));
			return ROLLOUT_WAITING;
		}
		SAY(v, "partitioned roll out complete: %lld new pods have been updated...",
		    (long long)updated);
		return ROLLOUT_COMPLETE;
	}
	if (strcmp(text_at(o, "status", "updateRevision"), text_at(o, "status", "currentRevision")) != 0) {
		SAY(v, "waiting for statefulset rolling update to complete %lld pods at revision %s...",
		    (long long)updated, text_at(o, "status", "updateRevision"));
		return ROLLOUT_WAITING;
	}
	SAY(v, "statefulset rolling update complete %lld pods at revision %s...",
	    (long long)status_number(o, "currentReplicas"), text_at(o, "status", "currentRevision"));
	return ROLLOUT_COMPLETE;
}

void rollout_judge(const json_t *object, struct rollout_view *ret_view)
{
	*ret_view = (struct rollout_view){ .state = ROLLOUT_UNWATCHED };
	if (is_kind(object, "Deployment"))
		ret_view->state = judge_deployment(object, ret_view);
	else if (is_kind(object, "StatefulSet"))
		ret_view->state = judge_statefulset(object, ret_view);
	else if (is_kind(object, "DaemonSet"))
		ret_view->state = judge_daemonset(object, ret_view);
	else
		SAY(ret_view, "a %s has no rollout", member(object, "kind"));
}

const char *rollout_state_name(enum rollout_state state)
{
	static const char *const names[] = { "waiting", "complete", "failed", "unwatched" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "?";
}

/* --- health */

static enum health health_workload(const json_t *o, struct health_view *v)
{
	struct rollout_view r;

	if (json_is_true(object_at(o, "spec", "paused", NULL))) {
		WHY(v, "the rollout is paused");
		return HEALTH_SUSPENDED;
	}
	rollout_judge(o, &r);
	if (r.state == ROLLOUT_UNWATCHED) {
		if (!observed(o))
			return HEALTH_PROGRESSING;
		return is_kind(o, "StatefulSet") && status_number(o, "readyReplicas") < object_replicas(o)
			       ? HEALTH_PROGRESSING
			       : HEALTH_HEALTHY;
	}
	if (r.state != ROLLOUT_COMPLETE)
		WHY(v, "%s", r.sentence);
	return r.state == ROLLOUT_COMPLETE ? HEALTH_HEALTHY
	       : r.state == ROLLOUT_FAILED ? HEALTH_DEGRADED
					   : HEALTH_PROGRESSING;
}

static bool begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), m = strlen(with);

	return n >= m && strcmp(s + n - m, with) == 0;
}

static enum health health_pod(const json_t *o, struct health_view *v)
{
	const json_t *containers = object_at(o, "status", "containerStatuses", NULL);
	const char *phase = text_at(o, "status", "phase");
	bool always = strcmp(text_at(o, "spec", "restartPolicy"), "Always") == 0;
	const json_t *c;
	size_t i;

	if (always)
		json_array_foreach((json_t *)containers, i, c)
		{
			const json_t *waiting = object_at(c, "state", "waiting", NULL);
			const char *reason = member(waiting, "reason");

			if (begins(reason, "Err") || ends(reason, "Error") || ends(reason, "BackOff")) {
				WHY(v, "%s: %s", reason, member(waiting, "message"));
				return HEALTH_DEGRADED;
			}
		}
	if (strcmp(phase, "Pending") == 0)
		return HEALTH_PROGRESSING;
	if (strcmp(phase, "Succeeded") == 0)
		return HEALTH_HEALTHY;
	if (strcmp(phase, "Failed") == 0) {
		WHY(v, "%s", text_at(o, "status", "message"));
		return HEALTH_DEGRADED;
	}
	if (strcmp(phase, "Running") != 0)
		return HEALTH_UNKNOWN;
	if (!always)
		return HEALTH_PROGRESSING;
	if (strcmp(member(condition(o, "Ready"), "status"), "True") == 0)
		return HEALTH_HEALTHY;
	json_array_foreach((json_t *)containers, i, c)
	{
		const json_t *last = object_at(c, "lastState", "terminated", NULL);

		if (json_is_object(last)) {
			WHY(v, "container %s ended before: %s", member(c, "name"), member(last, "reason"));
			return HEALTH_DEGRADED;
		}
	}
	return HEALTH_PROGRESSING;
}

static enum health health_job(const json_t *o, struct health_view *v)
{
	const json_t *failed = condition(o, "Failed"), *suspended = condition(o, "Suspended");

	if (strcmp(member(failed, "status"), "True") == 0) {
		WHY(v, "%s", member(failed, "message"));
		return HEALTH_DEGRADED;
	}
	if (strcmp(member(condition(o, "Complete"), "status"), "True") == 0)
		return HEALTH_HEALTHY;
	if (strcmp(member(suspended, "status"), "True") == 0) {
		WHY(v, "%s", member(suspended, "message"));
		return HEALTH_SUSPENDED;
	}
	return HEALTH_PROGRESSING;
}

/* Which conditions of an autoscaler mean what; the first that is found decides. */
static const struct {
	const char *type, *reason;
	enum health health;
} scaler_rows[] = {
	{ "AbleToScale",    "FailedGetScale",          HEALTH_DEGRADED },
	{ "AbleToScale",    "FailedUpdateScale",       HEALTH_DEGRADED },
	{ "ScalingActive",  "FailedGetResourceMetric", HEALTH_DEGRADED },
	{ "ScalingActive",  "InvalidSelector",         HEALTH_DEGRADED },
	{ "AbleToScale",    "SucceededRescale",        HEALTH_HEALTHY  },
	{ "ScalingLimited", "DesiredWithinRange",      HEALTH_HEALTHY  },
	{ "ScalingLimited", "TooFewReplicas",          HEALTH_HEALTHY  },
	{ "ScalingLimited", "TooManyReplicas",         HEALTH_HEALTHY  },
};

static enum health health_scaler(const json_t *o, struct health_view *v)
{
	const json_t *conditions = object_at(o, "status", "conditions", NULL);
	json_t *parsed = NULL;
	const json_t *c;
	enum health health = HEALTH_PROGRESSING;
	size_t i;

	if (!json_is_array(conditions)) { /* v1 keeps them as text in an annotation */
		const char *text = object_annotation(o, "autoscaling.alpha.kubernetes.io/conditions");

		conditions = parsed = text ? json_loads(text, 0, NULL) : NULL;
	}
	for (size_t row = 0; row < sizeof scaler_rows / sizeof scaler_rows[0] && health == HEALTH_PROGRESSING;
	     row++)
		json_array_foreach((json_t *)conditions, i,
				   c) if (strcmp(member(c, "type"), scaler_rows[row].type) == 0 &&
					  strcmp(member(c, "reason"), scaler_rows[row].reason) == 0)
		{
			health = scaler_rows[row].health;
			WHY(v, "%s", member(c, "message"));
			break;
		}
	json_decref(parsed);
	return health;
}

static enum health health_balanced(const json_t *o, struct health_view *v)
{
	if (is_kind(o, "Service") && strcmp(text_at(o, "spec", "type"), "LoadBalancer") != 0)
		return HEALTH_HEALTHY;
	if (json_array_size(object_at(o, "status", "loadBalancer", "ingress", NULL)) > 0)
		return HEALTH_HEALTHY;
	WHY(v, "no address from the load balancer yet");
	return HEALTH_PROGRESSING;
}

static enum health health_apiservice(const json_t *o, struct health_view *v)
{
	const json_t *c = condition(o, "Available");

	WHY(v, "%s", member(c, "message"));
	return strcmp(member(c, "status"), "True") == 0 ? HEALTH_HEALTHY : HEALTH_PROGRESSING;
}

static const struct {
	const char *kind;
	enum health (*judge)(const json_t *o, struct health_view *v);
} health_rows[] = {
	{ "Deployment",              health_workload   },
	{ "StatefulSet",             health_workload   },
	{ "DaemonSet",               health_workload   },
	{ "Pod",		     health_pod        },
	{ "Job",		     health_job        },
	{ "HorizontalPodAutoscaler", health_scaler     },
	{ "Ingress",                 health_balanced   },
	{ "Service",                 health_balanced   },
	{ "APIService",              health_apiservice },
};

void health_judge(const json_t *object, struct health_view *ret_view)
{
	*ret_view = (struct health_view){ .health = HEALTH_UNKNOWN };
	if (json_is_string(object_at(object, "metadata", "deletionTimestamp", NULL))) {
		ret_view->health = HEALTH_PROGRESSING;
		WHY(ret_view, "being deleted");
		return;
	}
	for (size_t i = 0; i < sizeof health_rows / sizeof health_rows[0]; i++)
		if (is_kind(object, health_rows[i].kind)) {
			ret_view->health = health_rows[i].judge(object, ret_view);
			return;
		}
	WHY(ret_view, "no rule for a %s", member(object, "kind"));
}

const char *health_name(enum health health)
{
	static const char *const names[] = { "Healthy", "Progressing", "Degraded", "Suspended", "Unknown" };

	return (unsigned)health < sizeof names / sizeof names[0] ? names[health] : "?";
}
