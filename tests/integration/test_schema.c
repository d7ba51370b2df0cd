/* What the tables themselves promise: the seeds' names and columns, and the keys that hold the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *server;
static struct pg *db;
static long long tenant, other;

/* As the book prints them. */
static const struct {
	const char *table, *columns;
} book[] = {
	{ "dim_tenant",      "{tenant_id,code,name,labels,created_at}"                                    },
	{ "dim_resource",    "{resource_id,tenant_id,urn,type,name,env,region,zone,labels,created_at}"    },
	{ "oo_locator",      "{id,tenant_id,dataset,bucket,object_key,t_from,t_to,query_hint,attributes}" },
	{ "metric_1m",       "{bucket,tenant_id,resource_id,metric,avg_val,max_val,p95_val,labels}"       },
	{ "service_call_5m",
         "{bucket,tenant_id,src_resource_id,dst_resource_id,rps,err_rate,p50_ms,p95_ms,sample_ref}"       },
	{ "log_pattern",
         "{fingerprint_id,tenant_id,pattern,sample_message,severity,attrs_schema,first_seen,last_seen}"   },
	{ "log_pattern_5m",
         "{bucket,tenant_id,resource_id,fingerprint_id,count_total,count_error,sample_ref}"               },
	{ "topo_edge_time",  "{tenant_id,src_resource_id,dst_resource_id,relation,valid,props}"           },
	{ "kb_doc",          "{doc_id,tenant_id,source,title,url,metadata,created_at}"                    },
	{ "kb_chunk",        "{chunk_id,doc_id,chunk_idx,content,embedding,metadata}"                     },
	{ "event_envelope",
         "{event_id,detected_at,tenant_id,resource_id,severity,kind,title,summary,labels,fingerprints}"   },
	{ "evidence_link",   "{evidence_id,event_id,dim,ref_pg,ref_oo,note,ref_pg_hash}"                  },
	{ "table_registry",  "{table_name,schema,created_at}"                                             },
	{ "etl_job_run",     "{job,tenant_id}"							    },
	{ "etl_job_circuit", "{job,tenant_id}"							    },
};

static struct pg_result *ask(const char *sql)
{
	struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	if (pg_query(db, sql, PG_NO_ARGS, &r, &why) != OC_OK)
		fail_msg("%s (%s)", why.text, sql);
	return r;
}

/* "" when the statement went through, else its SQLSTATE. */
static const char *state_of(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *state_of(const char *fmt, ...)
{
	struct oc_fail why = { 0 };
	char *sql = NULL;
	enum oc_err err;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sql, fmt, ap) < 0)
		abort();
	va_end(ap);
	err = pg_script(db, sql, &why);
	free(sql);
	return err == OC_OK ? "" : pg_sqlstate(db);
}

static void the_books_tables_keep_their_names_and_columns(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(book); i++) {
		AUTO(str)
		char *sql = mem_printf(
			"SELECT c FROM unnest('%s'::text[]) AS c WHERE NOT EXISTS (SELECT FROM pg_attribute "
			"WHERE attrelid = '%s'::regclass AND attname = c AND attnum > 0)",
			book[i].columns, book[i].table);
		AUTO(pg_result) struct pg_result *r = ask(sql);

		if (pg_rows(r))
			fail_msg("%s has no column %s", book[i].table, pg_text(r, 0, 0));
	}
}

static void every_unique_key_has_the_tenant_in_it(void **state)
{
	/* drawn from a sequence or at random, or of the installation itself */
	AUTO(pg_result)
	struct pg_result *r = ask(
		"SELECT i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
		"WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace "
		"AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') "
		"AND pg_get_indexdef(i.indexrelid) NOT LIKE '%tenant_id%' "
		"AND NOT (i.indisprimary AND i.indnatts = 1) AND c.relname NOT IN ('dim_tenant', 'api_token')");

	(void)state;
	if (pg_rows(r))
		fail_msg("%s: %s", pg_text(r, 0, 0), pg_text(r, 0, 1));
}

static void hypertables_have_no_foreign_keys_and_the_chunks_of_the_book(void **state)
{
	AUTO(pg_result)
	struct pg_result *fk =
		ask("SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND conrelid IN "
		    "('metric_1m'::regclass, 'service_call_5m'::regclass, 'log_pattern_5m'::regclass)");
	AUTO(pg_result)
	struct pg_result *chunk = ask(
		"SELECT hypertable_name, extract(day FROM time_interval) FROM timescaledb_information.dimensions ORDER BY 1");

	(void)state;
	assert_int_equal(pg_rows(fk), 0);
	assert_int_equal(pg_rows(chunk), 3);
	assert_int_equal(pg_int(chunk, 0, 1), 30);
	assert_string_equal(pg_text(chunk, 1, 0), "metric_1m");
	assert_int_equal(pg_int(chunk, 1, 1), 7);
	assert_int_equal(pg_int(chunk, 2, 1), 30);
}

static long long resource(long long of, const char *urn)
{
	AUTO(str)
	char *sql = mem_printf(
		"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, '%s', 'svc', 'x') "
		"ON CONFLICT (tenant_id, urn) DO UPDATE SET name = 'x' RETURNING resource_id",
		of, urn);
	AUTO(pg_result) struct pg_result *r = ask(sql);

	return pg_int(r, 0, 0);
}

