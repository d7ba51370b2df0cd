#define LOG_ROOM "analyst"
#include "analyst/watch.h"
#include <math.h>
#include <stdio.h>
#include "analyst/saturation.h"
#include "analyst/silence.h"
#include "analyst/watched.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/signal.h"

#define FRESH_S       900
#define HISTORY_S     (14 * 86400)
#define SERIES_MAX    200000
#define SAVE_AT_ONCE  500
#define CHUNK_US      (INT64_C(3600) * 1000000)
#define HALF_SURE     0.05  /* false alarms a week at which one is half sure */
#define SURE_AFTER    3     /* odd samples */
#define CALM_AFTER    5     /* samples at least half-way back */
#define USUAL_AFTER_S 86400 /* after a day it is the new usual */
#define LOG_WINDOW_US (INT64_C(300) * 1000000)

struct watch {
	struct watch_config config;
	struct watched *table; /* open addressing, a power of two */
	size_t size, count;
	int64_t upto_us, logs_upto_us;
	bool loaded, said_full;
};

struct watch *watch_new(const struct watch_config *config)
{
	struct watch *w = mem_alloc(sizeof(*w));

	w->config = *config;
	if (!w->config.fresh_s)
		w->config.fresh_s = FRESH_S;
	if (!w->config.history_s)
		w->config.history_s = HISTORY_S;
	if (!w->config.series_max)
		w->config.series_max = SERIES_MAX;
	w->size = 1024;
	w->table = mem_array(w->size, sizeof(*w->table));
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	free(w->table);
	free(w);
}

static size_t slot(const struct watched *table, size_t size, long long tenant_id, long long series_id)
{
	uint64_t h = ((uint64_t)series_id ^ (uint64_t)tenant_id * UINT64_C(0x9e3779b97f4a7c15)) *
		     UINT64_C(0xff51afd7ed558ccd);
	size_t i = (size_t)(h ^ h >> 32) & (size - 1);

	while (table[i].used && (table[i].series_id != series_id || table[i].tenant_id != tenant_id))
		i = (i + 1) & (size - 1);
	return i;
}

static void grow(struct watch *w)
{
	struct watched *bigger = mem_array(w->size * 2, sizeof(*bigger));

	for (size_t i = 0; i < w->size; i++)
		if (w->table[i].used)
			bigger[slot(bigger, w->size * 2, w->table[i].tenant_id, w->table[i].series_id)] =
				w->table[i];
	free(w->table);
	w->table = bigger;
	w->size *= 2;
}

/* NULL: there are too many. */
static struct watched *find(struct watch *w, long long tenant_id, long long series_id)
{
	size_t i = slot(w->table, w->size, tenant_id, series_id);

	if (w->table[i].used)
		return &w->table[i];
	if (w->count == w->config.series_max) {
		if (!w->said_full)
			log_warn("more than %u series: the others are not watched", w->config.series_max);
		w->said_full = true;
		return NULL;
	}
	if (w->count * 2 >= w->size) {
		grow(w);
		i = slot(w->table, w->size, tenant_id, series_id);
	}
	w->table[i] = (struct watched){ .tenant_id = tenant_id, .series_id = series_id, .used = true };
	detector_init(&w->table[i].kept.d);
	w->count++;
	return &w->table[i];
}

static enum oc_err load(struct watch *w, struct pg *pg, int64_t now_us, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char since[24];
	enum oc_err err;

	w->upto_us = now_us - w->config.history_s * INT64_C(1000000);
	w->logs_upto_us = now_us - w->config.fresh_s * INT64_C(1000000);
	snprintf(since, sizeof(since), "%lld", (long long)w->upto_us);
	err = pg_query(pg, SQL_DETECTORS_LOAD, PG_ARGS(since), &r, reterr);
	if (err != OC_OK)
		return err;
	for (unsigned i = 0; i < pg_rows(r); i++) {
		struct kept kept;
		const char *hex = pg_text_or(r, i, 3, "");
		struct watched *s;

		/* Another build's: it is learned again. */
		if (strlen(hex) != 2 * sizeof(kept) ||
		    !str_unhex(hex, (unsigned char *)&kept, sizeof(kept)) || kept.d.version != DETECT_VERSION)
			continue;
		s = find(w, pg_int(r, i, 0), pg_int(r, i, 1));
		if (!s)
			break;
		s->kept = kept;
		s->upto_us = pg_int(r, i, 2);
		if (s->upto_us > w->upto_us)
			w->upto_us = s->upto_us;
	}
	w->loaded = true;
	return OC_OK;
}

