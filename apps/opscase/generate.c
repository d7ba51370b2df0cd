/* generate.c - a load to try an installation with: telemetry of a shop that does not exist, over OTLP/HTTP. */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include "apps/opscase/load.h"
#include "apps/opscase/remote.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/otlp.h"
#include "ingest/proto.h"

#define SECOND      INT64_C(1000000)
#define RECORDS_MAX 20000 /* in one request */

struct generating {
	struct remote *remote;
	struct load *load;
	long long per_minute[TEL_KINDS];
	unsigned long long sent[TEL_KINDS], rejected[TEL_KINDS], requests;
};

static volatile sig_atomic_t enough;

static void on_signal(int sig)
{
	(void)sig;
	enough = 1;
}

/* ExportXPartialSuccess: how many, and a word why. */
static unsigned long long rejected_of(const struct http_answer *answer, char *why, size_t size)
{
	struct pb in = pb_of(answer->body, answer->len), sub;
	struct pb_field f;
	unsigned long long n = 0;

	while (pb_next(&in, &f)) {
		if (f.num != 1 || f.wire != PB_BYTES)
			continue;
		sub = pb_sub(&f);
		while (pb_next(&sub, &f))
			if (f.num == 1)
				n = f.u;
			else if (f.num == 2 && f.n)
				snprintf(why, size, "%.*s", (int)f.n, (const char *)f.s);
	}
	return n;
}

static enum oc_err send_batch(struct generating *g, const struct tel_batch *b, struct oc_fail *reterr)
{
	static const char *const paths[] = { "/v1/metrics", "/v1/logs", "/v1/traces" };

	for (uint32_t from = 0; from < b->records && !enough;) {
		AUTO(text) struct text body = { 0 };
		uint32_t to = b->records - from > RECORDS_MAX ? from + RECORDS_MAX : b->records;
		struct http_answer answer = { 0 };
		unsigned long long rejected;
		char why[200] = "";
		uint32_t next = otlp_write(b, NULL, from, to, 2 << 20, &body);
		enum oc_err err = remote_post(g->remote, paths[b->kind], "application/x-protobuf", body.s,
					      body.len, &answer, reterr);

		if (err != OC_OK)
			return err;
		rejected = rejected_of(&answer, why, sizeof(why));
		http_answer_done(&answer);
		if (rejected && g->rejected[b->kind] == 0)
			fprintf(stderr, "opscase: the service rejects %s: %s\n", tel_kind_name(b->kind), why);
		g->rejected[b->kind] += rejected;
		g->sent[b->kind] += next - from;
		g->requests++;
		from = next;
	}
	return OC_OK;
}

/* What belongs into [from, to) of a minute's load that began at `zero`: rounded so that whole minutes come out exact. */
static uint32_t due(long long per_minute, int64_t zero, int64_t from, int64_t to)
{
	return (uint32_t)((to - zero) * per_minute / (60 * SECOND) -
			  (from - zero) * per_minute / (60 * SECOND));
}

static enum oc_err send_span(struct generating *g, int64_t zero, int64_t from, int64_t to,
			     struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	for (unsigned k = 0; k < TEL_KINDS && err == OC_OK; k++) {
		AUTO(tel_batch) struct tel_batch b = { 0 };

		err = load_batch(g->load, k, from, to, due(g->per_minute[k], zero, from, to), &b, reterr);
		if (err == OC_OK)
			err = send_batch(g, &b, reterr);
	}
	return err;
}

static void say(const struct generating *g, const struct cli *cli, double seconds, bool last)
{
	if (cli->json && last)
		printf("{\"seconds\":%.1f,\"logs\":%llu,\"points\":%llu,\"spans\":%llu,\"rejected\":%llu,\"requests\":%llu}\n",
		       seconds, g->sent[TEL_LOGS], g->sent[TEL_METRICS], g->sent[TEL_SPANS],
		       g->rejected[TEL_LOGS] + g->rejected[TEL_METRICS] + g->rejected[TEL_SPANS],
		       g->requests);
	else if (!cli->json)
		printf("%7.1f s  %llu logs, %llu points, %llu spans in %llu requests, %llu rejected\n",
		       seconds, g->sent[TEL_LOGS], g->sent[TEL_METRICS], g->sent[TEL_SPANS], g->requests,
		       g->rejected[TEL_LOGS] + g->rejected[TEL_METRICS] + g->rejected[TEL_SPANS]);
	fflush(stdout);
}

static enum oc_err options_of(struct cli *cli, struct generating *g, struct load_shape *shape,
			      long long *minutes, struct oc_fail *reterr)
{
	long long services = 10, seed = 1, errors = 1;
	const struct {
		const char *name;
		long long min, max, *value;
	} numbers[] = {
		{ "logs",     0, 60000000,          &g->per_minute[TEL_LOGS]    },
		{ "points",   0, 60000000,          &g->per_minute[TEL_METRICS] },
		{ "spans",    0, 60000000,          &g->per_minute[TEL_SPANS]   },
		{ "minutes",  1, 100000,            minutes                     },
		{ "services", 1, LOAD_SERVICES_MAX, &services                   },
		{ "errors",   0, 100,               &errors                     },
		{ "seed",     0, INT64_MAX,         &seed                       },
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		enum oc_err err = cli_option_int(cli, numbers[i].name, numbers[i].min, numbers[i].max,
						 numbers[i].value, reterr);

		if (err != OC_OK)
			return err;
	}
	*shape = (struct load_shape){ .seed = (uint64_t)seed,
				      .services = (unsigned)services,
				      .error_share = (double)errors / 100 };
	return OC_OK;
}

enum oc_err cli_generate(struct cli *cli, struct oc_fail *reterr)
{
	struct generating g = {
		.per_minute = { [TEL_LOGS] = 5000, [TEL_METRICS] = 500, [TEL_SPANS] = 1000 }
	};
	AUTO(load) struct load *load = NULL;
	AUTO(remote) struct remote *remote = NULL;
	struct load_shape shape;
	long long minutes = 1;
	bool past = cli_flag(cli, "past");
	int64_t began = clock_mono_us(), zero, at, end;
	enum oc_err err = options_of(cli, &g, &shape, &minutes, reterr);

	if (err == OC_OK)
		err = remote_open(cli, &remote, reterr);
	if (err != OC_OK)
		return err;
	g.remote = remote;
	g.load = load = load_new(&shape);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	/* whole seconds, so that the same seed and the same minute give the same batches */
	zero = clock_wall_us() / SECOND * SECOND - (past ? minutes * 60 * SECOND : 0);
	end = zero + minutes * 60 * SECOND;
	for (at = zero; err == OC_OK && at < end && !enough; at += SECOND) {
		int64_t left = past ? 0 : at + SECOND - clock_wall_us();

		/* a second is sent when it is over, as a collector would */
		if (left > 0)
			nanosleep(&(struct timespec){ .tv_sec = left / SECOND,
						      .tv_nsec = left % SECOND * 1000 },
				  NULL);
		err = send_span(&g, zero, at, at + SECOND, reterr);
		if (err == OC_OK && !past && (at - zero) / SECOND % 10 == 9 && at + SECOND < end)
			say(&g, cli, (double)(clock_mono_us() - began) / 1e6, false);
	}
	if (err == OC_OK)
		say(&g, cli, (double)(clock_mono_us() - began) / 1e6, true);
	return err;
}
