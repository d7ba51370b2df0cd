#define LOG_ROOM "ingest"
#include "ingest/otlp_metrics.h"
#include <math.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "ingest/fold.h"
#include "store/metric.h"

#define TRIES         5
#define FRESH_LEAST_S 60

struct ingest {
	struct ingest_config config;
	struct pg_pool *pool_ref;
};

/* A point on its way: which series, which bucket. */
struct item {
	const struct otlp_point *point;
	long long series_id, resource_id;
	int64_t bucket_us;
	size_t series, row; /* indexes of the two tables below */
};

struct series {
	const struct item *first; /* names it */
	json_t *state;
	bool changed;
};

struct row {
	const struct item *first;
	struct fold_row fold;
	bool touched;
};

struct work {
	struct ingest *in;
	long long tenant_id;
	char tenant[24];
	struct otlp_batch *batch;
	struct item *item;
	size_t items;
	struct series *series;
	size_t series_count;
	struct row *row;
	size_t rows;
	uint64_t taken, baseline, repeated;
};

struct ingest *ingest_new(const struct ingest_config *config, struct pg_pool *worker_pool)
{
	struct ingest *in = mem_alloc(sizeof(*in));

	in->config = *config;
	if (in->config.bucket_s <= 0)
		in->config.bucket_s = 60;
	if (in->config.delay_s < 0)
		in->config.delay_s = 0;
	if (in->config.max_age_s == 0)
		in->config.max_age_s = 86400;
	if (in->config.max_ahead_s <= 0)
		in->config.max_ahead_s = 600;
	in->pool_ref = worker_pool;
	return in;
}

void ingest_free(struct ingest *in)
{
	free(in);
}

static long long hash_id(const char *text, size_t n)
{
	unsigned char h[HASH_LEN];
	long long id;

	hash_sha256(text, n, h);
	memcpy(&id, h, sizeof(id));
	return id;
}

static void work_reset(struct work *w)
{
	for (size_t i = 0; i < w->series_count; i++)
		json_decref(w->series[i].state);
	for (size_t i = 0; i < w->rows; i++)
		fold_row_done(&w->row[i].fold);
	free(w->series);
	free(w->row);
	w->series = NULL;
	w->row = NULL;
	w->series_count = w->rows = 0;
	w->taken = w->baseline = w->repeated = 0;
}

/* ---- what can be said without the database ---- */

static void choose_items(struct work *w, int64_t now_us)
{
	const struct ingest_config *c = &w->in->config;
	int64_t step = c->bucket_s * INT64_C(1000000);
	uint64_t late = 0, ahead = 0;

	w->item = mem_array(w->batch->point_count + 1, sizeof(*w->item));
	for (size_t i = 0; i < w->batch->point_count; i++) {
		const struct otlp_point *p = &w->batch->point[i];

		if (c->max_age_s > 0 && p->time_us < now_us - c->max_age_s * INT64_C(1000000)) {
			late++;
		} else if (p->time_us > now_us + c->max_ahead_s * INT64_C(1000000)) {
			ahead++;
		} else {
			w->item[w->items++] =
				(struct item){ .point = p, .bucket_us = p->time_us - p->time_us % step };
		}
	}
	if (late)
		otlp_reject(w->batch, late, "points older than %d s", c->max_age_s);
	if (ahead)
		otlp_reject(w->batch, ahead, "points more than %d s in the future", c->max_ahead_s);
	metric_add(M_INGEST_POINTS, (double)late, "metrics", "late", NULL);
}

static void series_name(struct item *it)
{
	const struct otlp_point *p = it->point;
	AUTO(text) struct text t = { 0 };

	text_addf(&t, "%lld", it->resource_id);
	text_add_n(&t, "", 1);
	text_add_n(&t, p->metric, strlen(p->metric) + 1);
	text_add_n(&t, p->labels, strlen(p->labels) + 1);
	/* two scopes may have the same name, and a counter that became a gauge is another series */
	text_addf(&t, "%s %d", p->scope, p->kind);
	it->series_id = hash_id(t.s, t.len);
}

static int by_series_and_time(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->series_id != y->series_id)
		return x->series_id < y->series_id ? -1 : 1;
	if (x->point->time_us != y->point->time_us)
		return x->point->time_us < y->point->time_us ? -1 : 1;
	return 0;
}

