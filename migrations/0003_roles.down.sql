DROP FUNCTION opscase_drop_chunks(regclass, timestamptz);
DROP FUNCTION opscase_tenant_by_code(text);
DROP FUNCTION opscase_token_used(uuid);
DROP FUNCTION opscase_token_lookup(bytea);
DROP FUNCTION log_patterns(bigint, bigint, timestamptz, timestamptz);
DROP FUNCTION service_calls(bigint, bigint, bigint, timestamptz, timestamptz);
DROP FUNCTION metric_window(bigint, bigint, text, timestamptz, timestamptz);
DROP FUNCTION opscase_tenant_check(bigint);
DROP FUNCTION opscase_secure(regclass, text);

-- What the up migration took over goes back to whoever runs this one.
DO $$
DECLARE
	t regclass;
	p record;
BEGIN
	FOR p IN SELECT polname, polrelid::regclass AS tab FROM pg_policy WHERE polname IN ('p_owner', 'p_worker', 'p_api') LOOP
		EXECUTE format('DROP POLICY %I ON %s', p.polname, p.tab);
	END LOOP;
	FOR t IN SELECT c.oid::regclass FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
	         WHERE r.rolname = 'opscase_owner' AND c.relkind = 'r'
	         AND c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace) LOOP
		EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %s OWNER TO CURRENT_USER', t);
		EXECUTE format('REVOKE ALL ON %s FROM opscase_worker, opscase_api', t);
	END LOOP;
END $$;
ALTER FUNCTION opscase_tenant() OWNER TO CURRENT_USER;
ALTER FUNCTION opscase_expect(bigint, bigint, text) OWNER TO CURRENT_USER;
ALTER TYPE severity OWNER TO CURRENT_USER;
ALTER SCHEMA ops OWNER TO CURRENT_USER;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public, ops FROM opscase_worker, opscase_api;
REVOKE ALL ON SCHEMA public, ops, ag_catalog FROM opscase_worker, opscase_api;
-- Not from oneself: whoever migrates as opscase_owner still has the rest to take down.
DO $$
BEGIN
	IF CURRENT_USER <> 'opscase_owner' THEN
		REVOKE ALL ON SCHEMA public FROM opscase_owner;
	END IF;
END $$;

-- The roles go with their last database; one that others still use stays.
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['opscase_api', 'opscase_worker', 'opscase_owner'] LOOP
		BEGIN
			IF r <> CURRENT_USER THEN
				EXECUTE format('DROP ROLE IF EXISTS %I', r);
			END IF;
		EXCEPTION WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
			RAISE NOTICE 'role % is used elsewhere and stays', r;
		END;
	END LOOP;
END $$;