static double confidence(const struct kept *k, double false_alarms)
{
	double run = k->odd < SURE_AFTER ? (double)k->odd / SURE_AFTER : 1;

	return run / (1 + false_alarms / HALF_SURE);
}

static void fingerprint(const struct watched *s, char out[64])
{
	snprintf(out, 64, "series:%016llx", (unsigned long long)s->series_id);
}

static enum oc_err raise_series(struct pg *pg, const struct watch *w, const struct watched *s,
				const struct pg_result *r, unsigned i, const struct detect_result *found,
				struct oc_fail *reterr)
{
	const char *urn = pg_text(r, i, BK_URN), *metric = pg_text(r, i, BK_METRIC);
	AUTO(str)
	char *title = mem_printf("%s of %s: %.6g, where %.6g was usual (%s)", metric, urn,
				 pg_num(r, i, BK_VALUE), (double)s->kept.before,
				 detect_look_name(found->look));
	AUTO(str)
	char *note =
		mem_printf("%.6g at this moment; its hour has held %.6g to %.6g; %.2g samples as odd in an "
			   "undisturbed week",
			   pg_num(r, i, BK_VALUE), (double)found->lo, (double)found->hi, found->false_alarms);
	char at[32], print[64];
	AUTO(json) json_t *labels = NULL, *evidence = NULL, *links = NULL;

	clock_format(pg_int(r, i, BK_US), at, sizeof(at));
	fingerprint(s, print);
	labels = json_pack("{s:s, s:s, s:s}", "resource", urn, "metric", metric, "look",
			   detect_look_name(found->look));
	if (pg_text(r, i, BK_SRC))
		json_object_set_new(labels, "caller", json_string(pg_text(r, i, BK_SRC)));
	evidence = json_pack("[{s:s, s:s, s:s}]", "kind", "metric", "resource", urn, "metric", metric);
	links = json_pack("[{s:s, s:{s:s, s:{s:s, s:I, s:s, s:s}}, s:s}]", "dim",
			  pg_text(r, i, BK_SRC) ? "topo" : "metric", "ref_pg", "table",
			  pg_text(r, i, BK_TABLE), "keys", "bucket", at, "series_id",
			  (json_int_t)s->series_id, "resource", urn, "metric", metric, "note", note);
	return signal_raise(pg, s->tenant_id,
			    &(struct signal_new){ .fingerprint = print,
						  .source = "analyst",
						  .kind = "anomaly",
						  .title = title,
						  .summary = note,
						  .resource = urn,
						  .severity = found->false_alarms < HALF_SURE ? "ERROR"
											      : "WARN",
						  .labels = labels,
						  .evidence = evidence,
						  .links = links,
						  .confidence = confidence(&s->kept, found->false_alarms),
						  .at_us = pg_int(r, i, BK_US),
						  .debounce_s = w->config.debounce_s },
			    NULL, reterr);
}

/* Back for good: at least half-way, several times in a row; or so long away that it is the new usual. */
static bool over(struct kept *k, double value, int64_t at_s)
{
	bool back = fabs(value - (double)k->before) < fabs((double)k->away) / 2;

	k->calm = back ? (uint16_t)(k->calm + 1) : 0;
	return k->calm >= CALM_AFTER || at_s - k->since_s > USUAL_AFTER_S;
}

static enum oc_err filling(const struct watch *w, struct watched *s, struct pg *pg, const struct pg_result *r,
			   unsigned i, int64_t now_us, struct watch_done *done, struct oc_fail *reterr)
{
	double limit = s->kept.d.block_count ? 0 : saturation_limit(pg_text(r, i, BK_METRIC));
	struct detect_forecast f;
	enum saturation what;

	/* What is old only teaches, and a trend is learned anew soon enough. */
	if (limit <= 0 || pg_int(r, i, BK_US) <= now_us - w->config.fresh_s * INT64_C(1000000))
		return OC_OK;
	what = saturation_step(&s->kept, limit, &f);
	if (what == SATURATION_SAME)
		return OC_OK;
	done->raised += what == SATURATION_BEGINS;
	done->cleared += what == SATURATION_ENDS;
	return saturation_tell(s, pg, r, i, what, limit, &f, reterr);
}

