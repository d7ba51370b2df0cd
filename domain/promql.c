#include "domain/promql.h"
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"

/* ---- words ---- */

struct reader {
	const char *text, *p;
	char *why;
};

static bool bad(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool bad(struct reader *r, const char *fmt, ...)
{
	char what[140];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!*r->why)
		snprintf(r->why, 200, "at character %td: %s", r->p - r->text + 1, what);
	return false;
}

static void blanks(struct reader *r)
{
	r->p += strspn(r->p, " \t\r\n");
}

static bool is(struct reader *r, char c)
{
	blanks(r);
	if (*r->p != c)
		return false;
	r->p++;
	return true;
}

static bool want(struct reader *r, char c)
{
	return is(r, c) || bad(r, "'%c' is expected here", c);
}

/* A name, of metrics with colons. NULL: there is none. */
static char *word(struct reader *r)
{
	size_t n = 0;

	blanks(r);
	while (isalnum((unsigned char)r->p[n]) || r->p[n] == '_' || r->p[n] == ':')
		n++;
	if (n == 0 || isdigit((unsigned char)*r->p))
		return NULL;
	r->p += n;
	return mem_strndup(r->p - n, n);
}

static bool ahead(struct reader *r, const char *name)
{
	size_t n = strlen(name);

	blanks(r);
	if (strncmp(r->p, name, n) != 0 || isalnum((unsigned char)r->p[n]) || r->p[n] == '_' ||
	    r->p[n] == ':')
		return false;
	r->p += n;
	return true;
}

