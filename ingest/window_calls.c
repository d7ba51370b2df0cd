#include <math.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/metrics.h"
#include "domain/sketch.h"
#include "ingest/window.h"
#include "store/telemetry.h"

#define KEY_LEN    48 /* trace id and span id in hex */
#define EXPIRE_MAX 5000

/* One half of a call: the client's span, or the server's, keyed by the client's. */
struct half {
	char key[KEY_LEN + 1];
	char side; /* 'c', 's' */
	bool error, stored;
	int64_t start_us, duration_us;
	char *service, *peer;
};

/* One call, on its way into a bucket. */
struct call {
	uint32_t src, dst; /* names */
	int64_t bucket_us, duration_us;
	bool error;
};

struct work {
	const struct window_config *c;
	char tenant[24], part[12];
	struct window_names *names;
	struct half *half;
	size_t halves, half_cap;
	struct call *call;
	size_t calls, call_cap;
	uint64_t late, ahead, joined, by_peer, alone;
};

static void work_done(struct work *w)
{
	for (size_t i = 0; i < w->halves; i++) {
		free(w->half[i].service);
		free(w->half[i].peer);
	}
	free(w->half);
	free(w->call);
	window_names_free(w->names);
}

static struct half *half_add(struct work *w)
{
	if (w->halves == w->half_cap) {
		w->half_cap = w->half_cap ? w->half_cap * 2 : 64;
		w->half = mem_grow(w->half, w->half_cap, sizeof(*w->half));
	}
	w->half[w->halves] = (struct half){ .side = 'c' };
	return &w->half[w->halves++];
}

static void call_add(struct work *w, const char *src, const char *dst, const struct half *client, bool error)
{
	int64_t step = WINDOW_CALL_S * INT64_C(1000000);

	if (w->calls == w->call_cap) {
		w->call_cap = w->call_cap ? w->call_cap * 2 : 64;
		w->call = mem_grow(w->call, w->call_cap, sizeof(*w->call));
	}
	w->call[w->calls++] = (struct call){ .src = window_name_urn(w->names, src, strlen(src)),
					     .dst = window_name_urn(w->names, dst, strlen(dst)),
					     .bucket_us = client->start_us - client->start_us % step,
					     .duration_us = client->duration_us,
					     .error = error };
}

/* ---- whom a client says that it called */

static void part(struct text *t, struct tel_str s)
{
	s = tel_cut(s, 200);
	for (uint32_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];

		text_add_n(t, c <= ' ' || c == 0x7f ? "_" : s.s + i, 1);
	}
}

static struct tel_str first_of(const struct tel_span *s, const char *const *keys)
{
	struct tel_str v = { NULL, 0 };

	for (; *keys && !v.n; keys++)
		v = tel_attr_find(s->attr, s->attrs, *keys);
	return v;
}

static char *peer_urn(const struct tel_span *s)
{
	static const char *const service[] = { "peer.service", "service.peer.name", "rpc.peer.service",
					       NULL };
	static const char *const db[] = { "db.system.name", "db.system", NULL };
	static const char *const db_name[] = { "db.namespace", "db.name", NULL };
	static const char *const queue[] = { "messaging.system", NULL };
	static const char *const topic[] = { "messaging.destination.name", "messaging.destination", NULL };
	static const char *const host[] = { "server.address", "net.peer.name", "http.host", "net.peer.ip",
					    NULL };
	struct tel_str peer = first_of(s, service), at = first_of(s, host), sys;
	struct text t = { 0 };

	if (peer.n) {
		text_add(&t, "urn:svc:");
		part(&t, peer);
	} else if ((sys = first_of(s, db)).n) {
		struct tel_str name = first_of(s, db_name);

		text_add(&t, "urn:db:");
		part(&t, sys);
		text_add(&t, ":");
		part(&t, at.n ? at : TEL_STR("unknown"));
		if (name.n) {
			text_add(&t, "/");
			part(&t, name);
		}
	} else if ((sys = first_of(s, queue)).n) {
		struct tel_str name = first_of(s, topic);

		text_add(&t, "urn:queue:");
		part(&t, sys);
		text_add(&t, ":");
		part(&t, name.n ? name : at.n ? at : TEL_STR("unknown"));
	} else if (at.n) {
		text_add(&t, "urn:host:");
		part(&t, at);
	} else {
		return NULL;
	}
	return text_take(&t);
}

/* ---- joining */

