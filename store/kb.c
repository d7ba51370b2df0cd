#include "store/kb.h"

const char SQL_KB_LOCK[] = "INSERT INTO kb_state AS s (tenant_id) VALUES ($1::bigint) "
			   "ON CONFLICT (tenant_id) DO UPDATE SET updated_at = now() RETURNING s.rev + 1";

const char SQL_KB_STATE[] = "SELECT rev, chunks FROM kb_state WHERE tenant_id = $1::bigint";

const char SQL_KB_DONE[] =
	"UPDATE kb_state SET rev = $2::bigint, chunks = (SELECT count(*) FROM kb_chunk WHERE tenant_id = $1::bigint) "
	"WHERE tenant_id = $1::bigint";

const char SQL_KB_FIND[] =
	"SELECT doc_id, hash, state, title, kind, service, valid_from::text, valid_to::text FROM kb_doc "
	"WHERE tenant_id = $1::bigint AND url = $2 FOR UPDATE";

const char SQL_KB_PUT[] =
	"WITH changed AS (UPDATE kb_doc SET source = $3, title = $4, kind = $6, service = $7, valid_from = $8::timestamptz, "
	"valid_to = $9::timestamptz, hash = $10, metadata = $11::jsonb, rev = $12::bigint, state = 'live', superseded_by = NULL "
	"WHERE tenant_id = $1::bigint AND doc_id = $2::bigint RETURNING doc_id), "
	"added AS (INSERT INTO kb_doc (tenant_id, source, title, url, kind, service, valid_from, valid_to, hash, metadata, rev) "
	"SELECT $1::bigint, $3, $4, $5, $6, $7, $8::timestamptz, $9::timestamptz, $10, $11::jsonb, $12::bigint "
	"WHERE $2::bigint IS NULL RETURNING doc_id) SELECT doc_id FROM changed UNION ALL SELECT doc_id FROM added";

const char SQL_KB_CHUNKS[] =
	"SELECT chunk_id, chunk_idx, hash FROM kb_chunk WHERE tenant_id = $1::bigint AND doc_id = $2::bigint ORDER BY chunk_idx";

const char SQL_KB_DROP[] =
	"DELETE FROM kb_chunk WHERE tenant_id = $1::bigint AND chunk_id = ANY ($2::bigint[])";

const char SQL_KB_ASIDE[] = "UPDATE kb_chunk SET chunk_idx = -1 - chunk_idx WHERE tenant_id = $1::bigint "
			    "AND chunk_id = ANY ($2::bigint[]) AND chunk_idx >= 0";

const char SQL_KB_MOVE[] =
	"UPDATE kb_chunk c SET chunk_idx = m.at, rev = $4::bigint FROM unnest($2::bigint[], $3::int[]) AS m (id, at) "
	"WHERE c.tenant_id = $1::bigint AND c.chunk_id = m.id";

const char SQL_KB_ADD[] =
	"INSERT INTO kb_chunk (tenant_id, doc_id, chunk_idx, heading, content, hash, embedding, model, dims, rev) "
	"SELECT $1::bigint, n.doc, n.at, n.heading, n.content, n.hash, n.vec::vector, "
	"CASE WHEN n.vec IS NOT NULL THEN $8 END, CASE WHEN n.vec IS NOT NULL THEN $9::int END, $10::bigint "
	"FROM unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[]) "
	"AS n (doc, at, heading, content, hash, vec)";

/* Half of what is trusted above a half is gone after half a year without a new verdict. Only learned pages decay:
 * what people wrote holds until they say otherwise. */
#define TRUST_NOW                                                                    \
	"(CASE WHEN d.kind = 'case' AND d.trust > 0.5 THEN 0.5 + (d.trust - 0.5) * " \
	"power(0.5, extract(epoch FROM now() - d.trusted_at) / (180 * 86400.0)) ELSE d.trust END)::real"

const char SQL_KB_PAGES_NEW[] =
	"SELECT d.doc_id, d.title, d.service, d.kind, (extract(epoch FROM d.valid_from) * 1000000)::bigint, "
	"(extract(epoch FROM d.valid_to) * 1000000)::bigint, " TRUST_NOW ", d.state = 'live' FROM kb_doc d "
	"WHERE d.tenant_id = $1::bigint AND d.rev > $2::bigint";

const char SQL_KB_CHUNKS_NEW[] =
	"SELECT chunk_id, doc_id, heading, content FROM kb_chunk WHERE tenant_id = $1::bigint AND rev > $2::bigint "
	"AND chunk_id > $3::bigint ORDER BY chunk_id LIMIT $4::int";

