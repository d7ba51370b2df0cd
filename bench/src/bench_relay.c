/* bench_relay MODE CONNINFO NATS_URL TENANT_ID N - the outbox relay and what it is held against.
 *
 * raw:     N messages published asynchronously with message ids, as many in flight as the library allows, into the stream
 *          of events.
 * raw-file: the same into a stream in a file, which the server syncs as it is configured to.
 * relay:   N committed outbox rows of the same size published by the relay, until the last is marked.
 * latency: N rows committed at 2,000 a second (two each millisecond, by an absolute clock); for each row the time from
 *          the return of its commit to its arrival at a durable consumer. */
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/mem.h"
#include "base/waker.h"
#include "bench/src/bench.h"
#include "orchestrator/relay.h"
#include "wire/bus/bus.h"
#include "wire/pg/pg.h"

#define TOPIC "evt.bench.x.v1"
#define PAYLOAD \
	"{\"case_id\":\"00000000-0000-4000-8000-000000000000\",\"title\":\"bench\",\"event\":\"start_analysis\",\"from\":\"NEW\",\"to\":\"ANALYZING\",\"version\":2,\"epoch\":2,\"actor\":\"bench\"}"
#define BODY                                                                                                           \
	"{\"specversion\":\"1.0\",\"id\":\"00000000-0000-4000-8000-000000000000:12345678\",\"source\":"                \
	"\"opscase/00000000-0000-4000-8000-000000000000\",\"type\":\"" TOPIC "\",\"subject\":\"\",\"time\":"           \
	"\"2026-01-01T00:00:00.000000Z\",\"datacontenttype\":\"application/json\",\"tenant\":\"t-bench\",\"epoch\":0," \
	"\"caseversion\":0,\"data\":" PAYLOAD "}"

static struct oc_fail fail;

static void must(enum oc_err err)
{
	if (err != OC_OK) {
		fprintf(stderr, "%s\n", fail.text);
		exit(1);
	}
}

static void must_nats(natsStatus s)
{
	if (s != NATS_OK) {
		fprintf(stderr, "NATS: %s\n", natsStatus_GetText(s));
		exit(1);
	}
}

static double raw(const char *url, long n, bool file)
{
	natsConnection *nc = NULL;
	jsCtx *js = NULL;
	jsOptions jo;
	jsPubOptions po;
	double t;

	must_nats(natsConnection_ConnectTo(&nc, url));
	jsOptions_Init(&jo);
	jo.PublishAsync.MaxPending = 4096;
	jo.PublishAsync.StallWait = 30000;
	must_nats(natsConnection_JetStream(&js, nc, &jo));
	if (file) {
		const char *subjects[] = { "bench.file.>" };
		jsStreamConfig cfg;

		jsStreamConfig_Init(&cfg);
		cfg.Name = "BENCH_FILE";
		cfg.Subjects = subjects;
		cfg.SubjectsLen = 1;
		cfg.Storage = js_FileStorage;
		must_nats(js_AddStream(NULL, js, &cfg, NULL, NULL));
	}
	t = bench_now();
	for (long i = 0; i < n; i++) {
		char id[64];

		snprintf(id, sizeof(id), "00000000-0000-4000-8000-%ld:%ld:0", (long)(t * 1000) % 1000000000,
			 i);
		jsPubOptions_Init(&po);
		po.MsgId = id;
		must_nats(js_PublishAsync(js, file ? "bench.file.x" : TOPIC ".t-bench", BODY,
					  (int)strlen(BODY), &po));
	}
	must_nats(js_PublishAsyncComplete(js, NULL));
	t = bench_now() - t;
	jsCtx_Destroy(js);
	natsConnection_Destroy(nc);
	return (double)n / t;
}

static bool drained(struct pg *pg)
{
	AUTO(pg_result) struct pg_result *r = NULL;

	must(pg_query(pg,
		      "SELECT EXISTS (SELECT 1 FROM outbox WHERE published_at IS NULL AND done_at IS NULL)",
		      PG_NO_ARGS, &r, &fail));
	return !pg_bool(r, 0, 0);
}

static const char SQL_ROWS[] =
	"INSERT INTO outbox (tenant_id, kind, topic, key, payload) SELECT $1::bigint, 'x', '" TOPIC
	"', 't-bench', '" PAYLOAD "' FROM generate_series(1, $2::int) RETURNING id";

struct arrivals {
	struct bus_sub *sub;
	double *at;
	long long first;
	long n;
	atomic_long got;
	atomic_bool stop;
};

