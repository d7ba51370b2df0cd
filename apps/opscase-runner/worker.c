#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/text.h"
#include "executor/frame.h"
#include "executor/loader.h"
#include "jail.h"
#include "wire/json/json.h"

#define CONTROL_MAX    ((size_t)64 << 10)
#define PROGRESS_BYTES 2000
#define PROGRESS_MAX   1000

struct worker {
	int call_fd, control_fd;
	bool shared;
	struct loaded adapter;
	void *ctx;
	struct frame_in in;
	timer_t timer;
	bool has_timer;
	/* Shared with the thread that listens for cancel. */
	pthread_mutex_t lock;
	bool busy, cancel_wanted;
	int64_t serial;                        /* of the call under way; 0: none */
	int64_t hard_until_ms, lease_until_ms; /* boot time */
};

/* What an entry answers through. */
struct sink {
	struct opscase_reply reply; /* first: the adapter hands back a pointer to it */
	struct worker *worker;
	struct text answer; /* the frame, kept until the entry returns where the runner is shared */
	enum opscase_outcome outcome;
	bool sent, keep;
	unsigned progress_count;
	char error[1024]; /* of open */
};

static void tell(struct worker *w, const struct text *t)
{
	if (!frame_send(w->call_fd, t->s, t->len, 0))
		_exit(3);
}

static void tell_sentence(struct worker *w, const char *kind, const char *sentence)
{
	struct text t = { 0 };

	text_addf(&t, "{\"t\":\"%s\",\"say\":", kind);
	frame_quote(&t, sentence, strlen(sentence));
	text_add(&t, "}");
	tell(w, &t);
	text_done(&t);
}

static int sink_send(struct opscase_reply *reply, enum opscase_outcome outcome, const char *json)
{
	struct sink *s = (struct sink *)reply;
	size_t limit = s->reply.limit, n;
	bool cut;

	if (s->sent)
		return -1;
	if (!json)
		json = "{}";
	n = strnlen(json, limit + 1);
	cut = n > limit;
	s->sent = true;
	s->outcome = outcome;
	snprintf(s->error, sizeof(s->error), "%s", json);
	text_addf(&s->answer, "{\"t\":\"answer\",\"outcome\":%d,\"cut\":%s,\"json\":", (int)outcome,
		  cut ? "true" : "false");
	frame_quote(&s->answer, json, cut ? limit : n);
	text_add(&s->answer, "}");
	if (!s->keep)
		tell(s->worker, &s->answer);
	return 0;
}

static int sink_progress(struct opscase_reply *reply, const char *sentence)
{
	struct sink *s = (struct sink *)reply;
	struct text t = { 0 };

	if (!sentence || s->progress_count++ >= PROGRESS_MAX)
		return -1;
	text_add(&t, "{\"t\":\"progress\",\"say\":");
	frame_quote(&t, sentence, strnlen(sentence, PROGRESS_BYTES));
	text_add(&t, "}");
	tell(s->worker, &t);
	text_done(&t);
	return 0;
}

static struct sink sink_make(struct worker *w, size_t limit)
{
	return (struct sink){
		.reply = { .size = sizeof(struct opscase_reply),
                          .limit = limit,
                          .send = sink_send,
                          .progress = sink_progress },
		.worker = w,
		.keep = w->shared
	};
}

/* ---- the listening thread */

static int64_t boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The kernel ends a shared runner when its call should long be over, whoever hangs. Locked. */
static void set_timer(struct worker *w)
{
	int64_t at = w->lease_until_ms && w->lease_until_ms < w->hard_until_ms ? w->lease_until_ms
									       : w->hard_until_ms;
	struct itimerspec when = {
		.it_value = { .tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000 }
	};

	if (w->has_timer)
		timer_settime(w->timer, TIMER_ABSTIME, &when, NULL);
}

static void begin_call(struct worker *w, const json_t *m)
{
	const json_t *lease = json_object_get(m, "lease_ms");
	int64_t now = boot_ms();

	pthread_mutex_lock(&w->lock);
	w->serial = json_integer_value(json_object_get(m, "serial"));
	w->hard_until_ms = now + json_integer_value(json_object_get(m, "hard_ms"));
	w->lease_until_ms = lease ? now + json_integer_value(lease) : 0;
	set_timer(w);
	pthread_mutex_unlock(&w->lock);
}

static void end_call(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->serial = 0;
	w->busy = false;
	w->hard_until_ms = w->lease_until_ms = 0;
	set_timer(w);
	pthread_mutex_unlock(&w->lock);
}

