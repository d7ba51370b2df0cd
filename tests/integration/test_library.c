/* Knowledge over real tables: what is embedded again, what is found, and by whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "librarian/library.h"
#include "tests/support/pgtemp.h"

static struct pgtemp *server;
static struct pg *db; /* as opscase_worker */
static struct library *lib;
static long long tenant, other;

static struct pg_result *ask_sql(const char *sql)
{
	struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	if (pg_query(db, sql, PG_NO_ARGS, &r, &why) != OC_OK)
		fail_msg("%s in %s", why.text, sql);
	return r;
}

static long long number(const char *sql)
{
	AUTO(pg_result) struct pg_result *r = ask_sql(sql);

	return pg_rows(r) ? pg_int(r, 0, 0) : -1;
}

static int set_up(void **state)
{
	struct oc_fail fail = { 0 };

	(void)state;
	server = pgtemp_shared();
	pgtemp_exec(server, "TRUNCATE kb_doc, kb_chunk, kb_state, kb_model, kb_use");
	tenant = pgtemp_tenant(server, "ten");
	other = pgtemp_tenant(server, "other");
	db = pgtemp_open(server->worker);
	return library_new(&(struct library_config){ .exact_chunks = 100 }, &lib, &fail) == OC_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	library_free(lib);
	pg_close(db);
	return 0;
}

static struct library_sum put(long long of, const char *url, const char *text)
{
	struct library_sum sum = { 0 };
	struct oc_fail why = { 0 };

	if (library_put(lib, db, of, &(struct library_page){ .url = url, .text = text, .source = "test" }, 1,
			&sum, NULL, &why) != OC_OK)
		fail_msg("%s", why.text);
	return sum;
}

static json_t *search(long long of, const char *text, enum library_how how)
{
	struct library_question q = { .text = text, .limit = 5, .how = how };
	struct oc_fail why = { 0 };
	json_t *hits = NULL;

	if (library_ask(lib, db, of, &q, &hits, NULL, &why) != OC_OK)
		fail_msg("%s", why.text);
	return hits;
}

static void assert_first(long long of, const char *text, enum library_how how, const char *url)
{
	AUTO(json) json_t *hits = search(of, text, how);

	if (!url)
		assert_int_equal(json_array_size(hits), 0);
	else
		assert_string_equal(json_str_or(json_array_get(hits, 0), "url", "nothing"), url);
}

static const char etcd[] =
	"# Etcd is slow\nWrites take long.\n## Cause\nThe disk is slow.\n## Repair\nMove the data.\n";
static const char memory[] = "# Out of memory\nThe kernel ended a container.\n## Repair\nRaise the limit.\n";

static void only_what_changed_is_embedded_again(void **state)
{
	struct library_sum sum = put(tenant, "etcd.md", etcd);
	long long kept;

	(void)state;
	assert_int_equal(sum.added, 4); /* the page's head, and three sections */
	kept = number("SELECT max(chunk_id) FROM kb_chunk");
	sum = put(tenant, "etcd.md", etcd);
	assert_int_equal(sum.same, 1);
	assert_int_equal(sum.added, 0);
	/* one section changed, one came before it */
	sum = put(
		tenant, "etcd.md",
		"# Etcd is slow\nWrites take long.\n## Impact\nNo leader.\n## Cause\nThe disk is slow.\n## Repair\nBuy a disk.\n");
	assert_int_equal(sum.added, 2);
	assert_int_equal(sum.kept, 3);
	assert_int_equal(sum.dropped, 1);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk"), 5);
	assert_int_equal(number("SELECT chunk_idx FROM kb_chunk WHERE content = 'The disk is slow.'"), 3);
	assert_true(number("SELECT chunk_id FROM kb_chunk WHERE content = 'The disk is slow.'") <= kept);
	assert_int_equal(number("SELECT chunks FROM kb_state"), 5);
	assert_first(tenant, "buy a disk", LIBRARY_WORDS, "etcd.md");
	assert_first(tenant, "move data", LIBRARY_WORDS, NULL);
}

