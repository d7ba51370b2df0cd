DROP INDEX ix_kb_chunk_known;
