/* bench_flow CONNINFO NATS_URL TENANT_ID IN_FLIGHT SECONDS BUILD - two-step flows through the real loop.
 *
 * One flow: a case is opened and its first step decided (one commit: case, timeline, command); the relay hands the
 * command to a worker, which leases it (commit), acts - a call of the noop adapter in its shared runner - and writes
 * product and event (commit); the loop decides the second step and persists it (commit). It ends when that is committed. */
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include "base/handover.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "base/waker.h"
#include "bench/src/bench.h"
#include "executor/host.h"
#include "orchestrator/loop.h"
#include "orchestrator/opening.h"
#include "orchestrator/relay.h"
#include "orchestrator/transition.h"
#include "wire/bus/bus.h"
#include "worker/worker.h"

#define SLOTS     (1u << 20)
#define FLOWS_MAX 256

static const char SQL_FINDING[] =
	"INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body) VALUES ($1::uuid, $2::bigint, $3::uuid, $4::int, 'x', '{}')";

static struct slot {
	uint64_t key;
	double begin, end;
} *slots;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t room;
static struct host *host;
static struct openings *openings;
static const char *conninfo;
static long long tenant;
static double stop_at;

static struct slot *slot_of(const char *id)
{
	char hex[17] = "";
	uint64_t key;

	/* the last 16 hex digits are random in ids of either version */
	snprintf(hex, sizeof(hex), "%.4s%.12s", id + 19, id + 24);
	key = strtoull(hex, NULL, 16);
	for (size_t i = key;; i++)
		if (slots[i % SLOTS].key == key || !slots[i % SLOTS].key) {
			slots[i % SLOTS].key = key;
			return &slots[i % SLOTS];
		}
}

static void on_case(void *ctx, const char *case_id)
{
	double now = bench_now();

	(void)ctx;
	pthread_mutex_lock(&lock);
	slot_of(case_id)->end = now;
	pthread_mutex_unlock(&lock);
	sem_post(&room);
}

static enum oc_err act(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr)
{
	char id[UUID_TEXT], t[24], epoch[16];
	struct host_answer a = { 0 };
	enum oc_err err;

	(void)ctx;
	uuid_new(id);
	err = host_call(host,
			&(struct host_call){ .entry = HOST_RUN,
					     .operation = "noop",
					     .params = "{\"changed\":0}",
					     .idempotency_key = id,
					     .tenant = cmd->tenant,
					     .case_id = cmd->case_id },
			&a, reterr);
	if (err != OC_OK)
		return err;
	host_answer_done(&a);
	snprintf(t, sizeof(t), "%lld", cmd->tenant_id);
	snprintf(epoch, sizeof(epoch), "%d", cmd->epoch);
	answer_do(ans, SQL_FINDING, PG_ARGS(id, t, cmd->case_id, epoch));
	answer_event(ans, "evt.analysis.findings.v1", id);
	return OC_OK;
}

static void must(enum oc_err err, const struct oc_fail *fail)
{
	if (err != OC_OK) {
		fprintf(stderr, "%s\n", fail->text);
		exit(1);
	}
}

static void *open_cases(void *arg)
{
	struct oc_fail fail;

	while (bench_now() < stop_at) {
		struct transition_result res;
		struct timespec until;
		double t;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 30;
		if (sem_timedwait(&room, &until) != 0) {
			fprintf(stderr, "flows are stuck\n");
			exit(1);
		}
		t = bench_now();
		must(openings_create(openings,
				     &(struct case_create){ .tenant_id = tenant,
							    .tenant = "t-bench",
							    .title = "bench",
							    .drive = DRIVE_AUTO,
							    .actor = "bench" },
				     &res, &fail),
		     &fail);
		pthread_mutex_lock(&lock);
		slot_of(res.case_id)->begin = t;
		pthread_mutex_unlock(&lock);
		transition_result_done(&res);
	}
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t openers[FLOWS_MAX];
	unsigned threads;
	struct waker *wake = waker_new();
	struct handover *hand = handover_new();
	struct bus *bus = NULL;
	struct relay *relay = NULL;
	struct loop *loop = NULL;
	struct worker *worker = NULL;
	struct registry *registry = NULL;
	struct pg_pool *pool;
	struct oc_fail fail;
	double begin, *ms;
	size_t done = 0;
	struct role role = { .name = "analyst",
			     .topics = { "cmd.analysis.run" },
			     .threads = 2,
			     .max_batch = 32,
			     .lease_ms = 30000,
			     .work = act };

	if (argc != 7)
		return 64;
	conninfo = argv[1];
	tenant = atoll(argv[3]);
	threads = (unsigned)atoi(argv[4]);
	if (threads < 1 || threads > FLOWS_MAX)
		return 64;
	slots = mem_array(SLOTS, sizeof(*slots));
	sem_init(&room, 0, (unsigned)atoi(argv[4]));
	{
		AUTO(str) char *dir = mem_printf("%s/lib/opscase/adapters", argv[6]);
		AUTO(str) char *runner = mem_printf("%s/bin/opscase-runner", argv[6]);

		must(registry_open(&(struct registry_config){ .runner_path = runner, .dir = dir }, &registry,
				   &fail),
		     &fail);
		must(host_new(&(struct host_config){ .runner_path = runner,
						     .registry_ref = registry,
						     .scratch_dir = "/tmp" },
			      &host, &fail),
		     &fail);
	}
	must(bus_open(&(struct bus_config){ .url = argv[2], .name = "bench" }, &bus, &fail), &fail);
	transition_set_waker(wake);
	transition_set_handover(hand);
	must(relay_start(conninfo, bus, wake, &relay, &fail), &fail);
	must(loop_start(&(struct loop_deps){ .conninfo = conninfo,
					     .bus = bus,
					     .relay_wake = wake,
					     .hand = hand,
					     .on_case = on_case },
			&loop, &fail),
	     &fail);
	must(worker_start(&role,
			  &(struct worker_deps){
				  .conninfo = conninfo, .bus = bus, .relay_wake = wake, .hand = hand },
			  &worker, &fail),
	     &fail);
	openings = openings_new(pool = pg_pool_new(conninfo, "bench", 2), 1);
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	begin = bench_now();
	stop_at = begin + atof(argv[5]);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&openers[i], NULL, open_cases, NULL) != 0)
			return 1;
	for (unsigned i = 0; i < threads; i++)
		pthread_join(openers[i], NULL);
	ms = mem_array(SLOTS, sizeof(*ms));
	pthread_mutex_lock(&lock);
	/* The first second warms up: connections, prepared statements, the runner. */
	for (size_t i = 0; i < SLOTS; i++)
		if (slots[i].begin > begin + 1 && slots[i].end > 0 && slots[i].end <= stop_at)
			ms[done++] = (slots[i].end - slots[i].begin) * 1000;
	pthread_mutex_unlock(&lock);
	printf("{\"rate\":%.1f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"done\":%zu,\"cpu_s\":%.2f}\n",
	       (double)done / (stop_at - begin - 1), bench_percentile(ms, done, 50),
	       bench_percentile(ms, done, 99), done, bench_cpu());
	fflush(stdout);
	worker_stop(worker);
	loop_stop(loop);
	relay_stop(relay);
	transition_set_waker(NULL);
	openings_free(openings);
	pg_pool_free(pool);
	bus_close(bus);
	host_free(host);
	registry_free(registry);
	return 0;
}
