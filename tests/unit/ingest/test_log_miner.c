#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ingest/log_miner.h"

/* Lent until the call after the next but seven. */
static const char *masked(const char *line)
{
	static char ring[8][LOG_MASK_MAX + 1];
	static unsigned at;
	char *out = ring[at++ % 8];

	out[log_mask(line, strlen(line), out)] = '\0';
	return out;
}

static struct log_hit feed(struct log_miner *m, const char *line)
{
	struct log_hit hit;

	log_miner_feed(m, line, strlen(line), &hit);
	return hit;
}

#define assert_pattern(hit, text)                                         \
	do {                                                              \
		struct log_hit h_ = (hit);                                \
		AUTO(str) char *p_ = mem_strndup(h_.pattern_ref, h_.len); \
		assert_string_equal(p_, text);                            \
	} while (0)

static void what_varies_is_taken_out(void **state)
{
	static const char *const row[][2] = {
		{ "took 12 ms",				"took <*> ms"                              },
		{ "  two   blanks\tand a tab ",                "two blanks and a tab"                     },
		{ "from 10.0.0.7:8080, again",                 "from <*>, again"                          },
		{ "id 9f1c-aa, hash deadbeef",                 "id <*>, hash <*>"                         },
		{ "uuid b9000564-fe1a-409b-b8cc-1e88b294cd1d", "uuid <*>"                                 },
		{ "mac ff:eb:ea:dd:cc:bb via eth0",            "mac <*> via <*>"                          },
		{ "open /var/log/x.log: denied",               "open <*>: denied"                         },
		{ "open ./x, ../y and ~/z",                    "open <*> and <*>"                         },
		{ "get https://a.example/b?c=d.",              "get <*>."                                 },
		{ "load C:\\Windows\\x.dll now",               "load <*> now"                             },
		{ "share \\\\host\\docs is full",              "share <*> is full"                        },
		{ "and/or stays",                              "and/or stays"                             },
		{ "sent by a.b@example.org",                   "sent by <*>"                              },
		{ "lookup of ns.example.com failed",           "lookup of <*> failed"                     },
		{ "java.io.IOException: reset",                "java.io.IOException: reset"               },
		{ "at java.lang.Thread.run(Thread.java:748)",  "at java.lang.Thread.run(Thread.java:<*>)" },
		{ "workerEnv.init() ok",                       "workerEnv.init() ok"                      },
		{ "on Sun Jul 10 12:00:01 UTC 2005 it began",  "on <*> it began"                          },
		{ "March 5, 2024 was fine",                    "<*> was fine"                             },
		{ "may be, Mon is a name",                     "may be, Mon is a name"                    },
		{ "ok=true allDrawn= false x:null",            "ok=<*> allDrawn= <*> x:<*>"               },
		{ "switch (on) and carry on with it",          "switch (<*>) and carry on with it"        },
		{ "list [1, 2, 3] of 4 5 6",                   "list [<*>] of <*>"                        },
		{ "connection from () at 5",                   "connection from (<*>) at <*>"             },
		{ "call f() at 5",                             "call f() at <*>"                          },
		{ "size 97.0 KB of 3 GB",                      "size <*> of <*>"                          },
		{ "lifetime <1 sec",                           "lifetime <*>"                             },
		{ "operation......0",                          "operation......<*>"                       },
		{ "tag=\"View Lock\" msg=\"hello you\"",       "tag=\"<*>\" msg=\"hello you\""            },
		{ "ws=WorkSource{10113}, x",                   "ws=<*>, x"                                },
		{ "first line\n\tsecond 2",                    "first line <*>"                           },
		{ "\n\nonly line\n",                           "only line"                                },
		{ "",					  ""					 },
		{ " \t ",				      ""					 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		assert_string_equal(masked(row[i][0]), row[i][1]);
}

static void a_long_line_ends_in_a_star(void **state)
{
	size_t n = 100000;
	AUTO(str) char *line = mem_alloc(n + 1);
	char out[LOG_MASK_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < n; i++)
		line[i] = i % 5 == 4 ? ' ' : 'a';
	len = log_mask(line, n, out);
	assert_true(len <= LOG_MASK_MAX && len > LOG_MASK_MAX / 2);
	assert_memory_equal(out + len - LOG_STAR_LEN, LOG_STAR, LOG_STAR_LEN);
	memset(line, 'a', n);
	assert_true(log_mask(line, n, out) <= LOG_MASK_MAX);
	memset(line, '.', n);
	assert_true(log_mask(line, n, out) <= LOG_MASK_MAX);
}

static void names_become_a_variable_when_enough_differ(void **state)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);

	(void)state;
	assert_pattern(feed(m, "session opened for user alice"), "session opened for user alice");
	assert_pattern(feed(m, "session opened for user bob"), "session opened for user bob");
	assert_pattern(feed(m, "session opened for user carol"), "session opened for user <*>");
	assert_pattern(feed(m, "session opened for user alice"), "session opened for user <*>");
	assert_pattern(feed(m, "session closed for user alice"), "session closed for user alice");
}

