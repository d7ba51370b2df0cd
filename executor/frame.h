/* frame.h - messages between the host and a runner: four bytes of length, least significant first,
 * then that many bytes of JSON.
 *
 * Both ends are bounded and expect nonsense: a length above the limit is an error, memory grows with
 * the bytes that have come and not with what a length promises. One thread per end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/text.h"

#define FRAME_MAX ((size_t)16 << 20)

struct frame_in {
	char *buf;
	size_t len, cap;
};

enum frame_got { FRAME_BYTES, FRAME_EOF, FRAME_AGAIN, FRAME_ERROR };

/* Writes the whole frame; waits for room until `until_us` (clock_mono_us; 0: for ever). */
bool frame_send(int fd, const char *text, size_t len, int64_t until_us);
/* Takes in what is there. Blocks only if `wait`. */
enum frame_got frame_read(struct frame_in *in, int fd, bool wait);
/* 1: *ret_text is the next message, yours, ended by a 0; 0: not whole yet; -1: nonsense. */
int frame_next(struct frame_in *in, size_t max, char **ret_text, size_t *ret_len);
void frame_done(struct frame_in *in); /* wipes: requests carry secrets */
/* Appends s as a JSON string with quotes. What is not UTF-8 becomes '?'. */
void frame_quote(struct text *out, const char *s, size_t n);
/* The same repair without quotes, for what people read. */
void frame_clean(struct text *out, const char *s, size_t n);
