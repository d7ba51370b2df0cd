#include <math.h>
#include <stdio.h>
#include "base/hash.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "ingest/fold.h"
#include "ingest/window.h"
#include "store/metric.h"

#define FRESH_LEAST_S 60

/* A point on its way: which series, which bucket. */
struct item {
	const struct tel_point *point;
	uint64_t key; /* in this process; the series' own id is made once for each series */
	int64_t bucket_us;
	uint32_t name;
	uint32_t series, row; /* indexes of the two tables below */
};

struct series {
	const struct item *first; /* names it */
	long long id;
	struct text labels; /* canonical JSON */
	json_t *state;
	bool changed;
};

struct row {
	const struct item *first;
	struct fold_row fold;
	bool touched;
};

struct work {
	const struct window_config *c;
	char tenant[24];
	struct window_names *names;
	struct item *item;
	size_t items;
	struct series *series;
	size_t series_count;
	uint32_t *by_id; /* series in order of their ids */
	struct row *row;
	size_t rows;
	uint64_t taken, baseline, repeated, late, ahead;
};

static void work_done(struct work *w)
{
	for (size_t i = 0; i < w->series_count; i++) {
		json_decref(w->series[i].state);
		text_done(&w->series[i].labels);
	}
	for (size_t i = 0; i < w->rows; i++)
		fold_row_done(&w->row[i].fold);
	window_names_free(w->names);
	free(w->item);
	free(w->series);
	free(w->by_id);
	free(w->row);
}

/* ---- what can be said without the database */

static uint64_t key_of(const struct tel_point *p, uint32_t name)
{
	uint64_t h = tel_hash(name * 4 + p->kind, p->metric.s, p->metric.n);

	h = tel_hash(h, p->scope.s, p->scope.n);
	for (uint32_t i = 0; i < p->attrs; i++)
		h = tel_hash(tel_hash(h, p->attr[i].key.s, p->attr[i].key.n), p->attr[i].value.s,
			     p->attr[i].value.n);
	return h;
}

static void choose_items(struct work *w, struct tel_held *const *held, size_t n)
{
	int64_t step = w->c->bucket_s * INT64_C(1000000);
	size_t all = 0;

	for (size_t i = 0; i < n; i++)
		all += held[i]->batch.records;
	w->item = mem_array(all + 1, sizeof(*w->item));
	for (size_t i = 0; i < n; i++) {
		const struct tel_batch *b = &held[i]->batch;
		AUTO(free) void *names = mem_array(b->resources + 1, sizeof(uint32_t));
		uint32_t *name = names;

		for (uint32_t k = 0; k < b->resources; k++)
			name[k] = window_name(w->names, &b->resource[k]);
		for (uint32_t k = 0; k < b->records; k++) {
			const struct tel_point *p = &b->point[k];
			uint32_t nm = name[p->resource];

			switch (window_fit(w->c, w->c->bucket_s, p->time_us, held[i]->stored_us)) {
			case WINDOW_LATE:
				w->late++;
				break;
			case WINDOW_AHEAD:
				w->ahead++;
				break;
			case WINDOW_FITS:
				w->item[w->items++] =
					(struct item){ .point = p,
						       .key = key_of(p, nm),
						       .bucket_us = p->time_us - p->time_us % step,
						       .name = nm };
			}
		}
	}
}

static int by_series_and_time(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->point->time_us != y->point->time_us)
		return x->point->time_us < y->point->time_us ? -1 : 1;
	return 0;
}

static void name_series(struct work *w, struct series *s)
{
	const struct item *it = s->first;
	const struct tel_point *p = it->point;
	AUTO(text) struct text t = { 0 };
	unsigned char h[HASH_LEN];

	tel_attrs_json(p->attr, p->attrs, &s->labels);
	text_addf(&t, "%lld", window_name_id(w->names, it->name));
	text_add_n(&t, "", 1);
	text_add_n(&t, p->metric.s, p->metric.n);
	text_add_n(&t, "", 1);
	text_add_n(&t, s->labels.s, s->labels.len + 1);
	/* two scopes may have the same name, and a counter that became a gauge is another series */
	text_add_n(&t, p->scope.s, p->scope.n);
	text_addf(&t, " %d", p->kind);
	hash_sha256(t.s, t.len, h);
	memcpy(&s->id, h, sizeof(s->id));
}

