/* kb.h - statements of the librarian: pages, their chunks, and the models whose vectors they have.
 *
 * Every one has a tenant predicate ($1 is the tenant). Writers begin with SQL_KB_LOCK, which gives them the revision
 * that they write; readers load what is newer than the revision they know. */
#pragma once

extern const char SQL_KB_LOCK[];  /* tenant: makes and locks its kb_state row; rev */
extern const char SQL_KB_STATE[]; /* tenant: rev, chunks */
extern const char SQL_KB_DONE[];  /* tenant, rev: counts the chunks again and puts the revision */

/* tenant, url: doc_id, hash, state, title, kind, service, valid_from, valid_to as texts; locked */
extern const char SQL_KB_FIND[];
/* tenant, doc_id or NULL, source, title, url, kind, service, valid_from, valid_to, hash, metadata, rev: doc_id */
extern const char SQL_KB_PUT[];
extern const char SQL_KB_CHUNKS[]; /* tenant, doc_id: chunk_id, chunk_idx, hash */
extern const char SQL_KB_DROP[];   /* tenant, chunk ids */
extern const char SQL_KB_MOVE[];   /* tenant, chunk ids, places, rev; after SQL_KB_ASIDE */
extern const char SQL_KB_ASIDE[];  /* tenant, chunk ids: out of the way of SQL_KB_MOVE */
/* tenant, doc ids, places, headings, contents, hashes, vectors, model, dims, rev; the lists go together */
extern const char SQL_KB_ADD[];

extern const char SQL_KB_PAGES_NEW[]; /* tenant, rev: pages with a newer one, see enum kb_page_col */
extern const char
	SQL_KB_CHUNKS_NEW[];    /* tenant, rev, after chunk_id, limit: chunk_id, doc_id, heading, content */
extern const char SQL_KB_IDS[]; /* tenant: every chunk_id */
enum kb_page_col {
	KB_DOC,
	KB_TITLE,
	KB_SERVICE,
	KB_KIND,
	KB_FROM_US,
	KB_TO_US,
	KB_TRUST, /* as of now: half of what it is above a half is gone after KB_TRUST_HALF_DAYS */
	KB_LIVE,
};

extern const char SQL_KB_MODELS[]; /* tenant: model, dims, state, chunks, stats in hex or NULL; live first */
extern const char SQL_KB_MODEL_PUT[];  /* tenant, model, dims, state, chunks, stats in hex or NULL */
extern const char SQL_KB_MODEL_LIVE[]; /* tenant, model: it is, and the others are gone */

/* The nearest chunks: tenant, model, vector, limit: chunk_id, doc_id, distance. Of the graph, and of what is not in it.
 * The _WHERE ones look at pages first: and service, kind, time (each may be NULL). */
extern const char SQL_KB_NEAR_GRAPH[];
extern const char SQL_KB_NEAR_TAIL[];
extern const char SQL_KB_NEAR_GRAPH_WHERE[];
extern const char SQL_KB_NEAR_TAIL_WHERE[];
extern const char
	SQL_KB_TYPO[]; /* tenant, text, limit: pages whose title looks like it: doc_id, first chunk_id */
/* tenant, chunk ids: chunk_id, doc_id, title, url, source, kind, service, heading, content, state, case_id, valid_to */
extern const char SQL_KB_READ[];

/* tenant, a provider's model, hashes: hash and vector of chunks that say the same */
extern const char SQL_KB_KNOWN[];
/* Re-embedding: tenant, model, limit: chunk_id, doc title, heading, content, hash of chunks that have another model or none;
 * locked, those that somebody else has are skipped. */
extern const char SQL_KB_STALE[];
extern const char SQL_KB_EMBEDDED[];  /* tenant, chunk ids, vectors, model, dims */
extern const char SQL_KB_ALL_TEXTS[]; /* tenant, after chunk_id, limit: chunk_id, title, heading, content */
extern const char SQL_KB_GRAPH_IN[];  /* tenant, limit: puts so many of the tail into the graph */
extern const char SQL_KB_TENANTS[];   /* tenants with knowledge: tenant_id, chunks, bare, tail */

/* tenant, state or NULL, limit: doc_id, url, title, kind, service, state, trust now, source, case_id, chunks, created */
extern const char SQL_KB_LIST[];
extern const char SQL_KB_DRAFT[];  /* tenant, doc_id: title, body, url, kind, service, state; locked */
extern const char SQL_KB_DECIDE[]; /* tenant, doc_id, state, who, rev, superseded_by or NULL */
/* tenant, source, urls that stay, rev: retires the others of the source; doc_id each */
extern const char SQL_KB_RETIRE_MISSING[];
extern const char
	SQL_KB_USED[]; /* tenant, case_id, plan_id, doc ids: the plan was made with these pages at hand */
/* tenant, rev: verdicts that came meanwhile move the trust of what their plans were made with */
extern const char SQL_KB_SETTLE[];
