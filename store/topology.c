#include "store/topology.h"
#include <math.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"

/* Two readings of one source are compared one after the other. */
static const char SQL_LOCK[] =
	"SELECT pg_advisory_xact_lock(727221004, hashtext($1::text || ' ' || $2::text))";

static const char SQL_NOW[] = "SELECT coalesce($1::timestamptz, now())::text";

static const char SQL_LAST[] =
	"SELECT count(*) FILTER (WHERE stack = $3), coalesce(max(at) > $4::timestamptz, false) FROM topo_discovery"
	" WHERE tenant_id = $1::bigint AND source = $2 AND status <> 'failed'";

/* $1 tenant, $2 resources. What telemetry knew first keeps its place; labels grow together. */
static const char SQL_RESOURCES[] =
	"INSERT INTO dim_resource AS d (tenant_id, urn, type, name, region, zone, labels)"
	" SELECT $1::bigint, r.urn, r.type, r.name, r.region, r.zone, coalesce(r.labels, '{}')"
	" FROM jsonb_to_recordset($2::jsonb) AS r (urn text, type text, name text, region text, zone text, labels jsonb)"
	" ORDER BY r.urn"
	" ON CONFLICT (tenant_id, urn) DO UPDATE SET labels = d.labels || EXCLUDED.labels,"
	" region = coalesce(d.region, EXCLUDED.region), zone = coalesce(d.zone, EXCLUDED.zone)"
	" WHERE NOT d.labels @> EXCLUDED.labels";

/* $1 tenant, $2 source, $3 stack, $4 at, $5 resources, $6 document hash, $7 changes, $8 events? Deployments: what a plan
 * says it did, and else what says another version than the last time. Returns one row per event. */
static const char SQL_CHANGES[] =
	"WITH now AS (SELECT d.resource_id, r.urn, r.address, coalesce(r.versions, '{}') AS versions"
	"   FROM jsonb_to_recordset($5::jsonb) AS r (urn text, address text, versions jsonb)"
	"   JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = r.urn),"
	" told AS (SELECT d.resource_id, c.urn, c.name, c.action, c.was, c.is"
	"   FROM jsonb_to_recordset($7::jsonb) AS c (urn text, name text, action text, was jsonb, \"is\" jsonb)"
	"   LEFT JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = c.urn),"
	" changed AS ("
	"   SELECT resource_id, urn, name, action, was, \"is\", 'plan' AS how FROM told"
	"   UNION ALL"
	"   SELECT n.resource_id, n.urn, n.address, 'update', t.versions, n.versions, 'versions' FROM now n"
	"   JOIN topo_resource t ON t.tenant_id = $1::bigint AND t.source = $2 AND t.stack = $3 AND t.resource_id = n.resource_id"
	"   WHERE $8::bool AND t.versions IS DISTINCT FROM n.versions AND NOT EXISTS (SELECT FROM told WHERE told.urn = n.urn)),"
	" keyed AS (SELECT changed.*, encode(sha256(convert_to(concat_ws(' ', $2::text, $3::text, urn, action, was::text, \"is\"::text,"
	"   CASE how WHEN 'plan' THEN $6::text ELSE $4::text END), 'UTF8')), 'hex') AS key FROM changed),"
	" fresh AS (SELECT * FROM keyed k WHERE NOT EXISTS (SELECT FROM event_envelope e WHERE e.tenant_id = $1::bigint"
	"   AND e.kind = 'deploy' AND e.fingerprints->>'change' = k.key)),"
	" said AS (INSERT INTO event_envelope (tenant_id, detected_at, resource_id, severity, kind, title, summary, labels, fingerprints)"
	"   SELECT $1::bigint, $4::timestamptz, resource_id, 'INFO', 'deploy', left(action || ' ' || name, 300),"
	"   left((SELECT string_agg(coalesce(w.key, i.key) || ': ' || coalesce(w.value, 'none') || ' -> ' || coalesce(i.value, 'none'), '; '"
	"      ORDER BY coalesce(w.key, i.key)) FROM jsonb_each_text(coalesce(nullif(was, 'null'), '{}')) w"
	"      FULL JOIN jsonb_each_text(coalesce(nullif(\"is\", 'null'), '{}')) i ON i.key = w.key WHERE w.value IS DISTINCT FROM i.value), 2000),"
	"   jsonb_build_object('source', $2::text, 'stack', $3::text, 'action', action, 'how', how, 'urn', urn),"
	"   jsonb_build_object('change', key) FROM fresh RETURNING event_id, resource_id, labels)"
	" INSERT INTO evidence_link (tenant_id, event_id, dim, ref_pg, note)"
	" SELECT $1::bigint, event_id, 'change', jsonb_build_object('table', 'topo_resource', 'keys',"
	"   jsonb_build_object('source', $2::text, 'stack', $3::text, 'resource_id', resource_id)), labels->>'action' FROM said";