const char SQL_KB_IDS[] = "SELECT chunk_id FROM kb_chunk WHERE tenant_id = $1::bigint";

const char SQL_KB_MODELS[] =
	"SELECT model, dims, state, chunks, encode(stats, 'hex') FROM kb_model WHERE tenant_id = $1::bigint "
	"ORDER BY state = 'live' DESC, created_at DESC";

const char SQL_KB_MODEL_PUT[] =
	"INSERT INTO kb_model (tenant_id, model, dims, state, chunks, stats) "
	"VALUES ($1::bigint, $2, $3::int, $4, $5::bigint, decode($6, 'hex')) ON CONFLICT (tenant_id, model) DO NOTHING";

const char SQL_KB_MODEL_LIVE[] =
	"WITH gone AS (DELETE FROM kb_model WHERE tenant_id = $1::bigint AND model <> $2) "
	"UPDATE kb_model SET state = 'live' WHERE tenant_id = $1::bigint AND model = $2";

#define NEAR_PAGE                                                                                   \
	"AND EXISTS (SELECT FROM kb_doc d WHERE d.tenant_id = c.tenant_id AND d.doc_id = c.doc_id " \
	"AND d.state = 'live' AND ($5::text IS NULL OR d.service IS NULL OR d.service = $5) "       \
	"AND ($6::text IS NULL OR d.kind = $6) AND ($7::timestamptz IS NULL OR "                    \
	"((d.valid_from IS NULL OR d.valid_from <= $7) AND (d.valid_to IS NULL OR $7 < d.valid_to)))) "
#define NEAR_FROM                                                                  \
	"SELECT c.chunk_id, c.doc_id, c.embedding <=> $3::vector FROM kb_chunk c " \
	"WHERE c.tenant_id = $1::bigint AND c.model = $2 "
#define NEAR_GRAPH "AND c.graphed ORDER BY c.embedding <=> $3::vector LIMIT $4::int"
#define NEAR_TAIL \
	"AND NOT c.graphed AND c.embedding IS NOT NULL ORDER BY c.embedding <=> $3::vector, c.chunk_id LIMIT $4::int"

const char SQL_KB_NEAR_GRAPH[] = NEAR_FROM NEAR_GRAPH;
const char SQL_KB_NEAR_TAIL[] = NEAR_FROM NEAR_TAIL;
const char SQL_KB_NEAR_GRAPH_WHERE[] = NEAR_FROM NEAR_PAGE NEAR_GRAPH;
const char SQL_KB_NEAR_TAIL_WHERE[] = NEAR_FROM NEAR_PAGE NEAR_TAIL;

const char SQL_KB_TYPO[] =
	"SELECT d.doc_id, (SELECT min(chunk_id) FROM kb_chunk c WHERE c.tenant_id = d.tenant_id AND c.doc_id = d.doc_id) "
	"FROM kb_doc d WHERE d.tenant_id = $1::bigint AND d.state = 'live' AND word_similarity(d.title, $2) > 0.4 "
	"ORDER BY word_similarity(d.title, $2) DESC, d.doc_id LIMIT $3::int";

const char SQL_KB_READ[] =
	"SELECT c.chunk_id, c.doc_id, d.title, d.url, d.source, d.kind, d.service, c.heading, "
	"CASE WHEN c.content = '' THEN coalesce((SELECT n.content FROM kb_chunk n WHERE n.tenant_id = c.tenant_id "
	"AND n.doc_id = c.doc_id AND n.content <> '' ORDER BY n.chunk_idx LIMIT 1), '') ELSE c.content END, d.state, "
	"d.case_id, d.valid_to::text FROM kb_chunk c JOIN kb_doc d ON d.tenant_id = c.tenant_id AND d.doc_id = c.doc_id "
	"WHERE c.tenant_id = $1::bigint AND c.chunk_id = ANY ($2::bigint[])";

/* The predicate is that of its index: what the built-in embedding makes costs less than a look. */
const char SQL_KB_KNOWN[] =
	"SELECT DISTINCT ON (hash) hash, embedding::text FROM kb_chunk WHERE tenant_id = $1::bigint AND model = $2 "
	"AND hash = ANY ($3::text[]) AND embedding IS NOT NULL AND model NOT LIKE 'ngram-%' ORDER BY hash";

const char SQL_KB_STALE[] =
	"SELECT c.chunk_id, d.title, c.heading, c.content, c.hash FROM kb_chunk c JOIN kb_doc d ON d.tenant_id = c.tenant_id "
	"AND d.doc_id = c.doc_id WHERE c.tenant_id = $1::bigint AND c.model IS DISTINCT FROM $2 "
	"LIMIT $3::int FOR UPDATE OF c SKIP LOCKED";

