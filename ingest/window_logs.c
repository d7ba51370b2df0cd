#include <stdio.h>
#include "base/mem.h"
#include "base/metrics.h"
#include "ingest/log_miner.h"
#include "ingest/window.h"
#include "store/pattern.h"
#include "store/telemetry.h"

#define MINERS_MAX 64    /* tenants whose templates are kept in memory */
#define LOAD_MAX   20000 /* templates that a miner begins with */
#define SAMPLE_MAX 1024

/* ---- miners */

struct miner {
	long long tenant_id;
	uint64_t used;
	struct log_miner *miner;
};

struct window_miners {
	struct miner list[MINERS_MAX];
	size_t count;
	uint64_t clock;
};

struct window_miners *window_miners_new(void)
{
	return mem_alloc(sizeof(struct window_miners));
}

void window_miners_free(struct window_miners *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++)
		log_miner_free(m->list[i].miner);
	free(m);
}

static enum oc_err load(struct pg *pg, long long tenant_id, struct log_miner *m, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], limit[12];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(limit, sizeof(limit), "%d", LOAD_MAX);
	err = pg_query(pg, SQL_PATTERN_LOAD, PG_ARGS(tenant, limit), &r, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		const char *pattern = pg_text_or(r, i, 0, "");

		(void)log_miner_load(m, pattern, strlen(pattern), pg_bool(r, i, 1));
	}
	return err;
}

static enum oc_err miner_of(struct pg *pg, struct window_miners *m, long long tenant_id,
			    struct log_miner **ret, struct oc_fail *reterr)
{
	AUTO(log_miner) struct log_miner *fresh = NULL;
	size_t oldest = 0;
	enum oc_err err;

	for (size_t i = 0; i < m->count; i++) {
		if (m->list[i].tenant_id == tenant_id) {
			m->list[i].used = ++m->clock;
			*ret = m->list[i].miner;
			return OC_OK;
		}
		if (m->list[i].used < m->list[oldest].used)
			oldest = i;
	}
	fresh = log_miner_new(&(struct log_miner_config){ 0 });
	err = load(pg, tenant_id, fresh, reterr);
	if (err != OC_OK)
		return err;
	if (m->count == MINERS_MAX)
		log_miner_free(m->list[oldest].miner);
	else
		oldest = m->count++;
	*ret = fresh;
	m->list[oldest] = (struct miner){ .tenant_id = tenant_id, .used = ++m->clock, .miner = TAKE(fresh) };
	return OC_OK;
}

/* ---- one flush */

struct line {
	uint64_t fingerprint;
	int64_t time_us, bucket_us;
	uint32_t name;
	bool error;
};

struct seen {
	uint64_t fingerprint;
	char *pattern, *sample;
	uint8_t severity; /* enum log_severity, the worst */
	bool general;
	int64_t first_us, last_us;
	long long id;
	uint32_t next;
};

struct work {
	const struct window_config *c;
	char tenant[24];
	struct window_names *names;
	struct line *line;
	size_t lines;
	struct seen *seen;
	size_t seen_count, seen_cap;
	uint32_t slot[4096];
	uint64_t late, ahead;
};

static struct seen *seen_find(struct work *w, uint64_t fingerprint)
{
	for (uint32_t i = w->slot[fingerprint % ARRAY_LEN(w->slot)]; i; i = w->seen[i - 1].next)
		if (w->seen[i - 1].fingerprint == fingerprint)
			return &w->seen[i - 1];
	return NULL;
}

static struct seen *seen_of(struct work *w, const struct log_hit *hit, const struct tel_log *l)
{
	struct seen *s = seen_find(w, hit->fingerprint);
	uint32_t *slot = &w->slot[hit->fingerprint % ARRAY_LEN(w->slot)];
	struct tel_str sample;

	if (s)
		return s;
	if (w->seen_count == w->seen_cap) {
		w->seen_cap = w->seen_cap ? w->seen_cap * 2 : 64;
		w->seen = mem_grow(w->seen, w->seen_cap, sizeof(*w->seen));
	}
	s = &w->seen[w->seen_count++];
	sample = tel_cut(l->body, SAMPLE_MAX);
	*s = (struct seen){ .fingerprint = hit->fingerprint,
			    .pattern = mem_strndup(hit->pattern_ref, hit->len),
			    .sample = mem_strndup(sample.s ? sample.s : "", sample.n),
			    .general = hit->general,
			    .first_us = l->time_us,
			    .last_us = l->time_us,
			    .next = *slot };
	*slot = (uint32_t)w->seen_count;
	return s;
}