/* $1 tenant, $2 source, $3 stack, $4 at, $5 resources */
static const char SQL_SEEN[] =
	"INSERT INTO topo_resource AS t (tenant_id, source, stack, resource_id, address, versions, first_seen, last_seen)"
	" SELECT $1::bigint, $2, $3, d.resource_id, r.address, coalesce(r.versions, '{}'), $4::timestamptz, $4::timestamptz"
	" FROM jsonb_to_recordset($5::jsonb) AS r (urn text, address text, versions jsonb)"
	" JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = r.urn"
	" ON CONFLICT (tenant_id, source, stack, resource_id) DO UPDATE SET address = EXCLUDED.address,"
	" versions = EXCLUDED.versions, last_seen = EXCLUDED.last_seen, gone_at = NULL";

/* What is open of this description, with whether the reading still has it: edges, missing edges, resources, missing ones. */
static const char SQL_COMPARE[] =
	"WITH now AS (SELECT DISTINCT s.resource_id AS src, d.resource_id AS dst, e.relation FROM"
	"   jsonb_to_recordset($4::jsonb) AS e (src text, dst text, relation text)"
	"   JOIN dim_resource s ON s.tenant_id = $1::bigint AND s.urn = e.src"
	"   JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = e.dst),"
	" prev AS (SELECT src_resource_id AS src, dst_resource_id AS dst, relation FROM topo_edge_time"
	"   WHERE tenant_id = $1::bigint AND source = $2 AND upper_inf(valid) AND props->'stacks' ? $3::text),"
	" res AS (SELECT d.resource_id FROM jsonb_to_recordset($5::jsonb) AS r (urn text)"
	"   JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = r.urn),"
	" had AS (SELECT resource_id FROM topo_resource WHERE tenant_id = $1::bigint AND source = $2 AND stack = $3 AND gone_at IS NULL)"
	" SELECT (SELECT count(*) FROM prev), (SELECT count(*) FROM (SELECT * FROM prev EXCEPT SELECT * FROM now) x),"
	" (SELECT count(*) FROM had), (SELECT count(*) FROM (SELECT * FROM had EXCEPT SELECT * FROM res) y),"
	" (SELECT count(*) FROM now)";

/* $1 tenant, $2 source, $3 stack, $4 at, $5 edges. New ones open; ones that another description holds get this one, too. */
static const char SQL_OPEN[] =
	"WITH now AS (SELECT s.resource_id AS src, d.resource_id AS dst, e.relation, min(e.via) AS via FROM"
	"   jsonb_to_recordset($5::jsonb) AS e (src text, dst text, relation text, via text)"
	"   JOIN dim_resource s ON s.tenant_id = $1::bigint AND s.urn = e.src"
	"   JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = e.dst GROUP BY 1, 2, 3),"
	" shared AS (UPDATE topo_edge_time t SET props = jsonb_set(t.props, ARRAY['stacks', $3::text], to_jsonb(coalesce(n.via, '')), true)"
	"   FROM now n WHERE t.tenant_id = $1::bigint AND t.source = $2 AND upper_inf(t.valid) AND t.src_resource_id = n.src"
	"   AND t.dst_resource_id = n.dst AND t.relation = n.relation AND t.props->'stacks' IS NOT NULL AND NOT t.props->'stacks' ? $3::text"
	"   RETURNING 1)"
	" INSERT INTO topo_edge_time (tenant_id, src_resource_id, dst_resource_id, relation, source, valid, props)"
	" SELECT $1::bigint, n.src, n.dst, n.relation, $2, tstzrange($4::timestamptz, NULL, '[)'),"
	"   jsonb_build_object('stacks', jsonb_build_object($3::text, coalesce(n.via, '')))"
	" FROM now n WHERE NOT EXISTS (SELECT FROM topo_edge_time t WHERE t.tenant_id = $1::bigint AND t.source = $2"
	"   AND upper_inf(t.valid) AND t.src_resource_id = n.src AND t.dst_resource_id = n.dst AND t.relation = n.relation)";