static void on_control(struct worker *w, const char *text, size_t len)
{
	AUTO(json) json_t *m = json_loadb(text, len, 0, NULL);
	const char *kind = json_string_value(json_object_get(m, "t"));

	pthread_mutex_lock(&w->lock);
	if (str_eq(kind, "cancel")) {
		w->cancel_wanted = true;
	} else if (str_eq(kind, "lease") && w->serial &&
		   json_integer_value(json_object_get(m, "serial")) == w->serial) {
		/* Of another call's lease nothing may be left on this one. */
		w->lease_until_ms = boot_ms() + json_integer_value(json_object_get(m, "ms"));
		if (w->lease_until_ms < 1)
			w->lease_until_ms = 1;
		set_timer(w);
	}
	pthread_mutex_unlock(&w->lock);
}

/* `run` may not yet be where it looks at what cancel sets, so it is asked again until it is over. */
static bool ask_to_stop(struct worker *w)
{
	bool again;

	pthread_mutex_lock(&w->lock);
	again = w->cancel_wanted;
	if (again && w->busy && w->adapter.view.cancel)
		w->adapter.view.cancel(w->ctx);
	pthread_mutex_unlock(&w->lock);
	return again;
}

static void *listen_main(void *arg)
{
	struct worker *w = arg;
	struct frame_in in = { 0 };
	bool asking = false;

	for (;;) {
		struct timespec pause = { .tv_nsec = 50000000 };
		enum frame_got got = frame_read(&in, w->control_fd, !asking);
		char *text;
		size_t len;

		if (got == FRAME_EOF || got == FRAME_ERROR)
			_exit(3);
		while (frame_next(&in, CONTROL_MAX, &text, &len) == 1) {
			on_control(w, text, len);
			free(text);
		}
		asking = ask_to_stop(w);
		if (asking)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

/* ---- the calls */

typedef int entry_fn(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);

static entry_fn *entry_of(const struct opscase_adapter *a, const char *name, bool *ret_stoppable)
{
	*ret_stoppable = str_eq(name, "run") || str_eq(name, "undo");
	return str_eq(name, "validate")  ? a->validate
	       : str_eq(name, "dry_run") ? a->dry_run
	       : str_eq(name, "run")     ? a->run
	       : str_eq(name, "probe")   ? a->probe
	       : str_eq(name, "undo")    ? a->undo
					 : NULL;
}

static const char *text_of(const json_t *m, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(m, key));

	return s ? s : otherwise;
}

static void call(struct worker *w, const json_t *m)
{
	struct opscase_action act = {
		.size = sizeof(act),
		.operation = text_of(m, "operation", ""),
		.params = text_of(m, "params", "{}"),
		.target = text_of(m, "target", "{}"),
		.idempotency_key = text_of(m, "key", ""),
		.tenant = text_of(m, "tenant", ""),
		.case_id = text_of(m, "case", ""),
		.decision_id = text_of(m, "decision", ""),
		.plan_hash = text_of(m, "plan_hash", ""),
		.expected_binding = text_of(m, "expected_binding", NULL),
		.before = text_of(m, "before", NULL),
		.secrets = text_of(m, "secrets", "{}"),
		.scratch_dir = text_of(m, "scratch", ""),
		.deadline_ms = json_integer_value(json_object_get(m, "deadline_ms")),
	};
	size_t limit = (size_t)json_integer_value(json_object_get(m, "reply_max"));
	struct sink sink = sink_make(w, limit);
	bool stoppable, go_on = true;
	entry_fn *entry = entry_of(&w->adapter.view, text_of(m, "entry", ""), &stoppable);

	if (!entry) {
		tell_sentence(w, "refused", "the adapter has no such entry");
		return;
	}
	begin_call(w, m);
	if (stoppable) {
		pthread_mutex_lock(&w->lock);
		go_on = !w->cancel_wanted;
		w->busy = go_on;
		pthread_mutex_unlock(&w->lock);
	}
	if (go_on)
		entry(w->ctx, &act, &sink.reply);
	else
		sink_send(&sink.reply, OPSCASE_CANCELLED, "{\"error\":\"stopped before it began\"}");
	end_call(w);
	fflush(NULL);
	if (!sink.sent)
		tell_sentence(w, "silent", "the adapter returned without an answer");
	else if (sink.keep)
		tell(w, &sink.answer);
	text_done(&sink.answer);
}

static json_t *next_message(struct worker *w)
{
	char *text = NULL;
	size_t len = 0;
	json_t *m;
	int r;

	while ((r = frame_next(&w->in, FRAME_MAX, &text, &len)) == 0) {
		if (frame_read(&w->in, w->call_fd, true) != FRAME_BYTES)
			return NULL;
	}
	if (r < 0)
		return NULL;
	m = json_loadb(text, len, 0, NULL);
	explicit_bzero(text, len); /* it may carry secrets */
	free(text);
	return m;
}

static bool open_adapter(struct worker *w, const json_t *m)
{
	struct loader_fail fail;
	struct sink sink = sink_make(w, 65536);
	json_error_t e;
	json_t *body;

	if (loader_load(text_of(m, "file", ""), &w->adapter, &fail) != LOADER_TAKEN) {
		tell_sentence(w, "refused", fail.text);
		return false;
	}
	if (!w->adapter.view.open)
		return true;
	sink.keep = true;
	sink.reply.limit = sizeof(sink.error);
	w->adapter.view.open(&w->ctx, text_of(m, "config", "{}"), &sink.reply);
	text_done(&sink.answer);
	if (sink.sent && sink.outcome == OPSCASE_VALID)
		return true;
	body = sink.sent ? json_loads(sink.error, 0, &e) : NULL;
	tell_sentence(w, "refused",
		      body && json_object_get(body, "error")
			      ? text_of(body, "error", "the adapter did not open")
			      : "the adapter did not open, and did not say why");
	json_decref(body);
	return false;
}

static bool enter_jail(struct worker *w, const json_t *m, pid_t keeper)
{
	const char *scratch = text_of(m, "scratch", NULL);
	struct jail jail = {
		.network = json_is_true(json_object_get(m, "network")),
		.alone = w->shared,
		.scratch_only = json_is_true(json_object_get(m, "scratch_only")),
		.scratch = scratch,
		.memory = (uint64_t)json_integer_value(json_object_get(m, "memory")),
		.keeper = keeper,
		.host = (pid_t)json_integer_value(json_object_get(m, "host")),
	};
	char why[256];

	if (jail_enter(&jail, why, sizeof(why)))
		return true;
	tell_sentence(w, "refused", why);
	return false;
}

int worker_main(int call_fd, int control_fd, pid_t keeper)
{
	static struct worker w;
	struct sigevent kill_me = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	pthread_t thread;
	json_t *m;

	w = (struct worker){ .call_fd = call_fd, .control_fd = control_fd, .shared = keeper == 0 };
	pthread_mutex_init(&w.lock, NULL);
	prctl(PR_SET_NAME, keeper ? "opscase-worker" : "opscase-shared");
	close_range((unsigned)control_fd + 1, ~0u, 0);
	if (w.shared)
		w.has_timer = timer_create(CLOCK_BOOTTIME, &kill_me, &w.timer) == 0;
	m = next_message(&w);
	if (!m || !enter_jail(&w, m, keeper))
		return 3;
	if (pthread_create(&thread, NULL, listen_main, &w) != 0)
		return 3;
	if (!open_adapter(&w, m))
		return 3;
	json_decref(m);
	while ((m = next_message(&w)) != NULL) {
		call(&w, m);
		json_decref(m);
		if (!w.shared)
			break;
	}
	if (w.adapter.view.close)
		w.adapter.view.close(w.ctx);
	fflush(NULL);
	return 0;
}

/* ---- describe */

static void put_has(struct text *t, const char *name, bool has)
{
	text_addf(t, "%s\"%s\":%s", t->s[t->len - 1] == '{' ? "" : ",", name, has ? "true" : "false");
}

int worker_describe(const char *file)
{
	static struct loaded adapter; /* its code stays loaded, so what points at it stays too */
	char *path = strchr(file, '/') ? mem_strdup(file) : mem_printf("./%s", file), why[256];
	struct jail jail = { .alone = true, .scratch_only = true, .memory = (uint64_t)2 << 30 };
	struct text t = { 0 };
	struct loader_fail fail;
	int out = dup(1);
	bool taken;

	/* What constructors print is not our answer. */
	dup2(2, 1);
	alarm(20);
	if (!jail_enter(&jail, why, sizeof(why))) {
		fprintf(stderr, "opscase-runner: %s\n", why);
		return 70;
	}
	taken = loader_load(path, &adapter, &fail) == LOADER_TAKEN;
	if (taken) {
		const struct opscase_adapter *a = &adapter.view;

		text_addf(&t, "{\"taken\":true,\"name\":\"%s\",\"abi\":\"%u.%u\",\"has\":{", a->name,
			  a->abi >> 16, a->abi & 0xffff);
		put_has(&t, "validate", a->validate);
		put_has(&t, "dry_run", a->dry_run);
		put_has(&t, "probe", a->probe);
		put_has(&t, "undo", a->undo);
		put_has(&t, "cancel", a->cancel);
		text_add(&t, "},\"manifest\":");
		frame_quote(&t, a->manifest, strlen(a->manifest));
		text_add(&t, "}\n");
	} else {
		text_addf(&t, "{\"taken\":false,\"reason\":\"%s\",\"sentence\":", loader_key(fail.why));
		frame_quote(&t, fail.text, strlen(fail.text));
		text_add(&t, "}\n");
	}
	for (size_t at = 0; at < t.len;) {
		ssize_t n = write(out, t.s + at, t.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(74);
		at += (size_t)n;
	}
	text_done(&t);
	free(path);
	return taken ? 0 : 65;
}