/* Sorted items: the series are runs of them, the rows runs of those. */
static void tabulate(struct work *w)
{
	qsort(w->item, w->items, sizeof(*w->item), by_series_and_time);
	w->series = mem_array(w->items + 1, sizeof(*w->series));
	w->row = mem_array(w->items + 1, sizeof(*w->row));
	for (size_t i = 0; i < w->items; i++) {
		struct item *it = &w->item[i];

		if (i == 0 || it->series_id != w->item[i - 1].series_id)
			w->series[w->series_count++] = (struct series){ .first = it };
		if (i == 0 || it->series_id != w->item[i - 1].series_id ||
		    it->bucket_us != w->item[i - 1].bucket_us) {
			w->row[w->rows] = (struct row){ .first = it };
			w->row[w->rows++].fold.sketch_whole = true;
		}
		it->series = w->series_count - 1;
		it->row = w->rows - 1;
	}
}

/* ---- with it ---- */

static enum oc_err mark_body(struct pg *pg, struct work *w, long long body_id, bool *ret_seen,
			     struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char id[24];
	enum oc_err err;

	snprintf(id, sizeof(id), "%lld", body_id);
	err = pg_query(pg, SQL_INGEST_ONCE, PG_ARGS(w->tenant, "otlp.metrics", id), &r, reterr);
	if (err == OC_OK)
		*ret_seen = pg_affected(r) == 0;
	return err;
}

static enum oc_err find_resources(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	struct text col[7] = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	const struct otlp_batch *b = w->batch;
	const char *args[8] = { w->tenant };
	AUTO(free) void *ids_mem = NULL;
	long long *ids;
	enum oc_err err;

	for (size_t i = 0; i < b->resource_count; i++) {
		const struct otlp_resource *s = &b->resource[i];
		const char *value[7] = { s->urn, s->type, s->name, s->env, s->region, s->zone, s->labels };
		bool again = false;

		/* the same resource twice in one statement would be an error */
		for (size_t k = 0; k < i && !again; k++)
			again = str_eq(b->resource[k].urn, s->urn);
		for (size_t k = 0; !again && k < ARRAY_LEN(col); k++)
			pg_array_add(&col[k], value[k]);
	}
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		args[k + 1] = pg_array_end(&col[k]);
	err = pg_query(pg, SQL_RESOURCE_UPSERT, args, ARRAY_LEN(args), &r, reterr);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		text_done(&col[k]);
	if (err != OC_OK)
		return err;
	ids_mem = mem_array(b->resource_count + 1, sizeof(*ids));
	ids = ids_mem;
	for (size_t i = 0; i < b->resource_count; i++) {
		for (unsigned k = 0; k < pg_rows(r) && !ids[i]; k++)
			if (str_eq(pg_text(r, k, 0), b->resource[i].urn))
				ids[i] = pg_int(r, k, 1);
		/* somebody made it between our two looks: the next try sees it */
		if (!ids[i])
			return oc_fail(reterr, OC_CONFLICT, "the resource %s was being made by somebody else",
				       b->resource[i].urn);
	}
	for (size_t i = 0; i < w->items; i++) {
		w->item[i].resource_id = ids[w->item[i].point->resource];
		series_name(&w->item[i]);
	}
	return OC_OK;
}

static enum oc_err lock_series(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	static const char *const kinds[] = { "gauge", "counter", "histogram" };
	AUTO(text)
	struct text id = { 0 }, resource = { 0 }, metric = { 0 }, labels = { 0 }, kind = { 0 }, unit = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	const char *ids;
	enum oc_err err;

	for (size_t i = 0; i < w->series_count; i++) {
		const struct item *it = w->series[i].first;

		pg_array_addf(&id, "%lld", it->series_id);
		pg_array_addf(&resource, "%lld", it->resource_id);
		pg_array_add(&metric, it->point->metric);
		pg_array_add(&labels, it->point->labels);
		pg_array_add(&kind, kinds[it->point->kind]);
		pg_array_add(&unit, it->point->unit);
	}
	ids = pg_array_end(&id);
	err = pg_query(pg, SQL_SERIES_UPSERT,
		       PG_ARGS(w->tenant, ids, pg_array_end(&resource), pg_array_end(&metric),
			       pg_array_end(&labels), pg_array_end(&kind), pg_array_end(&unit)),
		       NULL, reterr);
	if (err == OC_OK)
		err = pg_query(pg, SQL_SERIES_LOCK, PG_ARGS(w->tenant, ids), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) != w->series_count)
		return oc_fail(reterr, OC_CONFLICT, "a series vanished while it was being written");
	/* both are in order of series_id */
	for (unsigned i = 0; i < pg_rows(r) && err == OC_OK; i++) {
		if (pg_int(r, i, 0) != w->series[i].first->series_id)
			return oc_fail(reterr, OC_BUG, "series came back in another order");
		err = json_read_own(pg_text_or(r, i, 1, "{}"), &w->series[i].state, reterr);
	}
	return err;
}

