/* nab - the detectors of analyst/detect.h on a folder of labelled series, scored by the benchmark's own rule.
 *
 *   nab DIR [--limit N] [--alarms]      DIR holds data/<group>/<file>.csv and labels/combined_windows.json
 *
 * The limit is fixed beforehand: the product's default unless given. Prints one line per file, then the corpus under the three
 * profiles (standard, low false positives, low false negatives) and for every other file apart, for whoever tunes on a half. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "analyst/detect.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/json/json.h"

#define FILES_MAX   256
#define WINDOWS_MAX 16

struct span {
	size_t first, last;
};

struct series {
	char name[256];
	int64_t *time_s;
	double *value;
	bool *alarm;
	size_t count;
	struct span window[WINDOWS_MAX];
	size_t windows;
};

static const struct profile {
	const char *name;
	double tp, fn, fp;
} profiles[] = {
	{ "standard", 1, 1, .11 },
	{ "low FP",   1, 1, .22 },
	{ "low FN",   1, 2, .11 },
};

static double worth(double y)
{
	return y > 3 ? -1 : 2 / (1 + exp(5 * y)) - 1;
}

static size_t probation(const struct series *s)
{
	size_t p = (size_t)floor(.15 * (double)s->count);

	return p > 750 ? 750 : p;
}

static double file_score(const struct series *s, const struct profile *p, size_t *ret_hit, size_t *ret_false)
{
	double best[WINDOWS_MAX], score = 0;
	bool hit[WINDOWS_MAX] = { 0 };

	*ret_hit = *ret_false = 0;
	for (size_t w = 0; w < s->windows; w++)
		best[w] = -p->fn;
	for (size_t i = probation(s); i < s->count; i++) {
		const struct span *last = NULL;
		bool inside = false;

		if (!s->alarm[i])
			continue;
		for (size_t w = 0; w < s->windows; w++) {
			const struct span *at = &s->window[w];
			double y;

			if (at->last < i && (!last || at->last > last->last))
				last = at;
			if (i < at->first || i > at->last)
				continue;
			inside = true;
			y = -(double)(at->last - i + 1) / (double)(at->last - at->first + 1);
			best[w] = fmax(best[w], p->tp * worth(y) / worth(-1));
			hit[w] = true;
		}
		if (inside)
			continue;
		(*ret_false)++;
		score += last ? p->fp * worth((double)(i - last->last) / (double)(last->last - last->first))
			      : -p->fp;
	}
	for (size_t w = 0; w < s->windows; w++) {
		score += best[w];
		*ret_hit += hit[w];
	}
	return score;
}

static void add_row(struct series *s, size_t *cap, const char *time, const char *value)
{
	char stamp[64];
	int64_t us;

	snprintf(stamp, sizeof(stamp), "%.40sZ", time);
	if (clock_parse(stamp, &us) != 0)
		return; /* the heading */
	if (s->count == *cap) {
		*cap = *cap ? *cap * 2 : 4096;
		s->time_s = mem_grow(s->time_s, *cap, sizeof(*s->time_s));
		s->value = mem_grow(s->value, *cap, sizeof(*s->value));
	}
	s->time_s[s->count] = us / 1000000;
	s->value[s->count++] = strtod(value, NULL);
}

static void series_read(const char *path, struct series *s)
{
	FILE *f = fopen(path, "r");
	char line[256];
	size_t cap = 0;

	if (!f) {
		fprintf(stderr, "nab: cannot read %s\n", path);
		exit(2);
	}
	while (fgets(line, sizeof(line), f)) {
		char *comma = strchr(line, ',');

		if (!comma)
			continue;
		*comma = '\0';
		add_row(s, &cap, line, comma + 1);
	}
	fclose(f);
	s->alarm = mem_array(s->count + 1, sizeof(*s->alarm));
}

static void windows_read(const json_t *labels, struct series *s)
{
	const json_t *pair;
	size_t n;

	json_array_foreach(json_object_get(labels, s->name), n, pair)
	{
		struct span *w = &s->window[s->windows];
		char from[64], to[64];
		int64_t from_us, to_us;

		if (s->windows == WINDOWS_MAX)
			break;
		snprintf(from, sizeof(from), "%.40sZ", json_string_value(json_array_get(pair, 0)));
		snprintf(to, sizeof(to), "%.40sZ", json_string_value(json_array_get(pair, 1)));
		if (clock_parse(from, &from_us) != 0 || clock_parse(to, &to_us) != 0) {
			fprintf(stderr, "nab: a window of %s is no pair of times\n", s->name);
			exit(2);
		}
		while (w->first < s->count && s->time_s[w->first] < from_us / 1000000)
			w->first++;
		for (w->last = w->first; w->last + 1 < s->count && s->time_s[w->last + 1] <= to_us / 1000000;)
			w->last++;
		s->windows++;
	}
}

