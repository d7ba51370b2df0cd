#include "base/metrics.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"

#define SERIES_CAP 512 /* per metric: what outsiders name must not grow us without end */
#define LABEL_LEN  48

static const double bounds[] = { .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300 };

enum metric_kind { COUNTER, GAUGE, HISTOGRAM };

static const struct metric_row {
	enum metric_kind kind;
	const char *name, *labels, *help;
} rows[] = {
#define METRIC(id, kind, name, labels, help) { kind, name, labels, help },
#include "base/metrics.def"
#undef METRIC
};

struct series {
	struct series *next;
	char label[3][LABEL_LEN];
	double value; /* sum, for a histogram */
	unsigned long count, bucket[ARRAY_LEN(bounds)];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct series *heads[METRIC_COUNT];
static unsigned sizes[METRIC_COUNT];

static struct series *series_find(enum metric_id id, const char *const l[3])
{
	for (struct series *s = heads[id]; s; s = s->next)
		if (!strcmp(s->label[0], l[0]) && !strcmp(s->label[1], l[1]) && !strcmp(s->label[2], l[2]))
			return s;
	return NULL;
}

static struct series *series_get(enum metric_id id, const char *l1, const char *l2, const char *l3)
{
	char cut[3][LABEL_LEN];
	const char *l[3] = { cut[0], cut[1], cut[2] };
	struct series *s;

	snprintf(cut[0], LABEL_LEN, "%s", l1 ? l1 : "");
	snprintf(cut[1], LABEL_LEN, "%s", l2 ? l2 : "");
	snprintf(cut[2], LABEL_LEN, "%s", l3 ? l3 : "");
	s = series_find(id, l);
	if (s)
		return s;
	if (sizes[id] >= SERIES_CAP) {
		for (int i = 0; i < 3; i++)
			if (*cut[i])
				snprintf(cut[i], LABEL_LEN, "other");
		s = series_find(id, l);
		if (s)
			return s;
	}
	s = mem_alloc(sizeof(*s));
	memcpy(s->label, cut, sizeof(cut));
	s->next = heads[id];
	heads[id] = s;
	sizes[id]++;
	return s;
}

void metric_add(enum metric_id id, double v, const char *l1, const char *l2, const char *l3)
{
	pthread_mutex_lock(&lock);
	series_get(id, l1, l2, l3)->value += v;
	pthread_mutex_unlock(&lock);
}

void metric_set(enum metric_id id, double v, const char *l1, const char *l2, const char *l3)
{
	pthread_mutex_lock(&lock);
	series_get(id, l1, l2, l3)->value = v;
	pthread_mutex_unlock(&lock);
}

void metric_observe(enum metric_id id, double seconds, const char *l1, const char *l2, const char *l3)
{
	struct series *s;

	pthread_mutex_lock(&lock);
	s = series_get(id, l1, l2, l3);
	s->value += seconds;
	s->count++;
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
		if (seconds <= bounds[i])
			s->bucket[i]++;
	pthread_mutex_unlock(&lock);
}

double metric_read(enum metric_id id, const char *l1, const char *l2, const char *l3)
{
	const char *l[3] = { l1 ? l1 : "", l2 ? l2 : "", l3 ? l3 : "" };
	struct series *s;
	double v;

	pthread_mutex_lock(&lock);
	s = series_find(id, l);
	v = s ? s->value : 0;
	pthread_mutex_unlock(&lock);
	return v;
}

static void print_labels(struct text *out, const char *names, const struct series *s, const char *le)
{
	const char *sep = "{", *p = names;

	for (int i = 0; i < 3 && *p; i++) {
		size_t n = strcspn(p, ",");

		text_addf(out, "%s%.*s=\"", sep, (int)n, p);
		for (const char *v = s->label[i]; *v; v++) {
			if (*v == '"' || *v == '\\')
				text_add(out, "\\");
			text_add_n(out, *v == '\n' ? " " : v, 1);
		}
		text_add(out, "\"");
		sep = ",";
		p += n + (p[n] == ',');
	}
	if (le) {
		text_addf(out, "%sle=\"%s\"", sep, le);
		sep = ",";
	}
	if (*sep == ',')
		text_add(out, "}");
}

void metrics_print(struct text *out)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram" };

	pthread_mutex_lock(&lock);
	for (size_t id = 0; id < METRIC_COUNT; id++) {
		const struct metric_row *r = &rows[id];

		text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name, kinds[r->kind]);
		for (const struct series *s = heads[id]; s; s = s->next) {
			if (r->kind != HISTOGRAM) {
				text_addf(out, "%s", r->name);
				print_labels(out, r->labels, s, NULL);
				text_addf(out, " %.17g\n", s->value);
				continue;
			}
			for (size_t i = 0; i <= ARRAY_LEN(bounds); i++) {
				char le[32] = "+Inf";

				if (i < ARRAY_LEN(bounds))
					snprintf(le, sizeof(le), "%g", bounds[i]);
				text_addf(out, "%s_bucket", r->name);
				print_labels(out, r->labels, s, le);
				text_addf(out, " %lu\n", i < ARRAY_LEN(bounds) ? s->bucket[i] : s->count);
			}
			text_addf(out, "%s_sum", r->name);
			print_labels(out, r->labels, s, NULL);
			text_addf(out, " %.17g\n%s_count", s->value, r->name);
			print_labels(out, r->labels, s, NULL);
			text_addf(out, " %lu\n", s->count);
		}
	}
	pthread_mutex_unlock(&lock);
}
