/* rca - the root cause search of analyst/cause.h on labelled faults.
 *
 *   rca sockshop|petshop|onlineboutique|trainticket DIR [--late SECONDS] [--tell] [--shuffle SEED]
 *
 * Prints AC@1, AC@3, AC@5 and Avg@5 of the ranking, how many were called unresolved, and of petshop how many quiet windows were
 * given an answer. One method and one configuration for all: only the reading of files differs. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "tools/rca/csv.h"
#include "tools/rca/scene.h"
#include "wire/json/json.h"

static struct {
	unsigned late, seed;
	bool tell;
} option;

static struct {
	unsigned cases, at[5], unresolved, wrong_resolved, quiet, quiet_answered, ungrounded;
} seen;

static void measure(struct scene *s)
{
	struct cause_verdict v;
	size_t place = CAUSE_ANSWERS_MAX;

	scene_ready(s, option.seed);
	cause_find(&s->cause, &v);
	for (size_t i = v.count; i-- > 0;)
		if (str_eq(s->name[v.answer[i].service], s->root))
			place = i;
	if (!s->root[0]) {
		seen.quiet++;
		seen.quiet_answered += v.resolved;
	} else {
		seen.cases++;
		for (size_t k = place; k < 5; k++)
			seen.at[k]++;
		seen.unresolved += !v.resolved;
		seen.wrong_resolved += v.resolved && place != 0;
		if (v.resolved && (!v.answer[0].evidence_count ||
				   (s->cause.target != CAUSE_NONE && !v.answer[0].path_count)))
			seen.ungrounded++;
	}
	if (option.tell && (s->root[0] || v.resolved)) {
		printf("%s: %s at %zu%s%s;", s->label, s->root[0] ? s->root : "(quiet)", place + 1,
		       v.resolved ? "" : ", unresolved: ", v.resolved ? "" : v.why);
		for (size_t i = 0; i < v.count && i < 4; i++)
			printf(" %s %.2f (%.1f %.1f %.1f, %.3f)", s->name[v.answer[i].service],
			       v.answer[i].score, v.answer[i].shift, v.answer[i].logs, v.answer[i].excess,
			       v.answer[i].rarest);
		if (v.count && v.answer[0].evidence_count && v.answer[0].evidence[0].kind == CAUSE_BY_SERIES)
			printf("; %s", s->metric[v.answer[0].evidence[0].at]);
		printf("\n");
	}
	scene_free(s);
}

static void each(const char *pattern, void (*f)(const char *path, void *ctx), void *ctx)
{
	glob_t g = { 0 };

	if (glob(pattern, 0, NULL, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++)
			f(g.gl_pathv[i], ctx);
	globfree(&g);
}

/* ---- sockshop: <service>-<kind>/<n>/{normal,anomalous}.csv, a row a second ---- */

#define SIDE 300

static void strip(char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);

	if (n > t && str_eq(name + n - t, tail))
		name[n - t] = '\0';
}

static void sockshop_case(const char *path, void *ctx)
{
	AUTO(str) char *broken_path = mem_strdup(path), *dir = mem_strdup(path);
	struct csv calm = { 0 }, broken = { 0 };
	char root[64], *last, *slash = strrchr(dir, '/');
	double time[2 * SIDE], value[2 * SIDE];
	struct scene *s;
	size_t skip, n;

	(void)ctx;
	*slash = '\0';
	free(broken_path);
	broken_path = mem_printf("%s/anomalous.csv", dir);
	*strrchr(dir, '/') = '\0';
	last = strrchr(dir, '/') + 1;
	snprintf(root, sizeof(root), "%s", last);
	*strrchr(root, '-') = '\0';
	csv_read(path, &calm);
	csv_read(broken_path, &broken);
	s = scene_new(path, root, SIDE + option.late);
	skip = calm.rows > SIDE ? calm.rows - SIDE : 1;
	for (size_t c = 1; c < calm.columns; c++) {
		const char *column = csv_at(&calm, 0, c);
		char service[128];
		size_t other;

		if (str_glob("*_lat_50", column) || str_glob("*_lat_99", column))
			continue;
		other = csv_column(&broken, column);
		snprintf(service, sizeof(service), "%s", column);
		*strchr(service, '_') = '\0';
		strip(service, "-db");
		n = 0;
		for (size_t r = skip; r < calm.rows; r++, n++)
			value[n] = csv_number(&calm, r, c);
		for (size_t r = 1; r < broken.rows && r <= SIDE; r++, n++)
			value[n] = csv_number(&broken, r, other);
		for (size_t i = 0; i < n; i++)
			time[i] = (double)i;
		scene_series(s, scene_service(s, service), CAUSE_NONE, column, false, time, value, n);
	}
	csv_free(&calm);
	csv_free(&broken);
	measure(s);
}

