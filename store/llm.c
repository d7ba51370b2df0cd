#include "store/llm.h"

const char SQL_LLM_RECORD[] =
	"INSERT INTO llm_call (id, tenant_id, case_id, purpose, provider, model, request, response, request_hash, response_hash, "
	"tokens_in, tokens_out, cost, latency_ms, outcome) VALUES ($1::uuid, $2::bigint, $3::uuid, $4, $5, $6, $7::jsonb, "
	"to_jsonb($8::text), $9, $10, $11::int, $12::int, $13::numeric, $14::int, $15)";

const char SQL_LLM_SPENT[] =
	"SELECT coalesce(sum(t) FILTER (WHERE case_id = $2::uuid), 0)::bigint, "
	"coalesce(sum(t) FILTER (WHERE created_at > now() - interval '1 hour'), 0)::bigint, "
	"coalesce(sum(t) FILTER (WHERE created_at > now() - interval '1 day'), 0)::bigint, "
	"coalesce(sum(cost) FILTER (WHERE case_id = $2::uuid), 0)::float8, "
	"coalesce(sum(cost) FILTER (WHERE created_at > now() - interval '1 hour'), 0)::float8, "
	"coalesce(sum(cost) FILTER (WHERE created_at > now() - interval '1 day'), 0)::float8 "
	"FROM (SELECT case_id, created_at, cost, coalesce(tokens_in, 0) + coalesce(tokens_out, 0) AS t FROM llm_call "
	"WHERE tenant_id = $1::bigint AND (created_at > now() - interval '1 day' OR case_id = $2::uuid)) s";

const char SQL_LLM_CALLS[] =
	"SELECT request::text, response #>> '{}', outcome, provider, model FROM llm_call WHERE tenant_id = $1::bigint "
	"AND case_id = $2::uuid AND purpose = 'plan' AND response IS NOT NULL ORDER BY created_at, id";

const char SQL_LLM_PLANS[] =
	"SELECT hash FROM plan_proposed WHERE tenant_id = $1::bigint AND case_id = $2::uuid AND source = 'llm' "
	"ORDER BY revision DESC";

const char SQL_LLM_TENANT[] = "SELECT tenant_id FROM ops_case WHERE id = $1::uuid";

#define CITED                                                                                                 \
	"r.urn, m.metric, to_char(m.bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "           \
	"sum(m.avg_val * greatest(m.count, 1)) / sum(greatest(m.count, 1)), max(m.max_val), min(m.min_val), " \
	"max(m.p95_val), sum(m.count)::bigint, sum(m.revision)::bigint "

const char SQL_CITE_ROWS[] =
	"SELECT " CITED "FROM unnest($2::text[], $3::text[]) AS w (urn, metric) "
	"JOIN dim_resource r ON r.tenant_id = $1::bigint AND r.urn = w.urn "
	"JOIN metric_1m m ON m.tenant_id = r.tenant_id AND m.resource_id = r.resource_id "
	"AND (w.metric = '' OR m.metric = w.metric) AND m.bucket > now() - interval '2 hours' "
	"GROUP BY r.urn, m.metric, m.bucket ORDER BY m.bucket DESC, r.urn, m.metric LIMIT 60";

const char SQL_CITE_ONE[] =
	"SELECT " CITED
	"FROM dim_resource r JOIN metric_1m m ON m.tenant_id = r.tenant_id AND m.resource_id = r.resource_id "
	"WHERE r.tenant_id = $1::bigint AND r.urn = $2 AND m.metric = $3 AND m.bucket = $4::timestamptz "
	"GROUP BY r.urn, m.metric, m.bucket";

const char SQL_CITE_RANGE[] =
	"SELECT " CITED
	"FROM dim_resource r JOIN metric_1m m ON m.tenant_id = r.tenant_id AND m.resource_id = r.resource_id "
	"WHERE r.tenant_id = $1::bigint AND r.urn = $2 AND m.metric = $3 "
	"AND m.bucket >= to_timestamp($4::bigint / 1000000.0) AND m.bucket < to_timestamp($5::bigint / 1000000.0) "
	"GROUP BY r.urn, m.metric, m.bucket ORDER BY m.bucket DESC LIMIT 60";

const char SQL_LOOK_INSERT[] =
	"INSERT INTO llm_look (tenant_id, case_id, epoch, attempt, seq, tool, input, shown, outcome, took_ms) "
	"VALUES ($1::bigint, $2::uuid, $3::int, $4::int, $5::int, $6, $7::jsonb, $8, $9, $10::int)";

const char SQL_LOOKS[] =
	"SELECT tool, input::text, shown, outcome FROM llm_look WHERE tenant_id = $1::bigint AND case_id = $2::uuid "
	"AND epoch || '.' || attempt = $3 ORDER BY seq";

const char SQL_LLM_RUN_CALLS[] =
	"SELECT request::text, response #>> '{}', outcome, provider, model FROM llm_call WHERE tenant_id = $1::bigint "
	"AND case_id = $2::uuid AND purpose = 'analysis' AND request ->> 'run' = $3 AND response IS NOT NULL "
	"ORDER BY created_at, id";

const char SQL_LLM_FINDING[] =
	"SELECT body::text FROM finding WHERE tenant_id = $1::bigint AND case_id = $2::uuid ORDER BY created_at DESC LIMIT 1";

const char SQL_CITE_OBSERVED[] =
	"SELECT r.urn FROM dim_resource r WHERE r.tenant_id = $1::bigint AND r.urn = ANY ($2::text[]) "
	"AND r.created_at <= to_timestamp($3::bigint / 1000000.0) "
	/* what every description had dropped by then was there no more */
	"AND (NOT EXISTS (SELECT FROM topo_resource t WHERE t.tenant_id = r.tenant_id AND t.resource_id = r.resource_id "
	"AND t.gone_at <= to_timestamp($3::bigint / 1000000.0)) OR EXISTS (SELECT FROM topo_resource t "
	"WHERE t.tenant_id = r.tenant_id AND t.resource_id = r.resource_id "
	"AND (t.gone_at IS NULL OR t.gone_at > to_timestamp($3::bigint / 1000000.0))))";

const char SQL_LLM_CERTIFY[] =
	"INSERT INTO llm_certificate AS c (tenant_id, provider, model, duty, golden, passed, total, certified, detail) "
	"SELECT tenant_id, $1, $2, $3, $4, $5::int, $6::int, $7::boolean, $8::jsonb FROM dim_tenant "
	"ON CONFLICT (tenant_id, provider, model, duty) DO UPDATE SET golden = excluded.golden, passed = excluded.passed, "
	"total = excluded.total, certified = excluded.certified, detail = excluded.detail, created_at = now() "
	"RETURNING c.tenant_id";

const char SQL_LLM_CERTIFIED[] =
	"SELECT certified FROM llm_certificate WHERE tenant_id = $1::bigint AND provider = $2 AND model = $3 AND duty = $4";