static void detect(struct series *s, double limit, bool tell)
{
	struct detector d;
	struct detect_result r;

	detector_init(&d);
	for (size_t i = 0; i < s->count; i++) {
		detector_step(&d, s->time_s[i], s->value[i], limit, &r);
		s->alarm[i] = r.alarm;
		if (r.alarm && tell && i >= probation(s))
			printf("    row %zu: %s, %.3g a week\n", i, detect_look_name(r.look), r.false_alarms);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct series *)a)->name, ((const struct series *)b)->name);
}

static size_t files_find(const char *dir, struct series *all)
{
	AUTO(str) char *data = mem_printf("%s/data", dir);
	DIR *groups = opendir(data);
	size_t count = 0;

	for (struct dirent *g; groups && (g = readdir(groups));) {
		AUTO(str) char *path = mem_printf("%s/%s", data, g->d_name);
		DIR *files = g->d_name[0] == '.' ? NULL : opendir(path);

		for (struct dirent *f; files && (f = readdir(files)) && count < FILES_MAX;)
			if (str_glob("*.csv", f->d_name))
				snprintf(all[count++].name, sizeof(all[0].name), "%.100s/%.150s", g->d_name,
					 f->d_name);
		if (files)
			closedir(files);
	}
	if (groups)
		closedir(groups);
	qsort(all, count, sizeof(*all), by_name);
	return count;
}

static json_t *labels_read(const char *dir)
{
	AUTO(str) char *path = mem_printf("%s/labels/combined_windows.json", dir);
	json_t *labels = json_load_file(path, 0, NULL);

	if (!labels) {
		fprintf(stderr, "nab: cannot read %s\n", path);
		exit(2);
	}
	return labels;
}

/* step 2, from `first`: every other file. 100 (raw - null) / (perfect - null) */
static double corpus(const struct series *all, size_t count, size_t first, size_t step,
		     const struct profile *p)
{
	double raw = 0, windows = 0;
	size_t hit, wrong;

	for (size_t i = first; i < count; i += step) {
		raw += file_score(&all[i], p, &hit, &wrong);
		windows += (double)all[i].windows;
	}
	return windows > 0 ? 100 * (raw + p->fn * windows) / ((p->tp + p->fn) * windows) : 0;
}

int main(int argc, char **argv)
{
	static struct series all[FILES_MAX];
	double limit = DETECT_FALSE_ALARMS_DEFAULT;
	size_t count, hit, wrong, hits = 0, windows = 0, wrongs = 0, on_quiet = 0;
	AUTO(json) json_t *labels = NULL;
	bool tell = false;

	if (argc < 2) {
		fprintf(stderr, "usage: nab DIR [--limit N] [--alarms]\n");
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		if (str_eq(argv[i], "--alarms"))
			tell = true;
		else if (str_eq(argv[i], "--limit") && i + 1 < argc)
			limit = strtod(argv[++i], NULL);
	}
	labels = labels_read(argv[1]);
	count = files_find(argv[1], all);
	for (size_t i = 0; i < count; i++) {
		AUTO(str) char *path = mem_printf("%s/data/%s", argv[1], all[i].name);
		double score;

		series_read(path, &all[i]);
		windows_read(labels, &all[i]);
		detect(&all[i], limit, tell);
		score = file_score(&all[i], &profiles[0], &hit, &wrong);
		printf("%-58s %6.2f  %zu of %zu windows, %zu outside\n", all[i].name, score, hit,
		       all[i].windows, wrong);
		hits += hit;
		windows += all[i].windows;
		wrongs += wrong;
		if (str_starts(all[i].name, "artificialNoAnomaly/"))
			on_quiet += wrong;
	}
	for (size_t p = 0; p < ARRAY_LEN(profiles); p++)
		printf("%-8s %5.1f   (files 1, 3, ..: %.1f; files 2, 4, ..: %.1f)\n", profiles[p].name,
		       corpus(all, count, 0, 1, &profiles[p]), corpus(all, count, 0, 2, &profiles[p]),
		       corpus(all, count, 1, 2, &profiles[p]));
	printf("%zu files, limit %g a series-week: %zu of %zu windows found, %zu outside, %zu on the quiet ones\n",
	       count, limit, hits, windows, wrongs, on_quiet);
	for (size_t i = 0; i < count; i++) {
		free(all[i].time_s);
		free(all[i].value);
		free(all[i].alarm);
	}
	return 0;
}