/* ---- petshop: three rows of heading, five-minute rows, a call graph, and quiet days ---- */

static void petshop_graph(struct scene *s, const struct csv *graph)
{
	for (size_t r = 1; r < graph->rows; r++)
		for (size_t c = 1; c < graph->columns; c++)
			if (csv_number(graph, r, c) > 0)
				scene_call(s, scene_service(s, csv_at(graph, r, 0)),
					   scene_service(s, csv_at(graph, 0, c)));
}

static size_t petshop_column(const struct csv *quiet, const struct csv *issue, size_t c)
{
	for (size_t k = 1; k < quiet->columns; k++)
		if (str_eq(csv_at(quiet, 0, k), csv_at(issue, 0, c)) &&
		    str_eq(csv_at(quiet, 1, k), csv_at(issue, 1, c)) &&
		    str_eq(csv_at(quiet, 2, k), csv_at(issue, 2, c)))
			return k;
	return 0;
}

/* Rows [4, until) of the quiet days, then rows [from, to) of `issue`. */
static struct scene *petshop_scene(const char *label, const char *root, const struct csv *graph,
				   const struct csv *quiet, size_t until, const struct csv *issue,
				   size_t from, size_t to)
{
	struct scene *s = scene_new(label, root, csv_number(issue, from, 0));
	double *time = mem_array(quiet->rows + issue->rows, sizeof(*time));
	double *value = mem_array(quiet->rows + issue->rows, sizeof(*value));

	petshop_graph(s, graph);
	for (size_t c = 1; c < issue->columns; c++) {
		size_t k = petshop_column(quiet, issue, c), n = 0;
		AUTO(str) char *metric = mem_printf("%s %s", csv_at(issue, 1, c), csv_at(issue, 2, c));
		double step = s->cause.onset - (double)until * 300;

		for (size_t r = 4; k && r < until; r++) {
			time[n] = step + (double)r * 300;
			value[n++] = csv_number(quiet, r, k);
		}
		for (size_t r = from; r < to; r++) {
			time[n] = csv_number(issue, r, 0);
			value[n++] = csv_number(issue, r, c);
		}
		scene_series(s, scene_service(s, csv_at(issue, 0, c)), CAUSE_NONE, metric,
			     str_eq(csv_at(issue, 2, c), "Average"), time, value, n);
	}
	free(time);
	free(value);
	return s;
}

static void petshop_aim(struct scene *s, const char *node, const char *metric)
{
	s->cause.target = scene_service(s, node);
	s->cause.target_kind = cause_kind_of(metric);
}

static void petshop_traffic(const char *path, void *ctx)
{
	AUTO(str) char *quiet_path = mem_printf("%s/noissue/metrics.csv", path);
	AUTO(str) char *graph_path = mem_printf("%s/graph.csv", path);
	AUTO(str) char *issues = mem_printf("%s/train/*", path);
	struct csv quiet, graph;
	glob_t g = { 0 };
	static const char *const kinds[] = { "latency", "availability" };

	(void)ctx;
	csv_read(quiet_path, &quiet);
	csv_read(graph_path, &graph);
	glob(issues, 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		AUTO(str) char *metrics = mem_printf("%s/metrics.csv", g.gl_pathv[i]);
		AUTO(str) char *target = mem_printf("%s/target.json", g.gl_pathv[i]);
		AUTO(json) json_t *truth = json_load_file(target, 0, NULL);
		struct csv issue;
		struct scene *s;

		csv_read(metrics, &issue);
		s = petshop_scene(g.gl_pathv[i],
				  json_str_or(json_object_get(truth, "root_cause"), "node", "?"), &graph,
				  &quiet, quiet.rows, &issue, 4, issue.rows);
		petshop_aim(s, json_str(json_object_get(truth, "target"), "node"),
			    json_str(json_object_get(truth, "target"), "metric"));
		csv_free(&issue);
		measure(s);
	}
	globfree(&g);
	for (size_t at = 104; at + 5 <= quiet.rows; at += 5)
		for (size_t k = 0; k < 2; k++) {
			AUTO(str) char *label = mem_printf("%s row %zu %s", path, at, kinds[k]);
			struct scene *s = petshop_scene(label, "", &graph, &quiet, at, &quiet, at, at + 5);

			petshop_aim(s, "PetSite", kinds[k]);
			measure(s);
		}
	csv_free(&quiet);
	csv_free(&graph);
}

/* ---- nezha: a file per pod, a row a minute; calls and logs where there are any ---- */

#define BEFORE_S 3600
#define AFTER_S  200