static void *hear(void *arg)
{
	struct arrivals *a = arg;

	while (!atomic_load(&a->stop)) {
		struct bus_delivery *got[256];
		size_t n = bus_fetch(a->sub, got, 256, 200);
		double t = bench_now();

		for (size_t i = 0; i < n; i++) {
			long long at = bus_delivery_id(got[i]) - a->first;

			if (a->first && at >= 0 && at < a->n && a->at[at] == 0) {
				a->at[at] = t;
				atomic_fetch_add(&a->got, 1);
			}
			bus_ack(got[i]);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct waker *wake = waker_new();
	struct bus *bus = NULL;
	struct relay *relay = NULL;
	struct pg *pg = NULL;
	const char *mode;
	char count[24];
	double t, cpu;
	long n;

	if (argc != 6)
		return 64;
	mode = argv[1];
	n = atol(argv[5]);
	snprintf(count, sizeof(count), "%ld", n);
	must(pg_open(argv[2], "bench", &pg, &fail));
	must(bus_open(&(struct bus_config){ .url = argv[3], .name = "bench" }, &bus, &fail));
	{ /* the streams are made with the first message */
		struct bus_msg m = { .id = 1, .subject = TOPIC ".t-bench", .body = "{}" };

		must(bus_publish(bus, &m, 1, 5000, &fail));
	}
	if (strcmp(mode, "raw") == 0 || strcmp(mode, "raw-file") == 0) {
		cpu = bench_cpu();
		t = raw(argv[3], n, strcmp(mode, "raw-file") == 0);
		printf("{\"rate\":%.1f,\"cpu_s\":%.3f}\n", t, bench_cpu() - cpu);
		return 0;
	}
	if (strcmp(mode, "relay") == 0) {
		must(pg_query(pg, SQL_ROWS, PG_ARGS(argv[4], count), NULL, &fail));
		must(pg_query(pg, "ANALYZE outbox", PG_NO_ARGS, NULL, NULL));
		t = bench_now();
		cpu = bench_cpu();
		must(relay_start(argv[2], bus, wake, &relay, &fail));
		waker_poke(wake);
		while (!drained(pg))
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		printf("{\"rate\":%.1f,\"cpu_s\":%.3f}\n", (double)n / (bench_now() - t), bench_cpu() - cpu);
	} else {
		static const char *const subjects[] = { TOPIC ".>" };
		struct arrivals a = { .at = mem_array((size_t)n, sizeof(double)), .n = n };
		double *sent = mem_array((size_t)n, sizeof(double)),
		       *ms = mem_array((size_t)n, sizeof(double)), behind = 0;
		pthread_t ear;
		long k = 0;

		must(bus_subscribe(bus, "EVT", "bench", subjects, 1, &a.sub, &fail));
		if (pthread_create(&ear, NULL, hear, &a) != 0)
			return 1;
		must(relay_start(argv[2], bus, wake, &relay, &fail));
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
		t = bench_now();
		for (long i = 0; i < n; i += 2) {
			AUTO(pg_result) struct pg_result *r = NULL;
			double due = t + (double)i / 2000, now = bench_now();

			if (now < due)
				nanosleep(&(struct timespec){ .tv_nsec = (long)((due - now) * 1e9) }, NULL);
			else if (now - due > behind)
				behind = now - due;
			must(pg_query(pg, SQL_ROWS, PG_ARGS(argv[4], "2"), &r, &fail));
			now = bench_now();
			waker_poke(wake);
			for (unsigned row = 0; row < 2; row++) {
				long long id = pg_int(r, row, 0);

				if (!a.first)
					a.first = id;
				if (id - a.first < n)
					sent[id - a.first] = now;
			}
		}
		for (int i = 0; i < 100 && atomic_load(&a.got) < n - 2; i++)
			nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
		atomic_store(&a.stop, true);
		pthread_join(ear, NULL);
		for (long i = 0; i < n; i++)
			if (a.at[i] > 0 && sent[i] > 0)
				ms[k++] = (a.at[i] - sent[i]) * 1000;
		printf("{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"heard\":%ld,\"rate\":%.1f,\"behind_ms\":%.1f}\n",
		       bench_percentile(ms, (size_t)k, 50), bench_percentile(ms, (size_t)k, 99), k,
		       (double)n / (bench_now() - t), behind * 1000);
		fflush(stdout);
		bus_unsubscribe(a.sub);
	}
	relay_stop(relay);
	bus_close(bus);
	pg_close(pg);
	return 0;
}