static char *quoted(struct reader *r)
{
	struct text t = { 0 };
	char q;

	blanks(r);
	q = *r->p;
	if (q != '"' && q != '\'' && q != '`') {
		bad(r, "a text in quotes is expected here");
		return NULL;
	}
	text_add(&t, "");
	for (r->p++; *r->p && *r->p != q; r->p++) {
		char c = *r->p;

		if (c == '\\' && q != '`' && r->p[1]) {
			c = *++r->p;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		text_add_n(&t, &c, 1);
	}
	if (*r->p != q) {
		bad(r, "the quote is not closed");
		text_done(&t);
		return NULL;
	}
	r->p++;
	return text_take(&t);
}

/* "5m", "1h30m", "90s" */
static bool duration(struct reader *r, int64_t *ret_s)
{
	static const struct unit_row {
		char name;
		int64_t s;
	} units[] = {
		{ 's', 1      },
                { 'm', 60     },
                { 'h', 3600   },
                { 'd', 86400  },
                { 'w', 604800 }
	};
	bool any = false;

	*ret_s = 0;
	blanks(r);
	while (isdigit((unsigned char)*r->p)) {
		char *end = NULL;
		long n = strtol(r->p, &end, 10);
		size_t u = 0;

		while (u < ARRAY_LEN(units) && units[u].name != *end)
			u++;
		if (u == ARRAY_LEN(units) || n > 1000000)
			return bad(r, "a time like 5m or 1h is expected here");
		*ret_s += n * units[u].s;
		r->p = end + 1;
		any = true;
	}
	if (!any || *ret_s < 1 || *ret_s > 366 * 86400)
		return bad(r, "a time from 1s to 366d is expected here");
	return true;
}

static bool number(struct reader *r, double *ret)
{
	char *end = NULL;

	blanks(r);
	if (!isdigit((unsigned char)*r->p) && *r->p != '.' && *r->p != '-' && *r->p != '+')
		return false;
	*ret = strtod(r->p, &end);
	if (end == r->p)
		return false;
	r->p = end;
	return true;
}

/* ---- the grammar ---- */

/* Prometheus reads RE2, we POSIX. What the two read differently is not taken: \d would be a plain d, \1 what RE2 does not have. Nor is a
 * counted repetition: the C library writes it out, and a{60}{60}{60} in a few bytes would take all memory. */
static bool same_in_both(const char *regex)
{
	bool in_set = false;

	for (const char *c = regex; *c; c++) {
		if (*c == '\\') {
			/* within a set POSIX takes the backslash itself */
			if (in_set || !c[1] || isalnum((unsigned char)c[1]) || strchr("<>`'", c[1]))
				return false;
			c++;
		} else if (in_set) {
			in_set = *c != ']';
		} else if (*c == '[') {
			in_set = true;
			c += c[1] == '^';
			c += c[1] == ']';
		} else if (*c == '{' || (*c == '(' && c[1] == '?')) {
			return false;
		}
	}
	return true;
}

static bool one_matcher(struct reader *r, struct promql *p, char *take_name, bool negative, bool regex,
			char *take_value)
{
	struct promql_matcher *m = &p->matcher[p->matchers];
	AUTO(str) char *name = take_name;
	AUTO(str) char *value = take_value;

	if (!name || !value)
		return bad(r, "LABEL=\"VALUE\" is expected here");
	if (str_eq(name, "stat")) {
		static const char *const stats[] = { "avg", "max", "min", "sum", "count", "p95" };

		for (int i = 0; i < PROMQL_STATS; i++)
			if (!negative && !regex && str_eq(stats[i], value)) {
				p->stat = (enum promql_stat)i;
				p->stat_given = true;
				return true;
			}
		return bad(r, "stat is one of avg, max, min, sum, count, p95");
	}
	if (p->matchers == PROMQL_MATCHERS_MAX)
		return bad(r, "more than %d matchers", PROMQL_MATCHERS_MAX);
	if (regex) {
		AUTO(str) char *anchored = mem_printf("^(%s)$", value);

		if (!same_in_both(value) || regcomp(&m->compiled, anchored, REG_EXTENDED | REG_NOSUB) != 0)
			return bad(r, "'%.60s' is no regular expression that is known here", value);
	}
	m->name = TAKE(name);
	m->value = TAKE(value);
	m->negative = negative;
	m->regex = regex;
	p->matchers++;
	return true;
}

static bool braces(struct reader *r, struct promql *p)
{
	while (!is(r, '}')) {
		char *name;
		bool negative, regex;

		/* {"a.name"}: of a metric whose name is no word */
		blanks(r);
		if (*r->p == '"' || *r->p == '\'') {
			if (!one_matcher(r, p, mem_strdup("__name__"), false, false, quoted(r)))
				return false;
			(void)is(r, ',');
			continue;
		}
		name = word(r);
		if (!name)
			return bad(r, "a label is expected here");
		blanks(r);
		negative = *r->p == '!';
		regex = *r->p && r->p[1] == '~';
		if (!(r->p[0] == '=' || (negative && (r->p[1] == '=' || regex)))) {
			free(name);
			return bad(r, "=, !=, =~ or !~ is expected here");
		}
		r->p += 1 + (negative || regex);
		if (!one_matcher(r, p, name, negative, regex, quoted(r)))
			return false;
		if (!is(r, ',')) {
			blanks(r);
			if (*r->p != '}')
				return bad(r, "',' or '}' is expected here");
		}
	}
	return true;
}

static bool selector(struct reader *r, struct promql *p)
{
	char *name = word(r);

	if (name && !one_matcher(r, p, mem_strdup("__name__"), false, false, name))
		return false;
	if (is(r, '{')) {
		if (!braces(r, p))
			return false;
	} else if (!name) {
		return bad(r, "a metric is expected here");
	}
	for (unsigned i = 0; i < p->matchers; i++)
		if (!p->matcher[i].negative && *p->matcher[i].value)
			return true;
	return bad(r, "at least one matcher has to say what is wanted");
}

static const struct over_row {
	const char *name;
	enum promql_over over;
} overs[] = {
	{ "avg_over_time",   OVER_AVG      },
	{ "max_over_time",   OVER_MAX      },
	{ "min_over_time",   OVER_MIN      },
	{ "sum_over_time",   OVER_SUM      },
	{ "count_over_time", OVER_COUNT    },
	{ "last_over_time",  OVER_LAST     },
	{ "rate",            OVER_RATE     },
	{ "irate",           OVER_RATE     },
	{ "increase",        OVER_INCREASE },
};

static bool vector(struct reader *r, struct promql *p)
{
	for (size_t i = 0; i < ARRAY_LEN(overs); i++) {
		const char *from = r->p;

		if (!ahead(r, overs[i].name))
			continue;
		if (!is(r, '(')) { /* a metric of that name */
			r->p = from;
			break;
		}
		p->over = overs[i].over;
		return selector(r, p) && want(r, '[') && duration(r, &p->range_s) && want(r, ']') &&
		       want(r, ')');
	}
	return selector(r, p);
}

static bool grouping(struct reader *r, struct promql *p)
{
	bool by = ahead(r, "by");

	p->without = !by && ahead(r, "without");
	if (!by && !p->without)
		return true;
	if (!want(r, '('))
		return false;
	while (!is(r, ')')) {
		if (p->by_n == PROMQL_BY_MAX)
			return bad(r, "more than %d labels", PROMQL_BY_MAX);
		p->by[p->by_n] = word(r);
		if (!p->by[p->by_n])
			return bad(r, "a label is expected here");
		p->by_n++;
		if (!is(r, ',')) {
			blanks(r);
			if (*r->p != ')')
				return bad(r, "',' or ')' is expected here");
		}
	}
	return true;
}

static bool expression(struct reader *r, struct promql *p)
{
	static const char *const aggregates[] = { "avg", "max", "min", "sum", "count" };

	for (int i = 0; i < (int)ARRAY_LEN(aggregates); i++) {
		const char *from = r->p;

		if (!ahead(r, aggregates[i]))
			continue;
		if (!grouping(r, p))
			return false;
		if (!is(r, '(')) {
			if (p->by_n || p->without)
				return bad(r, "'(' is expected here");
			r->p = from; /* a metric of that name */
			break;
		}
		p->aggregate = i;
		return vector(r, p) && want(r, ')') && (p->by_n || p->without || grouping(r, p));
	}
	return vector(r, p);
}

static double apply(char op, double a, double b)
{
	switch (op) {
	case '+':
		return a + b;
	case '-':
		return a - b;
	case '*':
		return a * b;
	default:
		return a / b;
	}
}

static bool sums(struct reader *r, struct promql *p)
{
	for (;;) {
		struct promql_sum s = { 0 };

		blanks(r);
		if (!*r->p)
			return true;
		if (!strchr("+-*/", *r->p))
			return bad(
				r,
				"this is not known here: an aggregate of a function of a selector, then numbers");
		s.op = *r->p++;
		if (!number(r, &s.number))
			return bad(r, "only numbers are known here");
		blanks(r);
		while ((s.op == '+' || s.op == '-') && (*r->p == '*' || *r->p == '/')) {
			char op = *r->p++;
			double more;

			if (!number(r, &more))
				return bad(r, "only numbers are known here");
			s.number = apply(op, s.number, more);
			blanks(r);
		}
		if (p->number)
			p->value = apply(s.op, p->value, s.number);
		else if (p->sums < PROMQL_SUMS_MAX)
			p->sum[p->sums++] = s;
		else
			return bad(r, "more than %d numbers", PROMQL_SUMS_MAX);
	}
}

bool promql_parse(const char *text, struct promql *ret, char why[200])
{
	struct reader r = { text, text, why };

	*ret = (struct promql){ .aggregate = -1 };
	*why = '\0';
	if (strlen(text) > PROMQL_TEXT_MAX)
		return bad(&r, "the expression has more than %d bytes", PROMQL_TEXT_MAX);
	if (number(&r, &ret->value))
		ret->number = true;
	else if (!expression(&r, ret))
		return false;
	return sums(&r, ret);
}

void promql_done(struct promql *p)
{
	for (unsigned i = 0; i < p->matchers; i++) {
		free(p->matcher[i].name);
		free(p->matcher[i].value);
		if (p->matcher[i].regex)
			regfree(&p->matcher[i].compiled);
	}
	for (unsigned i = 0; i < p->by_n; i++)
		free(p->by[i]);
	p->matchers = p->by_n = 0;
}

/* ---- matching ---- */

char *promql_name(const char *name)
{
	char *out = mem_strdup(name);

	for (char *c = out; *c; c++)
		if (!(isalnum((unsigned char)*c) || *c == '_' || (*c == ':' && c != out)) ||
		    (c == out && isdigit((unsigned char)*c)))
			*c = '_';
	return out;
}

static bool one_takes(const struct promql_matcher *m, const char *value)
{
	bool same = m->regex ? regexec(&m->compiled, value, 0, NULL, 0) == 0 : str_eq(m->value, value);

	return same != m->negative;
}

bool promql_takes_name(const struct promql *p, const char *metric)
{
	AUTO(str) char *other = promql_name(metric);

	for (unsigned i = 0; i < p->matchers; i++)
		if (str_eq(p->matcher[i].name, "__name__") && !one_takes(&p->matcher[i], metric) &&
		    !one_takes(&p->matcher[i], other))
			return false;
	return true;
}

static const char *label_value(const struct promql_label *labels, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(labels[i].name, name))
			return labels[i].value;
	return "";
}

