/* The index of words, the built-in embedding, and what comes of both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>
#include "base/mem.h"
#include "librarian/embed.h"
#include "librarian/fuse.h"

static struct index *ix;

static void page(long long id, const char *title, const char *service, const char *kind)
{
	index_put_page(ix, &(struct index_page){ .doc_id = id,
						 .title = title,
						 .service = service,
						 .kind = kind,
						 .trust = 1,
						 .live = true });
}

static int set_up(void **state)
{
	(void)state;
	ix = index_new();
	page(1, "Memory pressure", NULL, "runbook");
	page(2, "Disk pressure", "store", "runbook");
	page(3, "On call", NULL, "page");
	index_put(ix, 11, 1, "Memory pressure",
		  "A container was killed because the node has no memory left.");
	index_put(ix, 21, 2, "Disk pressure", "The volume of the database is full.");
	index_put(ix, 22, 2, "Disk pressure > Repair", "Remove old snapshots, or make the volume larger.");
	index_put(ix, 31, 3, "On call", "Who is called at night.");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	index_free(ix);
	return 0;
}

static long long first(const char *question, struct index_filter filter)
{
	struct index_hit hit[4];

	return index_search(ix, question, &filter, true, hit, 4) ? hit[0].chunk_id : 0;
}

static void the_page_that_says_it_comes_first_by_its_best_section(void **state)
{
	(void)state;
	assert_int_equal(first("container killed, out of memory", (struct index_filter){ 0 }), 11);
	assert_int_equal(first("make the volume larger", (struct index_filter){ 0 }), 22);
	assert_int_equal(first("节点内存不足", (struct index_filter){ 0 }), 11);
}

static void nothing_said_is_nothing_found(void **state)
{
	(void)state;
	assert_int_equal(first("quarterly accounting", (struct index_filter){ 0 }), 0);
	assert_int_equal(first("", (struct index_filter){ 0 }), 0);
}

static void a_page_of_another_service_is_no_answer(void **state)
{
	(void)state;
	assert_int_equal(first("volume full", (struct index_filter){ .service = "shop" }), 0);
	assert_int_equal(first("volume full", (struct index_filter){ .service = "store" }), 21);
	/* of no service: of every one */
	assert_int_equal(first("killed memory", (struct index_filter){ .service = "shop" }), 11);
	assert_int_equal(first("night", (struct index_filter){ .kind = "runbook" }), 0);
}

static void a_page_holds_in_its_time_only(void **state)
{
	(void)state;
	index_put_page(ix, &(struct index_page){ .doc_id = 3,
						 .title = "On call",
						 .from_us = 100,
						 .to_us = 200,
						 .trust = 1,
						 .live = true });
	assert_int_equal(first("night", (struct index_filter){ .at_us = 150 }), 31);
	assert_int_equal(first("night", (struct index_filter){ .at_us = 99 }), 0);
	assert_int_equal(first("night", (struct index_filter){ .at_us = 200 }), 0);
}

static void a_retired_page_is_not_found(void **state)
{
	(void)state;
	index_put_page(ix,
		       &(struct index_page){ .doc_id = 3, .title = "On call", .trust = 1, .live = false });
	assert_int_equal(first("night", (struct index_filter){ 0 }), 0);
}

static void a_changed_section_is_found_by_its_new_words_only(void **state)
{
	(void)state;
	index_put(ix, 31, 3, "On call", "Who is paged at dawn.");
	assert_int_equal(first("night", (struct index_filter){ 0 }), 0);
	assert_int_equal(first("dawn", (struct index_filter){ 0 }), 31);
	assert_int_equal(index_chunks(ix), 4);
	assert_int_equal(index_dropped(ix), 1);
	index_drop(ix, 31);
	assert_int_equal(first("dawn", (struct index_filter){ 0 }), 0);
}

