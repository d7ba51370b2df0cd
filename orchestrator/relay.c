#define LOG_ROOM "relay"
#include "orchestrator/relay.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/waker.h"
#include "store/command.h"
#include "wire/bus/bus.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

#define BATCH         512
#define BATCH_TEXT    "512"
#define LOCK_KEY      "727221001" /* advisory: the relay's leader */
#define NOTIFY_GAP_MS 5
#define DATA_MAX      ((size_t)512 << 10) /* more stays in PostgreSQL, where the reader looks anyway */

struct relay {
	char *conninfo, *installation;
	struct bus *bus;
	struct waker *wake;
	struct pg *pg;
	long long leader_pid; /* the backend that holds the lock; 0: we do not lead */
	pthread_t thread, ear;
	atomic_bool stopping, leading;
};

/* CloudEvents 1.0, structured. The payload is PostgreSQL's own JSON text. */
static char *envelope(const struct relay *r, const struct pg_result *rows, unsigned i)
{
	struct text t = { 0 };
	const char *trace = pg_text(rows, i, OB_TRACE), *product = pg_text(rows, i, OB_PRODUCT),
		   *cmd = pg_text(rows, i, OB_CMD);

	text_addf(&t, "{\"specversion\":\"1.0\",\"id\":\"%s:%s\",\"source\":\"opscase/%s\",\"type\":",
		  r->installation, pg_text(rows, i, OB_ID), r->installation);
	json_quote(&t, pg_text(rows, i, OB_TOPIC));
	text_add(&t, ",\"subject\":");
	json_quote(&t, pg_text_or(rows, i, OB_CASE, ""));
	text_addf(&t, ",\"time\":\"%s\",\"datacontenttype\":\"application/json\",\"tenant\":",
		  pg_text(rows, i, OB_CREATED));
	json_quote(&t, pg_text(rows, i, OB_KEY));
	text_addf(&t, ",\"epoch\":%s,\"caseversion\":%s", pg_text(rows, i, OB_EPOCH),
		  pg_text(rows, i, OB_VERSION));
	if (trace && strlen(trace) == 32)
		text_addf(&t, ",\"traceparent\":\"00-%s-%.16s-01\"", trace, trace);
	if (product)
		text_addf(&t, ",\"productid\":\"%s\"", product);
	if (cmd)
		text_addf(&t, ",\"commandid\":\"%s\"", cmd);
	if (strlen(pg_text(rows, i, OB_PAYLOAD)) <= DATA_MAX)
		text_addf(&t, ",\"data\":%s}", pg_text(rows, i, OB_PAYLOAD));
	else
		text_add(&t, ",\"dataomitted\":true}");
	return text_take(&t);
}

static bool lead(struct relay *r)
{
	AUTO(pg_result) struct pg_result *got = NULL;
	AUTO(pg_result) struct pg_result *inst = NULL;
	struct oc_fail fail;

	if (!r->pg) {
		if (pg_open(r->conninfo, "relay", &r->pg, &fail) != OC_OK) {
			log_warn("%s", fail.text);
			return false;
		}
	}
	/* Marks may be lost in a crash: the row is then published again, which is harmless. */
	if (pg_query(r->pg,
		     "SELECT pg_try_advisory_lock(" LOCK_KEY "), pg_backend_pid(),"
		     " set_config('synchronous_commit', 'off', false)",
		     PG_NO_ARGS, &got, &fail) != OC_OK ||
	    !pg_bool(got, 0, 0))
		return false;
	if (pg_query(r->pg, SQL_INSTALLATION, PG_NO_ARGS, &inst, &fail) != OC_OK || pg_rows(inst) != 1)
		return false;
	mem_set(&r->installation, pg_text(inst, 0, 0));
	r->leader_pid = pg_int(got, 0, 1);
	log_info("leading");
	return true;
}