bool promql_takes(const struct promql *p, const struct promql_label *labels, size_t n)
{
	for (unsigned i = 0; i < p->matchers; i++)
		if (!str_eq(p->matcher[i].name, "__name__") &&
		    !one_takes(&p->matcher[i], label_value(labels, n, p->matcher[i].name)))
			return false;
	return true;
}

/* ---- evaluation ---- */

void promql_series_done(struct promql_series *s)
{
	for (size_t i = 0; i < s->labels_n; i++) {
		free(s->labels[i].name);
		free(s->labels[i].value);
	}
	free(s->labels);
	free(s->points);
	*s = (struct promql_series){ 0 };
}

size_t promql_steps(int64_t from_s, int64_t to_s, int64_t step_s)
{
	return to_s < from_s ? 0 : (size_t)((to_s - from_s) / step_s) + 1;
}

int64_t promql_reach_s(const struct promql *p)
{
	return p->over == OVER_NONE ? PROMQL_LOOKBACK_S : p->range_s;
}

/* What the points in (t - reach, t] come to; there is at least one. */
static double over(const struct promql *p, const struct promql_point *points, size_t n)
{
	double total = 0, weight = 0, best = NAN, sum = 0;
	bool any_sum = false;

	if (p->over == OVER_NONE || p->over == OVER_LAST)
		return points[n - 1].v[p->stat];
	for (size_t i = 0; i < n; i++) {
		const double *v = points[i].v;
		double w = p->stat_given ? 1 : v[PROMQL_COUNT];
		double x = p->stat_given         ? v[p->stat]
			   : p->over == OVER_MAX ? v[PROMQL_MAX]
			   : p->over == OVER_MIN ? v[PROMQL_MIN]
						 : v[PROMQL_AVG];
		double add = p->stat_given           ? v[p->stat]
			     : p->over == OVER_COUNT ? v[PROMQL_COUNT]
						     : v[PROMQL_SUM];

		if (isfinite(x) && w > 0) {
			total += x * w;
			weight += w;
			best = p->over == OVER_MIN ? fmin(best, x) : fmax(best, x);
		}
		if (isfinite(add)) {
			sum += add;
			any_sum = true;
		}
	}
	switch (p->over) {
	case OVER_AVG:
		return weight > 0 ? total / weight : NAN;
	case OVER_MAX:
	case OVER_MIN:
		return best;
	case OVER_RATE:
		return any_sum ? sum / (double)p->range_s : NAN;
	default:
		return any_sum ? sum : NAN;
	}
}