static void an_edge_is_not_valid_twice_at_once_from_one_source(void **state)
{
	long long a = resource(tenant, "urn:svc:a"), b = resource(tenant, "urn:svc:b");
	static const char edge[] =
		"INSERT INTO topo_edge_time (tenant_id, src_resource_id, dst_resource_id, relation, source, valid) "
		"VALUES (%lld, %lld, %lld, 'CALLS', '%s', '%s')";

	(void)state;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	assert_string_equal(state_of(edge, tenant, a, b, "otlp", "[2026-01-01,2026-02-01)"), "");
	assert_string_equal(state_of(edge, tenant, a, b, "otlp", "[2026-01-15,)"), "23P01");
	assert_string_equal(state_of(edge, tenant, a, b, "ebpf", "[2026-01-15,)"), "");
	assert_string_equal(state_of(edge, tenant, a, b, "otlp", "[2026-02-01,)"), "");
	/* nor into another tenant */
	assert_string_equal(state_of(edge, tenant, a, resource(other, "urn:svc:b"), "otlp", "[2026-01-01,)"),
			    "23503");
#pragma GCC diagnostic pop
}

static void the_same_evidence_is_linked_once(void **state)
{
	static const char event[] = "00000000-0000-7000-8000-0000000000e1";

	(void)state;
	assert_string_equal(
		state_of(
			"INSERT INTO event_envelope (event_id, tenant_id, severity, kind) VALUES ('%s', %lld, 'ERROR', 'x')",
			event, tenant),
		"");
	for (int i = 0; i < 2; i++)
		assert_string_equal(state_of("INSERT INTO evidence_link (event_id, tenant_id, dim, ref_pg) "
					     "VALUES ('%s', %lld, 'metric', '{\"table\":\"metric_1m\"}')",
					     event, tenant),
				    i ? "23505" : "");
	assert_string_equal(
		state_of(
			"INSERT INTO evidence_link (event_id, tenant_id, dim, ref_pg) VALUES ('%s', %lld, 'metric', '{}')",
			event, tenant),
		"");
}

static void a_job_runs_once_for_a_window(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		assert_string_equal(
			state_of("INSERT INTO etl_job_run (job, tenant_id, window_from, window_to) "
				 "VALUES ('oo-agg', %lld, '2026-01-01 00:00Z', '2026-01-01 00:01Z')",
				 tenant),
			i ? "23505" : "");
	assert_string_equal(state_of("INSERT INTO etl_job_run (job, tenant_id, window_from, window_to) "
				     "VALUES ('oo-agg', %lld, '2026-01-01 00:00Z', '2026-01-01 00:01Z')",
				     other),
			    "");
}

static void two_tenants_may_have_the_same_urn(void **state)
{
	(void)state;
	assert_int_not_equal(resource(tenant, "urn:host:same"), resource(other, "urn:host:same"));
	assert_string_equal(
		state_of(
			"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, 'urn:host:same', 'x', 'x')",
			tenant),
		"23505");
	assert_string_equal(
		state_of(
			"INSERT INTO dim_resource (tenant_id, urn, type, name) VALUES (%lld, 'host:same', 'x', 'x')",
			tenant),
		"23514");
}

static void one_bucket_of_a_series_is_one_row(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		assert_string_equal(
			state_of("INSERT INTO metric_1m (bucket, tenant_id, resource_id, metric, series_id) "
				 "VALUES ('2026-01-01', %lld, 1, 'm', 42)",
				 tenant),
			i ? "23505" : "");
}

static void the_nearest_chunk_is_found_by_its_cosine(void **state)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	(void)state;
	assert_string_equal(
		state_of(
			"INSERT INTO kb_doc (doc_id, tenant_id, title) VALUES (900, %lld, 'd');"
			"INSERT INTO kb_chunk (doc_id, tenant_id, chunk_idx, content, embedding, model, dims) "
			"SELECT 900, %lld, i, 'c' || i, (SELECT array_agg(CASE WHEN k = i THEN 1 ELSE 0.001 END ORDER BY k) "
			"FROM generate_series(1, 1536) AS k)::vector, 'test', 1536 FROM generate_series(1, 20) AS i",
			tenant, tenant),
		"");
	r = ask("SELECT content FROM kb_chunk ORDER BY embedding <=> (SELECT array_agg(CASE WHEN k = 7 THEN 5 ELSE 0 END ORDER BY k) "
		"FROM generate_series(1, 1536) AS k)::vector LIMIT 1");
	assert_string_equal(pg_text(r, 0, 0), "c7");
	/* an embedding says which model made it */
	assert_string_equal(
		state_of("INSERT INTO kb_chunk (doc_id, tenant_id, chunk_idx, content, model, dims) "
			 "VALUES (900, %lld, 99, 'x', 'test', 8)",
			 tenant),
		"23514");
}

static int begin(void **state)
{
	(void)state;
	server = pgtemp_shared();
	db = pgtemp_open(server->super);
	tenant = pgtemp_tenant(server, "one");
	other = pgtemp_tenant(server, "two");
	return 0;
}

static int end(void **state)
{
	(void)state;
	pg_close(db);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_books_tables_keep_their_names_and_columns),
		cmocka_unit_test(every_unique_key_has_the_tenant_in_it),
		cmocka_unit_test(hypertables_have_no_foreign_keys_and_the_chunks_of_the_book),
		cmocka_unit_test(an_edge_is_not_valid_twice_at_once_from_one_source),
		cmocka_unit_test(the_same_evidence_is_linked_once),
		cmocka_unit_test(a_job_runs_once_for_a_window),
		cmocka_unit_test(two_tenants_may_have_the_same_urn),
		cmocka_unit_test(one_bucket_of_a_series_is_one_row),
		cmocka_unit_test(the_nearest_chunk_is_found_by_its_cosine),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