static enum log_severity severity_of(uint8_t number, enum log_severity guessed)
{
	return number == 0   ? guessed
	       : number < 5  ? LOG_TRACE
	       : number < 9  ? LOG_DEBUG
	       : number < 13 ? LOG_INFO
	       : number < 17 ? LOG_WARN
	       : number < 21 ? LOG_ERROR
			     : LOG_FATAL;
}

static void take(struct work *w, const struct tel_held *held, struct log_miner *miner)
{
	const struct tel_batch *b = &held->batch;
	int64_t step = WINDOW_LOG_S * INT64_C(1000000);

	for (uint32_t i = 0; i < b->records; i++) {
		const struct tel_log *l = &b->log[i];
		/* a sender that knows no time: when it came is the best there is */
		int64_t time_us = l->time_us > 0 ? l->time_us : held->stored_us;
		enum log_severity severity;
		struct log_hit hit;
		struct seen *s;

		switch (window_fit(w->c, WINDOW_LOG_S, time_us, held->stored_us)) {
		case WINDOW_LATE:
			w->late++;
			continue;
		case WINDOW_AHEAD:
			w->ahead++;
			continue;
		case WINDOW_FITS:
			break;
		}
		log_miner_feed(miner, l->body.s ? l->body.s : "", l->body.n, &hit);
		severity = severity_of(l->severity, hit.severity);
		s = seen_of(w, &hit, l);
		s->severity = severity > s->severity ? (uint8_t)severity : s->severity;
		s->general = s->general || hit.general;
		s->first_us = time_us < s->first_us || s->first_us <= 0 ? time_us : s->first_us;
		s->last_us = time_us > s->last_us ? time_us : s->last_us;
		w->line[w->lines++] = (struct line){ .fingerprint = hit.fingerprint,
						     .time_us = time_us,
						     .bucket_us = time_us - time_us % step,
						     .name = window_name(w->names, &b->resource[l->resource]),
						     .error = severity >= LOG_ERROR };
	}
}

static enum oc_err write_patterns(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	struct text col[7] = { 0 };
	const char *args[8] = { w->tenant };
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err;

	for (size_t i = 0; i < w->seen_count; i++) {
		const struct seen *s = &w->seen[i];

		pg_array_addf(&col[0], "%lld", (long long)s->fingerprint);
		pg_array_add(&col[1], s->pattern);
		pg_array_add(&col[2], s->sample);
		pg_array_add(&col[3], log_severity_name((enum log_severity)s->severity));
		pg_array_add(&col[4], s->general ? "t" : "f");
		pg_array_addf(&col[5], "%lld", (long long)s->first_us);
		pg_array_addf(&col[6], "%lld", (long long)s->last_us);
	}
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		args[k + 1] = pg_array_end(&col[k]);
	err = pg_query(pg, SQL_PATTERN_UPSERT, args, ARRAY_LEN(args), &r, reterr);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		text_done(&col[k]);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct seen *s = seen_find(w, (uint64_t)pg_int(r, i, 0));

		if (s)
			s->id = pg_int(r, i, 1);
	}
	return err;
}

static enum oc_err write_merges(struct pg *pg, struct work *w, struct log_miner *miner,
				struct oc_fail *reterr)
{
	struct log_merge merge[256];
	enum oc_err err = OC_OK;
	size_t n;

	do {
		AUTO(text) struct text from = { 0 }, to = { 0 };

		n = log_miner_merges(miner, merge, ARRAY_LEN(merge));
		for (size_t i = 0; i < n; i++) {
			pg_array_addf(&from, "%lld", (long long)merge[i].from);
			pg_array_addf(&to, "%lld", (long long)merge[i].to);
		}
		if (n)
			err = pg_query(pg, SQL_PATTERN_MERGE,
				       PG_ARGS(w->tenant, pg_array_end(&from), pg_array_end(&to)), NULL,
				       reterr);
	} while (err == OC_OK && n == ARRAY_LEN(merge));
	return err;
}

