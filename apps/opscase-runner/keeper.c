#include "keeper.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/text.h"
#include "executor/cgroup.h"
#include "executor/frame.h"
#include "family.h"
#include "wire/json/json.h"
#include "worker.h"

#define CONTROL_MAX ((size_t)64 << 10)
#define GIVE_UP_MS  10000 /* a process in the kernel's hands (state D) cannot be killed; say so */

enum phase { RUNNING, ASKED, TERMED, KILLING };

struct keeper {
	int control_fd, worker_fd, signal_fd, timer_fd;
	struct frame_in in;
	struct family family;
	enum phase phase;
	const char *why;               /* the end came: "end", "cancel", "deadline", "lease", "host" */
	int64_t deadline_ms, lease_ms; /* boot time; lease 0: none */
	int64_t grace_ms, term_ms, next_ms, give_up_ms;
	size_t left; /* alive when the worker had ended or the killing began */
	bool counted, host_gone, cgroup_killed;
	char cgroup[CGROUP_PATH];
};

/* Goes on while the machine sleeps, as the lease in the database does. */
static int64_t boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void tell_worker(struct keeper *k, const char *text)
{
	frame_send(k->worker_fd, text, strlen(text), clock_mono_us() + 50000);
}

static void set_phase(struct keeper *k, enum phase phase, const char *why)
{
	int64_t now = boot_ms();

	if (phase <= k->phase)
		return;
	k->phase = phase;
	if (!k->why)
		k->why = why;
	switch (phase) {
	case ASKED:
		tell_worker(k, "{\"t\":\"cancel\"}");
		k->next_ms = now + k->grace_ms;
		break;
	case TERMED:
		family_signal(&k->family, SIGTERM);
		k->next_ms = now + k->term_ms;
		break;
	case KILLING:
		k->give_up_ms = now + GIVE_UP_MS;
		k->next_ms = now;
		break;
	case RUNNING:
		break;
	}
}

/* When the caller's time is up; what it takes to end things must fit in before the lease is over. */
static int64_t end_ms(const struct keeper *k, const char **ret_why)
{
	int64_t lease_end = k->lease_ms - k->grace_ms - k->term_ms;

	*ret_why = "deadline";
	if (k->lease_ms && lease_end < k->deadline_ms) {
		*ret_why = "lease";
		return lease_end;
	}
	return k->deadline_ms;
}