static void eval_series(const struct promql *p, const struct promql_series *s, int64_t from_s, int64_t step_s,
			size_t steps, double *values)
{
	int64_t reach = promql_reach_s(p);
	size_t first = 0, end = 0;

	for (size_t k = 0; k < steps; k++) {
		int64_t t = from_s + (int64_t)k * step_s;

		while (end < s->n && s->points[end].at_s <= t)
			end++;
		while (first < end && s->points[first].at_s <= t - reach)
			first++;
		values[k] = end > first ? over(p, s->points + first, end - first) : NAN;
		for (unsigned i = 0; i < p->sums; i++)
			values[k] = p->aggregate < 0 ? apply(p->sum[i].op, values[k], p->sum[i].number)
						     : values[k];
	}
}

static bool keeps(const struct promql *p, const char *name)
{
	bool named = false;

	if (str_eq(name, "__name__"))
		return p->aggregate < 0 && p->over == OVER_NONE && !p->sums;
	if (p->aggregate < 0)
		return true;
	for (unsigned i = 0; i < p->by_n; i++)
		named = named || str_eq(p->by[i], name);
	return named != p->without;
}

static bool same_group(const struct promql_answer *a, const struct promql_label *labels, size_t n)
{
	if (a->labels_n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!str_eq(a->labels[i].name, labels[i].name) ||
		    !str_eq(a->labels[i].value, labels[i].value))
			return false;
	return true;
}

