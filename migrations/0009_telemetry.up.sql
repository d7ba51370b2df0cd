-- 0009 telemetry: how far the stream is folded, and calls whose other half has not come yet.

-- One row for each reader of the stream. `seq` moves in the transaction that writes what was read, so the same
-- message is never folded twice, and a reader that lost its lead finds another seq and writes nothing.
CREATE TABLE tel_position (
	kind       text NOT NULL,		-- metrics, logs, spans, dead
	part       int NOT NULL,
	seq        bigint NOT NULL DEFAULT 0,	-- everything up to here is folded
	stream     text NOT NULL DEFAULT '',	-- when the stream was made: another one begins at 1 again
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (kind, part)
);

-- A client's span waits for the server's, and the other way round. `key` is trace id and the client's span id in hex.
CREATE TABLE call_pending (
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	part        int NOT NULL,
	key         text NOT NULL,
	side        char NOT NULL CHECK (side IN ('c', 's')),
	start_us    bigint NOT NULL,
	duration_us bigint NOT NULL,
	error       boolean NOT NULL,
	service     text NOT NULL,		-- URN of who sent the span
	peer        text,			-- URN of whom the client says that it called
	arrived_us  bigint NOT NULL,
	PRIMARY KEY (tenant_id, part, key, side)
);
CREATE INDEX ix_call_pending_age ON call_pending (part, arrived_us);

SELECT opscase_secure('tel_position', '');
SELECT opscase_secure('call_pending', 'r');