static double seconds(const char *text)
{
	char stamp[32];
	int64_t us;

	snprintf(stamp, sizeof(stamp), "%.19sZ", text);
	return clock_parse(stamp, &us) == 0 ? (double)(us / 1000000) : NAN;
}

/* ts-order-service-5b67c48447-mv5hb is a pod of ts-order-service. */
static void service_of(const char *pod, char *out, size_t size)
{
	snprintf(out, size, "%s", pod);
	for (int i = 0; i < 2; i++)
		if (strrchr(out, '-'))
			*strrchr(out, '-') = '\0';
}

struct file {
	char *path;
	struct csv csv;
};

struct nezha {
	struct file file[256];
	size_t files;
	struct csv graph;
	double *log_time;
	struct log_line {
		double time;
		char service[64];
		uint64_t pattern;
		bool error;
	} *log;
	size_t logs, logs_cap;
};

static size_t slice(const struct csv *c, size_t column, double onset, double *time, double *value)
{
	size_t n = 0;

	for (size_t r = 1; r < c->rows; r++) {
		double t = seconds(csv_at(c, r, 0));

		if (t >= onset - BEFORE_S && t < onset + AFTER_S) {
			time[n] = t;
			value[n++] = csv_number(c, r, column);
		}
	}
	return n;
}

static void nezha_file(const char *path, void *ctx)
{
	struct nezha *z = ctx;

	if (z->files == ARRAY_LEN(z->file))
		return;
	z->file[z->files].path = mem_strdup(path);
	csv_read(path, &z->file[z->files++].csv);
}

/* The words of a line without what looks like a value; the first 14 of them. */
static uint64_t pattern_of(const char *line, bool *ret_error)
{
	uint64_t h = UINT64_C(14695981039346656037);
	unsigned words = 0;

	*ret_error = strstr(line, "ERROR") || strstr(line, "Exception");
	while (*line && words < 14) {
		size_t n = strcspn(line, " \t\n,=[](){}:;\"'"), digits = 0;

		for (size_t i = 0; i < n; i++)
			digits += line[i] >= '0' && line[i] <= '9';
		if (n) {
			bool value = digits * 5 >= n && digits;

			for (size_t i = 0; i < (value ? 1 : n); i++)
				h = (h ^ (unsigned char)(value ? '*' : line[i])) * UINT64_C(1099511628211);
			h = (h ^ ' ') * UINT64_C(1099511628211);
			words++;
		}
		line += n + (line[n] != '\0');
	}
	return h;
}

static void nezha_log(const char *path, void *ctx)
{
	struct nezha *z = ctx;
	struct csv c;

	csv_read(path, &c);
	for (size_t r = 1; r < c.rows; r++) {
		struct log_line *l;

		if (z->logs == z->logs_cap) {
			z->logs_cap = z->logs_cap ? z->logs_cap * 2 : 65536;
			z->log = mem_grow(z->log, z->logs_cap, sizeof(*z->log));
		}
		l = &z->log[z->logs++];
		l->time = seconds(csv_at(&c, r, 0));
		service_of(csv_at(&c, r, csv_column(&c, "PodName")), l->service, sizeof(l->service));
		l->pattern = pattern_of(csv_at(&c, r, csv_column(&c, "Log")), &l->error);
	}
	csv_free(&c);
}

static void nezha_calls(struct scene *s, const struct file *f, double *time, double *value)
{
	for (size_t c = 2; c < f->csv.columns; c++) {
		char from[128];
		const char *to;
		uint32_t a, b;

		snprintf(from, sizeof(from), "%s", csv_at(&f->csv, 0, c));
		if (!strchr(from, '_'))
			continue;
		to = strchr(from, '_') + 1;
		*strchr(from, '_') = '\0';
		a = scene_service(s, from);
		b = scene_service(s, to);
		scene_series(s, b, a, "latency p50", false, time, value,
			     slice(&f->csv, c, s->cause.onset, time, value));
	}
}

static void nezha_pod(struct scene *s, const struct file *f, double *time, double *value)
{
	char service[128];
	uint32_t at;

	service_of(csv_at(&f->csv, 1, csv_column(&f->csv, "PodName")), service, sizeof(service));
	at = scene_service(s, service);
	for (size_t c = 3; c < f->csv.columns; c++)
		scene_series(s, at, CAUSE_NONE, csv_at(&f->csv, 0, c), false, time, value,
			     slice(&f->csv, c, s->cause.onset, time, value));
}

