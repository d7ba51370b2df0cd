#include "tools/rca/scene.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "base/text.h"

struct scene *scene_new(const char *label, const char *root, double onset)
{
	struct scene *s = mem_alloc(sizeof(*s));

	snprintf(s->label, sizeof(s->label), "%s", label);
	snprintf(s->root, sizeof(s->root), "%s", root);
	s->cause.onset = onset;
	s->cause.target = CAUSE_NONE;
	return s;
}

void scene_free(struct scene *s)
{
	for (size_t i = 0; i < s->cause.series_count; i++) {
		free((double *)s->series[i].time);
		free((double *)s->series[i].value);
		free(s->metric[i]);
	}
	for (size_t i = 0; i < s->cause.services; i++)
		free(s->name[i]);
	free(s->name);
	free(s->series);
	free(s->metric);
	free(s->calls);
	free(s->logs);
	free(s);
}

uint32_t scene_find(const struct scene *s, const char *name)
{
	for (uint32_t i = 0; i < s->cause.services; i++)
		if (str_eq(s->name[i], name))
			return i;
	return CAUSE_NONE;
}

uint32_t scene_service(struct scene *s, const char *name)
{
	uint32_t at = scene_find(s, name);

	if (at != CAUSE_NONE)
		return at;
	if (s->cause.services == s->names_cap) {
		s->names_cap = s->names_cap ? s->names_cap * 2 : 64;
		s->name = mem_grow(s->name, s->names_cap, sizeof(*s->name));
	}
	s->name[s->cause.services] = mem_strdup(name);
	return s->cause.services++;
}

static double *copy(const double *from, size_t n)
{
	double *to = mem_array(n + 1, sizeof(*to));

	memcpy(to, from, n * sizeof(*to));
	return to;
}

void scene_series(struct scene *s, uint32_t service, uint32_t caller, const char *metric, bool average,
		  const double *time, const double *value, size_t count)
{
	if (s->cause.series_count == s->series_cap) {
		s->series_cap = s->series_cap ? s->series_cap * 2 : 256;
		s->series = mem_grow(s->series, s->series_cap, sizeof(*s->series));
		s->metric = mem_grow(s->metric, s->series_cap, sizeof(*s->metric));
	}
	s->metric[s->cause.series_count] = mem_strdup(metric);
	s->series[s->cause.series_count++] = (struct cause_series){ .service = service,
								    .caller = caller,
								    .kind = cause_kind_of(metric),
								    .average = average,
								    .time = copy(time, count),
								    .value = copy(value, count),
								    .count = count };
}

void scene_call(struct scene *s, uint32_t from, uint32_t to)
{
	if (s->cause.calls_count == s->calls_cap) {
		s->calls_cap = s->calls_cap ? s->calls_cap * 2 : 64;
		s->calls = mem_grow(s->calls, s->calls_cap, sizeof(*s->calls));
	}
	s->calls[s->cause.calls_count++] = (struct cause_call){ from, to };
}

void scene_log(struct scene *s, uint32_t service, uint64_t pattern, double before, double after, bool error)
{
	for (size_t i = 0; i < s->cause.logs_count; i++)
		if (s->logs[i].service == service && s->logs[i].pattern == pattern) {
			s->logs[i].before += before;
			s->logs[i].after += after;
			return;
		}
	if (s->cause.logs_count == s->logs_cap) {
		s->logs_cap = s->logs_cap ? s->logs_cap * 2 : 256;
		s->logs = mem_grow(s->logs, s->logs_cap, sizeof(*s->logs));
	}
	s->logs[s->cause.logs_count++] = (struct cause_log){
		.service = service, .pattern = pattern, .before = before, .after = after, .error = error
	};
}

void scene_ready(struct scene *s, unsigned seed)
{
	for (size_t i = s->cause.series_count; seed && i > 1; i--) {
		size_t k = (size_t)rand_r(&seed) % i;
		struct cause_series swap = s->series[i - 1];
		char *name = s->metric[i - 1];

		s->series[i - 1] = s->series[k];
		s->metric[i - 1] = s->metric[k];
		s->series[k] = swap;
		s->metric[k] = name;
	}
	for (size_t i = s->cause.calls_count; seed && i > 1; i--) {
		size_t k = (size_t)rand_r(&seed) % i;
		struct cause_call swap = s->calls[i - 1];

		s->calls[i - 1] = s->calls[k];
		s->calls[k] = swap;
	}
	s->cause.series = s->series;
	s->cause.calls = s->calls;
	s->cause.logs = s->logs;
}
