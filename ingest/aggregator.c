#define LOG_ROOM "ingest"
#include "ingest/aggregator.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/waker.h"
#include "ingest/detail_taker.h"
#include "ingest/otlp.h"
#include "ingest/publish.h"
#include "store/telemetry.h"
#include "wire/bus/stream.h"

#define KINDS    (TEL_KINDS + 1) /* and the dead letters */
#define HELD_MAX 4096
#define PAUSE_MS 500
#define IDLE_MS  500 /* how long the end may have to wait for an idle reader */
#define PURGE_MS 2000

struct held {
	struct tel_held h;
	struct stream_item item; /* texts of the batch are lent from it */
};

struct aggregator {
	struct aggregators *all;
	pthread_t thread;
	unsigned kind, part; /* kind TEL_KINDS: dead letters */
	char name[16], part_text[12], filter[64];
	/* while it leads */
	struct pg *pg;
	struct stream_reader *reader;
	char stream[40];
	uint64_t seq, purged;
	int64_t purged_ms;
	struct window_miners *miners;
	struct detail_writer *writer;
	struct tel_taker taker;
	/* what was read and is not folded yet */
	struct held *held;
	size_t count, bytes;
	int64_t since_ms, expire_ms;
};

struct aggregators {
	struct aggregator_config c;
	char *conninfo;
	atomic_bool stop;
	struct waker *wake; /* of whoever pauses */
	struct aggregator *list;
	size_t count;
};

static const char *kind_name(unsigned kind)
{
	return kind == TEL_KINDS ? TEL_DEAD : tel_kind_name((enum tel_kind)kind);
}

static bool stopping(const struct aggregator *a)
{
	return atomic_load(&a->all->stop);
}

/* ---- what is held */

static void drop_held(struct aggregator *a)
{
	for (size_t i = 0; i < a->count; i++) {
		tel_batch_done(&a->held[i].h.batch);
		stream_item_done(&a->held[i].item);
	}
	a->count = a->bytes = 0;
}

static void rest(struct aggregator *a, int ms)
{
	for (int64_t until = clock_mono_ms() + ms; !stopping(a) && clock_mono_ms() < until;)
		(void)waker_wait(a->all->wake, 50);
}

/* Everything in memory is made of what is committed and what comes again. */
static void resign(struct aggregator *a)
{
	drop_held(a);
	stream_reader_close(a->reader);
	a->reader = NULL;
	if (a->writer)
		a->taker.forget(a->taker.ctx);
	window_miners_free(a->miners);
	a->miners = NULL;
	pg_close(a->pg);
	a->pg = NULL;
}

/* ---- leading */

static enum oc_err read_position(struct aggregator *a, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	struct stream_info info;
	enum oc_err err = pg_query(a->pg, SQL_TEL_POSITION_READ, PG_ARGS(a->name, a->part_text), &r, reterr);

	if (err == OC_OK)
		err = stream_info(a->all->c.bus_ref, &info, reterr);
	if (err != OC_OK)
		return err;
	a->seq = (uint64_t)pg_int(r, 0, 0);
	snprintf(a->stream, sizeof(a->stream), "%s", pg_text_or(r, 0, 1, ""));
	if (str_eq(a->stream, info.born))
		return OC_OK;
	/* made anew: what it held and was not folded is gone, and nobody can say how much that was */
	if (*a->stream) {
		log_error("the stream of telemetry was made anew: what it held of %s is lost", a->name);
		metric_inc(M_TEL_GAP, a->name, NULL, NULL);
	}
	snprintf(a->stream, sizeof(a->stream), "%s", info.born);
	a->seq = 0;
	return pg_query(a->pg, SQL_TEL_POSITION_RESET, PG_ARGS(a->name, a->part_text, a->stream), NULL,
			reterr);
}