/* $1 tenant, $2 source, $3 stack, $4 at, $5 edges. What opened at this very moment was never valid. */
static const char SQL_CLOSE[] =
	"WITH now AS (SELECT s.resource_id AS src, d.resource_id AS dst, e.relation FROM"
	"   jsonb_to_recordset($5::jsonb) AS e (src text, dst text, relation text)"
	"   JOIN dim_resource s ON s.tenant_id = $1::bigint AND s.urn = e.src"
	"   JOIN dim_resource d ON d.tenant_id = $1::bigint AND d.urn = e.dst),"
	" gone AS (SELECT t.ctid, t.props->'stacks' = jsonb_build_object($3::text, t.props->'stacks'->$3::text) AS last,"
	"   lower(t.valid) < $4::timestamptz AS lived FROM topo_edge_time t"
	"   WHERE t.tenant_id = $1::bigint AND t.source = $2 AND upper_inf(t.valid) AND t.props->'stacks' ? $3::text"
	"   AND NOT EXISTS (SELECT FROM now n WHERE n.src = t.src_resource_id AND n.dst = t.dst_resource_id AND n.relation = t.relation)),"
	" less AS (UPDATE topo_edge_time t SET props = t.props #- ARRAY['stacks', $3::text] FROM gone g WHERE t.ctid = g.ctid AND NOT g.last"
	"   RETURNING 1),"
	" never AS (DELETE FROM topo_edge_time t USING gone g WHERE t.ctid = g.ctid AND g.last AND NOT g.lived RETURNING 1)"
	" UPDATE topo_edge_time t SET valid = tstzrange(lower(t.valid), $4::timestamptz, '[)') FROM gone g"
	" WHERE t.ctid = g.ctid AND g.last AND g.lived";

static const char SQL_GONE[] =
	"UPDATE topo_resource t SET gone_at = $4::timestamptz WHERE t.tenant_id = $1::bigint AND t.source = $2 AND t.stack = $3"
	" AND t.gone_at IS NULL AND t.last_seen < $4::timestamptz";

static const char SQL_DISCOVERY[] =
	"INSERT INTO topo_discovery (tenant_id, source, stack, at, status, resources, edges, opened, closed, kept, changes, sentence)"
	" VALUES ($1::bigint, $2, $3, coalesce($4::timestamptz, now()), $5, $6::int, $7::int, $8::int, $9::int, $10::int, $11::int, $12)";

struct work {
	struct pg *pg;
	const struct topology_reading *r;
	struct topology_report *ret;
	char tenant[24], at[64];
	char *resources, *edges, *changes;
	bool first, shrunk;
	struct oc_fail *reterr;
};

static enum oc_err check_time(struct work *w)
{
	AUTO(pg_result) struct pg_result *now = NULL, *last = NULL;
	char at[40] = "";
	enum oc_err err;

	if (w->r->at_us)
		clock_format(w->r->at_us, at, sizeof(at));
	err = pg_query(w->pg, SQL_NOW, PG_ARGS(w->r->at_us ? at : NULL), &now, w->reterr);
	if (err == OC_OK) {
		snprintf(w->at, sizeof(w->at), "%s", pg_text(now, 0, 0));
		err = pg_query(w->pg, SQL_LAST, PG_ARGS(w->tenant, w->r->source, w->r->stack, w->at), &last,
			       w->reterr);
	}
	if (err != OC_OK)
		return err;
	w->first = pg_int(last, 0, 0) == 0;
	if (pg_bool(last, 0, 1))
		return oc_fail_field(
			w->reterr, OC_CONFLICT, "at",
			"a description of source %s was read at a later time already: history is not written backwards",
			w->r->source);
	return OC_OK;
}

/* Is what is left so much less that the reading itself is doubted? One that goes of two is not a landslide. */
static bool too_much(long long had, long long missing, double share)
{
	return missing > 2 && (double)missing > share * (double)had;
}

static enum oc_err compare(struct work *w)
{
	AUTO(pg_result) struct pg_result *c = NULL;
	enum oc_err err = pg_query(w->pg, SQL_COMPARE,
				   PG_ARGS(w->tenant, w->r->source, w->r->stack, w->edges, w->resources), &c,
				   w->reterr);
	long long edges, missing, resources, lost;