static int by_row(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->bucket_us != y->bucket_us)
		return x->bucket_us < y->bucket_us ? -1 : 1;
	if (x->name != y->name)
		return x->name < y->name ? -1 : 1;
	return x->fingerprint < y->fingerprint ? -1 : x->fingerprint > y->fingerprint;
}

static enum oc_err write_counts(struct pg *pg, struct work *w, long long sample_ref, struct oc_fail *reterr)
{
	struct text col[8] = { 0 };
	char closed_s[12];
	const char *args[10] = { w->tenant };
	enum oc_err err;

	qsort(w->line, w->lines, sizeof(*w->line), by_row);
	for (size_t i = 0, end; i < w->lines; i = end) {
		const struct line *l = &w->line[i];
		int64_t first = l->time_us, last = l->time_us;
		uint64_t errors = 0;

		for (end = i; end < w->lines && by_row(&w->line[end], l) == 0; end++) {
			errors += w->line[end].error;
			first = w->line[end].time_us < first ? w->line[end].time_us : first;
			last = w->line[end].time_us > last ? w->line[end].time_us : last;
		}
		pg_array_addf(&col[0], "%lld", (long long)l->bucket_us);
		pg_array_addf(&col[1], "%lld", window_name_id(w->names, l->name));
		pg_array_addf(&col[2], "%lld", seen_find(w, l->fingerprint)->id);
		pg_array_addf(&col[3], "%zu", end - i);
		pg_array_addf(&col[4], "%llu", (unsigned long long)errors);
		if (sample_ref)
			pg_array_addf(&col[5], "%lld", sample_ref);
		else
			pg_array_add(&col[5], NULL);
		pg_array_addf(&col[6], "%lld", (long long)first);
		pg_array_addf(&col[7], "%lld", (long long)last);
	}
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		args[k + 1] = pg_array_end(&col[k]);
	snprintf(closed_s, sizeof(closed_s), "%d", WINDOW_LOG_S + w->c->delay_s);
	args[9] = closed_s;
	err = pg_query(pg, SQL_PATTERN_5M_ADD, args, ARRAY_LEN(args), NULL, reterr);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		text_done(&col[k]);
	return err;
}

static void work_free(struct work *w)
{
	for (size_t i = 0; i < w->seen_count; i++) {
		free(w->seen[i].pattern);
		free(w->seen[i].sample);
	}
	free(w->seen);
	free(w->line);
	window_names_free(w->names);
	free(w);
}

enum oc_err window_logs(struct pg *pg, const struct window_config *c, struct window_miners *m,
			struct tel_held *const *held, size_t n, long long sample_ref, struct oc_fail *reterr)
{
	struct work *w = mem_alloc(sizeof(*w));
	struct log_miner *miner = NULL;
	size_t all = 0;
	enum oc_err err = OC_OK;

	w->c = c;
	w->names = window_names_new();
	snprintf(w->tenant, sizeof(w->tenant), "%lld", n ? held[0]->tenant_id : 0);
	for (size_t i = 0; i < n; i++)
		all += held[i]->batch.records;
	w->line = mem_array(all + 1, sizeof(*w->line));
	if (all)
		err = miner_of(pg, m, held[0]->tenant_id, &miner, reterr);
	for (size_t i = 0; err == OC_OK && i < n; i++)
		take(w, held[i], miner);
	if (err == OC_OK && w->lines) {
		err = window_names_find(w->names, pg, held[0]->tenant_id, reterr);
		if (err == OC_OK)
			err = write_patterns(pg, w, reterr);
		if (err == OC_OK)
			err = write_merges(pg, w, miner, reterr);
		if (err == OC_OK)
			err = write_counts(pg, w, sample_ref, reterr);
	}
	if (err == OC_OK) {
		metric_add(M_INGEST_POINTS, (double)w->late, "logs", "late", NULL);
		metric_add(M_INGEST_POINTS, (double)w->ahead, "logs", "ahead", NULL);
		metric_add(M_INGEST_POINTS, (double)w->lines, "logs", "accepted", NULL);
	}
	work_free(w);
	return err;
}
