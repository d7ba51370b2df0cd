#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "domain/sketch.h"

#define N 5000

static double values[N];

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* A fixed sequence: the test says the same every time. */
static double next(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double)(*seed >> 11) / (double)(UINT64_C(1) << 53);
}

static void fill(struct sketch *s, double (*shape)(double))
{
	uint64_t seed = 7;

	for (size_t i = 0; i < N; i++) {
		values[i] = shape(next(&seed));
		assert_true(sketch_add(s, values[i], 1));
	}
	qsort(values, N, sizeof(values[0]), by_value);
}

static double flat(double u)
{
	return 1 + 999 * u;
}
static double tail(double u)
{
	return pow(1 - u * 0.9999, -2);
} /* eight decades */
static double both_signs(double u)
{
	return (u - 0.3) * 1000;
}

static void quantiles_are_within_one_percent_of_the_value(void **state)
{
	double (*shapes[])(double) = { flat, tail, both_signs };
	static const double qs[] = { 0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1 };

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(shapes); k++) {
		AUTO(sketch) struct sketch *s = sketch_new();

		fill(s, shapes[k]);
		for (size_t i = 0; i < ARRAY_LEN(qs); i++) {
			double exact = values[(size_t)(qs[i] * (N - 1))], got = sketch_quantile(s, qs[i]);

			if (fabs(got - exact) > SKETCH_ACCURACY * fabs(exact) + 1e-9)
				fail_msg("shape %zu, q %g: %g for %g", k, qs[i], got, exact);
		}
	}
}

static void merging_halves_gives_the_same_bytes_as_the_whole(void **state)
{
	AUTO(sketch) struct sketch *whole = sketch_new(), *a = sketch_new(), *b = sketch_new();
	AUTO(bytes) unsigned char *wb = NULL, *mb = NULL;
	size_t wn, mn;
	uint64_t seed = 3;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		double v = tail(next(&seed));

		sketch_add(whole, v, 1);
		sketch_add(i % 2 ? a : b, v, 1);
	}
	sketch_merge(a, b);
	wb = sketch_encode(whole, &wn);
	mb = sketch_encode(a, &mn);
	assert_int_equal(wn, mn);
	assert_memory_equal(wb, mb, wn);
	assert_int_equal(sketch_count(a), N);
}

static void it_comes_back_from_its_bytes(void **state)
{
	AUTO(sketch) struct sketch *s = sketch_new(), *back = NULL;
	AUTO(str) char *hex = NULL, *again = NULL;

	(void)state;
	fill(s, both_signs);
	sketch_add(s, 0, 5);
	hex = sketch_hex(s);
	back = sketch_unhex(hex);
	assert_non_null(back);
	again = sketch_hex(back);
	assert_string_equal(hex, again);
	assert_true(sketch_quantile(back, 0.95) == sketch_quantile(s, 0.95));
}

static void garbage_is_not_taken(void **state)
{
	AUTO(sketch) struct sketch *s = sketch_new();
	AUTO(bytes) unsigned char *bytes = NULL;
	uint64_t seed = 11;
	size_t len;

	(void)state;
	assert_null(sketch_unhex(NULL));
	assert_null(sketch_unhex("\\x"));
	assert_null(sketch_unhex("\\x0"));
	assert_null(sketch_unhex("01"));
	assert_null(sketch_unhex("\\x02000000"));
	fill(s, both_signs);
	bytes = sketch_encode(s, &len);
	for (size_t cut = 0; cut < len; cut++)
		assert_null(sketch_decode(bytes, cut));
	/* any damage is refused or gives a sketch that can be asked; it never reads outside */
	for (int i = 0; i < 20000; i++) {
		size_t at = (size_t)(next(&seed) * (double)len);
		unsigned char was = bytes[at];
		AUTO(sketch) struct sketch *broken = NULL;

		bytes[at] = (unsigned char)(next(&seed) * 256);
		broken = sketch_decode(bytes, len);
		if (broken)
			(void)sketch_quantile(broken, 0.95);
		bytes[at] = was;
	}
}

static void it_stays_small_and_right_at_the_top_when_values_are_everywhere(void **state)
{
	AUTO(sketch) struct sketch *s = sketch_new();
	AUTO(bytes) unsigned char *bytes = NULL;
	size_t len;

	(void)state;
	for (int e = -300; e < 300; e++)
		for (int k = 1; k <= 20; k++)
			sketch_add(s, k * pow(10, e), 1);
	bytes = sketch_encode(s, &len);
	assert_true(len <= SKETCH_BYTES_MAX);
	assert_true(fabs(sketch_quantile(s, 1) / 20e299 - 1) <= SKETCH_ACCURACY);
	assert_true(fabs(sketch_quantile(s, 0.95) / 1e270 - 1) < 100); /* the right decade or so */
}

static void what_is_no_number_is_not_counted(void **state)
{
	AUTO(sketch) struct sketch *s = sketch_new();

	(void)state;
	assert_false(sketch_add(s, NAN, 1));
	assert_false(sketch_add(s, INFINITY, 1));
	assert_int_equal(sketch_count(s), 0);
	assert_true(isnan(sketch_quantile(s, 0.95)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_are_within_one_percent_of_the_value),
		cmocka_unit_test(merging_halves_gives_the_same_bytes_as_the_whole),
		cmocka_unit_test(it_comes_back_from_its_bytes),
		cmocka_unit_test(garbage_is_not_taken),
		cmocka_unit_test(it_stays_small_and_right_at_the_top_when_values_are_everywhere),
		cmocka_unit_test(what_is_no_number_is_not_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
