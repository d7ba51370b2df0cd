DROP TABLE kb_use, kb_model, kb_state;
DROP INDEX idx_kb_vec_hnsw;
CREATE INDEX idx_kb_vec_hnsw ON kb_chunk USING hnsw (embedding vector_cosine_ops);
DROP INDEX ix_kb_chunk_bare;
ALTER TABLE kb_chunk DROP COLUMN heading, DROP COLUMN hash, DROP COLUMN rev, DROP COLUMN graphed;
ALTER TABLE kb_chunk ALTER COLUMN embedding SET STORAGE EXTERNAL;
DROP INDEX ux_kb_doc_url;
ALTER TABLE kb_doc DROP COLUMN kind, DROP COLUMN service, DROP COLUMN state, DROP COLUMN trust, DROP COLUMN trusted_at,
	DROP COLUMN valid_from, DROP COLUMN valid_to, DROP COLUMN hash, DROP COLUMN body, DROP COLUMN case_id,
	DROP COLUMN superseded_by, DROP COLUMN decided_by, DROP COLUMN decided_at, DROP COLUMN rev;
