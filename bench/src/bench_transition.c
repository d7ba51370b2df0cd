/* bench_transition CONNINFO TENANT_ID PREFIX CASES CLIENTS SECONDS - transitions through the one door, one a commit.
 *
 * The cases are NEW, with ids <PREFIX>-0000-4000-8000-<number>; each gets start_analysis once: UPDATE of the case, one
 * timeline row, a command and a fact in the outbox. Each client is a thread with a connection of its own. */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include "base/mem.h"
#include "base/uuid.h"
#include "bench/src/bench.h"
#include "orchestrator/transition.h"

struct client {
	pthread_t thread;
	const char *conninfo, *prefix;
	long long tenant;
	long from, to, done;
	double seconds, *ms;
};

static void *run(void *arg)
{
	struct client *c = arg;
	struct oc_fail fail;
	struct pg *pg = NULL;
	double end;

	if (pg_open(c->conninfo, "bench", &pg, &fail) != OC_OK) {
		fprintf(stderr, "%s\n", fail.text);
		exit(1);
	}
	end = bench_now() + c->seconds;
	for (long i = c->from; i < c->to && bench_now() < end; i++) {
		struct transition_result res;
		double t = bench_now();
		char id[UUID_TEXT];

		snprintf(id, sizeof(id), "%s-0000-4000-8000-%012ld", c->prefix, i);
		if (transition(pg,
			       &(struct transition_request){ .tenant_id = c->tenant,
							     .case_id = id,
							     .event = EV_START_ANALYSIS,
							     .who = WHO_PERSON,
							     .actor = "bench",
							     .role = "operator" },
			       &res, &fail) != OC_OK ||
		    !res.accepted) {
			fprintf(stderr, "%s: %s\n", id, fail.text);
			exit(1);
		}
		transition_result_done(&res);
		c->ms[c->done++] = (bench_now() - t) * 1000;
	}
	pg_close(pg);
	return NULL;
}

int main(int argc, char **argv)
{
	struct client clients[64] = { 0 };
	long cases, done = 0;
	unsigned n;
	double t, cpu, elapsed, *ms;

	if (argc != 7)
		return 64;
	cases = atol(argv[4]);
	n = (unsigned)atoi(argv[5]);
	if (n < 1 || n > 64)
		return 64;
	t = bench_now();
	cpu = bench_cpu();
	for (unsigned i = 0; i < n; i++) {
		clients[i] = (struct client){ .conninfo = argv[1],
					      .tenant = atoll(argv[2]),
					      .prefix = argv[3],
					      .from = cases / n * i,
					      .to = cases / n * (i + 1),
					      .seconds = atof(argv[6]),
					      .ms = mem_array((size_t)(cases / n + 1), sizeof(double)) };
		if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0)
			return 1;
	}
	ms = mem_array((size_t)cases, sizeof(*ms));
	for (unsigned i = 0; i < n; i++) {
		pthread_join(clients[i].thread, NULL);
		memcpy(ms + done, clients[i].ms, (size_t)clients[i].done * sizeof(*ms));
		done += clients[i].done;
	}
	elapsed = bench_now() - t;
	printf("{\"done\":%ld,\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"cpu_s\":%.3f,\"used_up\":%s}\n",
	       done, (double)done / elapsed, bench_percentile(ms, (size_t)done, 50),
	       bench_percentile(ms, (size_t)done, 99), bench_cpu() - cpu,
	       done >= cases / n * n ? "true" : "false");
	return 0;
}
