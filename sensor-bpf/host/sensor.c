#define LOG_ROOM "sensor"
#include "sensor-bpf/host/sensor.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "sensor-bpf/host/caps.h"
#include "sensor-bpf/host/host.h"
#include "sensor-bpf/host/sender.h"
#include "sensor-bpf/probes/calls_host.h"

#define LOOK_MS      10 /* between two looks into the rings while there is traffic */
#define LOOK_IDLE_MS 50
#define IDLE_LOOKS   100
#define BUDGET_NS    1000000000LL
#define BODY_MAX     (1 << 20)
#define LAST_MS      5000
/* What one look of the kernel's side at a read or write costs; bench/sensor.py measures it. */
#define KERNEL_NS    700

static const char *const state_words[] = {
	[PROBE_OFF] = "off",
	[PROBE_LOADED] = "loaded",
	[PROBE_DEGRADED] = "degraded",
	[PROBE_REFUSED] = "refused",
};

__attribute__((format(printf, 2, 0))) static int no_libbpf_output(enum libbpf_print_level level,
								  const char *fmt, va_list ap)
{
	char line[512];

	/* what went wrong is said per probe; libbpf's own words only for who asks for them */
	(void)level;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libbpf: %s", line);
	return 0;
}

/* Can a program be loaded at all? Kernels that cannot, and containers that may not, are told apart by the reason. */
static void bpf_try(struct host *h, bool off)
{
	struct bpf_insn program[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K },
				      { .code = BPF_JMP | BPF_EXIT } };
	int fd;

	if (off) {
		h->no_bpf = true;
		snprintf(h->no_bpf_why, sizeof(h->no_bpf_why), "switched off (sensor.bpf is false)");
		return;
	}
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACEPOINT, "opscase_try", "GPL", program, ARRAY_LEN(program), NULL);
	if (fd >= 0) {
		close(fd);
		if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
			return;
		snprintf(h->no_bpf_why, sizeof(h->no_bpf_why),
			 "the kernel has no BTF (/sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF)");
	} else {
		snprintf(h->no_bpf_why, sizeof(h->no_bpf_why), "the kernel refuses BPF: %s%s",
			 strerror(errno),
			 errno == EPERM || errno == EACCES ? " (needs CAP_BPF and CAP_PERFMON, or root)"
							   : "");
	}
	h->no_bpf = true;
}

static void host_init(struct host *h, const struct settings *settings)
{
	char name[256] = "localhost";

	memset(h, 0, sizeof(*h));
	gethostname(name, sizeof(name) - 1);
	h->settings = settings;
	h->proc = "/proc";
	h->series = series_set_new(name);
	h->names = names_new(h->proc);
	h->spans = spans_new(name, (unsigned)setting_int(settings, SET_SENSOR_SPANS));
	h->budget.share = (double)setting_int(settings, SET_SENSOR_CPU) / 100;
	libbpf_set_print(no_libbpf_output);
	bpf_try(h, !setting_bool(settings, SET_SENSOR_BPF));
}

static void probes_load(struct host *h)
{
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		const struct probe *p = probe_by_id(i);

		if (setting_has(h->settings, SET_SENSOR_PROBES, p->name))
			p->load(h, &h->report[i]);
	}
}

static void probes_unload(struct host *h)
{
	/* the other way round: some share what an earlier one has loaded */
	for (unsigned i = PROBE_COUNT; i-- > 0;)
		if (h->own[i]) {
			probe_by_id(i)->unload(h);
			h->own[i] = NULL;
		}
}

static void host_done(struct host *h)
{
	probes_unload(h);
	spans_free(h->spans);
	names_free(h->names);
	series_set_free(h->series);
}

void host_forget_process(struct host *h, unsigned tgid)
{
	names_forget(h->names, tgid);
}

/* --- running */

static int64_t cpu_ns(struct host *h)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + (int64_t)calls_seen(h) * KERNEL_NS;
}