static void fold(int aggregate, double *into, double *count, double x)
{
	if (!isfinite(x))
		return;
	*count += 1;
	if (isnan(*into))
		*into = x;
	else if (aggregate == PROMQL_MAX)
		*into = fmax(*into, x);
	else if (aggregate == PROMQL_MIN)
		*into = fmin(*into, x);
	else
		*into += x;
}

static void finish(const struct promql *p, double *values, const double *counts, size_t steps)
{
	for (size_t k = 0; k < steps; k++) {
		if (isnan(values[k]))
			continue;
		if (p->aggregate == PROMQL_AVG)
			values[k] /= counts[k];
		else if (p->aggregate == PROMQL_COUNT)
			values[k] = counts[k];
		for (unsigned i = 0; i < p->sums; i++)
			values[k] = apply(p->sum[i].op, values[k], p->sum[i].number);
	}
}

struct promql_answer *promql_eval(const struct promql *p, const struct promql_series *series, size_t n,
				  int64_t from_s, int64_t step_s, size_t steps, size_t *ret_n)
{
	struct promql_answer *list = mem_array(n + 1, sizeof(*list));
	double **counts = mem_array(n + 1, sizeof(double *));
	double *values = mem_array(steps + 1, sizeof(*values));
	size_t found = 0;
	bool too_many = false;

	for (size_t i = 0; i < n; i++) {
		struct promql_label *kept = mem_array(series[i].labels_n + 1, sizeof(*kept));
		size_t kept_n = 0, at = 0;

		for (size_t k = 0; k < series[i].labels_n; k++)
			if (keeps(p, series[i].labels[k].name))
				kept[kept_n++] = series[i].labels[k];
		while (at < found && (p->aggregate < 0 || !same_group(&list[at], kept, kept_n)))
			at++;
		if (at == found && (found + 1) * steps > PROMQL_VALUES_MAX) {
			free(kept);
			too_many = true;
			break;
		}
		if (at == found) {
			struct promql_answer *a = &list[found];

			a->labels = mem_array(kept_n + 1, sizeof(*a->labels));
			a->labels_n = kept_n;
			for (size_t k = 0; k < kept_n; k++)
				a->labels[k] = (struct promql_label){ mem_strdup(kept[k].name),
								      mem_strdup(kept[k].value) };
			a->values = mem_array(steps + 1, sizeof(double));
			counts[found] = mem_array(steps + 1, sizeof(double));
			for (size_t k = 0; k < steps; k++)
				a->values[k] = NAN;
			found++;
		}
		free(kept);
		eval_series(p, &series[i], from_s, step_s, steps, values);
		for (size_t k = 0; k < steps; k++) {
			if (p->aggregate < 0)
				list[at].values[k] = values[k];
			else
				fold(p->aggregate, &list[at].values[k], &counts[at][k], values[k]);
		}
	}
	for (size_t i = 0; i < found; i++) {
		if (p->aggregate >= 0)
			finish(p, list[i].values, counts[i], steps);
		free(counts[i]);
	}
	free(counts);
	free(values);
	if (too_many) {
		promql_answers_free(list, found);
		list = NULL;
		found = 0;
	}
	*ret_n = found;
	return list;
}

void promql_answers_free(struct promql_answer *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < list[i].labels_n; k++) {
			free(list[i].labels[k].name);
			free(list[i].labels[k].value);
		}
		free(list[i].labels);
		free(list[i].values);
	}
	free(list);
}
