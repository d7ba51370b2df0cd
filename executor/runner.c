#include "executor/runner.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "executor/scratch.h"
#include "executor/spawn.h"
#include "wire/json/json.h"

#define GIVE_UP_MS  13000 /* the keeper gives up after 10 s of killing; then we stop waiting for it */
#define SEND_MS     5000
#define CLOSE_MS    2000 /* for close() after the answer */
#define CONTROL_MAX ((size_t)64 << 10)

int64_t runner_boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- start and end */

static bool send_text(int fd, const struct text *t)
{
	return frame_send(fd, t->s, t->len, clock_mono_us() + SEND_MS * 1000);
}

static bool send_open(struct runner *r, const struct runner_start *s)
{
	AUTO(text) struct text t = { 0 };

	text_addf(&t,
		  "{\"t\":\"open\",\"network\":%s,\"scratch_only\":%s,\"memory\":%zu,\"host\":%d,\"file\":",
		  s->network ? "true" : "false", s->shared || s->adapter_ref->scratch_only ? "true" : "false",
		  s->memory_max, (int)getpid());
	frame_quote(&t, s->adapter_ref->file, strlen(s->adapter_ref->file));
	text_add(&t, ",\"scratch\":");
	frame_quote(&t, r->scratch, strlen(r->scratch));
	text_add(&t, ",\"config\":");
	frame_quote(&t, s->config, strlen(s->config));
	text_add(&t, "}");
	return send_text(r->call_fd, &t);
}

static void name_cgroup(struct runner *r, const char *base)
{
	static atomic_uint serial;
	unsigned char random[4];

	if (!*base || r->shared)
		return;
	hash_random(random, sizeof(random));
	snprintf(r->cgroup, sizeof(r->cgroup), "%s/opscase-%d-%u-%02x%02x%02x%02x", base, (int)getpid(),
		 atomic_fetch_add(&serial, 1), random[0], random[1], random[2], random[3]);
}

enum oc_err runner_new(const struct runner_start *s, struct runner **ret, struct oc_fail *reterr)
{
	AUTO(runner) struct runner *r = mem_alloc(sizeof(*r));
	struct spawn child = { .runner_path = s->runner_path,
			       .mode = s->shared ? "--serve" : "--keep",
			       .name = s->adapter_ref->name };
	int line[4][2] = {
		{ -1, -1 },
                { -1, -1 },
                { -1, -1 },
                { -1, -1 }
	};
	enum oc_err err;
	bool good;

