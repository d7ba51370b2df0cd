#include "store/health.h"
#include <math.h>

static const char SQL_SERVER[] =
	"SELECT current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'), "
	"current_setting('synchronous_commit'), "
	"(SELECT string_agg(extname || ' ' || extversion, ', ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'), "
	"(SELECT string_agg(w, ', ') FROM unnest(ARRAY['timescaledb', 'vector', 'age', 'pgcrypto', 'pg_trgm', 'btree_gist']) w "
	" WHERE w NOT IN (SELECT extname FROM pg_extension)), "
	"(SELECT rolname FROM pg_roles WHERE rolname IN ('opscase_api', 'opscase_worker') AND (rolsuper OR rolbypassrls) LIMIT 1), "
	"pg_database_size(current_database()), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
	"current_setting('max_connections'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, "
	"to_regclass('public.installation') IS NOT NULL AND to_regclass('public.dead_letter') IS NOT NULL";
static const char SQL_OURS[] =
	"SELECT i.effects, coalesce(i.effects_reason, ''), "
	"coalesce((SELECT extract(epoch FROM now() - min(created_at))::bigint FROM outbox "
	" WHERE published_at IS NULL AND done_at IS NULL AND coalesce(not_before, created_at) <= now()), 0), "
	"(SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL) FROM installation i";

#define COPY(field, col) snprintf(ret->field, sizeof(ret->field), "%s", pg_text_or(r, 0, col, ""))

enum oc_err health_read(struct pg *pg, struct health *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL, *ours = NULL;
	enum oc_err err = pg_query(pg, SQL_SERVER, PG_NO_ARGS, &r, reterr);

	if (err != OC_OK)
		return err;
	*ret = (struct health){ .version = (int)pg_int(r, 0, 0),
				.bytes = pg_int(r, 0, 7),
				.connections = (int)pg_int(r, 0, 8),
				.connections_max = (int)pg_int(r, 0, 9),
				.now_us = pg_int(r, 0, 10) };
	COPY(fsync, 1);
	COPY(full_page_writes, 2);
	COPY(synchronous_commit, 3);
	COPY(extensions, 4);
	COPY(missing, 5);
	COPY(broken_role, 6);
	snprintf(ret->effects, sizeof(ret->effects), "on");
	if (!pg_bool(r, 0, 11))
		return OC_OK;
	err = pg_query(pg, SQL_OURS, PG_NO_ARGS, &ours, reterr);
	if (err != OC_OK)
		return err;
	snprintf(ret->effects, sizeof(ret->effects), "%s", pg_text_or(ours, 0, 0, "?"));
	snprintf(ret->effects_reason, sizeof(ret->effects_reason), "%s", pg_text_or(ours, 0, 1, ""));
	ret->outbox_lag_s = pg_int(ours, 0, 2);
	ret->dead_letters = pg_int(ours, 0, 3);
	return OC_OK;
}
