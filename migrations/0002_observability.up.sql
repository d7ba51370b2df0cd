-- 0002 observability: resources, aggregates, log patterns, topology, knowledge, events and evidence, jobs.
-- The seeds' names and columns, with what the rules need added. Raw detail is not kept here: an
-- oo_locator row says where it lies.
--
-- Hypertables have no foreign keys (a dangling sample_ref reads "expired") and no row security
-- (TimescaleDB refuses compression together with it): see 0003 for the way in of opscase_api.
-- Elsewhere foreign keys carry tenant_id, so that no row can point into another tenant.

CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS age;

-- 1) what there is
CREATE TABLE dim_resource (
	resource_id bigserial PRIMARY KEY,
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	urn         text NOT NULL CHECK (urn ~ '^urn:[a-z0-9][a-z0-9-]*:.+' AND length(urn) <= 512),
	type        text NOT NULL,			-- the URN without its name: "k8s:svc", "host"
	name        text NOT NULL,
	env         text,
	region      text,
	zone        text,
	labels      jsonb NOT NULL DEFAULT '{}',
	created_at  timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, urn),
	UNIQUE (tenant_id, resource_id)
);
CREATE INDEX idx_res_type ON dim_resource (tenant_id, type);
CREATE INDEX idx_res_labels_gin ON dim_resource USING gin (labels);

-- 2) where the raw detail lies
CREATE TABLE oo_locator (
	id          bigserial PRIMARY KEY,
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	dataset     text NOT NULL,			-- logs, traces, metrics, exec
	bucket      text NOT NULL,
	object_key  text NOT NULL,
	t_from      timestamptz NOT NULL,
	t_to        timestamptz NOT NULL,
	query_hint  text,
	attributes  jsonb NOT NULL DEFAULT '{}',
	bytes       bigint,
	pinned      boolean NOT NULL DEFAULT false,	-- cited by evidence of a case that is kept
	created_at  timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, id),
	UNIQUE (tenant_id, dataset, bucket, object_key, t_from, t_to),
	CHECK (t_from <= t_to)
);
CREATE INDEX idx_oo_time ON oo_locator (tenant_id, dataset, t_from, t_to);

-- 3) metrics, one row per series and bucket
-- The series itself: whoever folds points into its buckets locks this row first, so that two requests
-- with the same series neither lose nor double. `state` is what the next cumulative point is compared with.
CREATE TABLE metric_series (
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	series_id   bigint NOT NULL,			-- first 8 bytes of SHA-256(resource, metric, labels)
	resource_id bigint NOT NULL,
	metric      text NOT NULL,
	labels      jsonb NOT NULL DEFAULT '{}',
	kind        text NOT NULL,			-- gauge, counter, histogram
	unit        text,
	state       jsonb NOT NULL DEFAULT '{}',
	created_at  timestamptz NOT NULL DEFAULT now(),
	updated_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, series_id),
	FOREIGN KEY (tenant_id, resource_id) REFERENCES dim_resource (tenant_id, resource_id) ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX ix_series_metric ON metric_series (tenant_id, resource_id, metric);

CREATE TABLE metric_1m (
	bucket      timestamptz NOT NULL,
	tenant_id   bigint NOT NULL,
	resource_id bigint NOT NULL,
	metric      text NOT NULL,
	avg_val     double precision,
	max_val     double precision,
	p95_val     double precision,
	labels      jsonb NOT NULL DEFAULT '{}',
	series_id   bigint NOT NULL,
	min_val     double precision,
	count       bigint NOT NULL DEFAULT 0 CHECK (count >= 0),
	sum         double precision,
	sketch      bytea,				-- domain/sketch.h; NULL: p95_val is all there is
	revision    int NOT NULL DEFAULT 0,		-- how often late data re-opened the bucket
	UNIQUE (bucket, tenant_id, series_id)
);
SELECT create_hypertable('metric_1m', by_range('bucket', interval '7 days'), create_default_indexes => false);
CREATE INDEX idx_metric_key ON metric_1m (tenant_id, resource_id, metric, bucket DESC);
CREATE INDEX idx_metric_labels ON metric_1m USING gin (labels);

-- 4) who calls whom, five minutes at a time
CREATE TABLE service_call_5m (
	bucket          timestamptz NOT NULL,
	tenant_id       bigint NOT NULL,
	src_resource_id bigint NOT NULL,
	dst_resource_id bigint NOT NULL,
	rps             double precision,
	err_rate        double precision,
	p50_ms          double precision,
	p95_ms          double precision,
	sample_ref      bigint,				-- oo_locator.id
	count           bigint NOT NULL DEFAULT 0 CHECK (count >= 0),
	errors          bigint NOT NULL DEFAULT 0 CHECK (errors >= 0),
	sketch          bytea,
	revision        int NOT NULL DEFAULT 0,
	PRIMARY KEY (bucket, tenant_id, src_resource_id, dst_resource_id)
);
SELECT create_hypertable('service_call_5m', by_range('bucket', interval '30 days'), create_default_indexes => false);
CREATE INDEX idx_call_src_dst ON service_call_5m (tenant_id, src_resource_id, dst_resource_id, bucket DESC);
CREATE INDEX idx_call_dst ON service_call_5m (tenant_id, dst_resource_id, bucket DESC);

