/* bench_patterns assign            lines from standard input; one "fingerprint, tab, template" each, as they stand after the last line
 * bench_patterns online            the same, as they stood when the line came
 * bench_patterns speed SECONDS     the lines over and over, through a miner that starts empty: one JSON object */
#include <inttypes.h>
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "bench/src/bench.h"
#include "ingest/log_miner.h"

struct lines {
	const char **line;
	uint32_t *len;
	size_t count, bytes;
};

static void lines_read(struct text *all, struct lines *l)
{
	char buf[65536];
	size_t n, room = 0;

	while ((n = fread(buf, 1, sizeof(buf), stdin)) > 0)
		text_add_n(all, buf, n);
	for (const char *p = text_str(all), *end = p + all->len; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = nl ? (size_t)(nl - p) : (size_t)(end - p);

		if (l->count == room) {
			room = room ? room * 2 : 4096;
			l->line = mem_grow(l->line, room, sizeof(*l->line));
			l->len = mem_grow(l->len, room, sizeof(*l->len));
		}
		l->line[l->count] = p;
		l->len[l->count++] = (uint32_t)len;
		l->bytes += len;
		p += len + 1;
	}
}

static void print(const struct log_hit *hit)
{
	printf("%016" PRIx64 "\t%.*s\n", hit->fingerprint, (int)hit->len, hit->pattern_ref);
}

int main(int argc, char **argv)
{
	AUTO(log_miner) struct log_miner *m = log_miner_new(NULL);
	struct text all = { 0 };
	struct lines l = { 0 };
	struct log_hit hit;
	uint64_t done = 0, sum = 0;
	double start, spent, seconds;

	if (argc < 2)
		return 64;
	lines_read(&all, &l);
	if (strcmp(argv[1], "speed") == 0) {
		seconds = argc > 2 ? atof(argv[2]) : 1;
		start = bench_cpu();
		do {
			for (size_t i = 0; i < l.count; i++) {
				log_miner_feed(m, l.line[i], l.len[i], &hit);
				sum ^= hit.fingerprint;
			}
			done += l.count;
			spent = bench_cpu() - start;
		} while (spent < seconds && l.count);
		printf("{\"lines\":%" PRIu64
		       ",\"cpu_s\":%.6f,\"lines_per_s\":%.0f,\"bytes_per_line\":%.1f,\"sum\":\"%016" PRIx64
		       "\"}\n",
		       done, spent, (double)done / spent, (double)l.bytes / (double)l.count, sum);
	} else {
		for (size_t i = 0; i < l.count; i++) {
			log_miner_feed(m, l.line[i], l.len[i], &hit);
			if (strcmp(argv[1], "online") == 0)
				print(&hit);
		}
		if (strcmp(argv[1], "assign") == 0)
			for (size_t i = 0; i < l.count; i++) {
				log_miner_feed(m, l.line[i], l.len[i], &hit);
				print(&hit);
			}
	}
	text_done(&all);
	free(l.line);
	free(l.len);
	return 0;
}
