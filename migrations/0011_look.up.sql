-- 0011 look: a query inside a statement that rarely needs it. Written into the statement, every table that it reads
-- would be opened and locked each time; here they are touched only when the function is called. The first row's
-- columns as text, in order; NULL: no row. It runs with the caller's rights and policies.
CREATE FUNCTION opscase_look(query text, p_tenant bigint, p_case uuid) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	EXECUTE 'SELECT array_agg(value ORDER BY ordinality) FROM json_each_text((SELECT row_to_json(q) FROM ('
		|| query || ') q)) WITH ORDINALITY' INTO found USING p_tenant, p_case;
	RETURN found;
END $$;
ALTER FUNCTION opscase_look(text, bigint, uuid) OWNER TO opscase_owner;
REVOKE ALL ON FUNCTION opscase_look(text, bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION opscase_look(text, bigint, uuid) TO opscase_worker, opscase_api;