-- 5) log patterns and their counts
CREATE TABLE log_pattern (
	fingerprint_id bigserial PRIMARY KEY,
	tenant_id      bigint NOT NULL REFERENCES dim_tenant,
	pattern        text NOT NULL,
	sample_message text,
	severity       text,
	attrs_schema   jsonb NOT NULL DEFAULT '{}',
	first_seen     timestamptz,
	last_seen      timestamptz,
	pattern_hash   text NOT NULL GENERATED ALWAYS AS (md5(pattern)) STORED,
	UNIQUE (tenant_id, pattern_hash),
	UNIQUE (tenant_id, fingerprint_id)
);
CREATE INDEX idx_logpat_tenant ON log_pattern (tenant_id, last_seen DESC);
CREATE INDEX idx_logpat_pattern_trgm ON log_pattern USING gin (pattern gin_trgm_ops);

CREATE TABLE log_pattern_5m (
	bucket         timestamptz NOT NULL,
	tenant_id      bigint NOT NULL,
	resource_id    bigint NOT NULL,
	fingerprint_id bigint NOT NULL,
	count_total    bigint NOT NULL,
	count_error    bigint NOT NULL DEFAULT 0,
	sample_ref     bigint,				-- oo_locator.id
	first_seen     timestamptz,
	last_seen      timestamptz,
	revision       int NOT NULL DEFAULT 0,
	PRIMARY KEY (bucket, tenant_id, resource_id, fingerprint_id),
	CHECK (count_error BETWEEN 0 AND count_total)
);
SELECT create_hypertable('log_pattern_5m', by_range('bucket', interval '30 days'), create_default_indexes => false);
CREATE INDEX idx_logpat5m_res ON log_pattern_5m (tenant_id, resource_id, bucket DESC);
CREATE INDEX idx_logpat5m_fp ON log_pattern_5m (tenant_id, fingerprint_id, bucket DESC);

-- 6) topology over time: an edge of one source is never valid twice at the same moment
CREATE TABLE topo_edge_time (
	tenant_id       bigint NOT NULL REFERENCES dim_tenant,
	src_resource_id bigint NOT NULL,
	dst_resource_id bigint NOT NULL,
	relation        text NOT NULL,			-- CALLS, DEPENDS_ON, RUNS_ON
	source          text NOT NULL,			-- who says so: ebpf, otlp, iac, ansible, person
	valid           tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),	-- [from, to)
	props           jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (tenant_id, src_resource_id, dst_resource_id, relation, source, valid),
	FOREIGN KEY (tenant_id, src_resource_id) REFERENCES dim_resource (tenant_id, resource_id) ON DELETE CASCADE,
	FOREIGN KEY (tenant_id, dst_resource_id) REFERENCES dim_resource (tenant_id, resource_id) ON DELETE CASCADE,
	CONSTRAINT topo_edge_once EXCLUDE USING gist (tenant_id WITH =, src_resource_id WITH =, dst_resource_id WITH =,
		relation WITH =, source WITH =, valid WITH &&)
);
CREATE INDEX idx_topo_valid ON topo_edge_time USING gist (tenant_id, src_resource_id, valid);
CREATE INDEX idx_topo_valid_dst ON topo_edge_time USING gist (tenant_id, dst_resource_id, valid);

-- 7) knowledge
CREATE TABLE kb_doc (
	doc_id     bigserial PRIMARY KEY,
	tenant_id  bigint NOT NULL REFERENCES dim_tenant,
	source     text,
	title      text,
	url        text,
	metadata   jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, doc_id)
);
CREATE INDEX ix_kb_doc_tenant ON kb_doc (tenant_id, created_at DESC);

CREATE TABLE kb_chunk (
	chunk_id   bigserial PRIMARY KEY,
	doc_id     bigint NOT NULL,
	chunk_idx  int NOT NULL,
	content    text NOT NULL,
	embedding  vector(1536),			-- shorter ones are filled up with zeros: the cosine stays
	metadata   jsonb NOT NULL DEFAULT '{}',
	tenant_id  bigint NOT NULL,
	model      text,				-- who embedded it; vectors of two models are never compared
	dims       int CHECK (dims BETWEEN 1 AND 1536),	-- of the model, before filling up
	FOREIGN KEY (tenant_id, doc_id) REFERENCES kb_doc (tenant_id, doc_id) ON DELETE CASCADE,
	UNIQUE (tenant_id, doc_id, chunk_idx),
	-- without a model the text alone is searched
	CHECK ((embedding IS NULL) = (model IS NULL) AND (embedding IS NULL) = (dims IS NULL))
);
CREATE INDEX idx_kb_chunk_meta ON kb_chunk USING gin (metadata);
CREATE INDEX idx_kb_chunk_text ON kb_chunk USING gin (content gin_trgm_ops);
CREATE INDEX idx_kb_vec_hnsw ON kb_chunk USING hnsw (embedding vector_cosine_ops);