const char SQL_KB_EMBEDDED[] =
	"UPDATE kb_chunk c SET embedding = n.vec::vector, model = $4, dims = $5::int, graphed = false "
	"FROM unnest($2::bigint[], $3::text[]) AS n (id, vec) WHERE c.tenant_id = $1::bigint AND c.chunk_id = n.id";

const char SQL_KB_ALL_TEXTS[] =
	"SELECT c.chunk_id, d.title, c.heading, c.content FROM kb_chunk c JOIN kb_doc d ON d.tenant_id = c.tenant_id "
	"AND d.doc_id = c.doc_id WHERE c.tenant_id = $1::bigint AND c.chunk_id > $2::bigint ORDER BY c.chunk_id LIMIT $3::int";

const char SQL_KB_GRAPH_IN[] =
	"UPDATE kb_chunk SET graphed = true WHERE ctid = ANY (ARRAY(SELECT ctid FROM kb_chunk WHERE tenant_id = $1::bigint "
	"AND NOT graphed AND embedding IS NOT NULL LIMIT $2::int FOR UPDATE SKIP LOCKED)) AND tenant_id = $1::bigint";

const char SQL_KB_TENANTS[] =
	"SELECT s.tenant_id, s.chunks, (SELECT count(*) FROM kb_chunk c WHERE c.tenant_id = s.tenant_id AND c.embedding IS NULL), "
	"(SELECT count(*) FROM kb_chunk c WHERE c.tenant_id = s.tenant_id AND NOT c.graphed AND c.embedding IS NOT NULL) "
	"FROM kb_state s ORDER BY s.tenant_id";

const char SQL_KB_LIST[] =
	"SELECT d.doc_id, d.url, d.title, d.kind, d.service, d.state, " TRUST_NOW ", d.source, d.case_id, "
	"(SELECT count(*) FROM kb_chunk c WHERE c.tenant_id = d.tenant_id AND c.doc_id = d.doc_id), "
	"to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM kb_doc d "
	"WHERE d.tenant_id = $1::bigint AND ($2::text IS NULL OR d.state = $2) ORDER BY d.doc_id DESC LIMIT $3::int";

const char SQL_KB_DRAFT[] =
	"SELECT title, body, url, kind, service, state, case_id FROM kb_doc WHERE tenant_id = $1::bigint AND doc_id = $2::bigint "
	"FOR UPDATE";

const char SQL_KB_DECIDE[] =
	"UPDATE kb_doc SET state = $3, decided_by = $4, decided_at = now(), rev = $5::bigint, superseded_by = $6::bigint "
	"WHERE tenant_id = $1::bigint AND doc_id = $2::bigint";

const char SQL_KB_RETIRE_MISSING[] =
	"UPDATE kb_doc SET state = 'retired', rev = $4::bigint WHERE tenant_id = $1::bigint AND source = $2 AND state = 'live' "
	"AND url <> ALL ($3::text[]) RETURNING doc_id";

const char SQL_KB_USED[] =
	"INSERT INTO kb_use (tenant_id, case_id, plan_id, doc_id) SELECT $1::bigint, $2::uuid, $3::uuid, d.doc_id FROM kb_doc d "
	"WHERE d.tenant_id = $1::bigint AND d.doc_id = ANY ($4::bigint[]) ON CONFLICT DO NOTHING";

/* A learned page whose plan was verified gains a fifth of what it lacks; one whose plan did not help loses a third. */
const char SQL_KB_SETTLE[] =
	"WITH due AS (UPDATE kb_use u SET settled_at = now(), helped = v.verdict = 'PASS' FROM verdict v "
	"WHERE u.tenant_id = $1::bigint AND u.settled_at IS NULL AND v.tenant_id = u.tenant_id AND v.plan_id = u.plan_id "
	"AND v.verdict IN ('PASS', 'FAIL') RETURNING u.doc_id, v.verdict = 'PASS' AS good), "
	"told AS (SELECT doc_id, count(*) FILTER (WHERE good) AS up, count(*) FILTER (WHERE NOT good) AS down FROM due GROUP BY doc_id) "
	"UPDATE kb_doc d SET trust = (1 - (1 - d.trust) * power(0.8, t.up)) * power(0.67, t.down), trusted_at = now(), "
	"rev = $2::bigint FROM told t WHERE d.tenant_id = $1::bigint AND d.doc_id = t.doc_id AND d.kind = 'case'";
