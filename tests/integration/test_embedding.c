/* Embedding by a provider: the service's own hooks over real tables, and the wire. What is paid for is written down,
 * bounded, never paid twice, and survives being killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "apps/opscased/models.h"
#include "base/mem.h"
#include "librarian/library.h"
#include "tests/support/pgtemp.h"
#include "tests/support/scripted.h"

static struct pgtemp *server;
static struct pg *db; /* as opscase_worker */
static long long tenant;
static struct scripted *provider;
static char config_path[96];
static atomic_uint texts_asked;
static atomic_int victim; /* is killed when the provider is asked for the second time */
static int values = 3;    /* of a vector that the provider gives */

/* A service that embeds with the provider. */
struct house {
	struct pg_pool *pool;
	struct models *models;
	struct library *lib;
};

static void says(void *ctx, unsigned n, const char *path, const char *head, const char *body,
		 struct scripted_answer *ret)
{
	AUTO(json) json_t *asked = NULL;
	AUTO(json) json_t *data = json_array();
	AUTO(json) json_t *answer = NULL;
	const json_t *one;
	size_t i;

	(void)ctx, (void)n, (void)head;
	if (json_read_own(body, &asked, NULL) != OC_OK || !strstr(path, "/v1/embeddings"))
		abort();
	json_array_foreach(json_object_get(asked, "input"), i, one)
	{
		json_t *v = json_array();

		for (int k = 0; k < values; k++)
			json_array_append_new(v, json_real(strstr(json_string_value(one), k == 0   ? "memory"
											  : k == 1 ? "disk"
												   : "part")
								   ? 1
								   : .01));
		json_array_append_new(data, json_pack("{s:i, s:o}", "index", (int)i, "embedding", v));
	}
	texts_asked += (unsigned)i;
	if (victim > 0 && n % 2 == 1)
		kill(victim, SIGKILL);
	answer = json_pack("{s:O, s:{s:i}}", "data", data, "usage", "prompt_tokens", (int)(10 * i));
	ret->body = json_text(answer);
}

static void open_house(struct house *h)
{
	AUTO(settings) struct settings *st = settings_new();
	struct library_config lc = { 0 };
	struct oc_fail why = { 0 };

	h->pool = pg_pool_new(server->worker, "test", 4);
	if (settings_set(st, "llm.config", config_path, "test", &why) != OC_OK ||
	    models_new(st, h->pool, NULL, &h->models, &why) != OC_OK)
		fail_msg("%s", why.text);
	models_embed_into(h->models, &lc);
	assert_non_null(lc.embed);
	if (library_new(&lc, &h->lib, &why) != OC_OK)
		fail_msg("%s", why.text);
}

static void close_house(struct house *h)
{
	library_free(h->lib);
	models_free(h->models);
	pg_pool_free(h->pool);
}

static int set_up(void **state)
{
	FILE *f;

	(void)state;
	server = pgtemp_shared();
	pgtemp_exec(server, "TRUNCATE kb_doc, kb_chunk, kb_state, kb_model, kb_use, llm_call");
	tenant = pgtemp_tenant(server, "ten");
	db = pgtemp_open(server->worker);
	values = 3;
	victim = 0;
	texts_asked = 0;
	provider = scripted_start(says, NULL);
	snprintf(config_path, sizeof(config_path), "%s/embed.json", server->dir);
	f = fopen(config_path, "we");
	if (!f)
		return -1;
	fprintf(f,
		"{\"providers\":[{\"name\":\"p\",\"url\":\"%s\",\"model\":\"m\",\"embed_model\":\"three\",\"embed_dims\":3,"
		"\"price_embed\":2}],\"budget\":{\"hour_tokens\":5000}}",
		scripted_url(provider));
	return fclose(f);
}

static int tear_down(void **state)
{
	(void)state;
	scripted_stop(provider);
	pg_close(db);
	return 0;
}

static long long number(const char *sql)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct oc_fail why = { 0 };

	if (pg_query(db, sql, PG_NO_ARGS, &r, &why) != OC_OK)
		fail_msg("%s in %s", why.text, sql);
	return pg_rows(r) ? pg_int(r, 0, 0) : -1;
}

