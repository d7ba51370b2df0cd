-- 0003 roles: who may see and write what.
--   opscase_owner   owns every table; migrations run as it or as a superuser
--   opscase_worker  the roles' threads: batches span tenants, every statement has a tenant predicate
--   opscase_api     people's requests: one tenant per transaction, set by set_config('opscase.tenant', $1, true);
--                   unset means no rows. Never a superuser, never BYPASSRLS.
-- Roles belong to the cluster, so they may be there already. They get no password here: the embedded
-- default lets them in by its private socket, elsewhere whoever installs gives them one.
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['opscase_owner', 'opscase_worker', 'opscase_api'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
			BEGIN
				EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', r);
			EXCEPTION WHEN duplicate_object OR unique_violation THEN
				NULL;	-- another database of the cluster was quicker
			END;
		END IF;
		IF EXISTS (SELECT FROM pg_roles WHERE rolname = r AND r <> 'opscase_owner' AND (rolsuper OR rolbypassrls)) THEN
			RAISE EXCEPTION 'role % is a superuser or has BYPASSRLS: tenants would see each other', r;
		END IF;
	END LOOP;
END $$;

GRANT USAGE, CREATE ON SCHEMA public TO opscase_owner;
GRANT USAGE ON SCHEMA public TO opscase_worker, opscase_api;

-- Puts one table under the rules. Every later migration calls it for each table that it makes; a test
-- walks the catalog and fails for a table that was forgotten.
--   access: what opscase_api may do with rows of its tenant: 'rw' (no DELETE), 'rwd', 'r', or '' for nothing.
CREATE FUNCTION opscase_secure(tab regclass, access text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	hyper  boolean := EXISTS (SELECT FROM timescaledb_information.hypertables h
	                          WHERE format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass = tab);
	tenant boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = tab AND attname = 'tenant_id' AND NOT attisdropped);
	seq    regclass;
BEGIN
	EXECUTE format('ALTER TABLE %s OWNER TO opscase_owner', tab);
	EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, opscase_api, opscase_worker', tab);
	EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO opscase_worker', tab);
	FOR seq IN SELECT d.objid::regclass FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
	           WHERE d.refobjid = tab AND d.deptype IN ('a', 'i') LOOP
		EXECUTE format('GRANT USAGE ON SEQUENCE %s TO opscase_worker, opscase_api', seq);
	END LOOP;
	IF hyper THEN
		IF access <> '' THEN
			RAISE EXCEPTION 'hypertable % has no row security: opscase_api reads it through functions only', tab;
		END IF;
		RETURN;
	END IF;
	IF access LIKE 'r%' THEN
		EXECUTE format('GRANT SELECT ON %s TO opscase_api', tab);
	END IF;
	IF access LIKE 'rw%' THEN
		EXECUTE format('GRANT INSERT, UPDATE ON %s TO opscase_api', tab);
	END IF;
	IF access = 'rwd' THEN
		EXECUTE format('GRANT DELETE ON %s TO opscase_api', tab);
	END IF;
	IF NOT tenant THEN
		IF access LIKE 'rw%' THEN
			RAISE EXCEPTION 'table % belongs to the installation: opscase_api may read it at most', tab;
		END IF;
		RETURN;
	END IF;
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tab);
	EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tab);
	EXECUTE format('DROP POLICY IF EXISTS p_owner ON %s', tab);
	EXECUTE format('DROP POLICY IF EXISTS p_worker ON %s', tab);
	EXECUTE format('DROP POLICY IF EXISTS p_api ON %s', tab);
	EXECUTE format('CREATE POLICY p_owner ON %s TO opscase_owner USING (true) WITH CHECK (true)', tab);
	EXECUTE format('CREATE POLICY p_worker ON %s TO opscase_worker USING (true) WITH CHECK (true)', tab);
	EXECUTE format('CREATE POLICY p_api ON %s TO opscase_api USING (tenant_id = opscase_tenant()) '
	               'WITH CHECK (tenant_id = opscase_tenant())', tab);
END $$;
REVOKE ALL ON FUNCTION opscase_secure(regclass, text) FROM PUBLIC;

SELECT opscase_secure(t.name::regclass, t.access) FROM (VALUES
	-- of the installation: no tenant
	('installation', 'r'), ('policy_version', 'r'),
	-- the case: written by the one door, also for people's requests
	('dim_tenant', 'r'), ('api_token', 'rw'), ('ops_case', 'rw'), ('case_body', 'rw'), ('case_timeline', 'rw'),
	('outbox', 'rw'), ('inbox', 'rw'), ('idempotency', 'rwd'), ('approval', 'rw'), ('notification', 'rw'),
	('webhook_delivery', 'rw'), ('dead_letter', 'rw'), ('llm_call', 'rw'),
	-- what the roles produce is never written on a person's behalf: a decision, a run or a verdict that
	-- a request could write would be worth nothing
	('plan_proposed', 'r'), ('plan_approved', 'r'), ('gate_decision', 'r'), ('remediation_budget', 'r'),
	('exec_run', 'r'), ('exec_step', 'r'), ('target_lock', 'r'), ('verdict', 'r'), ('finding', 'r'),
	('timeline_checkpoint', 'r'), ('case_tombstone', 'r'),
	-- observability
	('dim_resource', 'rw'), ('oo_locator', 'r'), ('metric_series', 'r'), ('log_pattern', 'r'), ('topo_edge_time', 'r'),
	('kb_doc', 'rwd'), ('kb_chunk', 'rwd'), ('event_envelope', 'rw'), ('evidence_link', 'rw'),
	('etl_job_run', 'rw'), ('etl_job_circuit', 'r'), ('table_registry', 'rwd'),
	('metric_1m', ''), ('service_call_5m', ''), ('log_pattern_5m', '')
) AS t (name, access);