	if (err != OC_OK)
		return err;
	edges = pg_int(c, 0, 0);
	missing = pg_int(c, 0, 1);
	resources = pg_int(c, 0, 2);
	lost = pg_int(c, 0, 3);
	w->ret->edges = pg_int(c, 0, 4);
	w->shrunk = w->r->shrink_max < 1 && (too_much(edges, missing, w->r->shrink_max) ||
					     too_much(resources, lost, w->r->shrink_max));
	if (w->shrunk) {
		w->ret->kept = missing;
		snprintf(w->ret->sentence, sizeof(w->ret->sentence),
			 "%lld of %lld edges and %lld of %lld resources are missing, more than a share of %.2f: nothing was closed; "
			 "read it again with force when that is right",
			 missing, edges, lost, resources, w->r->shrink_max);
	}
	return OC_OK;
}

static enum oc_err write_down(struct work *w)
{
	char n[6][24];
	const long long v[] = { w->ret->resources, w->ret->edges, w->ret->opened,
				w->ret->closed,    w->ret->kept,  w->ret->changes };

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		snprintf(n[i], sizeof(n[i]), "%lld", v[i]);
	return pg_query(w->pg, SQL_DISCOVERY,
			PG_ARGS(w->tenant, w->r->source, w->r->stack, w->at, w->ret->status, n[0], n[1], n[2],
				n[3], n[4], n[5], w->ret->sentence[0] ? w->ret->sentence : NULL),
			NULL, w->reterr);
}

static enum oc_err apply(struct work *w)
{
	const struct topology_reading *r = w->r;
	AUTO(pg_result) struct pg_result *changed = NULL, *opened = NULL, *closed = NULL;
	bool events = r->events && !w->first;
	enum oc_err err;

	err = pg_query(w->pg, SQL_RESOURCES, PG_ARGS(w->tenant, w->resources), NULL, w->reterr);
	if (err == OC_OK)
		err = compare(w);
	if (err == OC_OK)
		err = pg_query(w->pg, SQL_CHANGES,
			       PG_ARGS(w->tenant, r->source, r->stack, w->at, w->resources, r->document_hash,
				       w->changes, events ? "true" : "false"),
			       &changed, w->reterr);
	if (err == OC_OK)
		err = pg_query(w->pg, SQL_SEEN, PG_ARGS(w->tenant, r->source, r->stack, w->at, w->resources),
			       NULL, w->reterr);
	if (err == OC_OK && !w->shrunk)
		err = pg_query(w->pg, SQL_CLOSE, PG_ARGS(w->tenant, r->source, r->stack, w->at, w->edges),
			       &closed, w->reterr);
	if (err == OC_OK)
		err = pg_query(w->pg, SQL_OPEN, PG_ARGS(w->tenant, r->source, r->stack, w->at, w->edges),
			       &opened, w->reterr);
	if (err == OC_OK && !w->shrunk)
		err = pg_query(w->pg, SQL_GONE, PG_ARGS(w->tenant, r->source, r->stack, w->at), NULL,
			       w->reterr);
	if (err != OC_OK)
		return err;
	w->ret->resources = (long long)json_array_size(r->resources);
	w->ret->changes = pg_affected(changed);
	w->ret->opened = pg_affected(opened);
	w->ret->closed = closed ? pg_affected(closed) : 0;
	snprintf(w->ret->status, sizeof(w->ret->status), w->shrunk ? "shrunk" : "applied");
	return write_down(w);
}

enum oc_err topology_apply(struct pg *pg, const struct topology_reading *r, struct topology_report *ret,
			   struct oc_fail *reterr)
{
	struct work w = { .pg = pg, .r = r, .ret = ret, .reterr = reterr };
	enum oc_err err;

	*ret = (struct topology_report){ 0 };
	snprintf(w.tenant, sizeof(w.tenant), "%lld", r->tenant_id);
	w.resources = json_text(r->resources);
	w.edges = json_text(r->edges);
	w.changes = r->changes ? json_text(r->changes) : mem_strdup("[]");
	err = pg_begin(pg, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_LOCK, PG_ARGS(w.tenant, r->source), NULL, reterr);
	if (err == OC_OK)
		err = check_time(&w);
	if (err == OC_OK)
		err = apply(&w);
	if (err == OC_OK)
		err = pg_commit(pg, reterr);
	if (err != OC_OK)
		pg_rollback(pg);
	free(w.resources);
	free(w.edges);
	free(w.changes);
	return err;
}