static struct library_sum put(struct library *lib, const char *url, const char *text)
{
	struct library_sum sum = { 0 };
	struct oc_fail why = { 0 };

	if (library_put(lib, db, tenant, &(struct library_page){ .url = url, .text = text, .source = "t" }, 1,
			&sum, NULL, &why) != OC_OK)
		fail_msg("%s", why.text);
	return sum;
}

static const char memory[] = "# Out of memory\nThe kernel ended it; ask 10.1.2.3.\n## Repair\nRaise it.\n";

static void every_call_is_a_row_with_its_cost_and_without_names(void **state)
{
	struct house h;

	(void)state;
	open_house(&h);
	assert_int_equal(put(h.lib, "memory.md", memory).bare, 0);
	assert_int_equal(number("SELECT count(*) FROM llm_call"), 1);
	assert_int_equal(
		number("SELECT tokens_in FROM llm_call WHERE purpose = 'embed' AND case_id IS NULL AND "
		       "provider = 'p' AND model = 'three' AND outcome = 'ok'"),
		10 * texts_asked);
	assert_int_equal(number("SELECT round(cost * 1e6) FROM llm_call"), 2 * 10 * texts_asked);
	assert_int_equal(number("SELECT (response #>> '{}')::jsonb ->> 'vectors' FROM llm_call"),
			 texts_asked);
	assert_int_equal(number("SELECT count(*) FROM llm_call WHERE request::text LIKE '%10.1.2.3%'"), 0);
	assert_int_equal(number("SELECT count(*) FROM llm_call WHERE request::text LIKE '%IP_1%'"), 1);
	/* filled up with zeros to the column's width, and said to be three long */
	assert_int_equal(
		number("SELECT count(*) FROM kb_chunk WHERE dims = 3 AND vector_dims(embedding) = 1536 AND "
		       "vector_norm(subvector(embedding, 4, 1533)) = 0 AND vector_norm(embedding) > 0"),
		number("SELECT count(*) FROM kb_chunk"));
	close_house(&h);
}

static void a_used_up_budget_asks_nobody_and_words_still_answer(void **state)
{
	struct library_question q = { .text = "kernel ended", .limit = 5 };
	AUTO(json) json_t *hits = NULL;
	AUTO(str) char *note = NULL;
	struct oc_fail why = { 0 };
	unsigned n = 0;
	struct house h;

	(void)state;
	open_house(&h);
	pgtemp_exec(
		server,
		"INSERT INTO llm_call (id, tenant_id, purpose, provider, model, request, request_hash, tokens_in, outcome) "
		"SELECT gen_random_uuid(), tenant_id, 'plan', 'p', 'm', '{}', 'h', 5000, 'ok' FROM dim_tenant WHERE code = 'ten'");
	assert_true(put(h.lib, "memory.md", memory).bare > 0);
	assert_int_equal(library_ask(h.lib, db, tenant, &q, &hits, &note, &why), OC_OK);
	assert_string_equal(json_str_or(json_array_get(hits, 0), "url", ""), "memory.md");
	assert_non_null(strstr(note, "words alone"));
	assert_int_equal(library_embed(h.lib, db, tenant, false, NULL, &n, &why), OC_UNAVAILABLE);
	assert_int_equal(scripted_requests(provider), 0);
	/* an hour later it goes on by itself */
	pgtemp_exec(server, "UPDATE llm_call SET created_at = now() - interval '61 minutes'");
	assert_int_equal(library_embed(h.lib, db, tenant, false, NULL, &n, &why), OC_OK);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE embedding IS NULL"), 0);
	close_house(&h);
}

static void what_says_the_same_is_not_paid_for_twice(void **state)
{
	unsigned before;
	struct house h;

	(void)state;
	open_house(&h);
	put(h.lib, "memory.md", memory);
	before = texts_asked;
	/* a copy of the page elsewhere, with one part more */
	put(h.lib, "copy.md",
	    "# Out of memory\nThe kernel ended it; ask 10.1.2.3.\n## Repair\nRaise it.\n## More\nOf a disk.\n");
	assert_int_equal(texts_asked, before + 1);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE embedding IS NULL"), 0);
	assert_int_equal(
		number("SELECT count(DISTINCT embedding::text) FROM kb_chunk WHERE content = 'Raise it.'"),
		1);
	close_house(&h);
}

