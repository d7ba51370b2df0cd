-- 0006 detail: what finds a trace without opening segments, which objects are known, and what templates are to each other.

-- The traces of one segment, as detail/filter.h makes it: blocks of 64 bytes. Stored external, so that substring() fetches
-- the one block that is asked for.
CREATE TABLE detail_filter (
	locator_id bigint PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	blocks     int NOT NULL CHECK (blocks > 0),
	filter     bytea NOT NULL,
	CHECK (octet_length(filter) = 64 * blocks),
	FOREIGN KEY (tenant_id, locator_id) REFERENCES oo_locator (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE detail_filter ALTER COLUMN filter SET STORAGE EXTERNAL;
CREATE INDEX ix_detail_filter ON detail_filter (tenant_id, locator_id);

-- The sweep asks which of a thousand objects have a row.
CREATE INDEX ix_locator_object ON oo_locator (object_key);
-- What waits for a bucket, and what is oldest in a folder that is full.
CREATE INDEX ix_locator_bucket ON oo_locator (bucket, id);

-- The miner's fingerprint is the same in every replica and installation; fingerprint_id is this table's own. A template that
-- became more general has a new fingerprint: the old row says which, so that counts under it are still read.
ALTER TABLE log_pattern ADD COLUMN fingerprint bigint;
ALTER TABLE log_pattern ADD COLUMN general boolean NOT NULL DEFAULT false;
ALTER TABLE log_pattern ADD COLUMN merged_into bigint;
ALTER TABLE log_pattern ADD CONSTRAINT log_pattern_merged FOREIGN KEY (tenant_id, merged_into)
	REFERENCES log_pattern (tenant_id, fingerprint_id) ON DELETE SET NULL (merged_into);
ALTER TABLE log_pattern ADD CONSTRAINT log_pattern_merged_other CHECK (merged_into <> fingerprint_id);
CREATE UNIQUE INDEX ux_logpat_fingerprint ON log_pattern (tenant_id, fingerprint);
CREATE INDEX ix_logpat_merged ON log_pattern (tenant_id, merged_into) WHERE merged_into IS NOT NULL;

ALTER TABLE detail_filter OWNER TO opscase_owner;
SELECT opscase_secure('detail_filter', 'r');
