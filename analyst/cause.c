#include "analyst/cause.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "analyst/shift.h"
#include "base/mem.h"

#define RESOURCE_WEIGHT 1.5 /* a service's own resources against its symptoms */
#define EXPLAINED       0.7 /* of a symptom, by the symptom of whom it calls */
#define BOTH            0.3 /* the weaker of the two counts so much */
#define EXCESS_PASSED   0.8 /* of a callee's excess that shows at the caller */
#define EXCESS_WEIGHT   10.0
#define TIE_BREAK       0.1 /* of the other shifts where the excess is known */
#define CHANGE_WEIGHT   0.5
#define CHANGE_BEFORE_S 1800.0
#define RARE            0.025 /* share of the samples before */
#define CHANCE_ALARMED  0.3
#define CHANCE_OWN      0.02
#define CHANCE_TOGETHER 0.002
#define LOG_CERTAIN     10.8 /* G: one in a thousand */
#define SHIFT_CLEAR     1.39 /* ln(1 + 3) */
#define APART           1.02

struct service {
	double resource, symptom, as_seen, callee;
	double logs, excess, plain_excess;
	double rarest;
	bool reached, changed, has_excess;
	uint32_t parent; /* on the way from the target */
};

struct look {
	const struct cause_scene *scene;
	struct shift *shift; /* one per series */
	struct service *of;
	double *log_g;
};

static bool has_word(const char *name, const char *word)
{
	size_t n = strlen(word);

	for (; *name; name++)
		if (strncasecmp(name, word, n) == 0)
			return true;
	return false;
}

enum cause_kind cause_kind_of(const char *metric)
{
	static const struct {
		const char *word;
		enum cause_kind kind;
	} words[] = {
		{ "latency",    CAUSE_LATENCY  },
                { "duration",   CAUSE_LATENCY  },
		{ "response_t", CAUSE_LATENCY  },
                { "_lat_",      CAUSE_LATENCY  },
		{ "p50_ms",     CAUSE_LATENCY  },
                { "p95_ms",     CAUSE_LATENCY  },
		{ "success",    CAUSE_SUCCESS  },
                { "availab",    CAUSE_SUCCESS  },
		{ "err_rate",   CAUSE_ERRORS   },
                { "error",      CAUSE_ERRORS   },
		{ "fail",       CAUSE_ERRORS   },
                { "5xx",        CAUSE_ERRORS   },
		{ "request",    CAUSE_REQUESTS },
                { "workload",   CAUSE_REQUESTS },
		{ "throughput", CAUSE_REQUESTS },
                { "rps",        CAUSE_REQUESTS },
	};

	if (strncasecmp(metric, "node", 4) == 0 || strncasecmp(metric, "host", 4) == 0)
		return CAUSE_HOST;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (has_word(metric, words[i].word))
			return words[i].kind;
	return CAUSE_RESOURCE;
}

static bool is_symptom(enum cause_kind k)
{
	return k == CAUSE_LATENCY || k == CAUSE_ERRORS || k == CAUSE_SUCCESS;
}

static void raise_to(double *x, double to)
{
	if (to > *x)
		*x = to;
}

/* ---- shift: own resources, and symptoms that no callee explains ---- */

static void see_series(struct look *l)
{
	const struct cause_scene *sc = l->scene;

	for (size_t i = 0; i < sc->series_count; i++) {
		const struct cause_series *s = &sc->series[i];
		const struct shift *sh = &l->shift[i];

		if (s->kind == CAUSE_HOST || !sh->known)
			continue;
		if (s->caller != CAUSE_NONE) {
			if (!is_symptom(s->kind))
				continue;
			raise_to(&l->of[s->service].as_seen, sh->strength);
			raise_to(&l->of[s->caller].callee, sh->strength);
		} else {
			raise_to(is_symptom(s->kind) ? &l->of[s->service].symptom
						     : &l->of[s->service].resource,
				 sh->strength);
		}
		if (sh->rare < l->of[s->service].rarest)
			l->of[s->service].rarest = sh->rare;
	}
}

static double shift_of(const struct service *s)
{
	double own = RESOURCE_WEIGHT * s->resource;
	double symptom = fmax(fmax(s->symptom, s->as_seen) - EXPLAINED * s->callee, 0);

	return fmax(own, symptom) + BOTH * fmin(own, symptom);
}