/* Returns how many rows were read; 0 when there is nothing more to do now. */
static unsigned publish_batch(struct relay *r)
{
	AUTO(pg_result) struct pg_result *rows = NULL;
	struct bus_msg msgs[BATCH];
	struct oc_fail fail;
	struct text done = { 0 };
	unsigned n, ok = 0;

	if (pg_query(r->pg, SQL_OUTBOX_UNPUBLISHED, PG_ARGS(BATCH_TEXT), &rows, &fail) != OC_OK) {
		log_warn("%s", fail.text);
		r->leader_pid = 0;
		return 0;
	}
	n = pg_rows(rows);
	metric_set(M_OUTBOX_LAG, n ? pg_num(rows, 0, OB_AGE) : 0, NULL, NULL, NULL);
	if (n == 0)
		return 0;
	/* The lock lives in the connection: another backend means that somebody else may lead by now. */
	if (pg_int(rows, 0, OB_PID) != r->leader_pid) {
		r->leader_pid = 0;
		return 0;
	}
	FAULT_POINT("relay.read");
	for (unsigned i = 0; i < n; i++)
		msgs[i] = (struct bus_msg){
			.id = pg_int(rows, i, OB_ID),
			.subject = mem_printf("%s.%s", pg_text(rows, i, OB_TOPIC), pg_text(rows, i, OB_KEY)),
			.body = envelope(r, rows, i),
			.msg_id = mem_printf("%s:%s:%s", r->installation, pg_text(rows, i, OB_ID),
					     pg_text(rows, i, OB_COUNT)),
		};
	if (bus_publish(r->bus, msgs, n, 5000, &fail) != OC_OK)
		log_debug("%s", fail.text);
	FAULT_POINT("relay.published");
	for (unsigned i = 0; i < n; i++) {
		metric_inc(M_OUTBOX_PUBLISH, pg_text(rows, i, OB_TOPIC), msgs[i].ok ? "ok" : "failed", NULL);
		if (msgs[i].ok) {
			pg_array_addf(&done, "%lld", msgs[i].id);
			ok++;
		}
		free((char *)msgs[i].subject);
		free((char *)msgs[i].body);
		free((char *)msgs[i].msg_id);
	}
	if (ok && pg_query(r->pg, SQL_OUTBOX_PUBLISHED, PG_ARGS(pg_array_end(&done)), NULL, &fail) != OC_OK)
		log_warn("%s", fail.text);
	FAULT_POINT("relay.marked");
	text_done(&done);
	return ok ? n : 0;
}

static void tell_the_leader(struct relay *r)
{
	(void)!pg_query(r->pg, "NOTIFY opscase_relay", PG_NO_ARGS, NULL, NULL);
	nanosleep(&(struct timespec){ .tv_nsec = NOTIFY_GAP_MS * 1000000L }, NULL);
}

static void *relay_run(void *arg)
{
	struct relay *r = arg;

	while (!atomic_load(&r->stopping)) {
		bool poked = waker_wait(r->wake, 1000);

		if (atomic_load(&r->stopping))
			break;
		atomic_store(&r->leading, r->leader_pid != 0);
		if (!r->leader_pid && !lead(r)) {
			if (poked && r->pg && pg_alive(r->pg))
				tell_the_leader(r);
			continue;
		}
		atomic_store(&r->leading, true);
		/* What comes meanwhile has its own poke, and the next batch is the larger for it. */
		while (!atomic_load(&r->stopping) && publish_batch(r) == BATCH)
			;
	}
	pg_close(r->pg);
	return NULL;
}

/* Listens for the other replicas, so that the leader's own thread needs to wait in one place only. */
static void *ear_run(void *arg)
{
	struct relay *r = arg;
	struct pg *pg = NULL;

	while (!atomic_load(&r->stopping)) {
		if (!pg || !pg_alive(pg)) {
			pg_close(pg);
			pg = NULL;
			if (pg_open(r->conninfo, "relay-ear", &pg, NULL) != OC_OK ||
			    pg_query(pg, "LISTEN opscase_relay", PG_NO_ARGS, NULL, NULL) != OC_OK) {
				nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
				continue;
			}
		}
		/* Who does not lead must not hear its own call, or it would call again, for ever. */
		if (pg_wait_notify(pg, 500) && atomic_load(&r->leading))
			waker_poke(r->wake);
	}
	pg_close(pg);
	return NULL;
}

enum oc_err relay_start(const char *conninfo, struct bus *bus, struct waker *wake, struct relay **ret,
			struct oc_fail *reterr)
{
	struct relay *r = mem_alloc(sizeof(*r));

	r->conninfo = mem_strdup(conninfo);
	r->bus = bus;
	r->wake = wake;
	if (pthread_create(&r->thread, NULL, relay_run, r) != 0) {
		free(r->conninfo);
		free(r);
		return oc_fail(reterr, OC_UNAVAILABLE, "relay: no thread to be had");
	}
	if (pthread_create(&r->ear, NULL, ear_run, r) != 0) {
		atomic_store(&r->stopping, true);
		waker_poke(wake);
		pthread_join(r->thread, NULL);
		free(r->conninfo);
		free(r);
		return oc_fail(reterr, OC_UNAVAILABLE, "relay: no thread to be had");
	}
	*ret = r;
	return OC_OK;
}

void relay_stop(struct relay *r)
{
	if (!r)
		return;
	atomic_store(&r->stopping, true);
	waker_poke(r->wake);
	pthread_join(r->thread, NULL);
	pthread_join(r->ear, NULL);
	free(r->installation);
	free(r->conninfo);
	free(r);
}