static void take_spans(struct work *w, const struct tel_held *held)
{
	const struct tel_batch *b = &held->batch;

	for (uint32_t i = 0; i < b->records; i++) {
		const struct tel_span *s = &b->span[i];
		bool client = s->kind == TEL_SPAN_CLIENT || s->kind == TEL_SPAN_PRODUCER;
		struct half *h;

		if (!client &&
		    ((s->kind != TEL_SPAN_SERVER && s->kind != TEL_SPAN_CONSUMER) || !s->has_parent))
			continue; /* inner work, and requests that nobody known has sent */
		switch (window_fit(w->c, WINDOW_CALL_S, s->start_us, held->stored_us)) {
		case WINDOW_LATE:
			w->late++;
			continue;
		case WINDOW_AHEAD:
			w->ahead++;
			continue;
		case WINDOW_FITS:
			break;
		}
		(void)window_name(w->names, &b->resource[s->resource]);
		h = half_add(w);
		str_hex(s->trace_id, 16, h->key);
		str_hex(client ? s->span_id : s->parent_id, 8, h->key + 32);
		h->side = client ? 'c' : 's';
		h->error = s->error;
		h->start_us = s->start_us;
		h->duration_us = s->end_us - s->start_us;
		h->service = mem_strndup(b->resource[s->resource].urn.s, b->resource[s->resource].urn.n);
		h->peer = client ? peer_urn(s) : NULL;
	}
}

static enum oc_err fetch_pending(struct pg *pg, struct work *w, struct oc_fail *reterr)
{
	AUTO(text) struct text keys = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	enum oc_err err;

	for (size_t i = 0; i < w->halves; i++)
		pg_array_add(&keys, w->half[i].key);
	err = pg_query(pg, SQL_CALL_PENDING_READ, PG_ARGS(w->tenant, w->part, pg_array_end(&keys)), &r,
		       reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct half *h = half_add(w);

		snprintf(h->key, sizeof(h->key), "%s", pg_text_or(r, i, 0, ""));
		h->side = pg_text_or(r, i, 1, "c")[0];
		h->start_us = pg_int(r, i, 2);
		h->duration_us = pg_int(r, i, 3);
		h->error = pg_bool(r, i, 4);
		h->service = mem_strdup(pg_text_or(r, i, 5, ""));
		h->peer = mem_strdup(pg_text(r, i, 6));
		h->stored = true;
	}
	return err;
}

static int by_key(const void *a, const void *b)
{
	const struct half *x = a, *y = b;
	int d = strcmp(x->key, y->key);

	if (!d)
		d = x->side - y->side;
	/* of two that are the same span the one that was there first stands for both */
	return d ? d : (int)y->stored - (int)x->stored;
}

/* Runs of one key: a client and a server make a call, a repeated half is dropped, the rest waits. */
static void join(struct work *w, struct text *gone, struct text col[7])
{
	qsort(w->half, w->halves, sizeof(*w->half), by_key);
	for (size_t i = 0, end; i < w->halves; i = end) {
		const struct half *client = NULL, *server = NULL;

		for (end = i; end < w->halves && str_eq(w->half[end].key, w->half[i].key); end++) {
			const struct half *h = &w->half[end];

			if (h->side == 'c' && !client)
				client = h;
			else if (h->side == 's' && !server)
				server = h;
		}
		if (client && server) {
			call_add(w, client->service, server->service, client, client->error || server->error);
			w->joined++;
			if (client->stored || server->stored)
				pg_array_add(gone, client->key);
			continue;
		}
		client = client ? client : server;
		if (client->stored)
			continue;
		pg_array_add(&col[0], client->key);
		pg_array_add(&col[1], client->side == 'c' ? "c" : "s");
		pg_array_addf(&col[2], "%lld", (long long)client->start_us);
		pg_array_addf(&col[3], "%lld", (long long)client->duration_us);
		pg_array_add(&col[4], client->error ? "t" : "f");
		pg_array_add(&col[5], client->service);
		pg_array_add(&col[6], client->peer);
	}
}

static enum oc_err settle_pending(struct pg *pg, struct work *w, int64_t arrived_us, struct oc_fail *reterr)
{
	struct text gone = { 0 }, col[7] = { 0 };
	char arrived[24];
	const char *args[10] = { w->tenant, w->part, arrived };
	bool any;
	enum oc_err err = OC_OK;