static void words_vectors_and_both_find_the_page(void **state)
{
	(void)state;
	put(tenant, "etcd.md", etcd);
	put(tenant, "memory.md", memory);
	assert_first(tenant, "container killed out of memory", LIBRARY_WORDS, "memory.md");
	assert_first(tenant, "container killed out of memory", LIBRARY_VECTOR, "memory.md");
	assert_first(tenant, "container killed out of memory", LIBRARY_FUSED, "memory.md");
	assert_first(tenant, "容器内存溢出", LIBRARY_FUSED, "memory.md");
	/* a title that was mistyped: no word fits, its trigrams do */
	assert_first(tenant, "etdc is sloow", LIBRARY_FUSED, "etcd.md");
}

static void a_tenant_finds_only_its_own(void **state)
{
	(void)state;
	put(tenant, "etcd.md", etcd);
	put(other, "memory.md", memory);
	assert_first(tenant, "container out of memory", LIBRARY_WORDS, NULL);
	assert_first(other, "container out of memory", LIBRARY_WORDS, "memory.md");
	assert_first(other, "container out of memory", LIBRARY_VECTOR, "memory.md");
	AUTO(json) json_t *hits = search(tenant, "container out of memory", LIBRARY_VECTOR);
	assert_int_equal(json_array_size(hits), 1); /* the nearest of its own, however far */
	assert_string_equal(json_str(json_array_get(hits, 0), "url"), "etcd.md");
}

static void pages_that_left_the_folder_are_retired(void **state)
{
	const char *const stay[] = { "etcd.md" };
	struct oc_fail why = { 0 };
	unsigned n = 0;

	(void)state;
	put(tenant, "etcd.md", etcd);
	put(tenant, "memory.md", memory);
	assert_int_equal(library_keep_only(lib, db, tenant, "test", stay, 1, &n, &why), OC_OK);
	assert_int_equal(n, 1);
	assert_first(tenant, "container out of memory", LIBRARY_WORDS, NULL);
	/* it comes back */
	put(tenant, "memory.md", memory);
	assert_first(tenant, "container out of memory", LIBRARY_WORDS, "memory.md");
}

static void a_draft_is_found_when_a_person_has_accepted_it(void **state)
{
	struct oc_fail why = { 0 };
	AUTO(json) json_t *drafts = NULL;
	long long doc;

	(void)state;
	pgtemp_exec(
		server,
		"INSERT INTO kb_doc (tenant_id, source, title, url, kind, state, trust, body) SELECT tenant_id, 'case', "
		"'Shop is slow', 'case:1', 'case', 'draft', 0.5, '# Shop is slow' || chr(10) || 'Flip the upstream.' "
		"FROM dim_tenant WHERE code = 'ten'");
	assert_first(tenant, "flip upstream", LIBRARY_FUSED, NULL);
	assert_int_equal(library_list(db, tenant, "draft", 10, &drafts, &why), OC_OK);
	assert_int_equal(json_array_size(drafts), 1);
	doc = json_int_or(json_array_get(drafts, 0), "doc_id", 0);
	assert_int_equal(library_decide(lib, db, other, doc, "live", 0, "eve", &why), OC_NOT_FOUND);
	assert_int_equal(library_decide(lib, db, tenant, doc, "live", 0, "ann", &why), OC_OK);
	assert_first(tenant, "flip upstream", LIBRARY_FUSED, "case:1");
	assert_int_equal(library_decide(lib, db, tenant, doc, "retired", 0, "ann", &why), OC_OK);
	assert_first(tenant, "flip upstream", LIBRARY_FUSED, NULL);
	assert_int_equal(library_decide(lib, db, tenant, doc, "superseded", 0, "ann", &why), OC_INVALID);
}

