/* up_children.h - the processes that `opscase up` keeps alive, and how they end.
 *
 * Each has a log file, a process group of its own (Ctrl-C reaches the supervisor alone) and dies with it
 * (PDEATHSIG). run/children.json remembers pid and start time, so that the next start finds what a kill -9 left
 * behind and never signals somebody else's process. Only pids started here are waited for. One thread. */
#pragma once
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

#define CHILD_WORDS_MAX 96

struct child {
	const char *name;            /* "postgres" */
	char *argv[CHILD_WORDS_MAX]; /* owned */
	char *env[CHILD_WORDS_MAX];  /* owned; NULL first: our own environment without OPSCASE_* */
	const struct passwd *as;     /* NULL: as ourselves */
	const char *dir;             /* working directory; NULL: / */
	char *log;                   /* path; appended */
	int stop_signal;
	/* --- kept by the functions below */
	pid_t pid;             /* 0: not running */
	int64_t started_ms;    /* monotonic */
	int64_t restart_at_ms; /* 0: not waiting */
	unsigned deaths;       /* since it last lived for a minute */
	int status;            /* of the last death */
};

void child_word(struct child *c, const char *fmt, ...) PRINTF_LIKE(2, 3); /* one more of argv */
void child_done(struct child *c);

/* The user for servers that must not run as root: opscase, else postgres, else nobody; NULL when we are not root. */
MUST_CHECK enum oc_err child_user(const struct passwd **ret, struct oc_fail *reterr);

MUST_CHECK enum oc_err child_start(struct child *c, struct oc_fail *reterr);
/* True when it has died since; then restart_at_ms is set, later and later up to 30 s. */
bool child_reap(struct child *c, int64_t now_ms);
/* stop_signal, after timeout_ms SIGKILL; returns when it is gone. *hurry (may be NULL) makes it SIGKILL sooner. */
void child_stop(struct child *c, unsigned timeout_ms, const volatile int *hurry);
/* "exit code 1", "signal 9 (Killed)". Lent until the next call. */
const char *child_death(const struct child *c);
/* Its log beyond 64 MiB goes to LOG.1. */
void child_tidy_log(const struct child *c);
/* The last lines of the log, each with a margin; for when it did not come up. Yours. */
char *child_log_tail(const struct child *c, unsigned lines);

MUST_CHECK enum oc_err children_note(const char *path, struct child *const *children, size_t count,
				     struct oc_fail *reterr);
/* Ends what an earlier supervisor left behind. Returns how many there were. */
unsigned children_end_old(const char *path, bool quiet);

/* Runs a program to its end; OC_UNAVAILABLE with its last words when it fails. ret_output may be NULL. */
MUST_CHECK enum oc_err child_run(char *const *argv, const struct passwd *as, char **ret_output,
				 struct oc_fail *reterr);
/* In PATH and the places where servers lie (/usr/sbin). Yours; NULL when there is none. */
char *program_find(const char *name);
/* The folder of our own program. Yours. */
char *program_dir(void);
