#include "apps/opscased/case_door.h"
#include <stdio.h>
#include "base/hash.h"
#include "orchestrator/transition.h"

#define ACTOR "service:analyst"

static enum oc_err door_open(void *ctx, struct pg *pg, const struct opener_case *c, char ret_id[UUID_TEXT],
			     struct oc_fail *reterr)
{
	AUTO(json) json_t *doc = NULL;
	struct transition_result res = { 0 };
	char hash[HASH_HEX];
	enum oc_err err;

	(void)ctx;
	hash_sha256_hex(c->key, strlen(c->key), hash);
	err = transition_create(
		pg,
		&(struct case_create){
			.tenant_id = c->tenant_id,
			.tenant = c->tenant,
			.title = c->title,
			.summary = c->summary,
			.severity = c->severity,
			.drive = c->drive,
			.labels = c->labels,
			.evidence = c->evidence,
			.follows_id = c->follows_id,
			.parent_id = c->parent_id,
			.actor = ACTOR,
			.idem = { .principal = ACTOR, .route = "signal", .key = c->key, .body_hash = hash }
        },
		&res, reterr);
	if (err == OC_OK)
		err = json_read_own(res.case_json, &doc, reterr);
	if (err == OC_OK && json_object_get(doc, "data"))
		snprintf(ret_id, UUID_TEXT, "%s", json_str_or(json_object_get(doc, "data"), "id", ""));
	else if (err == OC_OK)
		snprintf(ret_id, UUID_TEXT, "%s", json_str_or(doc, "id", ""));
	if (err == OC_OK && !*ret_id)
		err = oc_fail(reterr, OC_BUG, "the door's answer names no case");
	transition_result_done(&res);
	return err;
}

static enum oc_err door_tell(void *ctx, struct pg *pg, long long tenant_id, const char *case_id,
			     enum case_event_kind event, const char *reason, struct oc_fail *reterr)
{
	struct transition_result res = { 0 };
	enum oc_err err;

	(void)ctx;
	err = transition(pg,
			 &(struct transition_request){ .tenant_id = tenant_id,
						       .case_id = case_id,
						       .event = event,
						       .who = WHO_ROLE,
						       .actor = ACTOR,
						       .reason = reason },
			 &res, reterr);
	transition_result_done(&res);
	return err;
}

const struct opener_door case_door = { .open = door_open, .tell = door_tell };
