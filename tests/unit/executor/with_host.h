/* with_host.h - a host over the test adapters and the real noop, in a folder of its own. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "executor/host.h"
#include "executor/scratch.h"

#define RUNNER OPSCASE_BINARY_DIR "/bin/opscase-runner"

struct with_host {
	char *dir, *scratch, *ledger, *pid_file, *settings;
	struct registry *registry;
	struct host *host;
	struct host_config config;
};

static inline void link_into(const char *dir, const char *from, const char *name)
{
	char to[PATH_MAX];

	snprintf(to, sizeof(to), "%s/%s", dir, name);
	assert_int_equal(symlink(from, to), 0);
}

/* `change` may alter the configuration before the host is made. */
static inline void with_host_init(struct with_host *w, void (*change)(struct host_config *))
{
	struct oc_fail fail = { 0 };
	char dir[] = "/tmp/opscase-host-XXXXXX";

	*w = (struct with_host){ 0 };
	assert_non_null(mkdtemp(dir));
	w->dir = mem_strdup(dir);
	w->scratch = mem_printf("%s/scratch", dir);
	w->ledger = mem_printf("%s/ledger", dir);
	w->pid_file = mem_printf("%s/pids", dir);
	w->settings = mem_printf("{\"ledger\":{\"file\":\"%s\"},\"ledgershared\":{\"file\":\"%s\"}}",
				 w->ledger, w->ledger);
	mkdir(w->scratch, 0700);
	link_into(dir, OPSCASE_BINARY_DIR "/tests/adapters/ledger.so", "ledger.so");
	link_into(dir, OPSCASE_BINARY_DIR "/tests/adapters/ledgershared.so", "ledgershared.so");
	link_into(dir, OPSCASE_BINARY_DIR "/lib/opscase/adapters/noop.so", "noop.so");
	if (registry_open(&(struct registry_config){ .runner_path = RUNNER, .dir = dir }, &w->registry,
			  &fail) != OC_OK)
		fail_msg("%s", fail.text);
	w->config = (struct host_config){ .runner_path = RUNNER,
					  .registry_ref = w->registry,
					  .settings = w->settings,
					  .scratch_dir = w->scratch,
					  .grace_ms = 300,
					  .term_ms = 200 };
	if (change)
		change(&w->config);
	if (host_new(&w->config, &w->host, &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

static inline void with_host_done(struct with_host *w)
{
	host_free(w->host);
	registry_free(w->registry);
	scratch_remove(w->dir);
	free(w->dir);
	free(w->scratch);
	free(w->ledger);
	free(w->pid_file);
	free(w->settings);
}

static const char KEY[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static inline struct host_answer run_as(struct with_host *w, const struct host_call *call)
{
	struct host_answer a;
	struct oc_fail fail = { 0 };
	enum oc_err err = host_call(w->host, call, &a, &fail);

	if (err != OC_OK)
		fail_msg("%s: %s", oc_err_name(err), fail.text);
	return a;
}

static inline struct host_answer run(struct with_host *w, const char *operation, const char *params,
				     int64_t timeout_ms)
{
	return run_as(w, &(struct host_call){ .entry = HOST_RUN,
					      .operation = operation,
					      .params = params,
					      .idempotency_key = KEY,
					      .tenant = "t",
					      .timeout_ms = timeout_ms });
}

static inline enum opscase_outcome probe(struct with_host *w)
{
	struct host_answer a = run_as(w, &(struct host_call){ .entry = HOST_PROBE,
							      .operation = "ledger.append",
							      .params = "{}",
							      .idempotency_key = KEY,
							      .tenant = "t" });
	enum opscase_outcome o = a.outcome;

	host_answer_done(&a);
	return o;
}

/* The ids that those who were left behind wrote down. */
static inline size_t pids_read(const char *file, pid_t *out, size_t max)
{
	FILE *f = fopen(file, "r");
	size_t n = 0;
	int pid;

	while (f && n < max && fscanf(f, "%d", &pid) == 1)
		out[n++] = (pid_t)pid;
	if (f)
		fclose(f);
	return n;
}

/* Alive, and not only unreaped by somebody else. */
static inline bool alive(pid_t pid)
{
	char path[64], line[512] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	p = strrchr(line, ')');
	return p && p[2] != 'Z';
}

static inline size_t count_alive(const pid_t *pids, size_t n)
{
	size_t alive_count = 0;

	for (size_t i = 0; i < n; i++)
		alive_count += alive(pids[i]);
	return alive_count;
}