static double own_rss(void)
{
	unsigned long long pages, resident;
	AUTO(file) FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%llu %llu", &pages, &resident) != 2)
		return 0;
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void tell_of_self(struct host *h, struct sender *sender)
{
	const char *me = "opscase-sensor";

	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		const struct probe *p = probe_by_id(i);
		uint64_t lost = h->own[i] && p->lost ? p->lost(h) : 0;

		if (!h->own[i])
			continue;
		series_put(host_series(h, SERIES_GAUGE, me, "sensor.probe.up", "1", "probe", p->name, "state",
				       state_words[h->report[i].state], NULL),
			   h->report[i].state == PROBE_LOADED     ? 1
			   : h->report[i].state == PROBE_DEGRADED ? 0.5
								  : 0);
		if (!p->lost)
			continue;
		/* told also when it is nothing: that is what people want to see */
		series_add(host_series(h, SERIES_SUM, me, "sensor.records.lost", "{record}", "probe", p->name,
				       NULL),
			   (double)(lost - h->told_lost[i]));
		if (lost > h->told_lost[i])
			log_warn("%llu records of the probe %s were lost: the ring was full",
				 (unsigned long long)(lost - h->told_lost[i]), p->name);
		h->told_lost[i] = lost;
	}
	series_put(host_series(h, SERIES_GAUGE, me, "sensor.cpu.share", "1", NULL), h->budget.used);
	series_put(host_series(h, SERIES_GAUGE, me, "sensor.shed.level", "1", NULL), h->budget.level);
	series_put(host_series(h, SERIES_GAUGE, me, "sensor.memory.usage", "By", NULL), own_rss());
	series_put(host_series(h, SERIES_GAUGE, me, "sensor.spans.left_out", "{span}", NULL),
		   (double)spans_left_out(h->spans));
	series_put(host_series(h, SERIES_GAUGE, me, "sensor.series.folded", "{lookup}", NULL),
		   (double)series_folded(h->series));
	if (sender) {
		series_put(host_series(h, SERIES_GAUGE, me, "sensor.exports.refused", "{export}", NULL),
			   (double)sender_refused(sender));
		series_put(host_series(h, SERIES_GAUGE, me, "sensor.exports.failed", "{attempt}", NULL),
			   (double)sender_failures(sender));
	}
}

static void give_metrics(void *ctx, char *body)
{
	sender_give(ctx, "/v1/metrics", body);
}

/* Without a collector it talks to whoever looks: one line for each edge between services. */
static void print_edge(void *ctx, const char *service, const char *metric, const char *attrs,
		       const struct series *s)
{
	double seconds = *(double *)ctx;

	(void)service;
	if (!str_eq(metric, "service.call.duration"))
		return;
	printf("%10.1f/s  p50 %8.3f ms  p95 %8.3f ms ", (double)series_count(s) / seconds,
	       1e3 * series_quantile(s, 0.5), 1e3 * series_quantile(s, 0.95));
	/* the values of the attributes, in their order */
	for (const char *v = attrs; (v = strstr(v, "\"stringValue\":\""));) {
		v += 15;
		printf(" %.*s", (int)strcspn(v, "\""), v);
	}
	putchar('\n');
}

static void drop_body(void *ctx, char *body)
{
	(void)ctx;
	free(body);
}

static void export_now(struct host *h, struct sender *sender, int64_t *start_ns)
{
	int64_t now = host_mono_ns(), wall;
	char *spans;

	/* an outage: everything stays where it is, and the next export covers the longer time */
	if (sender && !sender_ready(sender))
		return;
	/* gauges that add up over sockets and processes are made just before they leave */
	for (unsigned i = 0; i < PROBE_COUNT; i++)
		if (h->own[i] && probe_by_id(i)->tick)
			probe_by_id(i)->tick(h, now);
	tell_of_self(h, sender);
	wall = clock_wall_us() * 1000;
	if (!sender) {
		double seconds = (double)(wall - *start_ns) * 1e-9;

		printf("--- %.1f s, %.2f %% of a CPU, level %u\n", seconds, 100 * h->budget.used,
		       h->budget.level);
		series_each(h->series, print_edge, &seconds);
		fflush(stdout);
		series_export(h->series, *start_ns, wall, BODY_MAX, drop_body, NULL);
		free(spans_export(h->spans));
	} else {
		series_export(h->series, *start_ns, wall, BODY_MAX, give_metrics, sender);
		spans = spans_export(h->spans);
		if (spans)
			sender_give(sender, "/v1/traces", spans);
	}
	*start_ns = wall;
}

static unsigned drain_all(struct host *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PROBE_COUNT; i++)
		if (h->own[i])
			n += probe_by_id(i)->drain(h);
	return n;
}