static enum oc_err lead(struct aggregator *a, bool *ret_leads, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err = OC_OK;

	*ret_leads = false;
	if (!a->pg)
		err = pg_open(a->all->conninfo, "aggregator", &a->pg, reterr);
	if (err == OC_OK)
		err = pg_query(a->pg, SQL_TEL_LEAD, PG_ARGS(a->name, a->part_text), &r, reterr);
	if (err != OC_OK || !pg_bool(r, 0, 0))
		return err;
	err = read_position(a, reterr);
	if (err == OC_OK)
		err = stream_read(a->all->c.bus_ref, a->filter, a->seq, &a->reader, reterr);
	if (err != OC_OK)
		return err;
	a->miners = a->kind == TEL_LOGS ? window_miners_new() : NULL;
	a->purged = a->seq;
	*ret_leads = true;
	return OC_OK;
}

/* ---- reading */

static void take(struct aggregator *a, struct stream_item *item)
{
	struct held *x = &a->held[a->count];
	const char *tenant = strrchr(item->subject, '.');
	struct oc_fail fail;

	*x = (struct held){ .item = *item };
	x->h.tenant_id = item->tenant_id;
	x->h.seq = item->seq;
	x->h.stored_us = item->stored_us;
	snprintf(x->h.tenant, sizeof(x->h.tenant), "%s", tenant ? tenant + 1 : "");
	if (a->count == 0)
		a->since_ms = clock_mono_ms();
	a->count++;
	a->bytes += item->len;
	if (a->kind == TEL_KINDS)
		return;
	/* our own receivers wrote it; whoever else puts something there is counted, not trusted */
	if (otlp_read_protobuf((enum tel_kind)a->kind, item->body, item->len, &x->h.batch, &fail) != OC_OK) {
		log_warn("message %llu of %s is not OTLP: %s", (unsigned long long)item->seq, a->name,
			 fail.text);
		metric_inc(M_INGEST_POINTS, a->name, "refused", NULL);
		tel_batch_init(&x->h.batch, (enum tel_kind)a->kind);
	}
}

/* ---- folding */