static enum oc_err sample(struct watch *w, struct pg *pg, const struct pg_result *r, unsigned i,
			  int64_t now_us, struct watch_done *done, struct oc_fail *reterr)
{
	struct watched *s = find(w, pg_int(r, i, BK_TENANT), pg_int(r, i, BK_SERIES));
	int64_t at_us = pg_int(r, i, BK_US);
	double value = pg_num(r, i, BK_VALUE);
	struct detect_result found;
	struct kept *k;
	enum oc_err err = OC_OK;

	if (!s) {
		done->refused++;
		return OC_OK;
	}
	if (at_us <= s->upto_us)
		return OC_OK;
	k = &s->kept;
	detector_step(&k->d, at_us / 1000000, value, w->config.false_alarms, &found);
	s->upto_us = at_us;
	s->dirty = true;
	done->samples++;
	err = silence_over(w->table, w->size, s, pg, pg_text(r, i, BK_URN), at_us, &done->cleared, reterr);
	if (err == OC_OK)
		err = filling(w, s, pg, r, i, now_us, done, reterr);
	if (err != OC_OK)
		return err;
	k->odd = found.odd && k->odd < UINT16_MAX ? (uint16_t)(k->odd + 1) : found.odd ? k->odd : 0;
	if (found.alarm && !k->open && at_us > now_us - w->config.fresh_s * INT64_C(1000000)) {
		k->open = 1;
		k->before = found.level;
		k->away = (float)value - found.level;
		k->since_s = at_us / 1000000;
		k->calm = 0;
		done->raised++;
	}
	if (!k->open)
		return OC_OK;
	if (fabs(value - (double)k->before) > fabs((double)k->away))
		k->away = (float)value - k->before;
	if (found.odd)
		return raise_series(pg, w, s, r, i, &found, reterr);
	if (over(k, value, at_us / 1000000)) {
		char print[64];

		fingerprint(s, print);
		err = signal_clear(pg, s->tenant_id, print, at_us, NULL, reterr);
		k->open = err != OC_OK;
		done->cleared += err == OC_OK;
	}
	return err;
}

static enum oc_err log_surprise(struct pg *pg, const struct pg_result *r, unsigned i, int64_t at_us,
				struct oc_fail *reterr)
{
	const char *urn = pg_text(r, i, LS_URN), *what = pg_text(r, i, LS_WHAT);
	AUTO(str) char *print = mem_printf("log:%s:%s:%s", what, pg_text(r, i, LS_FINGERPRINT), urn);
	AUTO(str)
	char *title = mem_printf("%s log pattern at %s: %.200s", what, urn, pg_text(r, i, LS_PATTERN));
	AUTO(str)
	char *note =
		mem_printf("%s times in five minutes, %s of them errors; at most %s in any of the day before",
			   pg_text(r, i, LS_COUNT), pg_text(r, i, LS_ERRORS), pg_text(r, i, LS_MOST));
	AUTO(json) json_t *labels = NULL, *links = NULL;
	bool errors = pg_int(r, i, LS_ERRORS) > 0;
	char at[32];

	clock_format(at_us, at, sizeof(at));
	if (strlen(print) > 128)
		print[128] = '\0';
	labels = json_pack("{s:s, s:s, s:s}", "resource", urn, "log", what, "pattern",
			   pg_text(r, i, LS_FINGERPRINT));
	links = json_pack("[{s:s, s:{s:s, s:{s:s, s:s, s:s}}, s:s}]", "dim", "log", "ref_pg", "table",
			  "log_pattern_5m", "keys", "bucket", at, "resource", urn, "fingerprint_id",
			  pg_text(r, i, LS_FINGERPRINT), "note", note);
	return signal_raise(pg, pg_int(r, i, LS_TENANT),
			    &(struct signal_new){ .fingerprint = print,
						  .source = "analyst",
						  .kind = "log_pattern",
						  .title = title,
						  .summary = note,
						  .resource = urn,
						  .severity = errors ? "ERROR" : "WARN",
						  .labels = labels,
						  .links = links,
						  .confidence = errors ? .6 : .3,
						  .at_us = at_us,
						  .debounce_s = 0 },
			    NULL, reterr);
}