static double number(const struct pg_result *r, unsigned row, unsigned col, bool *has)
{
	*has = pg_text(r, row, col) != NULL;
	return *has ? pg_num(r, row, col) : 0;
}

static int by_key(const void *key, const void *row)
{
	const struct item *k = key, *r = ((const struct row *)row)->first;

	if (k->series_id != r->series_id)
		return k->series_id < r->series_id ? -1 : 1;
	return (k->bucket_us > r->bucket_us) - (k->bucket_us < r->bucket_us);
}

static enum oc_err read_rows(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	AUTO(text) struct text id = { 0 }, at = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	int64_t low = INT64_MAX, high = INT64_MIN;
	char from[24], to[24];
	enum oc_err err;

	for (size_t i = 0; i < w->rows; i++) {
		int64_t us = w->row[i].first->bucket_us;

		pg_array_addf(&id, "%lld", w->row[i].first->series_id);
		pg_array_addf(&at, "%lld", (long long)us);
		low = us < low ? us : low;
		high = us > high ? us : high;
	}
	snprintf(from, sizeof(from), "%lld", (long long)low);
	snprintf(to, sizeof(to), "%lld", (long long)high);
	err = pg_query(pg, SQL_METRIC_READ,
		       PG_ARGS(w->tenant, pg_array_end(&id), pg_array_end(&at), from, to), &r, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct item key = { .series_id = pg_int(r, i, 0), .bucket_us = pg_int(r, i, 1) };
		struct row *row = bsearch(&key, w->row, w->rows, sizeof(*w->row), by_key);
		struct fold_row *f;

		if (!row)
			return oc_fail(reterr, OC_BUG, "a bucket came back that was not asked for");
		f = &row->fold;
		f->count = (uint64_t)pg_int(r, i, 2);
		f->avg = number(r, i, 3, &f->has_avg);
		f->max = number(r, i, 4, &f->has_max);
		f->min = number(r, i, 5, &f->has_min);
		f->p95 = number(r, i, 6, &f->has_p95);
		f->sum = number(r, i, 7, &f->has_sum);
		f->sketch = sketch_unhex(pg_text(r, i, 8));
		f->sketch_whole = f->sketch || !f->count;
	}
	return err;
}

static void fold_all(struct work *w)
{
	int fresh_s = 2 * (w->in->config.bucket_s > FRESH_LEAST_S ? w->in->config.bucket_s : FRESH_LEAST_S);

	for (size_t i = 0; i < w->items; i++) {
		struct item *it = &w->item[i];
		struct series *s = &w->series[it->series];
		struct fold_delta d;

		switch (fold_point(it->point, s->state, fresh_s * INT64_C(1000000), &d)) {
		case FOLD_TAKEN:
			fold_add(&w->row[it->row].fold, &d, w->in->config.bucket_s);
			/* an interval in which a histogram saw nothing is no sample */
			w->row[it->row].touched = w->row[it->row].fold.count > 0;
			w->taken++;
			break;
		case FOLD_BASELINE:
			w->baseline++;
			break;
		case FOLD_REPEATED:
			w->repeated++;
			break;
		}
		s->changed = s->changed || it->point->cumulative;
		fold_delta_done(&d);
	}
}

static enum oc_err write_states(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	AUTO(text) struct text id = { 0 }, state = { 0 };

	for (size_t i = 0; i < w->series_count; i++) {
		AUTO(str) char *text = NULL;

		if (!w->series[i].changed)
			continue;
		text = json_text(w->series[i].state);
		pg_array_addf(&id, "%lld", w->series[i].first->series_id);
		pg_array_add(&state, text);
	}
	if (!id.len)
		return OC_OK;
	return pg_query(pg, SQL_SERIES_STATE, PG_ARGS(w->tenant, pg_array_end(&id), pg_array_end(&state)),
			NULL, reterr);
}

static void add_number(struct text *t, bool has, double v)
{
	char buf[40];

	snprintf(buf, sizeof(buf), "%.17g", v);
	pg_array_add(t, has && isfinite(v) ? buf : NULL);
}