static int by_tenant(const void *a, const void *b)
{
	const struct tel_held *x = *(struct tel_held *const *)a, *y = *(struct tel_held *const *)b;

	if (x->tenant_id != y->tenant_id)
		return x->tenant_id < y->tenant_id ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static enum oc_err fold_dead(struct aggregator *a, const struct held *x, struct oc_fail *reterr)
{
	AUTO(str) char *body = mem_strndup(x->item.body, x->item.len);
	char tenant[24];

	snprintf(tenant, sizeof(tenant), "%lld", x->h.tenant_id);
	return pg_query(a->pg, SQL_DEAD_TELEMETRY, PG_ARGS(tenant, body), NULL, reterr);
}

static enum oc_err fold_tenant(struct aggregator *a, struct tel_held *const *list, size_t n,
			       struct oc_fail *reterr)
{
	const struct window_config *c = &a->all->c.window;
	struct window_config mine = *c;
	long long sample = 0;

	mine.part = a->part;
	if (a->writer)
		sample = detail_locator(a->writer, list[0]->tenant_id,
					a->kind == TEL_LOGS ? "logs" : "traces");
	switch (a->kind) {
	case TEL_METRICS:
		return window_metrics(a->pg, &mine, list, n, reterr);
	case TEL_LOGS:
		return window_logs(a->pg, &mine, a->miners, list, n, sample, reterr);
	default:
		return window_calls(a->pg, &mine, list, n, sample, reterr);
	}
}

static enum oc_err fold_all(struct aggregator *a, struct oc_fail *reterr)
{
	AUTO(free) void *mem = mem_array(a->count + 1, sizeof(struct tel_held *));
	struct tel_held **list = mem;
	enum oc_err err = OC_OK;

	if (a->kind == TEL_KINDS) {
		for (size_t i = 0; err == OC_OK && i < a->count; i++)
			err = fold_dead(a, &a->held[i], reterr);
		return err;
	}
	for (size_t i = 0; i < a->count; i++)
		list[i] = &a->held[i].h;
	qsort(list, a->count, sizeof(*list), by_tenant);
	if (a->writer)
		err = a->taker.flush(a->taker.ctx, a->pg, a->held[a->count - 1].h.seq, reterr);
	for (size_t i = 0, end; err == OC_OK && i < a->count; i = end) {
		for (end = i; end < a->count && list[end]->tenant_id == list[i]->tenant_id; end++)
			;
		err = fold_tenant(a, list + i, end - i, reterr);
	}
	return err;
}

static enum oc_err move_position(struct aggregator *a, uint64_t to, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char now[24], was[24];
	enum oc_err err;

	snprintf(now, sizeof(now), "%llu", (unsigned long long)to);
	snprintf(was, sizeof(was), "%llu", (unsigned long long)a->seq);
	err = pg_query(a->pg, SQL_TEL_POSITION_MOVE, PG_ARGS(a->name, a->part_text, now, was, a->stream), &r,
		       reterr);
	if (err == OC_OK && pg_affected(r) != 1)
		return oc_fail(reterr, OC_STALE, "somebody else leads %s %u now", a->name, a->part);
	return err;
}

static enum oc_err flush_once(struct aggregator *a, struct oc_fail *reterr)
{
	uint64_t to = a->held[a->count - 1].h.seq;
	enum oc_err err = pg_begin(a->pg, reterr);

	/* first of all: it is the fence, and its row lock keeps a second leader waiting */
	if (err == OC_OK)
		err = move_position(a, to, reterr);
	if (err == OC_OK)
		err = fold_all(a, reterr);
	FAULT_POINT("tel_before_commit");
	if (err == OC_OK)
		err = pg_commit(a->pg, reterr);
	if (err != OC_OK) {
		pg_rollback(a->pg);
		return err;
	}
	FAULT_POINT("tel_after_commit");
	a->seq = to;
	if (a->writer && a->taker.committed)
		a->taker.committed(a->taker.ctx);
	return OC_OK;
}

static enum oc_err flush(struct aggregator *a, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;
	int64_t stored_us;

	if (a->writer)
		for (size_t i = 0; i < a->count; i++)
			a->taker.take(a->taker.ctx, a->held[i].h.tenant_id, a->held[i].h.tenant,
				      &a->held[i].h.batch, a->held[i].h.seq);
	for (int i = 0; i < 5; i++) {
		err = flush_once(a, reterr);
		if (err != OC_CONFLICT || a->writer)
			break; /* with a writer what it holds has to come again from the stream */
	}
	if (err != OC_OK)
		return err;
	stored_us = a->held[a->count - 1].h.stored_us;
	metric_set(M_WINDOW_LAG, (double)(clock_wall_us() - stored_us) / 1e6, a->name, NULL, NULL);
	drop_held(a);
	return OC_OK;
}

/* Spans whose other half did not come. */
static enum oc_err expire(struct aggregator *a, struct oc_fail *reterr)
{
	int64_t before_us = clock_wall_us() - a->all->c.window.join_s * INT64_C(1000000);
	AUTO(pg_result) struct pg_result *r = NULL;
	char before[24];
	enum oc_err err;

	snprintf(before, sizeof(before), "%lld", (long long)before_us);
	err = pg_query(a->pg, SQL_CALL_PENDING_TENANTS, PG_ARGS(a->part_text, before), &r, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct window_config mine = a->all->c.window;
		unsigned n = 0;

		mine.part = a->part;
		err = pg_begin(a->pg, reterr);
		if (err == OC_OK)
			err = window_calls_expire(a->pg, &mine, pg_int(r, i, 0), before_us, &n, reterr);
		if (err == OC_OK)
			err = pg_commit(a->pg, reterr);
		if (err != OC_OK)
			pg_rollback(a->pg);
	}
	return err;
}

static void purge(struct aggregator *a)
{
	struct oc_fail fail;
	int64_t now = clock_mono_ms();

	if (a->purged == a->seq || now - a->purged_ms < PURGE_MS)
		return;
	a->purged_ms = now;
	if (stream_purge(a->all->c.bus_ref, a->filter, a->seq, &fail) == OC_OK)
		a->purged = a->seq;
	else
		log_debug("%s", fail.text);
}

/* Until something fails, or the end. */
static enum oc_err follow(struct aggregator *a, struct oc_fail *reterr)
{
	const struct aggregator_config *c = &a->all->c;

	while (!stopping(a)) {
		struct stream_item item;
		bool came = stream_next(a->reader, a->count ? 10 : IDLE_MS, &item);
		int64_t now = clock_mono_ms();
		enum oc_err err = OC_OK;

		if (came)
			take(a, &item);
		if (a->count && (a->count == HELD_MAX || a->bytes >= c->gather_bytes ||
				 now - a->since_ms >= c->gather_ms))
			err = flush(a, reterr);
		if (err == OC_OK && a->kind == TEL_SPANS && now - a->expire_ms >= 1000) {
			a->expire_ms = now;
			err = expire(a, reterr);
		}
		if (err != OC_OK)
			return err;
		purge(a);
		if (!came && !stream_reader_ok(a->reader))
			return oc_fail(reterr, OC_UNAVAILABLE, "the stream was away; reading again from %llu",
				       (unsigned long long)a->seq);
	}
	return OC_OK;
}

static void *run(void *arg)
{
	struct aggregator *a = arg;

	while (!stopping(a)) {
		struct oc_fail fail = { 0 };
		bool leads = false;
		enum oc_err err = lead(a, &leads, &fail);

		if (err == OC_OK && leads) {
			err = follow(a, &fail);
			if (err != OC_OK)
				log_warn("%s %u: %s", a->name, a->part, fail.text);
			resign(a);
			rest(a, PAUSE_MS / 5);
		} else {
			if (err != OC_OK) {
				log_debug("%s %u: %s", a->name, a->part, fail.text);
				resign(a);
			}
			rest(a, PAUSE_MS);
		}
	}
	return NULL;
}

enum oc_err aggregators_start(const struct aggregator_config *config, struct aggregators **ret,
			      struct oc_fail *reterr)
{
	struct aggregators *all = mem_alloc(sizeof(*all));
	unsigned parts;

	all->c = *config;
	window_config_default(&all->c.window);
	parts = config->partitions ? config->partitions : 1;
	if (parts > TEL_PARTITIONS_MAX)
		parts = TEL_PARTITIONS_MAX;
	if (all->c.gather_ms <= 0)
		all->c.gather_ms = 500;
	if (all->c.gather_bytes == 0)
		all->c.gather_bytes = (size_t)16 << 20;
	all->conninfo = mem_strdup(config->conninfo);
	all->wake = waker_new();
	all->list = mem_array((size_t)KINDS * parts, sizeof(*all->list));
	for (unsigned kind = 0; kind < KINDS; kind++) {
		for (unsigned part = 0; part < (kind == TEL_KINDS ? 1 : parts); part++) {
			struct aggregator *a = &all->list[all->count];

			*a = (struct aggregator){ .all = all, .kind = kind, .part = part };
			snprintf(a->name, sizeof(a->name), "%s", kind_name(kind));
			snprintf(a->part_text, sizeof(a->part_text), "%u", part);
			snprintf(a->filter, sizeof(a->filter), "tel.%s.%u.>", a->name, part);
			a->held = mem_array(HELD_MAX, sizeof(*a->held));
			if (config->detail_ref && (kind == TEL_LOGS || kind == TEL_SPANS)) {
				a->writer = detail_writer_new(
					&(struct detail_writer_config){ .store = config->detail_ref });
				a->taker = detail_taker(a->writer);
			}
			if (pthread_create(&a->thread, NULL, run, a) != 0) {
				detail_writer_free(a->writer);
				free(a->held);
				aggregators_stop(all);
				return oc_fail(reterr, OC_UNAVAILABLE, "no thread for the aggregators");
			}
			all->count++;
		}
	}
	*ret = all;
	return OC_OK;
}

void aggregators_stop(struct aggregators *all)
{
	if (!all)
		return;
	atomic_store(&all->stop, true);
	waker_poke(all->wake);
	for (size_t i = 0; i < all->count; i++) {
		struct aggregator *a = &all->list[i];

		pthread_join(a->thread, NULL);
		resign(a);
		detail_writer_free(a->writer);
		free(a->held);
	}
	waker_free(all->wake);
	free(all->conninfo);
	free(all->list);
	free(all);
}