/* Sorted items: the series are runs of them, the rows runs of those. */
static void tabulate(struct work *w)
{
	qsort(w->item, w->items, sizeof(*w->item), by_series_and_time);
	w->series = mem_array(w->items + 1, sizeof(*w->series));
	w->row = mem_array(w->items + 1, sizeof(*w->row));
	for (size_t i = 0; i < w->items; i++) {
		struct item *it = &w->item[i];
		bool fresh = i == 0 || it->key != w->item[i - 1].key;

		if (fresh) {
			w->series[w->series_count] = (struct series){ .first = it };
			name_series(w, &w->series[w->series_count++]);
		}
		if (fresh || it->bucket_us != w->item[i - 1].bucket_us) {
			w->row[w->rows] = (struct row){ .first = it };
			w->row[w->rows++].fold.sketch_whole = true;
		}
		it->series = (uint32_t)w->series_count - 1;
		it->row = (uint32_t)w->rows - 1;
	}
}

struct id_pair {
	long long id;
	uint32_t i;
};

static int by_id(const void *a, const void *b)
{
	const struct id_pair *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void order_by_id(struct work *w)
{
	struct id_pair *list = mem_array(w->series_count + 1, sizeof(*list));

	w->by_id = mem_array(w->series_count + 1, sizeof(*w->by_id));
	for (uint32_t i = 0; i < w->series_count; i++)
		list[i] = (struct id_pair){ w->series[i].id, i };
	qsort(list, w->series_count, sizeof(*list), by_id);
	for (uint32_t i = 0; i < w->series_count; i++)
		w->by_id[i] = list[i].i;
	free(list);
}

/* ---- with it */

static void add_str(struct text *col, struct tel_str s, bool or_null)
{
	AUTO(str) char *z = s.n || !or_null ? mem_strndup(s.s ? s.s : "", s.n) : NULL;

	pg_array_add(col, z);
}

static enum oc_err lock_series(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	static const char *const kinds[] = { "gauge", "counter", "histogram" };
	AUTO(text)
	struct text id = { 0 }, resource = { 0 }, metric = { 0 }, labels = { 0 }, kind = { 0 }, unit = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	const char *ids;
	enum oc_err err;

	for (size_t k = 0; k < w->series_count; k++) {
		const struct series *s = &w->series[w->by_id[k]];
		const struct item *it = s->first;

		pg_array_addf(&id, "%lld", s->id);
		pg_array_addf(&resource, "%lld", window_name_id(w->names, it->name));
		add_str(&metric, it->point->metric, false);
		pg_array_add(&labels, s->labels.s);
		pg_array_add(&kind, kinds[it->point->kind]);
		add_str(&unit, it->point->unit, true);
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
		struct series *s = &w->series[w->by_id[i]];

		if (pg_int(r, i, 0) != s->id)
			return oc_fail(reterr, OC_BUG, "series came back in another order");
		err = json_read_own(pg_text_or(r, i, 1, "{}"), &s->state, reterr);
	}
	return err;
}

static double number(const struct pg_result *r, unsigned row, unsigned col, bool *has)
{
	*has = pg_text(r, row, col) != NULL;
	return *has ? pg_num(r, row, col) : 0;
}

/* The series with that id; NULL if it was not asked for. */
static const struct series *series_find(const struct work *w, long long id, uint32_t *ret)
{
	size_t lo = 0, hi = w->series_count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		long long x = w->series[w->by_id[mid]].id;

		if (x == id) {
			*ret = w->by_id[mid];
			return &w->series[*ret];
		}
		if (x < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static struct row *row_find(struct work *w, long long id, int64_t bucket_us)
{
	uint32_t k = 0;
	const struct series *s = series_find(w, id, &k);

	if (!s)
		return NULL;
	for (size_t i = s->first->row; i < w->rows && w->row[i].first->series == k; i++)
		if (w->row[i].first->bucket_us == bucket_us)
			return &w->row[i];
	return NULL;
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

		pg_array_addf(&id, "%lld", w->series[w->row[i].first->series].id);
		pg_array_addf(&at, "%lld", (long long)us);
		low = us < low ? us : low;
		high = us > high ? us : high;
	}
	snprintf(from, sizeof(from), "%lld", (long long)low);
	snprintf(to, sizeof(to), "%lld", (long long)high);
	err = pg_query(pg, SQL_METRIC_READ,
		       PG_ARGS(w->tenant, pg_array_end(&id), pg_array_end(&at), from, to), &r, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct row *row = row_find(w, pg_int(r, i, 0), pg_int(r, i, 1));
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
	int fresh_s = 2 * (w->c->bucket_s > FRESH_LEAST_S ? w->c->bucket_s : FRESH_LEAST_S);

	for (size_t i = 0; i < w->items; i++) {
		struct item *it = &w->item[i];
		struct series *s = &w->series[it->series];
		struct fold_delta d;

		/* the same series at the same time: one point that came twice */
		if (!it->point->cumulative && i && w->item[i - 1].key == it->key &&
		    w->item[i - 1].point->time_us == it->point->time_us) {
			w->repeated++;
			continue;
		}
		switch (fold_point(it->point, s->state, fresh_s * INT64_C(1000000), &d)) {
		case FOLD_TAKEN:
			fold_add(&w->row[it->row].fold, &d, w->c->bucket_s);
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
	for (size_t i = 0; i < w->rows; i++)
		if (w->row[i].touched)
			fold_end(&w->row[i].fold);
}

static enum oc_err write_states(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	AUTO(text) struct text id = { 0 }, state = { 0 };

	for (size_t i = 0; i < w->series_count; i++) {
		AUTO(str) char *text = NULL;

		if (!w->series[i].changed)
			continue;
		text = json_text(w->series[i].state);
		pg_array_addf(&id, "%lld", w->series[i].id);
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
		const struct series *s = &w->series[it->series];
		AUTO(str) char *sketch = NULL;

		if (!w->row[i].touched)
			continue;
		n++;
		pg_array_addf(&col[AT], "%lld", (long long)it->bucket_us);
		pg_array_addf(&col[RESOURCE], "%lld", window_name_id(w->names, it->name));
		add_str(&col[METRIC], it->point->metric, false);
		pg_array_add(&col[LABELS], s->labels.s);
		pg_array_addf(&col[SERIES], "%lld", s->id);
		add_number(&col[AVG], f->has_avg, f->avg);
		add_number(&col[MAX], f->has_max, f->max);
		add_number(&col[MIN], f->has_min, f->min);
		add_number(&col[P95], f->has_p95, f->p95);
		pg_array_addf(&col[COUNT], "%llu", (unsigned long long)f->count);
		add_number(&col[SUM], f->has_sum, f->sum);
		sketch = f->sketch && f->sketch_whole ? sketch_hex(f->sketch) : NULL;
		pg_array_add(&col[SKETCH], sketch);
	}
	snprintf(closed_s, sizeof(closed_s), "%d", w->c->bucket_s + w->c->delay_s);
	for (size_t k = 0; k < COLUMNS; k++)
		args[k + 1] = pg_array_end(&col[k]);
	args[COLUMNS + 1] = closed_s;
	if (n)
		err = pg_query(pg, SQL_METRIC_WRITE, args, COLUMNS + 2, NULL, reterr);
	for (size_t k = 0; k < COLUMNS; k++)
		text_done(&col[k]);
	return err;
}

enum oc_err window_metrics(struct pg *pg, const struct window_config *c, struct tel_held *const *held,
			   size_t n, struct oc_fail *reterr)
{
	struct work w = { .c = c, .names = window_names_new() };
	enum oc_err err = OC_OK;

	snprintf(w.tenant, sizeof(w.tenant), "%lld", n ? held[0]->tenant_id : 0);
	choose_items(&w, held, n);
	if (w.items) {
		err = window_names_find(w.names, pg, held[0]->tenant_id, reterr);
		if (err == OC_OK) {
			tabulate(&w);
			order_by_id(&w);
			err = lock_series(pg, &w, reterr);
		}
		if (err == OC_OK)
			err = read_rows(pg, &w, reterr);
		if (err == OC_OK) {
			fold_all(&w);
			err = write_states(pg, &w, reterr);
		}
		if (err == OC_OK)
			err = write_rows(pg, &w, reterr);
	}
	if (err == OC_OK) {
		metric_add(M_INGEST_POINTS, (double)w.late, "metrics", "late", NULL);
		metric_add(M_INGEST_POINTS, (double)w.ahead, "metrics", "ahead", NULL);
		metric_add(M_INGEST_POINTS, (double)w.repeated, "metrics", "repeated", NULL);
		metric_add(M_INGEST_POINTS, (double)w.taken, "metrics", "accepted", NULL);
		metric_add(M_INGEST_POINTS, (double)w.baseline, "metrics", "baseline", NULL);
	}
	work_done(&w);
	return err;
}