static void a_masked_value_makes_the_words_in_its_place_values(void **state)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);

	(void)state;
	feed(m, "login of user u1023 failed");
	assert_pattern(feed(m, "login of user bob failed"), "login of user <*> failed");
	/* but not where no value is expected */
	feed(m, "data 17 interrupt");
	assert_pattern(feed(m, "data storage interrupt"), "data storage interrupt");
}

static void states_of_a_thing_are_different_templates(void **state)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);
	static const char *const line[] = { "VM started on node 1", "VM paused on node 1",
					    "VM resumed on node 1", "VM stopped on node 1" };
	uint64_t seen[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		feed(m, line[i]);
	for (size_t i = 0; i < 4; i++) {
		seen[i] = feed(m, line[i]).fingerprint;
		for (size_t k = 0; k < i; k++)
			assert_true(seen[i] != seen[k]);
	}
}

/* Lines with names in one and in two places, ids and states. */
#define LINES 600
static void make(char line[LINES][96])
{
	static const char *const name[] = {
		"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"
	};
	static const char *const host[] = { "alpha", "beta", "gamma", "delta", "omega" };

	for (unsigned i = 0; i < LINES; i++)
		switch (i % 4) {
		case 0:
			snprintf(line[i], 96, "Accepted password for %s from %s port %u", name[i / 4 % 8],
				 host[i / 32 % 5], i);
			break;
		case 1:
			snprintf(line[i], 96, "cache %s after %u ms", i % 8 > 3 ? "filled" : "emptied", i);
			break;
		case 2:
			snprintf(line[i], 96, "moved part-%05u to host %s: done", i, host[i / 4 % 5]);
			break;
		default:
			snprintf(line[i], 96, "%s", i % 3 ? "tick" : "the queue is empty");
		}
}

static void the_order_of_arrival_does_not_matter(void **state)
{
	static char line[LINES][96];
	AUTO(log_miner) struct log_miner *first = log_miner_new(NULL);
	uint64_t seed = 7;

	(void)state;
	make(line);
	for (unsigned i = 0; i < LINES; i++)
		feed(first, line[i]);
	for (unsigned round = 0; round < 5; round++) {
		AUTO(log_miner) struct log_miner *other = log_miner_new(NULL);
		unsigned order[LINES];

		for (unsigned i = 0; i < LINES; i++)
			order[i] = i;
		for (unsigned i = LINES - 1; i; i--) {
			unsigned k, t;

			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			k = (unsigned)(seed >> 33) % (i + 1);
			t = order[i];
			order[i] = order[k];
			order[k] = t;
		}
		for (unsigned i = 0; i < LINES; i++)
			feed(other, line[order[i]]);
		for (unsigned i = 0; i < LINES; i++)
			assert_true(feed(other, line[i]).fingerprint == feed(first, line[i]).fingerprint);
	}
}

static void a_restart_knows_its_templates_again(void **state)
{
	static char line[LINES][96];
	AUTO(log_miner) struct log_miner *before = log_miner_new(NULL);
	AUTO(log_miner) struct log_miner *after = log_miner_new(NULL);

	(void)state;
	make(line);
	for (unsigned i = 0; i < LINES; i++)
		feed(before, line[i]);
	for (unsigned i = 0; i < LINES; i++) {
		struct log_hit hit = feed(before, line[i]);

		assert_true(log_miner_load(after, hit.pattern_ref, hit.len, hit.general));
	}
	for (unsigned i = 0; i < LINES; i++)
		assert_true(feed(after, line[i]).fingerprint == feed(before, line[i]).fingerprint);
}

