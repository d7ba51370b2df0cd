-- 0015 kb known: what a provider embedded once is not paid for again; the built-in embedding needs no such look.
CREATE INDEX ix_kb_chunk_known ON kb_chunk (tenant_id, hash) WHERE embedding IS NOT NULL AND model NOT LIKE 'ngram-%';