static void embedding_again_goes_on_where_it_stopped(void **state)
{
	struct oc_fail why = { 0 };
	volatile int stop = 1;
	unsigned n = 0;

	(void)state;
	put(tenant, "etcd.md", etcd);
	put(tenant, "memory.md", memory);
	assert_int_equal(number("SELECT count(DISTINCT model) FROM kb_chunk"), 1);
	/* told to stop before the first batch: a model that is being built, and nothing has it yet */
	pgtemp_exec(server,
		    "INSERT INTO kb_model (tenant_id, model, dims, state, chunks, stats) SELECT tenant_id, "
		    "'ngram-1536/2', 1536, 'building', 5, stats FROM kb_model");
	assert_int_equal(library_embed(lib, db, tenant, false, &stop, &n, &why), OC_UNAVAILABLE);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE model = 'ngram-1536/2'"), 0);
	assert_first(tenant, "container out of memory", LIBRARY_VECTOR, "memory.md");
	/* half of them done by somebody who died */
	pgtemp_exec(server, "UPDATE kb_chunk SET model = 'ngram-1536/2' WHERE chunk_id % 2 = 0");
	assert_first(tenant, "container out of memory", LIBRARY_VECTOR, "memory.md");
	stop = 0;
	assert_int_equal(library_embed(lib, db, tenant, false, &stop, &n, &why), OC_OK);
	assert_true(n > 0 && n < 7);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE model <> 'ngram-1536/2'"), 0);
	assert_int_equal(number("SELECT count(*) FROM kb_model WHERE state = 'live'"), 1);
	assert_int_equal(number("SELECT count(*) FROM kb_model"), 1);
	assert_first(tenant, "container out of memory", LIBRARY_VECTOR, "memory.md");
	assert_int_equal(library_embed(lib, db, tenant, true, NULL, &n, &why), OC_OK);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE model = 'ngram-1536/3'"), 7);
}

static void a_large_tenant_is_searched_through_the_graph_with_the_same_answers(void **state)
{
	AUTO(pg_result) struct pg_result *plan = NULL;
	AUTO(text) struct text all = { 0 };
	struct library_page pages[60];
	struct library_sum sum = { 0 };
	struct oc_fail why = { 0 };

	(void)state;
	for (int i = 0; i < 60; i++) {
		AUTO(text) struct text t = { 0 };

		text_addf(&t, "# Page %d\n", i);
		for (int k = 0; k < 3; k++)
			text_addf(&t, "## Part %d\nword%d of part%d and thing%d%d\n", k, i * 7 % 60, k, i, k);
		pages[i] = (struct library_page){ .url = mem_printf("p%d", i),
						  .text = text_take(&t),
						  .source = "test" };
	}
	assert_int_equal(library_put(lib, db, tenant, pages, 60, &sum, NULL, &why), OC_OK);
	assert_true(sum.added > 100);
	library_tidy(lib, db, NULL); /* embeds what grew, and moves it into the graph */
	library_tidy(lib, db, NULL);
	put(tenant, "new", "# New\nnever seen unicorn\n");
	pgtemp_exec(server, "UPDATE kb_chunk SET graphed = true WHERE content NOT LIKE '%unicorn%'");
	assert_first(tenant, "thing171", LIBRARY_VECTOR, "p17");
	assert_first(tenant, "thing421", LIBRARY_FUSED, "p42");
	/* what is not in the graph yet is found beside it */
	assert_first(tenant, "unicorn", LIBRARY_VECTOR, "new");
	for (int i = 0; i < 60; i++) {
		free((char *)pages[i].url);
		free((char *)pages[i].text);
	}
}