static enum oc_err look_at_logs(struct watch *w, struct pg *pg, int64_t now_us, struct watch_done *done,
				struct oc_fail *reterr)
{
	int64_t last = (now_us - w->config.delay_s * INT64_C(1000000)) / LOG_WINDOW_US * LOG_WINDOW_US -
		       LOG_WINDOW_US;
	int64_t at_us = (w->logs_upto_us / LOG_WINDOW_US + 1) * LOG_WINDOW_US;

	for (; at_us <= last; at_us += LOG_WINDOW_US) {
		AUTO(pg_result) struct pg_result *r = NULL, *ended = NULL;
		char at[24];
		enum oc_err err;

		snprintf(at, sizeof(at), "%lld", (long long)at_us);
		err = pg_query(pg, SQL_LOG_SURPRISES, PG_ARGS(at), &r, reterr);
		for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++, done->raised++)
			err = log_surprise(pg, r, i, at_us, reterr);
		if (err == OC_OK)
			err = pg_query(pg, SQL_LOG_SIGNALS_OVER, PG_ARGS(at), &ended, reterr);
		if (err != OC_OK)
			return err;
		done->cleared += pg_affected(ended);
		w->logs_upto_us = at_us;
	}
	return OC_OK;
}

enum oc_err watch_pass(struct watch *w, struct pg *pg, int64_t now_us, struct watch_done *ret,
		       struct oc_fail *reterr)
{
	int64_t width = w->config.bucket_s * INT64_C(1000000), closed;
	enum oc_err err = OC_OK;

	memset(ret, 0, sizeof(*ret));
	if (!w->loaded)
		err = load(w, pg, now_us, reterr);
	/* The last bucket that is over, and for whose late data nobody waits any more. */
	closed = (now_us - w->config.delay_s * INT64_C(1000000)) / width * width - width;
	while (err == OC_OK && w->upto_us < closed) {
		AUTO(pg_result) struct pg_result *r = NULL;
		int64_t until = w->upto_us + CHUNK_US < closed ? w->upto_us + CHUNK_US : closed;
		char from[24], to[24];

		snprintf(from, sizeof(from), "%lld", (long long)w->upto_us);
		snprintf(to, sizeof(to), "%lld", (long long)until);
		err = pg_query(pg, SQL_BUCKETS_SINCE, PG_ARGS(from, to), &r, reterr);
		for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++)
			err = sample(w, pg, r, i, now_us, ret, reterr);
		if (err == OC_OK) {
			w->upto_us = until;
			ret->buckets++;
		}
	}
	if (err == OC_OK && ret->buckets)
		err = silence_pass(w->table, w->size, pg, closed, w->config.debounce_s, &ret->raised, reterr);
	return err == OC_OK ? look_at_logs(w, pg, now_us, ret, reterr) : err;
}

enum oc_err watch_save(struct watch *w, struct pg *pg, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	for (size_t i = 0; err == OC_OK && i < w->size;) {
		AUTO(text) struct text tenants = { 0 }, series = { 0 }, upto = { 0 }, states = { 0 };
		size_t n = 0, from = i;

		for (; i < w->size && n < SAVE_AT_ONCE; i++) {
			char hex[2 * sizeof(struct kept) + 1];

			if (!w->table[i].dirty)
				continue;
			str_hex((const unsigned char *)&w->table[i].kept, sizeof(struct kept), hex);
			pg_array_addf(&tenants, "%lld", w->table[i].tenant_id);
			pg_array_addf(&series, "%lld", w->table[i].series_id);
			pg_array_addf(&upto, "%lld", (long long)w->table[i].upto_us);
			pg_array_add(&states, hex);
			n++;
		}
		if (!n)
			break;
		err = pg_query(pg, SQL_DETECTORS_SAVE,
			       PG_ARGS(pg_array_end(&tenants), pg_array_end(&series), pg_array_end(&upto),
				       pg_array_end(&states)),
			       NULL, reterr);
		for (size_t k = from; err == OC_OK && k < i; k++)
			w->table[k].dirty = false;
	}
	return err;
}
