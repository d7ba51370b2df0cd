-- 0010 topology: what a description of an installation holds, and what each reading of one did.

-- A resource as one description knows it: which build it says runs there. gone_at: it is described no more.
CREATE TABLE topo_resource (
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	source      text NOT NULL,			-- iac, ansible, ...: as in topo_edge_time
	stack       text NOT NULL,			-- which description
	resource_id bigint NOT NULL,
	address     text NOT NULL,
	versions    jsonb NOT NULL DEFAULT '{}',
	first_seen  timestamptz NOT NULL,
	last_seen   timestamptz NOT NULL,
	gone_at     timestamptz,
	PRIMARY KEY (tenant_id, source, stack, resource_id),
	FOREIGN KEY (tenant_id, resource_id) REFERENCES dim_resource (tenant_id, resource_id) ON DELETE CASCADE
);

CREATE TABLE topo_discovery (
	id          bigserial PRIMARY KEY,
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	source      text NOT NULL,
	stack       text NOT NULL,
	at          timestamptz NOT NULL,
	status      text NOT NULL CHECK (status IN ('applied', 'shrunk', 'failed')),
	resources   int NOT NULL DEFAULT 0,
	edges       int NOT NULL DEFAULT 0,
	opened      int NOT NULL DEFAULT 0,
	closed      int NOT NULL DEFAULT 0,
	kept        int NOT NULL DEFAULT 0,		-- shrunk: what would have been closed and was not
	changes     int NOT NULL DEFAULT 0,
	sentence    text,
	created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_topo_discovery ON topo_discovery (tenant_id, source, stack, id DESC);

-- The edges of one source that are open: what the next reading is compared with.
CREATE INDEX ix_topo_open ON topo_edge_time (tenant_id, source) WHERE upper_inf(valid);

SELECT opscase_secure('topo_resource', 'r'), opscase_secure('topo_discovery', 'r');