static void a_verdict_moves_the_trust_of_what_the_plan_was_made_with(void **state)
{
	(void)state;
	pgtemp_exec(
		server,
		"INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by) SELECT "
		"'018f0000-0000-7000-8000-000000000001', tenant_id, code, 'x', 'NEW', 't' FROM dim_tenant WHERE code = 'ten';"
		"INSERT INTO plan_proposed (id, tenant_id, case_id, plan, plan_text, revision, epoch, kind, source, hash, fingerprint,"
		" complete, created_by) SELECT '018f0000-0000-7000-8000-000000000002', tenant_id, "
		"'018f0000-0000-7000-8000-000000000001', '{}', '{}', 1, 1, 'forward', 'llm', 'h', 'f', true, 't' "
		"FROM dim_tenant WHERE code = 'ten';"
		"INSERT INTO kb_doc (doc_id, tenant_id, title, url, kind, trust) SELECT 900 + n, tenant_id, 'd', 'case:' || n, "
		"CASE n WHEN 1 THEN 'case' ELSE 'page' END, 0.5 FROM dim_tenant, generate_series(1, 2) n WHERE code = 'ten';"
		"INSERT INTO kb_state (tenant_id) SELECT tenant_id FROM dim_tenant WHERE code = 'ten';"
		"INSERT INTO kb_use (tenant_id, case_id, plan_id, doc_id) SELECT tenant_id, "
		"'018f0000-0000-7000-8000-000000000001', '018f0000-0000-7000-8000-000000000002', 900 + n "
		"FROM dim_tenant, generate_series(1, 2) n WHERE code = 'ten'");
	library_tidy(lib, db, NULL);
	assert_int_equal(number("SELECT count(*) FROM kb_use WHERE settled_at IS NULL"), 2);
	pgtemp_exec(
		server,
		"INSERT INTO verdict (id, tenant_id, case_id, plan_id, epoch, verdict, checks) SELECT gen_random_uuid(), "
		"tenant_id, case_id, id, 1, 'PASS', '[]' FROM plan_proposed WHERE id = "
		"'018f0000-0000-7000-8000-000000000002'");
	library_tidy(lib, db, NULL);
	assert_int_equal(number("SELECT round(trust * 100) FROM kb_doc WHERE doc_id = 901"), 60);
	/* what people wrote holds until they say otherwise */
	assert_int_equal(number("SELECT round(trust * 100) FROM kb_doc WHERE doc_id = 902"), 50);
	library_tidy(lib, db, NULL);
	assert_int_equal(number("SELECT round(trust * 100) FROM kb_doc WHERE doc_id = 901"), 60);
	pgtemp_exec(server, "DELETE FROM ops_case WHERE id = '018f0000-0000-7000-8000-000000000001'");
}

static enum oc_err no_provider(void *ctx, long long of, const char *const *texts, size_t count, float *ret,
			       struct oc_fail *reterr)
{
	const bool *up = ctx;

	(void)of;
	if (!*up)
		return oc_fail(reterr, OC_UNAVAILABLE, "away");
	for (size_t i = 0; i < count; i++)
		for (int k = 0; k < 3; k++)
			ret[3 * i + (size_t)k] = strstr(texts[i], k == 0   ? "memory"
								  : k == 1 ? "disk"
									   : "zebra")
							 ? 1
							 : .01f;
	return OC_OK;
}

static void a_provider_that_is_away_leaves_words_and_fills_in_later(void **state)
{
	bool up = false;
	struct library_question q = { .text = "memory", .limit = 5 };
	struct oc_fail why = { 0 };
	AUTO(json) json_t *hits = NULL;
	AUTO(str) char *note = NULL;
	struct library_sum sum;
	unsigned n = 0;

	(void)state;
	library_free(lib);
	assert_int_equal(library_new(&(struct library_config){ .model = "three",
							       .dims = 3,
							       .embed = no_provider,
							       .ctx = &up },
				     &lib, &why),
			 OC_OK);
	sum = put(tenant, "memory.md", memory);
	assert_int_equal(sum.bare, 3);
	assert_int_equal(library_ask(lib, db, tenant, &q, &hits, &note, &why), OC_OK);
	assert_int_equal(json_array_size(hits), 1);
	assert_non_null(strstr(note, "three"));
	up = true;
	assert_int_equal(library_embed(lib, db, tenant, false, NULL, &n, &why), OC_OK);
	assert_int_equal(n, 3);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE model = 'three@3' AND dims = 3"), 3);
	assert_first(tenant, "memory", LIBRARY_VECTOR, "memory.md");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_what_changed_is_embedded_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(words_vectors_and_both_find_the_page, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_tenant_finds_only_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_that_left_the_folder_are_retired, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_draft_is_found_when_a_person_has_accepted_it, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(embedding_again_goes_on_where_it_stopped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_large_tenant_is_searched_through_the_graph_with_the_same_answers, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(a_verdict_moves_the_trust_of_what_the_plan_was_made_with,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_provider_that_is_away_leaves_words_and_fills_in_later,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
