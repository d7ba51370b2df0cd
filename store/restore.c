#include "store/restore.h"

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