static void vectors_of_another_length_than_said_are_refused(void **state)
{
	struct library_config lc = { .model = "long", .dims = 1537 };
	struct library *lib = NULL;
	struct oc_fail why = { 0 };
	struct house h;

	(void)state;
	open_house(&h);
	values = 4;
	assert_true(put(h.lib, "memory.md", memory).bare > 0);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE embedding IS NOT NULL"), 0);
	assert_int_equal(number("SELECT count(*) FROM llm_call WHERE outcome = 'unreadable'"), 1);
	lc.embed = (enum oc_err(*)(void *, long long, const char *const *, size_t, float *,
				   struct oc_fail *))abort;
	assert_int_equal(library_new(&lc, &lib, &why), OC_INVALID);
	close_house(&h);
}

/* 200 parts that the built-in embedding knows, for a provider to embed again. */
static void fill(void)
{
	struct library *lib = NULL;
	struct oc_fail why = { 0 };
	AUTO(text) struct text t = { 0 };

	assert_int_equal(library_new(&(struct library_config){ 0 }, &lib, &why), OC_OK);
	text_add(&t, "# Parts\n");
	for (int i = 0; i < 199; i++)
		text_addf(&t, "## Part %d\nthing%d of %s\n", i, i, i % 2 ? "memory" : "disk");
	put(lib, "parts.md", t.s);
	library_free(lib);
}

static void embedding_again_that_was_killed_goes_on_and_pays_for_one_call_twice_at_most(void **state)
{
	struct library_question q = { .text = "thing17", .limit = 5, .how = LIBRARY_VECTOR };
	AUTO(json) json_t *hits = NULL;
	struct oc_fail why = { 0 };
	unsigned n = 0, all, done, killed_at;
	struct house h;
	int status = 0;
	pid_t pid;

	(void)state;
	fill();
	all = (unsigned)number("SELECT count(*) FROM kb_chunk WHERE model LIKE 'ngram-%'");
	assert_true(all >= 200);
	pid = fork();
	if (pid == 0) {
		struct pg *own = NULL;

		/* until the parent has said who is to be killed */
		raise(SIGSTOP);
		open_house(&h);
		own = pgtemp_open(server->worker);
		_exit(library_embed(h.lib, own, tenant, false, NULL, &n, &why) == OC_OK ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	victim = pid;
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	victim = 0;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	done = (unsigned)number("SELECT count(*) FROM kb_chunk WHERE model = 'three@3'");
	assert_int_equal(done, 64); /* one call's */
	killed_at = texts_asked;
	assert_int_equal(killed_at, 128);
	/* half and half: each of its own model, and none is lost */
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE embedding IS NULL"), 0);
	assert_int_equal(number("SELECT count(*) FROM kb_model"), 2);
	open_house(&h);
	/* the question goes to both models, each in its own vectors */
	assert_int_equal(library_ask(h.lib, db, tenant, &q, &hits, NULL, &why), OC_OK);
	assert_string_equal(json_str_or(json_array_get(hits, 0), "url", ""), "parts.md");
	killed_at = texts_asked;
	if (library_embed(h.lib, db, tenant, false, NULL, &n, &why) != OC_OK)
		fail_msg("%s", why.text);
	assert_int_equal(n, all - done);
	assert_int_equal(texts_asked - killed_at, all - done);
	assert_int_equal(number("SELECT count(*) FROM kb_chunk WHERE model = 'three@3' AND dims = 3"), all);
	assert_int_equal(number("SELECT count(*) FROM kb_model"), 1);
	close_house(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(every_call_is_a_row_with_its_cost_and_without_names),
		T(a_used_up_budget_asks_nobody_and_words_still_answer),
		T(what_says_the_same_is_not_paid_for_twice),
		T(vectors_of_another_length_than_said_are_refused),
		T(embedding_again_that_was_killed_goes_on_and_pays_for_one_call_twice_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