	snprintf(arrived, sizeof(arrived), "%lld", (long long)arrived_us);
	join(w, &gone, col);
	any = col[0].len > 0;
	if (gone.len)
		err = pg_query(pg, SQL_CALL_PENDING_DROP, PG_ARGS(w->tenant, w->part, pg_array_end(&gone)),
			       NULL, reterr);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		args[k + 3] = pg_array_end(&col[k]);
	if (err == OC_OK && any)
		err = pg_query(pg, SQL_CALL_PENDING_ADD, args, ARRAY_LEN(args), NULL, reterr);
	text_done(&gone);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		text_done(&col[k]);
	return err;
}

/* ---- into the rows */

struct row {
	long long src, dst;
	int64_t bucket_us;
	uint64_t count, errors;
	struct sketch *sketch;
};

static int by_edge(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	if (x->bucket_us != y->bucket_us)
		return x->bucket_us < y->bucket_us ? -1 : 1;
	if (x->src != y->src)
		return x->src < y->src ? -1 : 1;
	return x->dst < y->dst ? -1 : x->dst > y->dst;
}

static size_t make_rows(struct work *w, struct row *row)
{
	size_t n = 0;

	qsort(w->call, w->calls, sizeof(*w->call), by_edge);
	for (size_t i = 0; i < w->calls; i++) {
		const struct call *c = &w->call[i];

		if (i == 0 || by_edge(c, &w->call[i - 1]) != 0)
			row[n++] = (struct row){ .src = window_name_id(w->names, c->src),
						 .dst = window_name_id(w->names, c->dst),
						 .bucket_us = c->bucket_us,
						 .sketch = sketch_new() };
		row[n - 1].count++;
		row[n - 1].errors += c->error;
		sketch_add(row[n - 1].sketch, (double)c->duration_us / 1000, 1);
	}
	return n;
}

static enum oc_err merge_stored(struct pg *pg, struct work *w, struct row *row, size_t n,
				struct oc_fail *reterr)
{
	AUTO(text) struct text at = { 0 }, src = { 0 }, dst = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	char low[24], high[24];
	enum oc_err err = pg_query(pg, SQL_CALL_LOCK, PG_ARGS(w->tenant), NULL, reterr);

	for (size_t i = 0; i < n; i++) {
		pg_array_addf(&at, "%lld", (long long)row[i].bucket_us);
		pg_array_addf(&src, "%lld", row[i].src);
		pg_array_addf(&dst, "%lld", row[i].dst);
	}
	/* in order of their buckets */
	snprintf(low, sizeof(low), "%lld", (long long)row[0].bucket_us);
	snprintf(high, sizeof(high), "%lld", (long long)row[n - 1].bucket_us);
	if (err == OC_OK)
		err = pg_query(pg, SQL_CALL_READ,
			       PG_ARGS(w->tenant, pg_array_end(&at), pg_array_end(&src), pg_array_end(&dst),
				       low, high),
			       &r, reterr);
	for (unsigned k = 0; err == OC_OK && k < pg_rows(r); k++)
		for (size_t i = 0; i < n; i++) {
			AUTO(sketch) struct sketch *was = NULL;

			if (row[i].bucket_us != pg_int(r, k, 0) || row[i].src != pg_int(r, k, 1) ||
			    row[i].dst != pg_int(r, k, 2))
				continue;
			row[i].count += (uint64_t)pg_int(r, k, 3);
			row[i].errors += (uint64_t)pg_int(r, k, 4);
			was = sketch_unhex(pg_text(r, k, 5));
			if (was)
				sketch_merge(row[i].sketch, was);
			break;
		}
	return err;
}

static enum oc_err write_rows(struct pg *pg, struct work *w, const struct row *row, size_t n,
			      long long sample_ref, struct oc_fail *reterr)
{
	struct text col[8] = { 0 };
	char bucket_s[12], closed_s[12], sample[24];
	const char *args[12] = { w->tenant };
	enum oc_err err;

	for (size_t i = 0; i < n; i++) {
		AUTO(str) char *sketch = sketch_hex(row[i].sketch);

		pg_array_addf(&col[0], "%lld", (long long)row[i].bucket_us);
		pg_array_addf(&col[1], "%lld", row[i].src);
		pg_array_addf(&col[2], "%lld", row[i].dst);
		pg_array_addf(&col[3], "%llu", (unsigned long long)row[i].count);
		pg_array_addf(&col[4], "%llu", (unsigned long long)row[i].errors);
		pg_array_addf(&col[5], "%.17g", sketch_quantile(row[i].sketch, 0.5));
		pg_array_addf(&col[6], "%.17g", sketch_quantile(row[i].sketch, 0.95));
		pg_array_add(&col[7], sketch);
	}
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		args[k + 1] = pg_array_end(&col[k]);
	snprintf(bucket_s, sizeof(bucket_s), "%d", WINDOW_CALL_S);
	snprintf(closed_s, sizeof(closed_s), "%d", WINDOW_CALL_S + w->c->delay_s + w->c->join_s);
	snprintf(sample, sizeof(sample), "%lld", sample_ref);
	args[9] = bucket_s;
	args[10] = closed_s;
	args[11] = sample_ref ? sample : NULL;
	err = pg_query(pg, SQL_CALL_WRITE, args, ARRAY_LEN(args), NULL, reterr);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		text_done(&col[k]);
	return err;
}

