/* log_mask.h - one log line with what varies taken out: "Failed login of bob from 10.0.0.7 port 22" becomes
 * "Failed login of bob from <*> port <*>". Pure, no allocation, one pass.
 *
 * Masking decides most of what a template is, so it follows a few general rules and no list per system:
 *  - a word with a digit in it is a value: numbers, ids, addresses, hashes, versions, times, sizes;
 *  - so are paths, URLs, UUIDs, bytes in hex, mail addresses, dotted host names, true/false/null, the date around a
 *    time (Mon, Jan, UTC, PM), and empty parentheses where a value could stand;
 *  - a dotted name whose last part begins with a capital (java.io.IOException) is code: it stays;
 *  - values that only `: / . , _ @ -` separates are one value; values in a list (blanks, commas) are one, too, so that
 *    the length of the list does not matter.
 * Words that vary without looking like it (user names) are left for the miner.
 *
 * Whitespace is folded; the first line of a text of several counts, and " <*>" stands for the rest. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define LOG_STAR     "<*>"
#define LOG_STAR_LEN 3
#define LOG_MASK_MAX 2048 /* of the result; what is longer ends in a star */

/* Returns the length of what it wrote to out, without a 0. */
size_t log_mask(const char *line, size_t len, char out[LOG_MASK_MAX]);
/* Stable for ever: what fingerprints are made of. Multiply and fold (the idea of wyhash), constants of our own. */
uint64_t log_hash(const char *text, size_t len);