-- 8) events and their evidence
CREATE TYPE severity AS ENUM ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL');

CREATE TABLE event_envelope (
	event_id     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	detected_at  timestamptz NOT NULL DEFAULT now(),
	tenant_id    bigint NOT NULL REFERENCES dim_tenant,
	resource_id  bigint,
	severity     severity NOT NULL,
	kind         text NOT NULL,			-- anomaly, slo_violation, deploy, incident, ...
	title        text,
	summary      text,
	labels       jsonb NOT NULL DEFAULT '{}',
	fingerprints jsonb NOT NULL DEFAULT '{}',
	case_id      uuid REFERENCES ops_case ON DELETE SET NULL,
	UNIQUE (tenant_id, event_id),
	FOREIGN KEY (tenant_id, resource_id) REFERENCES dim_resource (tenant_id, resource_id) ON DELETE CASCADE
);
CREATE INDEX idx_event_time ON event_envelope (tenant_id, detected_at DESC, event_id);
CREATE INDEX idx_event_resource ON event_envelope (tenant_id, resource_id, detected_at DESC);
CREATE INDEX idx_event_case ON event_envelope (case_id) WHERE case_id IS NOT NULL;

-- A primary key cannot be an expression: a running number, and a unique index over the reference's hash.
CREATE TABLE evidence_link (
	evidence_id bigserial PRIMARY KEY,
	event_id    uuid NOT NULL,
	dim         text NOT NULL,			-- metric, log, trace, topo, kb, change
	ref_pg      jsonb,				-- {"table": "...", "keys": {...}}
	ref_oo      bigint,
	note        text,
	ref_pg_hash text GENERATED ALWAYS AS (md5(coalesce(ref_pg::text, ''))) STORED,
	tenant_id   bigint NOT NULL,
	FOREIGN KEY (tenant_id, event_id) REFERENCES event_envelope (tenant_id, event_id) ON DELETE CASCADE,
	FOREIGN KEY (tenant_id, ref_oo) REFERENCES oo_locator (tenant_id, id)
);
CREATE UNIQUE INDEX ux_evidence_unique ON evidence_link (tenant_id, event_id, dim, ref_pg_hash, coalesce(ref_oo, 0));
CREATE INDEX idx_evidence_event ON evidence_link (event_id);
CREATE INDEX idx_evidence_oo ON evidence_link (tenant_id, ref_oo) WHERE ref_oo IS NOT NULL;

-- 9) jobs
CREATE TABLE etl_job_run (
	id          bigserial PRIMARY KEY,
	job         text NOT NULL,
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	window_from timestamptz NOT NULL,
	window_to   timestamptz NOT NULL,
	status      text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'success', 'failed')),
	attempts    int NOT NULL DEFAULT 0,
	not_before  timestamptz,
	lease_token uuid,
	lease_until timestamptz,
	rows_in     bigint,
	rows_out    bigint,
	error       text,
	created_at  timestamptz NOT NULL DEFAULT now(),
	started_at  timestamptz,
	finished_at timestamptz,
	CHECK (window_from < window_to)
);
CREATE UNIQUE INDEX ux_job_once ON etl_job_run (job, tenant_id, window_from, window_to);
CREATE INDEX ix_job_todo ON etl_job_run (status, not_before) WHERE status IN ('queued', 'running');

CREATE TABLE etl_job_circuit (
	job         text NOT NULL,
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	state       text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
	failures    int NOT NULL DEFAULT 0,
	reason      text,
	opened_at   timestamptz,
	retry_at    timestamptz,
	updated_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, job)
);

CREATE TABLE table_registry (
	table_name text NOT NULL,
	schema     jsonb,
	created_at timestamptz NOT NULL DEFAULT now(),
	tenant_id  bigint NOT NULL REFERENCES dim_tenant,
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, table_name)
);

-- 10) the active call graph: a view that can be rebuilt from service_call_5m. ag_catalog is always
-- spelled out and never comes first in search_path: it would shadow our own functions and types.
SELECT ag_catalog.create_graph('ops');
SELECT ag_catalog.create_vlabel('ops', 'Resource');
SELECT ag_catalog.create_elabel('ops', 'CALLS');