/* Where nobody measured the calls themselves, the callee's own word stands for them. */
static void see_callees(struct look *l)
{
	const struct cause_scene *sc = l->scene;

	for (size_t i = 0; i < sc->calls_count; i++) {
		const struct cause_call *c = &sc->calls[i];

		if (c->from != c->to && l->of[c->to].as_seen == 0)
			raise_to(&l->of[c->from].callee, l->of[c->to].symptom);
	}
}

/* ---- excess: what the alarmed symptom costs, where it is made ---- */

static bool symptom_matches(enum cause_kind series, enum cause_kind target)
{
	return target == CAUSE_LATENCY ? series == CAUSE_LATENCY
				       : series == CAUSE_ERRORS || series == CAUSE_SUCCESS;
}

static double at_time(const struct cause_series *s, double t)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->time[mid] < t)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->count && s->time[lo] == t && !isnan(s->value[lo]) ? s->value[lo] : 0;
}

static void reach(struct look *l)
{
	const struct cause_scene *sc = l->scene;
	uint32_t *todo = mem_array(sc->services + 1, sizeof(*todo)), head = 0, tail = 0;
	size_t *first = mem_array((size_t)sc->services + 2, sizeof(*first));
	uint32_t *to = mem_array(sc->calls_count + 1, sizeof(*to));

	for (size_t i = 0; i < sc->calls_count; i++)
		first[sc->calls[i].from + 2]++;
	for (uint32_t s = 0; s < sc->services; s++)
		first[s + 2] += first[s + 1];
	for (size_t i = 0; i < sc->calls_count; i++)
		to[first[sc->calls[i].from + 1]++] = sc->calls[i].to;
	l->of[sc->target].reached = true;
	todo[tail++] = sc->target;
	while (head < tail) {
		uint32_t at = todo[head++];

		for (size_t i = first[at]; i < first[at + 1]; i++) {
			struct service *s = &l->of[to[i]];

			if (s->reached)
				continue;
			s->reached = true;
			s->parent = at;
			todo[tail++] = to[i];
		}
	}
	free(todo);
	free(first);
	free(to);
}

static void see_excess(struct look *l)
{
	const struct cause_scene *sc = l->scene;
	size_t *traffic = mem_array((size_t)sc->services + 1, sizeof(*traffic));

	for (size_t i = 0; i < sc->series_count; i++)
		if (sc->series[i].kind == CAUSE_REQUESTS && sc->series[i].caller == CAUSE_NONE)
			traffic[sc->series[i].service] = i + 1;
	for (size_t i = 0; i < sc->series_count; i++) {
		const struct cause_series *s = &sc->series[i];
		const struct shift *sh = &l->shift[i];
		struct service *of = &l->of[s->service];
		double sign = s->kind == CAUSE_SUCCESS ? -1 : 1;

		if (s->caller != CAUSE_NONE || !s->average || !sh->known || !traffic[s->service] ||
		    !symptom_matches(s->kind, sc->target_kind))
			continue;
		of->has_excess = true;
		for (size_t k = 0; k < s->count; k++) {
			double d = sign * (s->value[k] - sh->median);

			if (s->time[k] >= sc->onset && d > sh->scatter)
				raise_to(&of->plain_excess,
					 d * at_time(&sc->series[traffic[s->service] - 1], s->time[k]));
		}
	}
	for (uint32_t s = 0; s < sc->services; s++)
		l->of[s].excess = l->of[s].plain_excess;
	for (size_t i = 0; i < sc->calls_count; i++)
		if (sc->calls[i].from != sc->calls[i].to)
			l->of[sc->calls[i].from].excess -= EXCESS_PASSED *
							   l->of[sc->calls[i].to].plain_excess;
	for (uint32_t s = 0; s < sc->services; s++)
		l->of[s].excess = l->of[s].reached ? fmax(l->of[s].excess, 0) : 0;
	free(traffic);
}

/* ---- logs ---- */

static double part(double seen, double expected)
{
	return seen > 0 && expected > 0 ? seen * log(seen / expected) : 0;
}

