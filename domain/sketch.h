/* sketch.h - quantiles of a stream within 1 % of the value, mergeable in any order.
 *
 * The DDSketch idea: values are counted in buckets whose edges grow by the same factor, so that the
 * answer's relative error is bounded wherever the quantile lies. Negative values and zero are counted too.
 * Bounded: beyond SKETCH_BINS buckets the smallest magnitudes are folded together, which costs
 * accuracy at the low end only. Pure; not thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

#define SKETCH_ACCURACY  0.01
#define SKETCH_BINS      2048  /* of each sign; about 17 decades */
#define SKETCH_BYTES_MAX 65536 /* what sketch_decode accepts */

struct sketch;

struct sketch *sketch_new(void);
void sketch_free(struct sketch *s);
DEFINE_AUTO(sketch, struct sketch *, sketch_free);

/* NaN and infinities are not counted: false. `times` of 0 is fine. */
bool sketch_add(struct sketch *s, double value, uint64_t times);
void sketch_merge(struct sketch *into, const struct sketch *from);
uint64_t sketch_count(const struct sketch *s);
/* q in [0, 1]; NaN when empty. */
double sketch_quantile(const struct sketch *s, double q);

/* Compact bytes for a bytea column; the same content gives the same bytes. */
unsigned char *sketch_encode(const struct sketch *s, size_t *ret_len);
/* Takes no garbage: NULL for anything that sketch_encode did not write. */
struct sketch *sketch_decode(const unsigned char *bytes, size_t len);
/* PostgreSQL's text form of bytea, "\x0102": yours. */
char *sketch_hex(const struct sketch *s);
struct sketch *sketch_unhex(const char *hex); /* NULL and garbage give NULL */
