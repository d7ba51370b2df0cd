-- 0007 knowledge: what a page is about, since when it holds and how far it is trusted; chunks that are told apart by
-- their hash, so that only what changed is embedded again; and the models whose vectors they are.
ALTER TABLE kb_doc
	ADD COLUMN kind          text NOT NULL DEFAULT 'page' CHECK (kind ~ '^[a-z][a-z0-9_-]{0,31}$'),
	ADD COLUMN service       text,
	ADD COLUMN state         text NOT NULL DEFAULT 'live' CHECK (state IN ('draft', 'live', 'superseded', 'retired')),
	ADD COLUMN trust         real NOT NULL DEFAULT 1 CHECK (trust BETWEEN 0 AND 1),	-- as of trusted_at; it decays
	ADD COLUMN trusted_at    timestamptz NOT NULL DEFAULT now(),
	ADD COLUMN valid_from    timestamptz,
	ADD COLUMN valid_to      timestamptz,
	ADD COLUMN hash          text,			-- of the whole text
	ADD COLUMN body          text,			-- a draft's text, until a person accepts it
	ADD COLUMN case_id       uuid,			-- the case that it was learned from
	ADD COLUMN superseded_by bigint,
	ADD COLUMN decided_by    text,			-- who accepted or retired it
	ADD COLUMN decided_at    timestamptz,
	ADD COLUMN rev           bigint NOT NULL DEFAULT 0;
UPDATE kb_doc SET state = 'draft', kind = 'case' WHERE metadata ->> 'state' = 'draft';
CREATE UNIQUE INDEX ux_kb_doc_url ON kb_doc (tenant_id, url) WHERE url IS NOT NULL;
CREATE INDEX ix_kb_doc_rev ON kb_doc (tenant_id, rev);

-- A vector of 1536 is 6 kB and fits a page: kept in the row, an exact scan needs no second read for each.
ALTER TABLE kb_chunk ALTER COLUMN embedding SET STORAGE PLAIN;
ALTER TABLE kb_chunk
	ADD COLUMN heading text NOT NULL DEFAULT '',	-- "Page > Section"
	ADD COLUMN hash    text,
	ADD COLUMN rev     bigint NOT NULL DEFAULT 0,
	ADD COLUMN graphed boolean NOT NULL DEFAULT false;	-- in the HNSW graph; what is not is scanned exactly
CREATE INDEX ix_kb_chunk_rev ON kb_chunk (tenant_id, rev);
CREATE INDEX ix_kb_chunk_tail ON kb_chunk (tenant_id) WHERE NOT graphed AND embedding IS NOT NULL;
CREATE INDEX ix_kb_chunk_bare ON kb_chunk (tenant_id) WHERE embedding IS NULL;
-- Small tenants never come in here: scanning a few thousand vectors is quicker than walking a graph, and exact.
DROP INDEX idx_kb_vec_hnsw;
CREATE INDEX idx_kb_vec_hnsw ON kb_chunk USING hnsw (embedding vector_cosine_ops) WHERE graphed;

-- Writers of one tenant's knowledge take turns on this row, so revisions commit in their order and a reader that knows
-- one revision reads what is newer.
CREATE TABLE kb_state (
	tenant_id  bigint PRIMARY KEY REFERENCES dim_tenant,
	rev        bigint NOT NULL DEFAULT 0,
	chunks     bigint NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE kb_model (
	tenant_id  bigint NOT NULL REFERENCES dim_tenant,
	model      text NOT NULL,
	dims       int NOT NULL CHECK (dims BETWEEN 1 AND 1536),
	state      text NOT NULL CHECK (state IN ('live', 'building')),
	chunks     bigint NOT NULL,			-- how many there were when its statistics were taken
	stats      bytea,				-- of the built-in model: how rare words are
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, model)
);
-- Which pages a plan was made with: where a recall came from, and whose trust its verdict moves.
CREATE TABLE kb_use (
	tenant_id  bigint NOT NULL,
	case_id    uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	plan_id    uuid NOT NULL,
	doc_id     bigint NOT NULL,
	helped     boolean,
	settled_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, plan_id, doc_id),
	FOREIGN KEY (tenant_id, doc_id) REFERENCES kb_doc (tenant_id, doc_id) ON DELETE CASCADE
);
CREATE INDEX ix_kb_use_open ON kb_use (tenant_id, plan_id) WHERE settled_at IS NULL;
SELECT opscase_secure('kb_use', 'r');
SELECT opscase_secure('kb_state', 'r');
SELECT opscase_secure('kb_model', 'r');