static void loop(struct host *h, struct sender *sender, int stop_fd)
{
	int64_t interval = setting_ms(h->settings, SET_SENSOR_INTERVAL) * 1000000,
		next = host_mono_ns() + interval, next_budget = 0, start = clock_wall_us() * 1000;
	unsigned quiet = 0;
	struct pollfd p = { .fd = stop_fd, .events = POLLIN };

	for (;;) {
		unsigned level = h->budget.level;
		int64_t now;

		if (poll(&p, 1, quiet > IDLE_LOOKS ? LOOK_IDLE_MS : LOOK_MS) > 0)
			break;
		quiet = drain_all(h) ? 0 : quiet + 1;
		now = host_mono_ns();
		if (now >= next_budget) {
			budget_step(&h->budget, now, cpu_ns(h));
			next_budget = now + BUDGET_NS;
			if (h->budget.level != level)
				log_warn(
					"uses %.1f %% of a CPU, of %.0f %% allowed: looks at one slice of time in %u",
					100 * h->budget.used, 100 * h->budget.share, 1u << h->budget.level);
		}
		if (now >= next) {
			next = now + interval;
			export_now(h, sender, &start);
		}
	}
	drain_all(h);
	export_now(h, sender, &start);
}

static void say_reports(const struct host *h)
{
	if (h->no_bpf)
		log_warn(
			"NO BPF: %s. Only sock_diag and /proc are read: no service calls, no latencies of connects, no process events",
			h->no_bpf_why);
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		const struct probe_report *r = &h->report[i];

		if (r->state == PROBE_OFF)
			continue;
		log_line(r->state == PROBE_LOADED ? LOG_INFO : LOG_WARN, LOG_ROOM, "probe %s is %s%s%s",
			 probe_by_id(i)->name, state_words[r->state], r->why[0] ? ": " : "", r->why);
	}
}

enum oc_err sensor_run(const struct settings *settings, int stop_fd, struct oc_fail *reterr)
{
	struct sender_config config = {
		.endpoint = setting_text(settings, SET_SENSOR_ENDPOINT),
		.token = setting_given(settings, SET_SENSOR_TOKEN) ? setting_text(settings, SET_SENSOR_TOKEN)
								   : NULL,
		.ca_file = setting_given(settings, SET_SENSOR_CA) ? setting_text(settings, SET_SENSOR_CA)
								  : NULL,
	};
	struct host *h = mem_alloc(sizeof(*h));
	struct sender *sender = NULL;
	char caps[200];
	enum oc_err err;

	host_init(h, settings);
	probes_load(h);
	/* before there is another thread: capabilities belong to threads */
	err = caps_drop(reterr);
	if (err == OC_OK) {
		say_reports(h);
		caps_now(caps, sizeof(caps));
		log_info("keeps %s", caps[0] ? caps : "no capability");
		if (setting_given(settings, SET_SENSOR_ENDPOINT))
			sender = sender_new(&config);
		log_info("ready");
		loop(h, sender, stop_fd);
		log_info("stopping");
	}
	sender_free(sender, LAST_MS);
	host_done(h);
	free(h);
	return err;
}

bool sensor_doctor(const struct settings *settings, struct text *out)
{
	struct host *h = mem_alloc(sizeof(*h));
	bool fine = true;

	host_init(h, settings);
	probes_load(h);
	if (h->no_bpf)
		text_addf(out, "NO BPF: %s.\nOnly sock_diag and /proc are read.\n\n", h->no_bpf_why);
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		const struct probe_report *r = &h->report[i];

		text_addf(out, "%-8s %-9s %s\n", probe_by_id(i)->name, state_words[r->state],
			  r->why[0]               ? r->why
			  : r->state == PROBE_OFF ? "not in sensor.probes"
						  : probe_by_id(i)->hooks);
		fine &= r->state == PROBE_LOADED || r->state == PROBE_OFF;
	}
	text_add(out, "\nAfter loading it keeps:\n");
	for (size_t i = 0; i < caps_kept_count; i++)
		text_addf(out, "  %-20s %s\n", caps_kept[i].name, caps_kept[i].why);
	host_done(h);
	free(h);
	return fine;
}

void sensor_probes_print(struct text *out)
{
	for (unsigned i = 0; i < PROBE_COUNT; i++)
		text_addf(out, "  %-8s %s\n           (%s)\n", probe_by_id(i)->name, probe_by_id(i)->sees,
			  probe_by_id(i)->hooks);
}