static enum oc_err write_rows(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	enum { AT, RESOURCE, METRIC, LABELS, SERIES, AVG, MAX, MIN, P95, COUNT, SUM, SKETCH, COLUMNS };
	struct text col[COLUMNS] = { 0 };
	const char *args[COLUMNS + 2] = { w->tenant };
	char closed_s[16];
	size_t n = 0;
	enum oc_err err = OC_OK;

	for (size_t i = 0; i < w->rows; i++) {
		const struct fold_row *f = &w->row[i].fold;
		const struct item *it = w->row[i].first;
		AUTO(str) char *sketch = NULL;

		if (!w->row[i].touched)
			continue;
		n++;
		pg_array_addf(&col[AT], "%lld", (long long)it->bucket_us);
		pg_array_addf(&col[RESOURCE], "%lld", it->resource_id);
		pg_array_add(&col[METRIC], it->point->metric);
		pg_array_add(&col[LABELS], it->point->labels);
		pg_array_addf(&col[SERIES], "%lld", it->series_id);
		add_number(&col[AVG], f->has_avg, f->avg);
		add_number(&col[MAX], f->has_max, f->max);
		add_number(&col[MIN], f->has_min, f->min);
		add_number(&col[P95], f->has_p95, f->p95);
		pg_array_addf(&col[COUNT], "%llu", (unsigned long long)f->count);
		add_number(&col[SUM], f->has_sum, f->sum);
		sketch = f->sketch && f->sketch_whole ? sketch_hex(f->sketch) : NULL;
		pg_array_add(&col[SKETCH], sketch);
	}
	snprintf(closed_s, sizeof(closed_s), "%d", w->in->config.bucket_s + w->in->config.delay_s);
	for (size_t k = 0; k < COLUMNS; k++)
		args[k + 1] = pg_array_end(&col[k]);
	args[COLUMNS + 1] = closed_s;
	if (n)
		err = pg_query(pg, SQL_METRIC_WRITE, args, COLUMNS + 2, NULL, reterr);
	for (size_t k = 0; k < COLUMNS; k++)
		text_done(&col[k]);
	return err;
}

static enum oc_err store_once(struct pg *pg, struct work *w, long long body_id, bool *ret_seen,
			      struct oc_fail *reterr)
{
	enum oc_err err;

	work_reset(w);
	*ret_seen = false;
	err = pg_begin(pg, reterr);
	if (err == OC_OK)
		err = mark_body(pg, w, body_id, ret_seen, reterr);
	if (err == OC_OK && !*ret_seen) {
		err = find_resources(pg, w, reterr);
		if (err == OC_OK) {
			tabulate(w);
			err = lock_series(pg, w, reterr);
		}
		if (err == OC_OK)
			err = read_rows(pg, w, reterr);
		if (err == OC_OK) {
			fold_all(w);
			err = write_states(pg, w, reterr);
		}
		if (err == OC_OK)
			err = write_rows(pg, w, reterr);
	}
	if (err == OC_OK)
		err = pg_commit(pg, reterr);
	if (err != OC_OK)
		pg_rollback(pg);
	return err;
}

static enum oc_err store_all(struct work *w, long long body_id, bool *ret_seen, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(w->in->pool_ref, 5000, &pg, reterr);

	if (err != OC_OK)
		return err;
	for (int i = 0; i < TRIES; i++) {
		err = store_once(pg, w, body_id, ret_seen, reterr);
		if (err != OC_CONFLICT)
			break;
	}
	pg_pool_give(w->in->pool_ref, pg);
	return err;
}

enum oc_err ingest_otlp_metrics(struct ingest *in, long long tenant_id, const char *body, size_t len,
				char **ret_answer, struct oc_fail *reterr)
{
	AUTO(otlp_batch) struct otlp_batch batch = { 0 };
	struct work w = { .in = in, .tenant_id = tenant_id, .batch = &batch };
	bool seen = false;
	enum oc_err err = otlp_metrics_read(body, len, &batch, reterr);

	if (err != OC_OK)
		return err;
	snprintf(w.tenant, sizeof(w.tenant), "%lld", tenant_id);
	choose_items(&w, clock_wall_us());
	if (w.items)
		err = store_all(&w, hash_id(body, len), &seen, reterr);
	if (err == OC_OK) {
		metric_add(M_INGEST_POINTS, (double)batch.rejected, "metrics", "refused", NULL);
		metric_add(M_INGEST_POINTS, (double)(seen ? w.items : w.repeated), "metrics", "repeated",
			   NULL);
		metric_add(M_INGEST_POINTS, (double)w.taken, "metrics", "accepted", NULL);
		metric_add(M_INGEST_POINTS, (double)w.baseline, "metrics", "baseline", NULL);
		*ret_answer = otlp_answer(&batch);
	}
	work_reset(&w);
	free(w.item);
	return err;
}