	r->call_fd = r->control_fd = r->out_fd = r->err_fd = -1;
	r->shared = s->shared;
	r->started_ms = runner_boot_ms();
	err = scratch_make(s->scratch_dir, &r->scratch, reterr);
	if (err != OC_OK)
		return err;
	name_cgroup(r, s->cgroup);
	good = spawn_pair(line[0]) && spawn_pair(line[1]) && spawn_pipe(line[2]) && spawn_pipe(line[3]);
	r->call_fd = line[0][0];
	r->control_fd = line[1][0];
	r->out_fd = line[2][0];
	r->err_fd = line[3][0];
	child.call = line[0][1];
	child.control = line[1][1];
	child.out = line[2][1];
	child.err = line[3][1];
	child.home = r->scratch;
	if (!good)
		err = oc_fail(reterr, OC_UNAVAILABLE, "no descriptors for a runner: %s", strerror(errno));
	else
		err = spawn_runner(&child, &r->pid, reterr);
	for (size_t i = 0; i < ARRAY_LEN(line); i++) {
		if (line[i][1] >= 0)
			close(line[i][1]);
	}
	if (err != OC_OK)
		return err;
	fcntl(r->out_fd, F_SETFL, O_NONBLOCK);
	fcntl(r->err_fd, F_SETFL, O_NONBLOCK);
	if (!send_open(r, s))
		return oc_fail(reterr, OC_UNAVAILABLE, "the runner of '%s' ended before it began",
			       s->adapter_ref->name);
	*ret = TAKE(r);
	return OC_OK;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void runner_free(struct runner *r)
{
	if (!r)
		return;
	close_fd(&r->call_fd);
	close_fd(&r->control_fd);
	if (r->pid > 0)
		spawn_reap(r->pid, r->shared ? 0 : GIVE_UP_MS);
	close_fd(&r->out_fd);
	close_fd(&r->err_fd);
	cgroup_remove(r->cgroup);
	frame_done(&r->call_in);
	frame_done(&r->control_in);
	scratch_remove(r->scratch);
	free(r->scratch);
	free(r);
}

bool runner_idle_ok(const struct runner *r)
{
	struct pollfd p = { .fd = r->call_fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

/* ---- one exchange */

struct capture {
	int fd;
	size_t max;
	struct text text;
	bool cut, over;
};

enum reason { GOING, ASKED_CANCEL, ASKED_DEADLINE, ASKED_LEASE };

struct talk {
	struct runner *r;
	const struct host_call *call;
	const struct runner_times *times;
	struct host_answer *answer;
	struct capture out, err;
	int64_t deadline_ms, lease_seen_ms, asked_ms, answered_ms;
	enum reason reason;
	bool answered, refused, call_over, control_over;
	bool gone_told, killed, kill_asked;
	char refusal[1024];
};

static void capture_read(struct capture *c)
{
	char buf[65536];

	while (!c->over) {
		ssize_t n = read(c->fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			c->over = n == 0 || errno != EAGAIN;
			return;
		}
		/* What is too much is read all the same: a full pipe would stop the adapter. */
		if (c->text.len + (size_t)n > c->max) {
			c->cut = true;
			n = (ssize_t)(c->max - c->text.len);
		}
		text_add_n(&c->text, buf, (size_t)n);
		if ((size_t)n < sizeof(buf))
			return;
	}
}

static char *capture_take(struct capture *c)
{
	struct text clean = { 0 };

	frame_clean(&clean, text_str(&c->text), c->text.len);
	text_done(&c->text);
	return text_take(&clean);
}

static void say(struct host_answer *a, enum opscase_outcome outcome, const char *sentence)
{
	struct text t = { 0 };

	text_add(&t, "{\"error\":");
	frame_quote(&t, sentence, strlen(sentence));
	text_add(&t, "}");
	free(a->json);
	a->json = text_take(&t);
	a->outcome = outcome;
}

/* What each entry may answer; anything else is nonsense, and nobody knows what it did. */
static bool outcome_fits(enum host_entry entry, long long outcome)
{
#define BIT(o) (1u << (o))
	static const unsigned fits[] = {
		[HOST_VALIDATE] = BIT(OPSCASE_VALID) | BIT(OPSCASE_REFUSED),
		[HOST_DRY_RUN] = BIT(OPSCASE_WOULD_DO) | BIT(OPSCASE_REFUSED) | BIT(OPSCASE_UNCLEAR) |
				 BIT(OPSCASE_FAILED) | BIT(OPSCASE_NOT_APPLIED),
		[HOST_RUN] = BIT(OPSCASE_DONE) | BIT(OPSCASE_NOT_APPLIED) | BIT(OPSCASE_FAILED) |
			     BIT(OPSCASE_UNCLEAR) | BIT(OPSCASE_WORLD_CHANGED) | BIT(OPSCASE_CANCELLED) |
			     BIT(OPSCASE_REFUSED),
		[HOST_PROBE] = BIT(OPSCASE_APPLIED) | BIT(OPSCASE_NOT_APPLIED) | BIT(OPSCASE_UNCLEAR) |
			       BIT(OPSCASE_REFUSED),
		[HOST_UNDO] = BIT(OPSCASE_DONE) | BIT(OPSCASE_NOT_APPLIED) | BIT(OPSCASE_FAILED) |
			      BIT(OPSCASE_UNCLEAR) | BIT(OPSCASE_WORLD_CHANGED) | BIT(OPSCASE_CANCELLED) |
			      BIT(OPSCASE_REFUSED),
	};
#undef BIT
	return outcome >= 0 && outcome < 32 && (fits[entry] & (1u << outcome));
}

static void garbage(struct talk *t, const char *sentence)
{
	t->answered = t->call_over = true;
	t->answer->garbage = true;
	say(t->answer, OPSCASE_UNCLEAR, sentence);
}

static void take_answer(struct talk *t, const json_t *m)
{
	AUTO(json) json_t *body = NULL;
	const char *json = json_string_value(json_object_get(m, "json"));
	json_t *outcome = json_object_get(m, "outcome");
	size_t len = json_string_length(json_object_get(m, "json"));

	if (!json || !json_is_integer(outcome) ||
	    !outcome_fits(t->call->entry, json_integer_value(outcome))) {
		garbage(t, "the adapter answered with an outcome that this entry does not have");
		return;
	}
	t->answer->json_cut = json_is_true(json_object_get(m, "cut")) || len > t->times->reply_max * 6;
	if (!t->answer->json_cut) {
		struct json_limits limits = { .bytes = len + 1, .depth = 128 };

		if (json_read(json, len, &limits, &body, NULL) != OC_OK || !json_is_object(body)) {
			garbage(t, "the adapter answered with something that is not a JSON object");
			return;
		}
		t->answer->json = mem_strndup(json, len);
	} else {
		struct text cut = { 0 };

		text_add(&cut, "{\"cut\":true,\"text\":");
		frame_quote(&cut, json, len > t->times->reply_max ? t->times->reply_max : len);
		text_add(&cut, "}");
		t->answer->json = text_take(&cut);
	}
	t->answer->outcome = (enum opscase_outcome)json_integer_value(outcome);
	t->answered = true;
}

static void on_call_message(struct talk *t, const char *text, size_t len)
{
	AUTO(json) json_t *m = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *kind = json_string_value(json_object_get(m, "t"));
	const char *sentence = json_string_value(json_object_get(m, "say"));

	if (t->answered || t->refused)
		return;
	if (str_eq(kind, "answer")) {
		take_answer(t, m);
	} else if (str_eq(kind, "progress") && sentence) {
		if (t->call->progress && strlen(sentence) <= 12000)
			t->call->progress(t->call->progress_arg, sentence);
	} else if (str_eq(kind, "refused") && sentence) {
		snprintf(t->refusal, sizeof(t->refusal), "%s", sentence);
		t->refused = true;
	} else if (str_eq(kind, "silent")) {
		garbage(t, "the adapter returned without an answer");
	} else {
		garbage(t, "the runner said something that is not a message");
	}
	if (t->answered)
		t->answered_ms = runner_boot_ms();
}

static void on_call_line(struct talk *t)
{
	enum frame_got got = frame_read(&t->r->call_in, t->r->call_fd, false);
	char *text;
	size_t len;
	int r;

	while ((r = frame_next(&t->r->call_in, FRAME_MAX, &text, &len)) == 1) {
		on_call_message(t, text, len);
		free(text);
	}
	if (r < 0 && !t->answered)
		garbage(t, "the runner sent a message of an absurd length");
	if (r < 0 || got == FRAME_EOF || got == FRAME_ERROR)
		t->call_over = true;
}

static void on_gone(struct talk *t, const json_t *m)
{
	const char *why = json_string_value(json_object_get(m, "why"));
	const json_t *seen = json_object_get(m, "seen");
	struct host_answer *a = t->answer;

	t->gone_told = true;
	a->everything_gone = json_is_true(json_object_get(m, "proven"));
	a->signal = (int)json_integer_value(json_object_get(m, "signal"));
	a->exit_code = (int)json_integer_value(json_object_get(m, "exit"));
	a->timed_out = str_eq(why, "deadline") || str_eq(why, "lease");
	a->cancelled = str_eq(why, "cancel");
	for (size_t i = 0; i < json_array_size(seen) && a->pids_count < ARRAY_LEN(a->pids); i++)
		a->pids[a->pids_count++] = (int)json_integer_value(json_array_get(seen, i));
}

static void on_control_line(struct talk *t)
{
	enum frame_got got = frame_read(&t->r->control_in, t->r->control_fd, false);
	char *text;
	size_t len;
	int r;

	while ((r = frame_next(&t->r->control_in, CONTROL_MAX, &text, &len)) == 1) {
		AUTO(json) json_t *m = json_loadb(text, len, 0, NULL);

		if (!t->r->shared && str_eq(json_string_value(json_object_get(m, "t")), "gone"))
			on_gone(t, m);
		free(text);
	}
	if (r < 0 || got == FRAME_EOF || got == FRAME_ERROR)
		t->control_over = true;
}

static void control(struct talk *t, const char *text)
{
	frame_send(t->r->control_fd, text, strlen(text), clock_mono_us() + 1000000);
}

static void ask_to_stop(struct talk *t, enum reason reason)
{
	if (t->reason != GOING)
		return;
	t->reason = reason;
	t->asked_ms = runner_boot_ms();
	/* The keeper holds the clock itself; only a cancel is news to it. */
	if (t->r->shared || reason == ASKED_CANCEL)
		control(t, "{\"t\":\"cancel\"}");
}

static void on_leash(struct talk *t)
{
	struct host_leash *leash = t->call->leash_ref;
	int64_t lease;
	uint64_t n;

	if (!leash)
		return;
	if (read(leash->event_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	lease = atomic_load(&leash->lease_until_ms);
	if (lease != t->lease_seen_ms) {
		char text[96];

		t->lease_seen_ms = lease;
		snprintf(text, sizeof(text), "{\"t\":\"lease\",\"serial\":%u,\"ms\":%lld}", t->r->calls,
			 (long long)(lease - runner_boot_ms()));
		control(t, text);
	}
	if (atomic_load(&leash->cancel))
		ask_to_stop(t, ASKED_CANCEL);
}

/* When something must be done if nothing is heard until then; and does what is due. */
static int64_t next_ms(struct talk *t)
{
	const struct runner_times *times = t->times;
	int64_t now = runner_boot_ms(), ending = times->grace_ms + times->term_ms, end = t->deadline_ms;
	enum reason reason = ASKED_DEADLINE;

	if (t->lease_seen_ms && t->lease_seen_ms - ending < end) {
		end = t->lease_seen_ms - ending;
		reason = ASKED_LEASE;
	}
	if (t->reason == GOING && now >= end)
		ask_to_stop(t, reason);
	if (t->reason == GOING)
		end = end > now ? end : now;
	else if (t->r->shared)
		end = t->asked_ms + times->grace_ms;
	else
		end = t->asked_ms + ending + GIVE_UP_MS;
	/* It has answered and does not end: nothing more can come of waiting. */
	if (t->answered && !t->r->shared && !t->kill_asked) {
		if (now >= t->answered_ms + CLOSE_MS) {
			t->kill_asked = true;
			control(t, "{\"t\":\"kill\"}");
		} else if (t->answered_ms + CLOSE_MS < end) {
			end = t->answered_ms + CLOSE_MS;
		}
	}
	if (t->reason != GOING && now >= end) {
		t->killed = true;
		return now;
	}
	return end;
}

static bool finished(const struct talk *t)
{
	if (t->killed)
		return true;
	if (t->r->shared)
		return t->answered || t->refused || t->call_over;
	return t->gone_told || t->control_over;
}

static void listen(struct talk *t)
{
	while (!finished(t)) {
		int64_t until = next_ms(t), left = until - runner_boot_ms();
		struct pollfd p[5] = {
			{ t->call_over ? -1 : t->r->call_fd,                      POLLIN, 0 },
			{ t->r->control_fd,                                       POLLIN, 0 },
			{ t->out.over ? -1 : t->out.fd,                           POLLIN, 0 },
			{ t->err.over ? -1 : t->err.fd,                           POLLIN, 0 },
			{ t->call->leash_ref ? t->call->leash_ref->event_fd : -1, POLLIN, 0 },
		};

		if (t->killed)
			break;
		left = left < 0 ? 0 : left > 60000 ? 60000 : left;
		if (poll(p, ARRAY_LEN(p), (int)left + (left > 0)) < 0 && errno != EINTR)
			break;
		if (p[2].revents)
			capture_read(&t->out);
		if (p[3].revents)
			capture_read(&t->err);
		if (p[4].revents)
			on_leash(t);
		if (p[0].revents)
			on_call_line(t);
		if (p[1].revents)
			on_control_line(t);
	}
}

static void add_field(struct text *t, const char *key, const char *value)
{
	if (!value)
		return;
	text_addf(t, ",\"%s\":", key);
	frame_quote(t, value, strlen(value));
}

static bool send_call(struct talk *t, const char *secrets)
{
	const struct host_call *c = t->call;
	struct text text = { 0 };
	bool sent;

	text_addf(&text, "{\"t\":\"call\",\"deadline_ms\":%lld,\"hard_ms\":%lld,\"reply_max\":%zu",
		  (long long)t->times->timeout_ms,
		  (long long)(t->times->timeout_ms + t->times->grace_ms + t->times->term_ms),
		  t->times->reply_max);
	text_addf(&text, ",\"serial\":%u", t->r->calls);
	if (t->lease_seen_ms)
		text_addf(&text, ",\"lease_ms\":%lld", (long long)(t->lease_seen_ms - runner_boot_ms()));
	add_field(&text, "entry", host_entry_name(c->entry));
	add_field(&text, "operation", c->operation);
	add_field(&text, "params", c->params);
	add_field(&text, "target", c->target ? c->target : "{}");
	add_field(&text, "key", c->idempotency_key);
	add_field(&text, "tenant", c->tenant);
	add_field(&text, "case", c->case_id);
	add_field(&text, "decision", c->decision_id);
	add_field(&text, "plan_hash", c->plan_hash);
	add_field(&text, "expected_binding", c->expected_binding);
	add_field(&text, "before", c->before);
	add_field(&text, "scratch", t->r->scratch);
	if (strcmp(secrets, "{}") != 0) {
		/* Grown once, beforehand: growing leaves copies behind that cannot be wiped. */
		size_t room = text.len + 6 * strlen(secrets) + 64;
		char *s = mem_alloc(room);

		memcpy(s, text.s, text.len + 1);
		free(text.s);
		text.s = s;
		text.cap = room;
		add_field(&text, "secrets", secrets);
	}
	text_add(&text, "}");
	sent = frame_send(t->r->call_fd, text.s, text.len, clock_mono_us() + t->times->timeout_ms * 1000);
	explicit_bzero(text.s, text.len);
	text_done(&text);
	return sent;
}

static bool send_watch(struct talk *t)
{
	AUTO(text) struct text text = { 0 };

	text_addf(&text, "{\"t\":\"watch\",\"deadline_ms\":%lld,\"grace_ms\":%u,\"term_ms\":%u",
		  (long long)t->times->timeout_ms, t->times->grace_ms, t->times->term_ms);
	if (t->lease_seen_ms)
		text_addf(&text, ",\"lease_ms\":%lld", (long long)(t->lease_seen_ms - runner_boot_ms()));
	add_field(&text, "cgroup", t->r->cgroup);
	text_add(&text, "}");
	return send_text(t->r->control_fd, &text);
}

/* The process is gone, or is made to be. */
static void end_shared(struct talk *t)
{
	struct runner *r = t->r;
	struct host_answer *a = t->answer;
	int status;

	if (!t->call_over || t->killed || a->garbage)
		kill(r->pid, SIGKILL);
	status = spawn_reap(r->pid, 1000);
	r->pid = 0;
	/* It could start no process, and its own end was seen. */
	a->everything_gone = true;
	a->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	a->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void end_kept(struct talk *t)
{
	struct runner *r = t->r;

	if (!t->gone_told) {
		/* The keeper is lost. Its worker dies with it; its worker's children need the group. */
		t->answer->lost = true;
		kill(r->pid, SIGKILL);
		spawn_reap(r->pid, 1000);
		r->pid = 0;
		for (int i = 0; *r->cgroup && i < 200 && !t->answer->everything_gone; i++) {
			cgroup_kill(r->cgroup);
			t->answer->everything_gone = cgroup_empty(r->cgroup);
			if (!t->answer->everything_gone)
				poll(NULL, 0, 10);
		}
		return;
	}
	spawn_reap(r->pid, 1000);
	r->pid = 0;
}

/* Words for a call that ended without an answer. */
static void explain(struct talk *t)
{
	struct host_answer *a = t->answer;
	char s[256];

	if (a->timed_out)
		snprintf(s, sizeof(s),
			 "the adapter did not answer in time and was stopped; what it did is not known");
	else if (a->cancelled)
		snprintf(
			s, sizeof(s),
			"the adapter did not answer when it was cancelled and was stopped; what it did is not known");
	else if (a->lost)
		snprintf(s, sizeof(s), "the runner was lost; what the adapter did is not known");
	else if (a->signal)
		snprintf(s, sizeof(s), "the adapter crashed (signal %d, %s); what it did is not known",
			 a->signal, strsignal(a->signal));
	else
		snprintf(
			s, sizeof(s),
			"the adapter's process ended (exit code %d) without an answer; what it did is not known",
			a->exit_code);
	a->crashed = !a->timed_out && !a->cancelled && !a->lost;
	say(a, OPSCASE_UNCLEAR, s);
}

enum oc_err runner_exchange(struct runner *r, const struct host_call *call, const char *secrets,
			    const struct runner_times *times, struct host_answer *ret, bool *ret_reuse,
			    struct oc_fail *reterr)
{
	struct talk t = {
		.r = r,
		.call = call,
		.times = times,
		.answer = ret,
		.out = { .fd = r->out_fd, .max = times->output_max },
		.err = { .fd = r->err_fd, .max = times->output_max },
		.deadline_ms = runner_boot_ms() + times->timeout_ms,
	};
	bool sent;

	*ret = (struct host_answer){ .outcome = OPSCASE_UNCLEAR, .exit_code = -1, .shared = r->shared };
	*ret_reuse = false;
	if (call->leash_ref)
		t.lease_seen_ms = atomic_load(&call->leash_ref->lease_until_ms);
	r->calls++;
	sent = r->shared || send_watch(&t);
	sent = sent && send_call(&t, secrets);
	if (!sent)
		t.killed = r->shared;
	on_leash(&t);
	listen(&t);
	on_call_line(&t);
	capture_read(&t.out);
	capture_read(&t.err);

	*ret_reuse = r->shared && t.answered && !ret->garbage && !t.call_over && t.reason == GOING;
	if (*ret_reuse) {
		ret->everything_gone = true;
		ret->exit_code = 0;
		ret->pids[ret->pids_count++] = (int)r->pid;
	} else if (r->shared) {
		ret->pids[ret->pids_count++] = (int)r->pid;
		ret->timed_out = t.reason == ASKED_DEADLINE || t.reason == ASKED_LEASE;
		ret->cancelled = t.reason == ASKED_CANCEL;
		end_shared(&t);
	} else {
		end_kept(&t);
		ret->timed_out = ret->timed_out ||
				 (ret->lost && (t.reason == ASKED_DEADLINE || t.reason == ASKED_LEASE));
	}
	ret->out = capture_take(&t.out);
	ret->err = capture_take(&t.err);
	ret->out_cut = t.out.cut;
	ret->err_cut = t.err.cut;
	if (t.refused) {
		host_answer_done(ret);
		return oc_fail(reterr, OC_UNAVAILABLE, "%s", t.refusal);
	}
	if (!t.answered && !sent) {
		/* Half a message is none: the entry was not reached. */
		host_answer_done(ret);
		return oc_fail(reterr, OC_UNAVAILABLE, "the runner ended before the call reached it");
	}
	if (!t.answered)
		explain(&t);
	else if (ret->signal && !ret->timed_out && !ret->cancelled && !t.kill_asked)
		ret->crashed = true; /* after its answer, which stands */
	return OC_OK;
}