static void the_score_is_bm25(void **state)
{
	struct index *two = index_new();
	struct index_hit hit[2];
	double idf = log(1 + (2 - 1 + .5) / (1 + .5)), n = 2, len = 3, avg = 2.5;

	(void)state;
	for (long long d = 1; d <= 2; d++)
		index_put_page(two, &(struct index_page){ .doc_id = d, .trust = 1, .live = true });
	index_put(two, 1, 1, NULL, "zebra zebra horse");
	index_put(two, 2, 2, NULL, "horse donkey");
	assert_int_equal(index_search(two, "zebra", &(struct index_filter){ 0 }, false, hit, 2), 1);
	assert_float_equal(hit[0].score, idf * n * 2.2 / (n + 1.2 * (1 - .75 + .75 * len / avg)), 1e-4);
	index_free(two);
}

static double cosine(const float *a, const float *b)
{
	double dot = 0;

	for (size_t i = 0; i < EMBED_DIMS; i++)
		dot += (double)a[i] * (double)b[i];
	return dot;
}

static void the_built_in_embedding_puts_like_to_like(void **state)
{
	struct embed_census *census = embed_census_new();
	struct embed_stats *stats = mem_alloc(sizeof(*stats));
	static float memory[EMBED_DIMS], disk[EMBED_DIMS], q[EMBED_DIMS], none[EMBED_DIMS];

	(void)state;
	embed_census_add(census, "Memory", "", "container killed, node without memory");
	embed_census_add(census, "Disk", "", "volume of the database is full");
	embed_census_add(census, "Call", "", "who is called at night");
	assert_int_equal(embed_census_count(census), 3);
	embed_census_stats(census, stats);
	embed_chunk(stats, "Memory", "", "container killed, node without memory", memory);
	embed_chunk(stats, "Disk", "", "volume of the database is full", disk);
	assert_float_equal(cosine(memory, memory), 1, 1e-5);
	/* a word that was mistyped shares its runs of characters */
	embed_question(stats, "containr was kiled", q);
	assert_true(cosine(q, memory) > cosine(q, disk) + .05);
	embed_question(stats, "数据库磁盘", q);
	assert_true(cosine(q, disk) > cosine(q, memory) + .05);
	embed_question(stats, "... ---", none);
	assert_float_equal(cosine(none, none), 0, 1e-9);
	embed_census_free(census);
	free(stats);
}

static float trust_half(void *ctx, long long doc_id)
{
	(void)ctx;
	return doc_id == 1 ? .1f : 1;
}

static void rankings_are_fused_and_trust_counts(void **state)
{
	const struct index_hit a[] = { { 1, 10, 9 }, { 2, 20, 8 } }, b[] = { { 2, 21, 1 } };
	struct fused out[3];

	(void)state;
	assert_int_equal(fuse(
				 (struct fuse_leg[FUSE_LEGS]){
					 [FUSE_WIDENED] = { a, 2 },
                                           [FUSE_VECTOR] = { b, 1 }
        },
				 NULL, NULL, out, 3),
			 2);
	assert_int_equal(out[0].doc_id, 2);
	assert_int_equal(out[0].rank[FUSE_WIDENED], 2);
	assert_int_equal(out[0].rank[FUSE_VECTOR], 1);
	assert_float_equal(out[1].score, fuse_weight[FUSE_WIDENED] / (FUSE_K + 1), 1e-9);
	fuse(
		(struct fuse_leg[FUSE_LEGS]){
			[FUSE_WIDENED] = { a, 2 }
        },
		trust_half, NULL, out, 3);
	assert_int_equal(out[0].doc_id, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_page_that_says_it_comes_first_by_its_best_section, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nothing_said_is_nothing_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_of_another_service_is_no_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_holds_in_its_time_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_retired_page_is_not_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_changed_section_is_found_by_its_new_words_only, set_up,
						tear_down),
		cmocka_unit_test(the_score_is_bm25),
		cmocka_unit_test(the_built_in_embedding_puts_like_to_like),
		cmocka_unit_test(rankings_are_fused_and_trust_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
