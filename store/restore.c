#include "store/restore.h"
#include "base/mem.h"

static const char SQL_MARK[] =
	"SELECT (SELECT system_identifier::text FROM pg_control_system()), (SELECT timeline_id FROM pg_control_checkpoint()), "
	"i.id::text, coalesce((SELECT max(id) FROM outbox), 0), "
	"(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_id_seq), i.effects, coalesce(i.effects_reason, '') "
	"FROM installation i";
static const char SQL_OFF[] =
	"UPDATE installation SET effects = 'off', effects_reason = $1, updated_at = now()";

enum oc_err restore_mark_read(struct pg *pg, struct restore_mark *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, SQL_MARK, PG_NO_ARGS, &r, reterr);

	if (err != OC_OK)
		return err;
	if (pg_rows(r) != 1)
		return oc_fail(reterr, OC_INVALID, "the table installation has %u rows instead of one",
			       pg_rows(r));
	*ret = (struct restore_mark){ .timeline = pg_int(r, 0, 1),
				      .committed = pg_int(r, 0, 3),
				      .highest = pg_int(r, 0, 4) };
	snprintf(ret->system, sizeof(ret->system), "%s", pg_text_or(r, 0, 0, ""));
	snprintf(ret->installation, sizeof(ret->installation), "%s", pg_text_or(r, 0, 2, ""));
	snprintf(ret->effects, sizeof(ret->effects), "%s", pg_text_or(r, 0, 5, ""));
	snprintf(ret->effects_reason, sizeof(ret->effects_reason), "%s", pg_text_or(r, 0, 6, ""));
	return OC_OK;
}

enum oc_err restore_effects_off(struct pg *pg, const char *reason, struct oc_fail *reterr)
{
	return pg_query(pg, SQL_OFF, PG_ARGS(reason), NULL, reterr);
}

/* --- finishing */

/* Every open case: one that was only being planned, or was parked, at the backup may have gone through the gate since, and
 * the loop has moved some to PARKED while effects were off. One that was opened since then has certainly done nothing. */
static const char SQL_CASES[] =
	"SELECT c.tenant_id, c.id, c.tenant, c.status, c.version, c.epoch, c.timeline_seq, encode(c.timeline_head, 'hex') "
	"FROM ops_case c, installation i WHERE c.status <> 'CLOSED' AND c.park_reason IS DISTINCT FROM 'outcome_unknown' "
	"AND (i.effects = 'on' OR c.created_at < i.updated_at) ORDER BY c.id FOR UPDATE OF c";
/* The same fence as everywhere: the case must still be what was read. */
static const char SQL_PARK[] =
	"WITH c AS (UPDATE ops_case SET status = 'PARKED', park_reason = 'outcome_unknown', sentence = $3, version = version + 1, "
	"epoch = epoch + 1, cmd_id = NULL, cmd_topic = NULL, cancel_cause = NULL, deadline_at = NULL, timeline_seq = timeline_seq + 1, "
	"timeline_head = decode($4, 'hex'), entered_at = now(), updated_at = now() "
	"WHERE tenant_id = $1::bigint AND id = $2::uuid AND version = $5::int AND timeline_seq = $6::int "
	"RETURNING tenant_id, id, timeline_seq), "
	"t AS (INSERT INTO case_timeline (tenant_id, case_id, seq, event, actor, reason, meta, canonical, hash) "
	"SELECT tenant_id, id, timeline_seq, $7, $8, $9, $10::jsonb, $11, decode($4, 'hex') FROM c RETURNING 1) "
	"SELECT opscase_expect((SELECT count(*) FROM t), 1, 'case of a restore')";
