/* runner.h - one opscase-runner process: starting it, one exchange with it, its end and the proof.
 *
 * Internal to the host. A kept runner (a keeper and its worker) serves one call and is over; a shared
 * one is a single process that can start no other, and may serve again if runner_exchange says so. One
 * thread at a time. */
#pragma once
#include <stdatomic.h>
#include "executor/cgroup.h"
#include "executor/frame.h"
#include "executor/host.h"

struct host_leash {
	int event_fd;
	atomic_bool cancel;
	atomic_int_fast64_t lease_until_ms; /* boot time; 0: none */
};

struct runner_start {
	const char *runner_path;
	const struct registry_adapter *adapter_ref;
	const char *config; /* JSON text for open() */
	const char *scratch_dir;
	const char *cgroup; /* folder for groups, or "" */
	size_t memory_max;
	bool network;
	bool shared;
};

struct runner {
	pid_t pid;
	int call_fd, control_fd, out_fd, err_fd;
	struct frame_in call_in, control_in;
	bool shared;
	unsigned calls;
	int64_t started_ms, idle_since_ms;
	char *scratch;
	char cgroup[CGROUP_PATH];
	struct runner *next; /* in the pool */
};

/* How long what may take. */
struct runner_times {
	int64_t timeout_ms;
	unsigned grace_ms, term_ms;
	size_t reply_max, output_max;
};

MUST_CHECK enum oc_err runner_new(const struct runner_start *start, struct runner **ret,
				  struct oc_fail *reterr);
/* Kills what is left, reaps it, removes its folders. */
void runner_free(struct runner *runner);
DEFINE_AUTO(runner, struct runner *, runner_free);
/* False: it died or said something while nobody asked, so it must not be used. */
bool runner_idle_ok(const struct runner *runner);
/* Does the whole call. An error means that the adapter's entry certainly was not entered. *ret_reuse:
 * a shared runner that is fit for another call. `secrets` is JSON text, "{}" for none. */
MUST_CHECK enum oc_err runner_exchange(struct runner *runner, const struct host_call *call,
				       const char *secrets, const struct runner_times *times,
				       struct host_answer *ret, bool *ret_reuse, struct oc_fail *reterr);
int64_t runner_boot_ms(void);