static void what_a_template_has_become_is_told(void **state)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);
	struct log_hit one = feed(m, "invalid user alice"), now;
	struct log_merge merge[8];
	uint64_t old = one.fingerprint;

	(void)state;
	assert_int_equal(log_miner_merges(m, merge, 8), 0);
	feed(m, "invalid user bob");
	now = feed(m, "invalid user carol");
	assert_true(now.fingerprint != old);
	log_miner_resolve(m, "invalid user alice", strlen("invalid user alice"), &one);
	assert_true(one.fingerprint == now.fingerprint);
	assert_int_equal(log_miner_merges(m, merge, 8), 1);
	assert_true(merge[0].from == old && merge[0].to == now.fingerprint);
	assert_int_equal(log_miner_merges(m, merge, 8), 0);
}

static void fingerprints_are_the_same_for_ever(void **state)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);

	(void)state;
	/* stored in databases: a change here makes every known template a new one */
	assert_true(log_hash("", 0) == UINT64_C(0xa431a7fa502526f4));
	assert_true(feed(m, "took 12 ms").fingerprint == log_hash("took <*> ms", 11));
	assert_true(log_hash("took <*> ms", 11) == UINT64_C(0x2eb8d7335b7395d));
	assert_true(log_hash("connection from <*> refused", 27) == UINT64_C(0x190f6704729e22b5));
}

static void it_stays_within_its_bounds(void **state)
{
	struct log_miner_config config = { .variants_max = 500, .bytes_max = 40000 };
	AUTO(log_miner) struct log_miner *m = log_miner_new(&config);
	struct log_miner_stats stats;
	char line[128];
	uint64_t tick = feed(m, "the tick of the clock is 7").fingerprint;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		unsigned v = i * 2654435761u;

		/* no two of a shape are alike: what a hostile sender would send */
		snprintf(line, sizeof(line), "w%c%c%c %c%c%c! %c%c%c? %c%c%c", 'a' + v % 26,
			 'a' + v / 26 % 26, 'a' + v / 676 % 26, 'a' + v % 7, 'b' + v / 7 % 11,
			 'a' + v / 77 % 13, 'c' + v % 19, 'd' + v % 17, 'e' + v / 3 % 9, 'f' + v % 5,
			 'g' + v / 5 % 8, 'h' + i % 11);
		feed(m, line);
		if (i % 200 == 0)
			assert_true(feed(m, "the tick of the clock is 7").fingerprint == tick);
	}
	log_miner_stats(m, &stats);
	assert_true(stats.variants <= 600 && stats.bytes <= 44096);
	assert_true(stats.sweeps > 0);
}

static void severity_comes_from_words(void **state)
{
	static const struct {
		const char *text;
		enum log_severity severity;
	} row[] = {
		{ "all is well",                             LOG_INFO  },
		{ "connection refused by peer",              LOG_ERROR },
		{ "<*> INFO no failed jobs",                 LOG_INFO  },
		{ "[error] mod_jk child in error state",     LOG_ERROR },
		{ "level=warn msg=\"disk error\"",           LOG_WARN  },
		{ "{\"level\":\"debug\",\"msg\":\"error\"}", LOG_DEBUG },
		{ "java.io.IOException: reset by peer",      LOG_ERROR },
		{ "kernel panic - not syncing",              LOG_FATAL },
		{ "FATAL: password authentication",          LOG_FATAL },
		{ "retrying in <*> s",                       LOG_WARN  },
		{ "terror and mirrors",                      LOG_INFO  },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		assert_int_equal(log_severity_guess(row[i].text, strlen(row[i].text)), row[i].severity);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_varies_is_taken_out),
		cmocka_unit_test(a_long_line_ends_in_a_star),
		cmocka_unit_test(names_become_a_variable_when_enough_differ),
		cmocka_unit_test(a_masked_value_makes_the_words_in_its_place_values),
		cmocka_unit_test(states_of_a_thing_are_different_templates),
		cmocka_unit_test(the_order_of_arrival_does_not_matter),
		cmocka_unit_test(a_restart_knows_its_templates_again),
		cmocka_unit_test(what_a_template_has_become_is_told),
		cmocka_unit_test(fingerprints_are_the_same_for_ever),
		cmocka_unit_test(it_stays_within_its_bounds),
		cmocka_unit_test(severity_comes_from_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