static void nezha_fault(const struct nezha *z, const json_t *fault)
{
	double onset = seconds(json_str_or(fault, "inject_time", "")), *time, *value;
	char root[128];
	AUTO(str)
	char *label = mem_printf("%s %s", json_str_or(fault, "inject_time", "?"),
				 json_str_or(fault, "inject_type", "?"));
	struct scene *s;

	service_of(json_str_or(fault, "inject_pod", "?"), root, sizeof(root));
	s = scene_new(label, root, onset);
	time = mem_array(1 << 16, sizeof(*time));
	value = mem_array(1 << 16, sizeof(*value));
	for (size_t i = 0; i < z->files; i++)
		if (str_glob("*_metric.csv", z->file[i].path))
			nezha_pod(s, &z->file[i], time, value);
		else if (str_glob("*_50.csv", z->file[i].path))
			nezha_calls(s, &z->file[i], time, value);
	for (size_t r = 1; r < z->graph.rows; r++) {
		uint32_t a = scene_find(s, csv_at(&z->graph, r, 0)),
			 b = scene_find(s, csv_at(&z->graph, r, 1));

		if (a != CAUSE_NONE && b != CAUSE_NONE)
			scene_call(s, a, b);
	}
	for (size_t i = 0; i < z->logs; i++) {
		const struct log_line *l = &z->log[i];
		bool after = l->time >= onset - fmod(onset, 60);

		if (l->time < onset + AFTER_S)
			scene_log(s, scene_service(s, l->service), l->pattern, !after, after, l->error);
	}
	free(time);
	free(value);
	measure(s);
}

static void nezha(const char *dir, const char *day)
{
	struct nezha *z = mem_alloc(sizeof(*z));
	AUTO(str) char *metrics = mem_printf("%s/rca_data/%s/metric/*.csv", dir, day);
	AUTO(str) char *logs = mem_printf("%s/rca_data/%s/log/*", dir, day);
	AUTO(str) char *calm = mem_printf("%s/construct_data/%s/log/*", dir, day);
	AUTO(str) char *graph = mem_printf("%s/rca_data/%s/metric/dependency.csv", dir, day);
	AUTO(str) char *list = mem_printf("%s/rca_data/%s/%s-fault_list.json", dir, day, day);
	AUTO(json) json_t *faults = json_load_file(list, 0, NULL);
	const char *hour;
	json_t *in_hour, *fault;
	size_t i, normal;

	each(metrics, nezha_file, z);
	for (size_t k = 0; k < z->files; k++)
		if (str_eq(z->file[k].path, graph))
			csv_read(graph, &z->graph);
	each(calm, nezha_log, z);
	normal = z->logs;
	for (size_t k = 0; k < normal; k++)
		z->log[k].time = 0; /* before everything */
	each(logs, nezha_log, z);
	json_object_foreach(faults, hour, in_hour)
	{
		json_array_foreach(in_hour, i, fault) nezha_fault(z, fault);
	}
	for (size_t k = 0; k < z->files; k++) {
		free(z->file[k].path);
		csv_free(&z->file[k].csv);
	}
	csv_free(&z->graph);
	free(z->log);
	free(z);
}

int main(int argc, char **argv)
{
	double sum = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: rca sockshop|petshop|onlineboutique|trainticket DIR [--late SECONDS] "
				"[--tell] [--shuffle SEED]\n");
		return 2;
	}
	for (int i = 3; i < argc; i++) {
		if (str_eq(argv[i], "--tell"))
			option.tell = true;
		else if (str_eq(argv[i], "--late") && i + 1 < argc)
			option.late = (unsigned)atoi(argv[++i]);
		else if (str_eq(argv[i], "--shuffle") && i + 1 < argc)
			option.seed = (unsigned)atoi(argv[++i]);
	}
	if (str_eq(argv[1], "sockshop")) {
		AUTO(str) char *all = mem_printf("%s/*-*/*/normal.csv", argv[2]);

		each(all, sockshop_case, NULL);
	} else if (str_eq(argv[1], "petshop")) {
		AUTO(str) char *all = mem_printf("%s/*_traffic*", argv[2]);

		each(all, petshop_traffic, NULL);
	} else {
		nezha(argv[2], str_eq(argv[1], "trainticket") ? "2023-01-29" : "2022-08-22");
	}
	if (!seen.cases) {
		fprintf(stderr, "rca: no cases under %s\n", argv[2]);
		return 2;
	}
	for (int k = 0; k < 5; k++)
		sum += (double)seen.at[k] / seen.cases / 5;
	printf("%s cases %u AC@1 %.3f AC@3 %.3f AC@5 %.3f Avg@5 %.3f unresolved %u wrong %u ungrounded %u quiet %u "
	       "answered %u\n",
	       argv[1], seen.cases, (double)seen.at[0] / seen.cases, (double)seen.at[2] / seen.cases,
	       (double)seen.at[4] / seen.cases, sum, seen.unresolved, seen.wrong_resolved, seen.ungrounded,
	       seen.quiet, seen.quiet_answered);
	return 0;
}
