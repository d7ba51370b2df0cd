/* rollout.h - is this workload's rollout through, and is this object well?
 *
 * Two judgements over an object as the API server gave it, both pure: `rollout_judge` says what
 * `kubectl rollout status` would say; `health_judge` is the wider view (any of the common kinds),
 * for people. Neither believes that a field has the type it should have. */
#ifndef K8S_ROLLOUT_H
#define K8S_ROLLOUT_H

#include <jansson.h>

enum rollout_state {
	ROLLOUT_WAITING,   /* under way                                                       */
	ROLLOUT_COMPLETE,  /* every pod is of the new template and available                  */
	ROLLOUT_FAILED,    /* the progress deadline has passed                                */
	ROLLOUT_UNWATCHED, /* the update strategy leaves the pods to somebody else (OnDelete) */
};

struct rollout_view {
	enum rollout_state state;
	char sentence[640]; /* kubectl's words; for FAILED the condition's message too */
};

void rollout_judge(const json_t *object, struct rollout_view *ret_view);
const char *rollout_state_name(enum rollout_state state);

enum health { HEALTH_HEALTHY, HEALTH_PROGRESSING, HEALTH_DEGRADED, HEALTH_SUSPENDED, HEALTH_UNKNOWN };

struct health_view {
	enum health health;
	char why[640]; /* "" when there is nothing to say */
};

void health_judge(const json_t *object, struct health_view *ret_view);
const char *health_name(enum health health); /* "Healthy" */

#endif
