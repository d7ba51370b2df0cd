/* bench_detail LINES LOOKUPS - writes so many log lines through detail_writer (a flush and a commit every 100,000), then looks for
 * traces, by a connection of its own, every line of the trace unpacked. One JSON object: rates, sizes, percentiles. */
#include <inttypes.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "bench/src/bench.h"
#include "detail/read.h"
#include "detail/writer.h"
#include "tests/support/pgtemp.h"

#define T0        INT64_C(1790000000000000)
#define PER_TRACE 8
#define PER_FLUSH 100000

static void trace_of(uint64_t n, uint8_t id[TRACE_ID])
{
	uint64_t state = n * 2 + 1;

	for (int i = 0; i < TRACE_ID; i += 8) {
		uint64_t v = bench_random(&state);

		memcpy(id + i, &v, 8);
	}
}

/* Lines of a trace lie near each other, between those of others. */
static uint64_t trace_at(uint64_t line)
{
	return line / (PER_TRACE * 64) * 64 + line % 64;
}

static size_t line_of(char *out, size_t size, uint64_t n, uint64_t *random, uint8_t id[TRACE_ID])
{
	static const char *const what[] = { "GET /api/cart/%u took %u ms, user u%u",
					    "payment %u accepted after %u ms for order %u",
					    "cache miss for key item:%u, loaded in %u us, size %u",
					    "connection to 10.0.%u.%u:5432 established by pool %u",
					    "retrying request %u after %u ms, attempt %u" };
	char hex[2 * TRACE_ID + 1];
	uint64_t r = bench_random(random);
	int at;

	trace_of(trace_at(n), id);
	str_hex(id, TRACE_ID, hex);
	at = snprintf(
		out, size,
		"{\"time_us\":%" PRId64
		",\"resource\":\"urn:k8s:svc:shop/service-%u\",\"severity\":\"INFO\",\"trace_id\":\"%s\","
		"\"span_id\":\"%016" PRIx64 "\",\"body\":\"",
		T0 + (int64_t)n * 10, (unsigned)(r % 40), hex, r);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	at += snprintf(out + at, size - (size_t)at, what[r >> 8 & 3], (unsigned)(r >> 16 & 255),
		       (unsigned)(r >> 24 & 255), (unsigned)(r >> 32 & 0xffff));
#pragma GCC diagnostic pop
	at += snprintf(
		out + at, size - (size_t)at,
		"\",\"attributes\":{\"k8s.pod.name\":\"service-%u-7f9c%u\",\"http.status_code\":\"200\"}}",
		(unsigned)(r % 40), (unsigned)(r >> 48 & 7));
	return (size_t)at;
}

static bool on_line(void *ctx, const char *line, size_t len)
{
	(void)line, (void)len;
	++*(size_t *)ctx;
	return true;
}

static void must(enum oc_err err, const struct oc_fail *why)
{
	if (err != OC_OK) {
		fprintf(stderr, "%s\n", why->text);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/opscase-bench-detail-XXXXXX", line[1024];
	AUTO(detail_store) struct detail_store *s = NULL;
	AUTO(detail_writer) struct detail_writer *w = NULL;
	AUTO(str) char *clean = NULL;
	uint64_t lines = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, random = 42, raw = 0;
	size_t lookups = argc > 2 ? (size_t)atol(argv[2]) : 100, found = 0, opened = 0;
	double *ms = mem_array(lookups, sizeof(*ms)), start, cpu, written, writing_cpu;
	struct pgtemp *server = pgtemp_shared();
	struct pg *pg = pgtemp_open(server->worker);
	long long tenant = pgtemp_tenant(server, "t-bench");
	struct oc_fail why = { 0 };
	uint8_t id[TRACE_ID];

	if (!mkdtemp(dir))
		return 1;
	must(detail_store_open(&(struct detail_store_config){ .dir = dir }, &s, &why), &why);
	w = detail_writer_new(&(struct detail_writer_config){ .store = s });
	start = bench_now();
	cpu = bench_cpu();
	for (uint64_t n = 0; n < lines; n++) {
		size_t len = line_of(line, sizeof(line), n, &random, id);

		raw += len + 1;
		detail_add(w, tenant, "t-bench", "logs",
			   &(struct detail_record){ .time_us = T0 + (int64_t)n * 10,
						    .trace_id = id,
						    .line = line,
						    .len = len });
		if ((n + 1) % PER_FLUSH == 0 || n + 1 == lines) {
			must(pg_begin(pg, &why), &why);
			must(detail_flush(w, pg, &why), &why);
			must(pg_commit(pg, &why), &why);
		}
	}
	written = bench_now() - start;
	writing_cpu = bench_cpu() - cpu;
	for (size_t i = 0; i < lookups; i++) {
		bool there = i % 4 != 3;
		AUTO(pg_result) struct pg_result *rows = NULL;
		struct detail_trace_said said;
		size_t got = 0;

		trace_of(trace_at(bench_random(&random) % lines) + (there ? 0 : lines * 2), id);
		start = bench_now();
		must(detail_trace_find(pg, tenant, "logs", id, T0 - 1, T0 + (int64_t)lines * 10, &rows, &why),
		     &why);
		detail_trace_lines(s, rows, id, T0 - 1, T0 + (int64_t)lines * 10, 1000, on_line, &got, &said);
		ms[i] = (bench_now() - start) * 1000;
		if (there ? got < 1 : got != 0) {
			fprintf(stderr, "trace %zu: %zu lines\n", i, got);
			return 1;
		}
		found += got;
		opened += said.segments;
	}
	printf("{\"lines\":%" PRIu64
	       ",\"lines_per_s\":%.0f,\"cpu_us_per_line\":%.3f,\"raw_bytes_per_line\":%.1f,\"bytes_per_line\":%.2f,"
	       "\"lookups\":%zu,\"found\":%zu,\"segments_opened\":%zu,",
	       lines, (double)lines / written, writing_cpu / (double)lines * 1e6, (double)raw / (double)lines,
	       (double)detail_used(s) / (double)lines, lookups, found, opened);
	printf("\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n", bench_percentile(ms, lookups, 50),
	       bench_percentile(ms, lookups, 99), bench_percentile(ms, lookups, 100));
	free(ms);
	pg_close(pg);
	clean = mem_printf("rm -rf '%s'", dir);
	return system(clean) == 0 ? 0 : 1;
}
