/* log_miner.h - which template a log line belongs to, learned while the lines come by.
 *
 * How. log_mask.h takes out what looks like a value. Equal masked lines are one *variant*, found by one look into a
 * hash table: nearly every line ends there. What is left are words that vary without looking like it. A new variant is
 * compared, position by position, with those that differ from it in one word only:
 *  - LOG_WORDS_VALUE different words where a value stands (behind `=`, `:`, `(`, "for", "from", "user", ...),
 *    LOG_WORDS_ANY elsewhere, LOG_WORDS_FIRST at the very beginning, two units behind a number ("KB", "MB"): the position
 *    is a variable, and the more general template joins the set, where it may meet others of its kind;
 *  - LOG_WORDS_COARSE variants that differ only where values stand, in several positions at once: all of these are;
 *  - a masked value in one variant makes the word in the same value position of another one a value as well.
 * The template of a variant is the most general one that covers it; equally general ones go by their fingerprint.
 *
 * Why so. Each rule only asks *how many different* variants there are and only ever adds templates, so that the outcome
 * is the least fixed point over the set of variants: the order of arrival does not matter, and neither does how often a
 * line comes. Two replicas that have seen the same variants say the same, without talking. The tree of fixed depth by
 * token count is Drain's idea (He et al., ICWS 2017), that the number of different words tells variables from constants
 * is IPLoM's and Brain's (Makanju 2009; Yu et al. 2023); both are replaced here by one table that is keyed by "this
 * variant with a hole at p", which needs no search and has no similarity threshold.
 *
 * Identity. fingerprint = log_hash(template text): the same text has the same one everywhere, for ever. When a template
 * becomes more general it gets a new text and so a new fingerprint; log_miner_resolve says what an old one has become,
 * and log_miner_merges lists these steps for the table log_pattern (merged_into). Steps lead to more general templates
 * only, so they never run in circles and replicas end at the same place.
 *
 * Bounded: at most `variants_max` variants and `bytes_max` of text; then the less recently seen half is forgotten, which
 * may make a template be learned again. A hostile line costs what its 2,048 masked bytes cost. Not thread-safe; pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "ingest/log_mask.h"

enum {
	LOG_WORDS_VALUE = 3,
	LOG_WORDS_ANY = 8,
	LOG_WORDS_FIRST = 32,
	LOG_WORDS_COARSE = 12,
	LOG_WORDS_UNIT = 2
};

/* In the order of the database's type `severity`. */
enum log_severity { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };
const char *log_severity_name(enum log_severity s); /* "WARN" */
/* From words: a level at the beginning ("WARN", level=warn), else the worst word there is ("failed", "panic"). */
enum log_severity log_severity_guess(const char *text, size_t len);

struct log_miner_config {
	size_t variants_max; /* 0: 65536 */
	size_t bytes_max;    /* 0: 16 MiB */
};

struct log_miner;
struct log_miner *log_miner_new(const struct log_miner_config *config);
void log_miner_free(struct log_miner *m);
DEFINE_AUTO(log_miner, struct log_miner *, log_miner_free);

struct log_hit {
	uint64_t fingerprint;
	const char *pattern_ref; /* the template; until the next call of feed or load */
	size_t len;
	enum log_severity severity; /* guessed from the template's words; what the record says goes first */
	bool general;               /* a rule made it: say so to log_miner_load */
	bool fresh;                 /* no line, and no loaded template, had this variant before */
};

/* Any bytes; the pattern is UTF-8 whatever comes. An empty line has the empty template. */
void log_miner_feed(struct log_miner *m, const char *line, size_t len, struct log_hit *ret);
/* A template that was known before (log_pattern), `general` as the hit said. Longer than LOG_MASK_MAX: false. */
bool log_miner_load(struct log_miner *m, const char *pattern, size_t len, bool general);
/* What the template with this text has become. The same text when nothing more general is known. */
void log_miner_resolve(struct log_miner *m, const char *pattern, size_t len, struct log_hit *ret);

struct log_merge {
	uint64_t from, to;
};
/* Templates that became more general since the last call, at most `max`; call again while it returns max. Later steps
 * of one template follow the earlier ones. Beyond LOG_MERGES_KEPT the oldest are dropped: resolve still knows. */
#define LOG_MERGES_KEPT 4096
size_t log_miner_merges(struct log_miner *m, struct log_merge *out, size_t max);

struct log_miner_stats {
	uint64_t lines, variants_seen, sweeps;
	size_t variants, templates; /* now: templates counts those that a variant resolves to */
	size_t bytes;
};
void log_miner_stats(struct log_miner *m, struct log_miner_stats *ret);