static enum oc_err store_calls(struct pg *pg, struct work *w, long long tenant_id, long long sample_ref,
			       struct oc_fail *reterr)
{
	AUTO(free) void *mem = NULL;
	struct row *row;
	size_t n;
	enum oc_err err = window_names_find(w->names, pg, tenant_id, reterr);

	if (err != OC_OK || !w->calls)
		return err;
	mem = mem_array(w->calls, sizeof(*row));
	row = mem;
	n = make_rows(w, row);
	err = merge_stored(pg, w, row, n, reterr);
	if (err == OC_OK)
		err = write_rows(pg, w, row, n, sample_ref, reterr);
	for (size_t i = 0; i < n; i++)
		sketch_free(row[i].sketch);
	return err;
}

static struct work begin(const struct window_config *c, long long tenant_id)
{
	struct work w = { .c = c, .names = window_names_new() };

	snprintf(w.tenant, sizeof(w.tenant), "%lld", tenant_id);
	snprintf(w.part, sizeof(w.part), "%u", c->part);
	return w;
}

static void count(const struct work *w)
{
	metric_add(M_INGEST_POINTS, (double)w->late, "spans", "late", NULL);
	metric_add(M_INGEST_POINTS, (double)w->ahead, "spans", "ahead", NULL);
	metric_add(M_INGEST_POINTS, (double)w->joined, "spans", "joined", NULL);
	metric_add(M_INGEST_POINTS, (double)w->by_peer, "spans", "by_peer", NULL);
	metric_add(M_INGEST_POINTS, (double)w->alone, "spans", "alone", NULL);
}

enum oc_err window_calls(struct pg *pg, const struct window_config *c, struct tel_held *const *held, size_t n,
			 long long sample_ref, struct oc_fail *reterr)
{
	struct work w = begin(c, n ? held[0]->tenant_id : 0);
	enum oc_err err = OC_OK;

	for (size_t i = 0; i < n; i++)
		take_spans(&w, held[i]);
	if (w.halves) {
		err = fetch_pending(pg, &w, reterr);
		if (err == OC_OK)
			err = settle_pending(pg, &w, held[n - 1]->stored_us, reterr);
		if (err == OC_OK)
			err = store_calls(pg, &w, held[0]->tenant_id, sample_ref, reterr);
	}
	if (err == OC_OK)
		count(&w);
	work_done(&w);
	return err;
}

enum oc_err window_calls_expire(struct pg *pg, const struct window_config *c, long long tenant_id,
				int64_t before_us, unsigned *ret_n, struct oc_fail *reterr)
{
	struct work w = begin(c, tenant_id);
	AUTO(pg_result) struct pg_result *r = NULL;
	char before[24], most[12];
	enum oc_err err;

	snprintf(before, sizeof(before), "%lld", (long long)before_us);
	snprintf(most, sizeof(most), "%d", EXPIRE_MAX);
	err = pg_query(pg, SQL_CALL_PENDING_EXPIRE, PG_ARGS(w.tenant, w.part, before, most), &r, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct half h = { .start_us = pg_int(r, i, 1), .duration_us = pg_int(r, i, 2) };

		if (pg_text_or(r, i, 0, "s")[0] == 'c' && pg_text(r, i, 5)) {
			call_add(&w, pg_text_or(r, i, 4, ""), pg_text(r, i, 5), &h, pg_bool(r, i, 3));
			w.by_peer++;
		} else {
			w.alone++;
		}
	}
	if (err == OC_OK)
		err = store_calls(pg, &w, tenant_id, 0, reterr);
	if (err == OC_OK) {
		count(&w);
		*ret_n = pg_rows(r);
	}
	work_done(&w);
	return err;
}