/* Commands of parked cases are over: their epoch is gone. Others are offered again, under no old lease. */
static const char SQL_VOID[] =
	"WITH over AS (UPDATE outbox o SET done_at = now() FROM ops_case c WHERE c.tenant_id = o.tenant_id AND c.id = o.case_id "
	" AND o.kind = 'c' AND o.done_at IS NULL AND c.status = 'PARKED' AND o.epoch < c.epoch AND o.topic <> 'cmd.notify' RETURNING 1), "
	"lease AS (UPDATE outbox o SET lease_token = NULL, lease_until = NULL, published_at = NULL WHERE o.kind = 'c' AND o.done_at IS NULL "
	" AND NOT EXISTS (SELECT FROM ops_case c WHERE c.tenant_id = o.tenant_id AND c.id = o.case_id AND c.status = 'PARKED' "
	"  AND o.epoch < c.epoch AND o.topic <> 'cmd.notify') RETURNING 1), "
	"decision AS (UPDATE gate_decision SET status = 'void', void_reason = 'the database was restored from a backup' "
	" WHERE status IN ('pending', 'approved') RETURNING 1), "
	"run AS (UPDATE exec_run SET status = 'unknown', reason = 'the database was restored from a backup', finished_at = now() "
	" WHERE status = 'running' RETURNING 1), "
	"step AS (UPDATE exec_step SET status = 'unknown', finished_at = now() WHERE status = 'intent' RETURNING 1), "
	"lock AS (DELETE FROM target_lock RETURNING 1), "
	"inst AS (UPDATE installation SET id = gen_random_uuid(), effects = 'on', effects_reason = NULL, updated_at = now() RETURNING id) "
	"SELECT (SELECT count(*) FROM over) + (SELECT count(*) FROM lease), (SELECT count(*) FROM decision), "
	"(SELECT count(*) FROM run), (SELECT count(*) FROM step), (SELECT id::text FROM inst), "
	"setval('outbox_id_seq', greatest($1::bigint, (SELECT last_value FROM outbox_id_seq)) + 1000)";

enum oc_err restore_cases(struct pg *pg, struct restore_case **ret, size_t *ret_count, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = pg_query(pg, SQL_CASES, PG_NO_ARGS, &r, reterr);
	struct restore_case *list;

	if (err != OC_OK)
		return err;
	list = mem_array(pg_rows(r) + 1, sizeof(*list));
	for (unsigned i = 0; i < pg_rows(r); i++) {
		struct restore_case *c = &list[i];

		snprintf(c->tenant_id, sizeof(c->tenant_id), "%s", pg_text_or(r, i, 0, ""));
		snprintf(c->case_id, sizeof(c->case_id), "%s", pg_text_or(r, i, 1, ""));
		snprintf(c->tenant, sizeof(c->tenant), "%s", pg_text_or(r, i, 2, ""));
		snprintf(c->status, sizeof(c->status), "%s", pg_text_or(r, i, 3, ""));
		snprintf(c->head_hex, sizeof(c->head_hex), "%s", pg_text_or(r, i, 7, ""));
		c->version = (int)pg_int(r, i, 4);
		c->epoch = (int)pg_int(r, i, 5);
		c->seq = (int)pg_int(r, i, 6);
	}
	*ret = list;
	*ret_count = pg_rows(r);
	return OC_OK;
}

enum oc_err restore_park(struct pg *pg, const struct restore_case *c, const char *sentence,
			 const struct restore_row *row, struct oc_fail *reterr)
{
	char version[16], seq[16];

	snprintf(version, sizeof(version), "%d", c->version);
	snprintf(seq, sizeof(seq), "%d", c->seq);
	return pg_query(pg, SQL_PARK,
			PG_ARGS(c->tenant_id, c->case_id, sentence, row->hash_hex, version, seq, row->event,
				row->actor, row->reason, row->meta, row->canonical),
			NULL, reterr);
}

enum oc_err restore_void(struct pg *pg, long long mark, struct restore_sum *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char text[24];
	enum oc_err err;

	snprintf(text, sizeof(text), "%lld", mark);
	err = pg_query(pg, SQL_VOID, PG_ARGS(text), &r, reterr);
	if (err != OC_OK)
		return err;
	*ret = (struct restore_sum){ .leases = pg_int(r, 0, 0),
				     .decisions = pg_int(r, 0, 1),
				     .runs = pg_int(r, 0, 2),
				     .steps = pg_int(r, 0, 3) };
	snprintf(ret->installation, sizeof(ret->installation), "%s", pg_text_or(r, 0, 4, ""));
	return OC_OK;
}
