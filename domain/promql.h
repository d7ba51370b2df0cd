/* promql.h - the part of PromQL that draws pictures of our buckets: read, match, evaluate. Pure.
 *
 *   [sum|avg|min|max|count [by|without (LABEL, ...)] (] [FN_over_time|rate|increase (] NAME{LABEL="..", ..} [[5m]] [)] [)] [+-*\/ NUMBER]
 *
 * and numbers by themselves. A series here is a series of metric_1m: each point is a bucket, at its beginning, with all that is
 * known of it. `stat` is no label but asks for one of these: {stat="p95"}; avg by default. Counters are kept as rates and
 * increases, so rate() and increase() add up the buckets' increases. Everything of a text is bounded (PROMQL_*_MAX). */
#pragma once
#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROMQL_TEXT_MAX     4096
#define PROMQL_MATCHERS_MAX 32
#define PROMQL_BY_MAX       32
#define PROMQL_SUMS_MAX     8
#define PROMQL_VALUES_MAX   1000000 /* of one answer: series times steps */
#define PROMQL_LOOKBACK_S   300     /* how old the last bucket may be for a plain selector */

enum promql_stat { PROMQL_AVG, PROMQL_MAX, PROMQL_MIN, PROMQL_SUM, PROMQL_COUNT, PROMQL_P95, PROMQL_STATS };

enum promql_over {
	OVER_NONE,
	OVER_AVG,
	OVER_MAX,
	OVER_MIN,
	OVER_SUM,
	OVER_COUNT,
	OVER_LAST,
	OVER_RATE,
	OVER_INCREASE
};

struct promql_label {
	char *name, *value;
};

struct promql_matcher {
	char *name, *value;
	bool negative, regex;
	regex_t compiled; /* of a regex */
};

struct promql {
	bool number; /* the whole expression: then only `value` counts */
	double value;
	int aggregate; /* enum promql_stat without P95; -1: none */
	bool without;
	char *by[PROMQL_BY_MAX];
	unsigned by_n;
	enum promql_over over;
	int64_t range_s; /* of over */
	bool stat_given;
	enum promql_stat stat;
	struct promql_matcher matcher[PROMQL_MATCHERS_MAX];
	unsigned matchers;
	struct promql_sum {
		char op;
		double number;
	} sum[PROMQL_SUMS_MAX];
	unsigned sums;
};

/* False: why says where and what. Free with promql_done() either way. */
bool promql_parse(const char *text, struct promql *ret, char why[200]);
void promql_done(struct promql *p);
static inline void oc_auto_promql(struct promql *p)
{
	promql_done(p);
}

/* A name as Prometheus allows it: what it does not, is an underscore. Yours. */
char *promql_name(const char *name);
/* May a metric of this name be meant? By its own name or as promql_name() has it. */
bool promql_takes_name(const struct promql *p, const char *metric);
/* All matchers but those of __name__ and stat; a label that is absent is empty. */
bool promql_takes(const struct promql *p, const struct promql_label *labels, size_t n);

struct promql_point {
	int64_t at_s;
	double v[PROMQL_STATS]; /* NaN: not known */
};

struct promql_series {
	struct promql_label *labels; /* in order of their names; __name__ among them */
	size_t labels_n;
	struct promql_point *points; /* in order of time */
	size_t n;
};
void promql_series_done(struct promql_series *s);

struct promql_answer {
	struct promql_label *labels;
	size_t labels_n;
	double *values; /* one for each step; NaN: none */
};
/* At from_s, from_s + step_s, ... to_s; steps is how many these are. Yours: n answers.
 * NULL: these would be more than PROMQL_VALUES_MAX values. */
size_t promql_steps(int64_t from_s, int64_t to_s, int64_t step_s);
struct promql_answer *promql_eval(const struct promql *p, const struct promql_series *series, size_t n,
				  int64_t from_s, int64_t step_s, size_t steps, size_t *ret_n);
void promql_answers_free(struct promql_answer *list, size_t n);
/* How far before the first step points are looked at. */
int64_t promql_reach_s(const struct promql *p);