static void see_logs(struct look *l)
{
	const struct cause_scene *sc = l->scene;
	double before = 0, after = 0;

	for (size_t i = 0; i < sc->logs_count; i++) {
		before += sc->logs[i].before;
		after += sc->logs[i].after;
	}
	for (size_t i = 0; i < sc->logs_count && before > 0 && after > 0; i++) {
		const struct cause_log *g = &sc->logs[i];
		double p = (g->before + g->after) / (before + after);

		/* That errors vanish is no fault. */
		if (g->error && g->after / after < g->before / before)
			continue;
		l->log_g[i] = 2 * (part(g->after, after * p) + part(g->before, before * p));
		raise_to(&l->of[g->service].logs, sqrt(l->log_g[i]));
	}
}

/* ---- all together ---- */

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What a fifth of the services that show anything surpass; 0: none does. */
static double usual(double *x, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (x[i] > 0)
			x[kept++] = x[i];
	qsort(x, kept, sizeof(*x), by_number);
	return kept ? x[kept * 4 / 5] : 0;
}

static void note(struct cause_answer *a, struct cause_evidence e)
{
	size_t i;

	if (a->evidence_count == CAUSE_EVIDENCE_MAX) {
		if (e.weight <= a->evidence[CAUSE_EVIDENCE_MAX - 1].weight)
			return;
		a->evidence_count--;
	}
	for (i = a->evidence_count; i > 0 && a->evidence[i - 1].weight < e.weight; i--)
		a->evidence[i] = a->evidence[i - 1];
	a->evidence[i] = e;
	a->evidence_count++;
}

static void ground(const struct look *l, struct cause_answer *a)
{
	const struct cause_scene *sc = l->scene;
	uint32_t way[CAUSE_PATH_MAX], at = a->service;
	size_t n = 0;

	for (size_t i = 0; i < sc->series_count; i++) {
		const struct shift *sh = &l->shift[i];

		if (sc->series[i].service != a->service || !sh->known || sc->series[i].kind == CAUSE_HOST ||
		    sh->strength <= 0)
			continue;
		note(a, (struct cause_evidence){ .kind = CAUSE_BY_SERIES,
						 .at = i,
						 .before = sh->median,
						 .after = sh->mean,
						 .since = sh->since,
						 .weight = sh->strength });
	}
	for (size_t i = 0; i < sc->logs_count; i++)
		if (sc->logs[i].service == a->service && l->log_g[i] > LOG_CERTAIN)
			note(a, (struct cause_evidence){ .kind = CAUSE_BY_LOG,
							 .at = i,
							 .before = sc->logs[i].before,
							 .after = sc->logs[i].after,
							 .weight = sqrt(l->log_g[i]) });
	for (size_t i = 0; i < sc->changes_count; i++)
		if (sc->changes[i].service == a->service && l->of[a->service].changed)
			note(a, (struct cause_evidence){ .kind = CAUSE_BY_CHANGE,
							 .at = i,
							 .since = sc->changes[i].time,
							 .weight = INFINITY });
	if (sc->target == CAUSE_NONE || !l->of[at].reached)
		return;
	for (way[n++] = at; at != sc->target && n < CAUSE_PATH_MAX;)
		way[n++] = at = l->of[at].parent;
	if (at != sc->target)
		return;
	for (size_t i = 0; i < n; i++)
		a->path[i] = way[n - 1 - i];
	a->path_count = n;
}

static void rank(const struct look *l, bool by_excess, struct cause_verdict *ret)
{
	const struct cause_scene *sc = l->scene;
	double *x = mem_array((size_t)sc->services + 1, sizeof(*x)), shift_usual, logs_usual, excess_all = 0;

	for (uint32_t s = 0; s < sc->services; s++)
		x[s] = shift_of(&l->of[s]);
	shift_usual = usual(x, sc->services);
	for (uint32_t s = 0; s < sc->services; s++) {
		x[s] = l->of[s].logs;
		excess_all += l->of[s].excess;
	}
	logs_usual = usual(x, sc->services);
	for (uint32_t s = 0; s < sc->services; s++) {
		const struct service *of = &l->of[s];
		struct cause_answer a = { .service = s,
					  .shift = shift_of(of),
					  .logs = of->logs,
					  .excess = of->excess,
					  .rarest = of->rarest };
		size_t i;

		if (by_excess && !of->reached)
			continue;
		if (shift_usual > 0)
			a.score += (by_excess ? TIE_BREAK : 1) * a.shift / shift_usual;
		if (logs_usual > 0)
			a.score += a.logs / logs_usual;
		if (by_excess && excess_all > 0)
			a.score += EXCESS_WEIGHT * a.excess / excess_all;
		if (a.score <= 0)
			continue;
		if (of->changed)
			a.score += CHANGE_WEIGHT;
		if (ret->count == CAUSE_ANSWERS_MAX) {
			if (a.score <= ret->answer[ret->count - 1].score)
				continue;
			ret->count--;
		}
		for (i = ret->count; i > 0 && ret->answer[i - 1].score < a.score; i--)
			ret->answer[i] = ret->answer[i - 1];
		ret->answer[i] = a;
		ret->count++;
	}
	free(x);
}