static void set_timer(struct keeper *k)
{
	const char *why;
	int64_t at = k->phase == RUNNING ? end_ms(k, &why) : k->next_ms;
	struct itimerspec when = {
		.it_value = { .tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000 }
	};

	if (at <= 0)
		when.it_value = (struct timespec){ .tv_nsec = 1 };
	timerfd_settime(k->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_time(struct keeper *k)
{
	const char *why = "deadline";
	int64_t now = boot_ms();

	if (k->phase == RUNNING) {
		if (now >= end_ms(k, &why))
			set_phase(k, ASKED, why);
	} else if (now >= k->next_ms && k->phase < KILLING) {
		set_phase(k, k->phase == ASKED ? TERMED : KILLING, k->why);
	}
}

static void on_message(struct keeper *k, const char *text, size_t len)
{
	AUTO(json) json_t *m = json_loadb(text, len, 0, NULL);
	const char *kind = json_string_value(json_object_get(m, "t"));

	if (str_eq(kind, "cancel")) {
		set_phase(k, ASKED, "cancel");
	} else if (str_eq(kind, "lease")) {
		k->lease_ms = boot_ms() + json_integer_value(json_object_get(m, "ms"));
	} else if (str_eq(kind, "kill")) {
		set_phase(k, KILLING, "kill");
	}
}

static void on_control(struct keeper *k)
{
	enum frame_got got = frame_read(&k->in, k->control_fd, false);
	char *text;
	size_t len;
	int r;

	while ((r = frame_next(&k->in, CONTROL_MAX, &text, &len)) == 1) {
		on_message(k, text, len);
		free(text);
	}
	if (r < 0 || got == FRAME_EOF || got == FRAME_ERROR) {
		k->host_gone = true;
		set_phase(k, KILLING, "host");
	}
}

/* True when nobody is left. */
static bool kill_round(struct keeper *k)
{
	if (family_reap(&k->family))
		return true;
	if (*k->cgroup && !k->cgroup_killed) {
		k->cgroup_killed = true;
		cgroup_kill(k->cgroup);
	}
	if (!k->counted) {
		k->counted = true;
		k->left = family_signal(&k->family, SIGKILL);
	} else {
		family_signal(&k->family, SIGKILL);
	}
	return family_reap(&k->family);
}

static bool gone(struct keeper *k)
{
	if (k->phase == KILLING)
		return kill_round(k);
	if (!family_reap(&k->family)) {
		/* What the worker leaves behind has nobody left to answer for it. */
		if (k->family.worker_ended)
			set_phase(k, KILLING, "end");
		return k->phase == KILLING && kill_round(k);
	}
	return true;
}

static void report(struct keeper *k, bool proven)
{
	int status = k->family.worker_status;
	struct text t = { 0 };

	text_addf(
		&t,
		"{\"t\":\"gone\",\"proven\":%s,\"why\":\"%s\",\"left\":%zu,\"signal\":%d,\"exit\":%d,\"seen\":[",
		proven ? "true" : "false", k->why ? k->why : "end", k->left,
		k->family.worker_ended && WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		k->family.worker_ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	for (size_t i = 0; i < k->family.seen_count; i++)
		text_addf(&t, "%s%d", i ? "," : "", (int)k->family.seen[i]);
	text_add(&t, "]}");
	frame_send(k->control_fd, t.s, t.len, clock_mono_us() + 1000000);
	text_done(&t);
}

static bool read_watch(struct keeper *k)
{
	AUTO(json) json_t *m = NULL;
	char *text = NULL;
	size_t len;
	int r;

	while ((r = frame_next(&k->in, CONTROL_MAX, &text, &len)) == 0) {
		if (frame_read(&k->in, k->control_fd, true) != FRAME_BYTES)
			return false;
	}
	if (r < 0)
		return false;
	m = json_loadb(text, len, 0, NULL);
	free(text);
	if (!str_eq(json_string_value(json_object_get(m, "t")), "watch"))
		return false;
	k->deadline_ms = boot_ms() + json_integer_value(json_object_get(m, "deadline_ms"));
	k->grace_ms = json_integer_value(json_object_get(m, "grace_ms"));
	k->term_ms = json_integer_value(json_object_get(m, "term_ms"));
	if (json_object_get(m, "lease_ms"))
		k->lease_ms = boot_ms() + json_integer_value(json_object_get(m, "lease_ms"));
	snprintf(k->cgroup, sizeof(k->cgroup), "%s",
		 json_object_get(m, "cgroup") ? json_string_value(json_object_get(m, "cgroup")) : "");
	return true;
}

static pid_t fork_worker(struct keeper *k, int call_fd, const sigset_t *before)
{
	int line[2];
	pid_t keeper = getpid(), pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0)
		return -1;
	if (*k->cgroup && !cgroup_make(k->cgroup))
		*k->cgroup = 0;
	pid = fork();
	if (pid != 0) {
		close(line[1]);
		k->worker_fd = line[0];
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(3);
	cgroup_enter(k->cgroup);
	setpgid(0, 0);
	sigprocmask(SIG_SETMASK, before, NULL);
	signal(SIGTERM, SIG_DFL);
	frame_done(&k->in);
	dup2(line[1], k->control_fd);
	_exit(worker_main(call_fd, k->control_fd, keeper));
}

static void loop(struct keeper *k)
{
	bool proven = false;

	while (!(proven = gone(k))) {
		struct pollfd p[3] = {
			{ k->host_gone ? -1 : k->control_fd, POLLIN, 0 },
			{ k->signal_fd,                      POLLIN, 0 },
			{ k->timer_fd,                       POLLIN, 0 }
		};
		uint64_t ticks;
		struct signalfd_siginfo info;

		if (k->phase == KILLING && boot_ms() > k->give_up_ms)
			break;
		set_timer(k);
		if (poll(p, 3, k->phase == KILLING ? 2 : -1) < 0 && errno != EINTR)
			break;
		while (read(k->signal_fd, &info, sizeof(info)) > 0)
			;
		if (p[2].revents && read(k->timer_fd, &ticks, sizeof(ticks)) > 0)
			on_time(k);
		if (p[0].revents)
			on_control(k);
	}
	report(k, proven);
}

int keeper_main(int call_fd, int control_fd)
{
	struct keeper k = { .control_fd = control_fd };
	sigset_t all, before;
	int null;

	prctl(PR_SET_NAME, "opscase-keeper");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_DUMPABLE, 0);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	k.signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	k.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (k.signal_fd < 0 || k.timer_fd < 0 || !read_watch(&k))
		return 70;
	k.family.worker = fork_worker(&k, call_fd, &before);
	if (k.family.worker < 0)
		return 71;
	k.family.seen[k.family.seen_count++] = k.family.worker;
	/* The worker's ends are the worker's: the host must see them close when it is gone. */
	close(call_fd);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		dup2(null, fd);
	loop(&k);
	cgroup_remove(k.cgroup);
	return 0;
}