enum oc_err topology_failed(struct pg *pg, long long tenant_id, const char *source, const char *stack,
			    const char *why, struct oc_fail *reterr)
{
	char tenant[24];

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	return pg_query(pg, SQL_DISCOVERY,
			PG_ARGS(tenant, source, stack, NULL, "failed", "0", "0", "0", "0", "0", "0", why),
			NULL, reterr);
}

/* ---- reading ---- */

static const char SQL_EDGES[] =
	"SELECT t.src_resource_id, t.dst_resource_id, t.relation || ' ' || t.source, s.urn, d.urn, t.relation, t.source,"
	" to_char(lower(t.valid) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
	" to_char(upper(t.valid) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), t.props::text"
	" FROM topo_edge_time t JOIN dim_resource s ON s.tenant_id = t.tenant_id AND s.resource_id = t.src_resource_id"
	" JOIN dim_resource d ON d.tenant_id = t.tenant_id AND d.resource_id = t.dst_resource_id"
	" WHERE t.tenant_id = $1::bigint AND t.valid @> coalesce($2::timestamptz, now())"
	" AND ($3::text IS NULL OR t.source = $3) AND ($4::text IS NULL OR t.relation = $4)"
	" AND ($5::text IS NULL OR s.urn = $5 OR d.urn = $5)"
	" AND (t.src_resource_id, t.dst_resource_id, t.relation || ' ' || t.source) > ($6::bigint, $7::bigint, $8::text)"
	" ORDER BY t.src_resource_id, t.dst_resource_id, t.relation || ' ' || t.source LIMIT $9::int";

enum oc_err topology_edges_read(struct pg *pg, long long tenant_id, const struct topology_filter *f,
				json_t **ret, long long *ret_src, long long *ret_dst, char ret_rest[64],
				struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], at[40], src[24], dst[24], limit[16];
	json_t *list;
	unsigned n;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(src, sizeof(src), "%lld", f->after_src);
	snprintf(dst, sizeof(dst), "%lld", f->after_dst);
	snprintf(limit, sizeof(limit), "%d", f->limit + 1);
	if (f->at_us)
		clock_format(f->at_us, at, sizeof(at));
	ret_rest[0] = '\0';
	err = pg_query(pg, SQL_EDGES,
		       PG_ARGS(tenant, f->at_us ? at : NULL, f->source, f->relation, f->urn, src, dst,
			       f->after_rest ? f->after_rest : "", limit),
		       &r, reterr);
	if (err != OC_OK)
		return err;
	list = json_array();
	n = pg_rows(r) > (unsigned)f->limit ? (unsigned)f->limit : pg_rows(r);
	for (unsigned i = 0; i < n; i++) {
		json_t *props = NULL;

		if (json_read_own(pg_text_or(r, i, 9, "{}"), &props, NULL) != OC_OK)
			props = json_object();
		json_array_append_new(list,
				      json_pack("{s:s,s:s,s:s,s:s,s:s,s:s?,s:o}", "src", pg_text(r, i, 3),
						"dst", pg_text(r, i, 4), "relation", pg_text(r, i, 5),
						"source", pg_text(r, i, 6), "since", pg_text(r, i, 7),
						"until", pg_text(r, i, 8), "props", props));
	}
	if (n && pg_rows(r) > n) {
		*ret_src = pg_int(r, n - 1, 0);
		*ret_dst = pg_int(r, n - 1, 1);
		snprintf(ret_rest, 64, "%s", pg_text(r, n - 1, 2));
	}
	*ret = list;
	return OC_OK;
}

static const char SQL_DISCOVERIES[] =
	"SELECT coalesce(json_agg(to_jsonb(d) - 'tenant_id' ORDER BY d.id DESC), '[]')::text FROM"
	" (SELECT * FROM topo_discovery WHERE tenant_id = $1::bigint ORDER BY id DESC LIMIT $2::int) d";

enum oc_err topology_discoveries_read(struct pg *pg, long long tenant_id, int limit, json_t **ret,
				      struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], n[16];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(n, sizeof(n), "%d", limit);
	err = pg_query(pg, SQL_DISCOVERIES, PG_ARGS(tenant, n), &r, reterr);
	return err == OC_OK ? json_read_own(pg_text_or(r, 0, 0, "[]"), ret, reterr) : err;
}