/* nth 1: seen twice at least, so that no single sample decides. */
static double symptom_chance(const struct look *l, uint32_t service, unsigned nth)
{
	const struct cause_scene *sc = l->scene;
	double least = 1;

	for (size_t i = 0; i < sc->series_count; i++) {
		const struct cause_series *s = &sc->series[i];

		if (s->service == service && s->average && l->shift[i].known &&
		    symptom_matches(s->kind, sc->target_kind))
			least = fmin(least, s->kind == CAUSE_SUCCESS ? l->shift[i].chance_low[nth]
								     : l->shift[i].chance_high[nth]);
	}
	return least;
}

/* Both the alarmed symptom and the candidate's own have to be there. */
static const char *excess_doubt(const struct look *l, const struct cause_answer *top)
{
	double alarmed = symptom_chance(l, l->scene->target, 0), own = symptom_chance(l, top->service, 1);

	if (alarmed > CHANCE_ALARMED)
		return "the alarmed symptom is not out of the ordinary";
	if (own > CHANCE_OWN || alarmed * own > CHANCE_TOGETHER)
		return "no service is out of the ordinary";
	return NULL;
}

static const char *shift_doubt(const struct cause_answer *top)
{
	if (top->logs * top->logs < LOG_CERTAIN && (top->shift < SHIFT_CLEAR || top->rarest > RARE))
		return "no service is out of the ordinary";
	return NULL;
}

static void judge(const struct look *l, bool by_excess, struct cause_verdict *ret)
{
	if (!ret->count)
		ret->why = "nothing changed at any service";
	else if (by_excess)
		ret->why = excess_doubt(l, &ret->answer[0]);
	else
		ret->why = shift_doubt(&ret->answer[0]);
	if (!ret->why && ret->count > 1 && ret->answer[0].score < APART * ret->answer[1].score)
		ret->why = "the first two services do not separate";
	ret->resolved = !ret->why;
}

void cause_find(const struct cause_scene *sc, struct cause_verdict *ret)
{
	struct look l = { .scene = sc,
			  .shift = mem_array(sc->series_count + 1, sizeof(*l.shift)),
			  .of = mem_array((size_t)sc->services + 1, sizeof(*l.of)),
			  .log_g = mem_array(sc->logs_count + 1, sizeof(*l.log_g)) };
	struct shift_room room = { 0 };
	bool by_excess = sc->target != CAUSE_NONE && sc->calls_count > 0;

	memset(ret, 0, sizeof(*ret));
	for (uint32_t s = 0; s < sc->services; s++) {
		l.of[s].rarest = 1;
		l.of[s].parent = CAUSE_NONE;
	}
	for (size_t i = 0; i < sc->series_count; i++)
		shift_measure(&room, sc->series[i].time, sc->series[i].value, sc->series[i].count, sc->onset,
			      &l.shift[i]);
	shift_room_done(&room);
	see_series(&l);
	see_callees(&l);
	see_logs(&l);
	for (size_t i = 0; i < sc->changes_count; i++)
		if (sc->changes[i].time <= sc->onset && sc->changes[i].time >= sc->onset - CHANGE_BEFORE_S)
			l.of[sc->changes[i].service].changed = true;
	if (sc->target != CAUSE_NONE)
		reach(&l);
	if (by_excess) {
		see_excess(&l);
		by_excess = l.of[sc->target].has_excess;
	}
	rank(&l, by_excess, ret);
	for (size_t i = 0; i < ret->count; i++)
		ground(&l, &ret->answer[i]);
	judge(&l, by_excess, ret);
	free(l.shift);
	free(l.of);
	free(l.log_g);
}
