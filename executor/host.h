/* host.h - calls an adapter's entry in a disposable child and says what is known afterwards.
 *
 * Owns the runners (opscase-runner): one per call for `isolation: process`, pooled per (adapter,
 * tenant, secret scope) for `isolation: shared`. Any number of threads may call at once; a call
 * blocks its thread for at most host_longest_ms(). No signal handler is installed, and only pids
 * that the host started itself are ever waited for or signalled.
 *
 * An error from host_call means that certainly nothing was started. Once something may have been
 * started the call answers OC_OK, and a crash, a lost runner, a timeout or garbage is
 * OPSCASE_UNCLEAR, never OPSCASE_FAILED: the caller probes. */
#pragma once
#include <opscase/adapter.h>
#include "executor/registry.h"

struct host;
struct host_leash;

enum host_entry { HOST_VALIDATE, HOST_DRY_RUN, HOST_RUN, HOST_PROBE, HOST_UNDO };

/* A secret's value by name, found when the call is made and wiped after it was handed over.
 * OC_NOT_FOUND: there is none, and the adapter goes without. Another error stops the call. */
struct host_call;
typedef enum oc_err host_secret_fn(void *arg, const struct host_call *call, const char *adapter,
				   const char *name, char **ret_value, struct oc_fail *reterr);

struct host_config {
	const char *runner_path;             /* NULL: beside this program, else in PATH */
	const struct registry *registry_ref; /* outlives the host */
	const char *settings;                /* JSON object: adapter name -> its `config`; NULL: {} */
	const char *scratch_dir;             /* private folders of calls are made and removed below it */
	const char *state_dir;               /* adapters that keep marks get <state_dir>/<adapter>; or NULL */
	host_secret_fn *secret;              /* NULL: no secrets */
	void *secret_arg;
	/* 0 takes the default in brackets. */
	size_t reply_max;      /* bytes of an answer [256 KiB]; longer ones are cut and marked */
	size_t output_max;     /* bytes kept of stdout and of stderr each [1 MiB] */
	unsigned grace_ms;     /* from cancel() to TERM [2000] */
	unsigned term_ms;      /* from TERM to KILL of all that is left [1000] */
	unsigned process_max;  /* runners of isolation process at once [16] */
	unsigned shared_max;   /* runners per (adapter, tenant, scope) [4] */
	unsigned shared_calls; /* a shared runner is replaced after so many calls [10000] */
	unsigned idle_ms;      /* an idle shared runner ends after [60000]; see host_tidy */
	size_t memory_max;     /* RLIMIT_AS of a runner [2 GiB]; not under a sanitizer */
	bool no_cgroup;        /* do not use a cgroup even where there is one */
};

struct host_call {
	enum host_entry entry;
	const char *operation;
	const char *params;                                     /* JSON object */
	const char *target;                                     /* JSON object; NULL: {} */
	const char *idempotency_key;                            /* NULL: "" */
	const char *tenant, *case_id, *decision_id, *plan_hash; /* NULL: "" */
	const char *expected_binding;                           /* or NULL */
	const char *before;                                     /* or NULL */
	const char *secret_scope;     /* NULL: ""; runners are not shared between scopes */
	int64_t timeout_ms;           /* 0: the operation's default; more than its maximum is cut to it */
	struct host_leash *leash_ref; /* or NULL */
	/* Called in the calling thread, with UTF-8 of at most 2000 bytes. */
	void (*progress)(void *arg, const char *sentence);
	void *progress_arg;
};

struct host_answer {
	enum opscase_outcome outcome;
	char *json;                      /* always a JSON object; {"error": sentence} where the host speaks */
	char *out, *err;                 /* what was written to stdout and stderr; never NULL, UTF-8 */
	bool json_cut, out_cut, err_cut; /* longer than the limit; the rest is gone */
	bool crashed;                    /* the adapter's process ended by itself without an answer */
	bool lost;                       /* the runner itself vanished */
	bool garbage;                    /* it answered something that is none */
	bool timed_out;                  /* the deadline passed, or the lease lapsed */
	bool cancelled;                  /* the leash was pulled */
	bool everything_gone; /* proven: no process of this call is left. A shared runner that goes on
			       * serving counts as gone: it can start no process at all. */
	bool shared;          /* answered by a pooled runner */
	int signal;           /* that ended the adapter's process, or 0 */
	int exit_code;        /* of the adapter's process, or -1 */
	int64_t duration_us;
	size_t pids_count;
	int pids[64]; /* process ids seen in the call's family: first the adapter's own */
};

MUST_CHECK enum oc_err host_new(const struct host_config *config, struct host **ret, struct oc_fail *reterr);
void host_free(struct host *host); /* no call may be under way; ends the idle runners */
DEFINE_AUTO(host, struct host *, host_free);

/* OC_NOT_FOUND: no such operation. OC_ILLEGAL: the adapter lacks this entry ("no preview").
 * OC_INVALID: params or settings do not fit. OC_UNAVAILABLE: no runner could be started or the
 * adapter did not load. OC_BUSY: all runners were in use until the timeout. In each of them nothing was done. */
MUST_CHECK enum oc_err host_call(struct host *host, const struct host_call *call, struct host_answer *ret,
				 struct oc_fail *reterr);
void host_answer_done(struct host_answer *answer);
static inline void oc_auto_host_answer(struct host_answer *a)
{
	host_answer_done(a);
}

/* Why calls to this adapter cannot work (its settings do not fit), or NULL. Lent. */
const char *host_problem(const struct host *host, const char *adapter);

/* The longest that host_call with this timeout blocks, and the longest that anything it started
 * lives, also if this process dies. A lease must be longer, or be extended by the leash. */
int64_t host_longest_ms(const struct host *host, int64_t timeout_ms);
/* Ends shared runners that were idle for long. Cheap; call it every few seconds from a janitor. */
void host_tidy(struct host *host);
/* Ends every shared runner when it is next idle: after a change of settings or secrets. */
void host_renew(struct host *host);

/* A leash holds one running call from another thread. */
struct host_leash *host_leash_new(void);
void host_leash_free(struct host_leash *leash); /* after the call has returned */
DEFINE_AUTO(host_leash, struct host_leash *, host_leash_free);
void host_leash_cancel(struct host_leash *leash);
/* The caller's lease ends in `ms` from now: everything of the call is gone before that unless it is
 * extended again. Without a first word here only the call's own timeout holds. Short of what it takes
 * to end a runner (grace + term), it ends at once. */
void host_leash_extend(struct host_leash *leash, int64_t ms);

const char *host_entry_name(enum host_entry entry);          /* "dry_run" */
const char *host_outcome_name(enum opscase_outcome outcome); /* "NOT_APPLIED" */