ALTER FUNCTION opscase_tenant() OWNER TO opscase_owner;
ALTER FUNCTION opscase_expect(bigint, bigint, text) OWNER TO opscase_owner;
ALTER FUNCTION opscase_secure(regclass, text) OWNER TO opscase_owner;
ALTER TYPE severity OWNER TO opscase_owner;

-- The graph is the workers' own; readers get their functions when there is something to ask it.
ALTER SCHEMA ops OWNER TO opscase_owner;
DO $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'ops'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('ALTER TABLE %s OWNER TO opscase_owner', t);
	END LOOP;
END $$;
GRANT USAGE ON SCHEMA ops, ag_catalog TO opscase_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ops TO opscase_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA ops TO opscase_worker;

-- ---- the ways of opscase_api into what has no row security

-- Refuses another tenant, and none: a forgotten set_config must not read as "everybody".
CREATE FUNCTION opscase_tenant_check(want bigint) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF want IS NULL OR want IS DISTINCT FROM opscase_tenant() THEN
		RAISE EXCEPTION 'this is not the tenant of the session' USING ERRCODE = '42501';
	END IF;
END $$;

-- NULL for resource, metric, source or destination: all of the tenant's.
CREATE FUNCTION metric_window(p_tenant bigint, p_resource bigint, p_metric text, p_from timestamptz, p_to timestamptz)
RETURNS SETOF metric_1m LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
	PERFORM opscase_tenant_check(p_tenant);
	RETURN QUERY SELECT * FROM metric_1m m
		WHERE m.tenant_id = p_tenant AND m.bucket >= p_from AND m.bucket < p_to
		AND (p_resource IS NULL OR m.resource_id = p_resource) AND (p_metric IS NULL OR m.metric = p_metric)
		ORDER BY m.bucket, m.series_id;
END $$;

CREATE FUNCTION service_calls(p_tenant bigint, p_src bigint, p_dst bigint, p_from timestamptz, p_to timestamptz)
RETURNS SETOF service_call_5m LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
	PERFORM opscase_tenant_check(p_tenant);
	RETURN QUERY SELECT * FROM service_call_5m c
		WHERE c.tenant_id = p_tenant AND c.bucket >= p_from AND c.bucket < p_to
		AND (p_src IS NULL OR c.src_resource_id = p_src) AND (p_dst IS NULL OR c.dst_resource_id = p_dst)
		ORDER BY c.bucket, c.src_resource_id, c.dst_resource_id;
END $$;

CREATE FUNCTION log_patterns(p_tenant bigint, p_resource bigint, p_from timestamptz, p_to timestamptz)
RETURNS SETOF log_pattern_5m LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
	PERFORM opscase_tenant_check(p_tenant);
	RETURN QUERY SELECT * FROM log_pattern_5m l
		WHERE l.tenant_id = p_tenant AND l.bucket >= p_from AND l.bucket < p_to
		AND (p_resource IS NULL OR l.resource_id = p_resource)
		ORDER BY l.bucket, l.resource_id, l.fingerprint_id;
END $$;

-- Who stands behind a bearer token. The tenant is not known yet: one row or none, by the hash alone.
CREATE FUNCTION opscase_token_lookup(p_hash bytea)
RETURNS TABLE (id uuid, tenant_id bigint, tenant text, name text, role text, expires_at timestamptz, revoked_at timestamptz,
	tenant_disabled_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
	SELECT a.id, a.tenant_id, t.code, a.name, a.role, a.expires_at, a.revoked_at, t.disabled_at, a.last_used_at
	FROM api_token a LEFT JOIN dim_tenant t USING (tenant_id) WHERE a.token_hash = p_hash
$$;

-- At most one write a minute for each token.
CREATE FUNCTION opscase_token_used(p_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
	UPDATE api_token SET last_used_at = now()
	WHERE id = p_id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
$$;

CREATE FUNCTION opscase_tenant_by_code(p_code text)
RETURNS TABLE (tenant_id bigint, code text, name text, labels jsonb, disabled_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
	SELECT t.tenant_id, t.code, t.name, t.labels, t.disabled_at FROM dim_tenant t WHERE t.code = p_code
$$;

-- Only a hypertable's owner may drop its chunks; the retention job is a worker.
CREATE FUNCTION opscase_drop_chunks(p_table regclass, p_older_than timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
	n bigint;
BEGIN
	SELECT count(*) INTO n FROM drop_chunks(p_table, older_than => p_older_than);
	RETURN n;
END $$;

DO $$
DECLARE
	f regprocedure;
BEGIN
	FOREACH f IN ARRAY ARRAY['opscase_tenant_check(bigint)',
		'metric_window(bigint, bigint, text, timestamptz, timestamptz)',
		'service_calls(bigint, bigint, bigint, timestamptz, timestamptz)',
		'log_patterns(bigint, bigint, timestamptz, timestamptz)',
		'opscase_token_lookup(bytea)', 'opscase_token_used(uuid)', 'opscase_tenant_by_code(text)',
		'opscase_drop_chunks(regclass, timestamptz)']::regprocedure[] LOOP
		EXECUTE format('ALTER FUNCTION %s OWNER TO opscase_owner', f);
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO opscase_worker', f);
		IF f <> 'opscase_drop_chunks(regclass, timestamptz)'::regprocedure THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO opscase_api', f);
		END IF;
	END LOOP;
END $$;

-- /readyz asks which migrations are in place.
DO $$
BEGIN
	IF to_regclass('public.schema_migration') IS NOT NULL THEN
		ALTER TABLE schema_migration OWNER TO opscase_owner;
		GRANT SELECT ON schema_migration TO opscase_worker, opscase_api;
	END IF;
END $$;
