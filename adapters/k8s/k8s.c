/* k8s.c - the adapter's entries: reads the world, lets plan.c say what to write, writes, and waits.
 *
 * A step changes an object only through a patch that carries the uid and resourceVersion it was read
 * with, and leaves its idempotency key there as an annotation: so a try that nobody heard back from
 * can be told from one that never arrived. */
#include "api.h"
#include "common/answer.h"
#include "k8s_manifest.h"
#include "object.h"
#include "params.h"
#include "plan.h"
#include "rollout.h"

#include <opscase/adapter.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LETTERS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."

enum {
	DEADLINE_MAX_MS = 24 * 3600 * 1000,
	POLL_MS = 1000,
	REQUEST_MS = 30000,
	REPEAT_ROOM_MS = 200,    /* a refused write is not repeated with less time than this for its answer */
	READ_TRIES = 3,          /* of the first look; after a write we keep looking until the deadline */
	STALE_VERDICT_POLLS = 5, /* how long a failure from before our change may linger                */
};

struct k8s {
	struct api *api;
	int64_t poll_ms, request_ms;
	atomic_bool stop;
};

struct step {
	struct k8s *k;
	const struct opscase_action *act;
	struct opscase_reply *reply;
	struct params p;
	struct world w;
	json_t *secrets;
	int64_t until;           /* when the answer must be given (monotonic)      */
	const atomic_bool *stop; /* NULL: this entry is not cancelled               */
	bool dry;                /* writes carry dryRun=All                         */
	bool undoing;
	bool applied; /* the server has confirmed a write of this call   */
	int64_t changed;
	enum opscase_outcome outcome; /* once `body` is there                       */
	json_t *body;
	char said[640]; /* the last sentence of progress                            */
};

/* --- ending */

__attribute__((format(printf, 3, 4))) static bool step_end(struct step *s, enum opscase_outcome outcome,
							   const char *format, ...)
{
	char sentence[1600];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	json_decref(s->body);
	s->outcome = outcome;
	s->body = json_pack("{s:o, s:b}", "error", answer_text(sentence, strlen(sentence), sizeof sentence),
			    "applied", s->applied);
	return false;
}

static void step_detail(struct step *s, const char *name, json_t *take_value)
{
	if (s->body && take_value)
		json_object_set_new(s->body, name, take_value);
	else
		json_decref(take_value);
}

static bool step_end_api(struct step *s, enum opscase_outcome outcome, const struct api_answer *a)
{
	const char *reason = json_string_value(json_object_get(a->body, "reason"));

	step_end(s, outcome, "%s", a->error);
	if (a->http > 0)
		step_detail(s, "detail",
			    json_pack("{s:I, s:o?}", "http", (json_int_t)a->http, "reason",
				      reason ? json_string(reason) : NULL));
	return false;
}

static bool step_stopped(struct step *s)
{
	return s->stop && atomic_load(s->stop);
}

static bool step_end_stopped(struct step *s)
{
	if (s->applied)
		return step_end(s, OPSCASE_UNCLEAR,
				"cancelled after the change was made; its rollout was not waited for");
	return step_end(s, OPSCASE_CANCELLED, "cancelled before anything was changed");
}

static int step_answer(struct step *s)
{
	json_t *body = s->body;
	struct opscase_reply *reply = s->reply;
	enum opscase_outcome outcome = s->outcome;

	json_decref(s->w.stable);
	json_decref(s->w.canary);
	json_decref(s->w.history);
	json_decref(s->secrets);
	params_done(&s->p);
	api_use(s->k->api, "");
	return answer(reply, outcome, body);
}

static int64_t request_until(const struct step *s)
{
	int64_t until = answer_clock_ms() + s->k->request_ms;

	return until < s->until ? until : s->until;
}

static void step_pause(struct step *s, int64_t ms)
{
	int64_t until = answer_clock_ms() + ms;

	api_sleep(s->k->api, until < s->until ? until : s->until);
}

/* --- reading */

static void object_path(const struct step *s, const char *name, const char *query, char ret_path[800])
{
	snprintf(ret_path, 800, "/apis/apps/v1/namespaces/%s/%s%s%s%s%s", s->p.namespace_name,
		 kind_plural(s->p.kind), *name ? "/" : "", name, *query ? "?" : "", query);
}

/* *ret_object is NULL where the server says that there is none. */
static bool step_fetch(struct step *s, const char *path, json_t **ret_object)
{
	for (int tries = 1;; tries++) {
		struct api_answer a;
		int64_t pause = s->k->poll_ms;

		if (step_stopped(s))
			return step_end_stopped(s);
		api_call(s->k->api, "GET", path, NULL, NULL, request_until(s), s->stop, &a);
		if (a.result == API_OK) {
			*ret_object = a.body;
			return true;
		}
		if (a.result == API_HTTP && a.http == 404 && json_object_get(a.body, "details")) {
			/* a Status that names nothing means a server that does not know the path at all */
			bool named = json_is_string(object_at(a.body, "details", "name", NULL));

			if (named) {
				api_answer_done(&a);
				*ret_object = NULL;
				return true;
			}
		}
		if (step_stopped(s)) {
			api_answer_done(&a);
			return step_end_stopped(s);
		}
		if (a.result == API_HTTP && a.http < 500 && a.http != 408 && a.http != 429)
			step_end_api(s, s->applied ? OPSCASE_UNCLEAR : OPSCASE_NOT_APPLIED, &a);
		else if ((!s->applied && tries >= READ_TRIES) || answer_clock_ms() >= s->until)
			step_end_api(s, s->applied ? OPSCASE_UNCLEAR : OPSCASE_NOT_APPLIED, &a);
		if (a.retry_after_ms > pause)
			pause = a.retry_after_ms;
		api_answer_done(&a);
		if (s->body)
			return false;
		step_pause(s, pause);
	}
}

static bool step_fetch_named(struct step *s, bool canary, json_t **ret_object)
{
	char path[800];

	object_path(s, canary ? s->p.canary_name : s->p.name, "", path);
	return step_fetch(s, path, ret_object);
}

static bool step_fetch_history(struct step *s)
{
	const json_t *labels = object_at(s->w.stable, "spec", "selector", "matchLabels", NULL);
	char path[2048], *selector = NULL;
	const char *name;
	json_t *value, *list = NULL;
	size_t len = 0;

	len = (size_t)snprintf(path, sizeof path,
			       "/apis/apps/v1/namespaces/%s/%s?labelSelector=", s->p.namespace_name,
			       s->p.kind == KIND_DEPLOYMENT ? "replicasets" : "controllerrevisions");
	json_object_foreach((json_t *)labels, name, value)
	{
		json_t *pair =
			json_sprintf("%s=%s", name, json_is_string(value) ? json_string_value(value) : "");
		size_t n;

		selector = pair ? api_escape(json_string_value(pair)) : NULL;
		json_decref(pair);
		n = selector ? strlen(selector) : sizeof path;
		if (len + n + 4 < sizeof path)
			len += (size_t)snprintf(path + len, sizeof path - len, "%s%s",
						path[len - 1] == '=' ? "" : "%2C", selector);
		free(selector); /* a selector that does not fit only makes the list longer: the owner's uid decides */
	}
	if (!step_fetch(s, path, &list))
		return false;
	s->w.history = history_of(list, object_uid(s->w.stable));
	json_decref(list);
	return true;
}

static bool step_read(struct step *s)
{
	if (!step_fetch_named(s, false, &s->w.stable))
		return false;
	if (s->w.stable && action_has_canary(s->p.action) && !step_fetch_named(s, true, &s->w.canary))
		return false;
	return !s->w.stable || s->p.action != ACTION_UNDO || step_fetch_history(s);
}

/* --- waiting */

static void step_say(struct step *s, const char *sentence)
{
	if (!s->reply->progress || strcmp(s->said, sentence) == 0)
		return;
	snprintf(s->said, sizeof s->said, "%s", sentence);
	s->reply->progress(s->reply, sentence);
}

static void step_rollout(struct step *s, const struct rollout_view *view)
{
	step_detail(s, "rollout",
		    json_pack("{s:s, s:o}", "state", rollout_state_name(view->state), "sentence",
			      answer_text(view->sentence, strlen(view->sentence), sizeof view->sentence)));
}

/* Until the rollout is through. `was` is the object before our change, or NULL. */
static bool step_wait(struct step *s, bool canary, const json_t *was)
{
	struct rollout_view view, old = { .state = ROLLOUT_WAITING };
	int64_t believe_from = answer_clock_ms();

	if (was)
		rollout_judge(was, &old);
	/* A rollout that had failed before we came may still read as failed for a moment. */
	if (old.state == ROLLOUT_FAILED && s->applied)
		believe_from += STALE_VERDICT_POLLS * s->k->poll_ms;
	for (;;) {
		json_t *now = NULL, **held = canary ? &s->w.canary : &s->w.stable;

		if (!step_fetch_named(s, canary, &now))
			return false;
		if (!now)
			return step_end(s, s->applied ? OPSCASE_FAILED : OPSCASE_NOT_APPLIED,
					"%s %s was deleted while its rollout was under way",
					kind_word(s->p.kind), canary ? s->p.canary_name : s->p.name);
		json_decref(*held);
		*held = now;
		rollout_judge(now, &view);
		step_say(s, view.sentence);
		if (view.state == ROLLOUT_COMPLETE ||
		    (view.state == ROLLOUT_UNWATCHED && s->p.action != ACTION_STATUS))
			return true;
		if (view.state == ROLLOUT_UNWATCHED ||
		    (view.state == ROLLOUT_FAILED && answer_clock_ms() >= believe_from)) {
			step_end(s, OPSCASE_FAILED, "%s", view.sentence);
			step_rollout(s, &view);
			return false;
		}
		if (step_stopped(s))
			return step_end_stopped(s);
		step_pause(s, s->k->poll_ms);
		if (answer_clock_ms() >= s->until) {
			if (s->applied)
				step_end(s, OPSCASE_UNCLEAR,
					 "the change is made, but the rollout was not through in time: %s",
					 view.sentence);
			else
				step_end(s, OPSCASE_FAILED, "the rollout was not through in time: %s",
					 view.sentence);
			step_rollout(s, &view);
			return false;
		}
	}
}

static bool step_wait_gone(struct step *s, const char *uid)
{
	for (;;) {
		json_t *now = NULL;
		bool gone;

		if (!step_fetch_named(s, true, &now))
			return false;
		gone = !now || strcmp(object_uid(now), uid) != 0;
		json_decref(now);
		if (gone)
			return true;
		if (answer_clock_ms() >= s->until)
			return step_end(s, OPSCASE_UNCLEAR,
					"the canary is being deleted, but was not gone in time");
		if (step_stopped(s))
			return step_end_stopped(s);
		step_say(s, "Waiting for the canary to be gone...");
		step_pause(s, s->k->poll_ms);
	}
}

/* --- writing */

/* The object is not what it was when we read it: look again and say whether the write may be tried once more. */
static bool step_look_again(struct step *s, const struct work *work, const json_t *seen, json_t **held)
{
	json_t *now = NULL;

	if (!step_fetch_named(s, work->canary, &now))
		return false;
	json_decref(*held);
	*held = now;
	if (now && object_unchanged(&s->p, seen, now))
		return true;
	step_end(s, s->applied ? OPSCASE_FAILED : OPSCASE_WORLD_CHANGED,
		 "%s %s was %s by somebody else meanwhile", kind_word(s->p.kind),
		 work->canary ? s->p.canary_name : s->p.name,
		 !seen ? "made"
		 : now ? "changed"
		       : "deleted");
	if (s->outcome == OPSCASE_WORLD_CHANGED) {
		struct world before = { .stable = (json_t *)seen };
		struct world after = { .stable = now };

		step_detail(s, "expected", seen ? world_binding(&s->p, &before) : json_null());
		step_detail(s, "found", world_binding(&s->p, &after));
	}
	return false;
}

static bool step_write(struct step *s, const struct work *work)
{
	static const char *const methods[] = {
		[WORK_PATCH] = "PATCH", [WORK_CREATE] = "POST", [WORK_DELETE] = "DELETE"
	};
	json_t **held = work->canary ? &s->w.canary : &s->w.stable;
	json_t *seen = work->how == WORK_CREATE ? NULL : json_incref(*held);
	bool ok = false, again = true;
	int64_t room =
		0; /* what the next try needs; an answer that comes after the deadline would be unclear */

	while (again) {
		struct api_answer a;
		char path[800];
		json_t *body;
		int64_t began = answer_clock_ms();

		again = false;
		if (step_stopped(s)) {
			step_end_stopped(s);
			break;
		}
		if (began + room >= s->until) {
			step_end(s, s->applied ? OPSCASE_FAILED : OPSCASE_NOT_APPLIED,
				 "there was no time left to change %s",
				 work->canary ? s->p.canary_name : s->p.name);
			break;
		}
		object_path(s,
			    work->how == WORK_CREATE ? ""
			    : work->canary           ? s->p.canary_name
						     : s->p.name,
			    s->dry ? "dryRun=All&fieldManager=opscase" : "fieldManager=opscase", path);
		body = work->how == WORK_CREATE ? json_incref(work->body)
		       : work->how == WORK_PATCH
			       ? work_patch(work, *held, s->act->idempotency_key)
			       : json_pack("{s:s, s:s, s:s, s:{s:s}}", "kind", "DeleteOptions", "apiVersion",
					   "v1", "propagationPolicy", "Background", "preconditions", "uid",
					   object_uid(*held));
		if (!body) {
			step_end(s, s->applied ? OPSCASE_FAILED : OPSCASE_NOT_APPLIED,
				 "the request could not be put together");
			break;
		}
		api_call(s->k->api, methods[work->how], path,
			 work->how == WORK_PATCH ? "application/strategic-merge-patch+json"
						 : "application/json",
			 body, request_until(s), s->stop, &a);
		json_decref(body);
		began = answer_clock_ms() - began;
		room = 2 * began > room ? 2 * began : room;
		room = room > REPEAT_ROOM_MS ? room : REPEAT_ROOM_MS;
		switch (a.result) {
		case API_OK:
			ok = true;
			break;
		case API_STOPPED:
			step_end_stopped(s);
			break;
		case API_NOT_SENT:
			step_end_api(s, s->applied ? OPSCASE_FAILED : OPSCASE_NOT_APPLIED, &a);
			break;
		case API_LOST:
			step_end_api(s, OPSCASE_UNCLEAR, &a);
			break;
		case API_HTTP:
			if (a.http == 404 && work->how == WORK_DELETE) {
				ok = true;
			} else if (a.http == 409 || (a.http == 404 && work->how == WORK_PATCH)) {
				if (step_look_again(s, work, seen, held)) {
					again = true;
					step_pause(s, s->k->poll_ms < 200 ? s->k->poll_ms : 200);
				}
			} else if (a.http == 429) {
				again = true;
				step_pause(s, a.retry_after_ms ? a.retry_after_ms : s->k->poll_ms);
			} else if (a.http >=
				   500) { /* the server may have failed after it had stored the change */
				step_end_api(s, OPSCASE_UNCLEAR, &a);
			} else {
				step_end_api(s, s->applied ? OPSCASE_FAILED : OPSCASE_NOT_APPLIED, &a);
			}
			break;
		}
		if (ok && !s->dry) {
			s->applied = true;
			s->changed++;
			if (work->how != WORK_DELETE) {
				json_decref(*held);
				*held = json_incref(a.body);
			}
		}
		api_answer_done(&a);
		if (ok && !s->dry)
			ok = work->how == WORK_DELETE ? step_wait_gone(s, object_uid(seen))
						      : step_wait(s, work->canary, seen);
	}
	json_decref(seen);
	return ok;
}

static bool step_do(struct step *s, const struct plan *plan)
{
	/* What is promoted has to have come up. */
	if (s->p.action == ACTION_PROMOTE && plan->n > 0 && s->w.canary && !s->dry && !s->undoing &&
	    !step_wait(s, true, NULL))
		return false;
	for (size_t i = 0; i < plan->n; i++) {
		const struct work *work = &plan->works[i];
		const json_t *object = work->canary ? s->w.canary : s->w.stable;

		/* Pods are taken from one side only when the other side's are there, also when an earlier try made them. */
		if (s->p.action == ACTION_WEIGHT && !s->dry && work->how == WORK_PATCH &&
		    work->replicas >= 0 && work->replicas < object_replicas(object) &&
		    (work->canary ? s->w.stable : s->w.canary) && !step_wait(s, !work->canary, NULL))
			return false;
		if (!step_write(s, work))
			return false;
	}
	return true;
}

/* --- beginning */

static bool step_begin(struct step *s, struct k8s *k, const struct opscase_action *act,
		       struct opscase_reply *reply, enum opscase_outcome bad)
{
	int64_t left = act->deadline_ms < 0                 ? 0
		       : act->deadline_ms > DEADLINE_MAX_MS ? DEADLINE_MAX_MS
							    : act->deadline_ms;
	int64_t margin = left / 20;
	size_t key_len = strlen(act->idempotency_key);

	const char *token;
	char why[256];

	*s = (struct step){ .k = k, .act = act, .reply = reply };
	margin = margin < 20 ? 20 : margin > 1000 ? 1000 : margin;
	s->until = answer_clock_ms() + left - margin;
	if (strcmp(act->operation, "k8s.rollout") != 0)
		return step_end(s, bad, "there is no operation '%.64s'", act->operation);
	if (!params_parse(act->params, &s->p, why, sizeof why))
		return step_end(s, bad, "%s", why);
	/* It goes into an annotation, in a list with commas. */
	if (key_len == 0 || key_len > 128 || strspn(act->idempotency_key, KEY_LETTERS) != key_len)
		return step_end(s, bad, "the idempotency key is no key");
	s->secrets = answer_object(act->secrets);

	token = json_string_value(json_object_get(s->secrets, "token"));
	if (!token || !*token || strpbrk(token, "\r\n"))
		return step_end(s, bad,
				"the secret 'token' (of a service account) was not given or is no token");
	api_use(k->api, token);
	return true;
}

/* False when the world is not the one that was approved. */
static bool step_compare(struct step *s)
{
	json_t *expected, *found, *names;
	bool same;

	if (!s->act->expected_binding)
		return true;
	expected = answer_object(s->act->expected_binding);
	if (!expected)
		return step_end(s, OPSCASE_NOT_APPLIED, "the expected binding is no JSON object");
	found = world_binding(&s->p, &s->w);
	names = binding_differs(expected, found);
	same = names == NULL;
	if (!same) {
		step_end(s, OPSCASE_WORLD_CHANGED, "%s %s is no longer as it was approved",
			 kind_word(s->p.kind), s->p.name);
		step_detail(s, "differs", names);
		step_detail(s, "expected", json_incref(expected));
		step_detail(s, "found", json_incref(found));
	}
	json_decref(expected);
	json_decref(found);
	return same;
}

static void step_done(struct step *s, bool already)
{
	struct rollout_view view;

	s->outcome = OPSCASE_DONE;
	s->body = json_pack("{s:I, s:b}", "changed", (json_int_t)s->changed, "already", already);
	rollout_judge(s->w.stable, &view);
	step_rollout(s, &view);
	step_detail(s, "binding", world_binding(&s->p, &s->w));
}

static void now_text(char ret_text[40])
{
	struct timespec ts;
	struct tm tm;
	char seconds[24];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text, 40, "%s.%03ldZ", seconds,
		 ts.tv_nsec / 1000000); /* two restarts in one second stay two */
}

static bool step_plan(struct step *s, struct plan *ret_plan)
{
	char now[40];

	now_text(now);
	if (plan_make(&s->p, &s->w, s->act->idempotency_key, now, ret_plan))
		return true;
	step_end(s, ret_plan->outcome, "%s", ret_plan->why);
	if (ret_plan->outcome == OPSCASE_WORLD_CHANGED)
		step_detail(s, "found", world_binding(&s->p, &s->w));
	return false;
}

/* --- the entries */

static void k8s_close(void *ctx)
{
	struct k8s *k = ctx;

	if (!k)
		return;
	api_free(k->api);
	free(k);
}

static int k8s_open(void **ret_ctx, const char *config, struct opscase_reply *reply)
{
	json_t *settings = answer_object(config && *config ? config : "{}");
	const char *server = json_string_value(json_object_get(settings, "server"));
	const char *ca_file = json_string_value(json_object_get(settings, "ca_file"));
	const char *ca = json_string_value(json_object_get(settings, "ca"));
	struct k8s *k;

	if (!server || strncmp(server, "https://", 8) != 0 || strpbrk(server, " \t\r\n?#@")) {
		json_decref(settings);
		return answer_error(reply, OPSCASE_REFUSED,
				    "the setting 'server' is not the https:// URL of an API server");
	}
	k = calloc(1, sizeof *k);
	if (k) {
		k->api = api_new(server, ca_file, ca);
		k->poll_ms = object_number(json_object_get(settings, "poll_ms"), POLL_MS);
		k->request_ms = object_number(json_object_get(settings, "request_timeout_ms"), REQUEST_MS);
		k->poll_ms = k->poll_ms < 10 ? 10 : k->poll_ms > 60000 ? 60000 : k->poll_ms;
		k->request_ms = k->request_ms < 100 ? 100 : k->request_ms > 300000 ? 300000 : k->request_ms;
		atomic_init(&k->stop, false);
	}
	json_decref(settings);
	if (!k || !k->api) {
		k8s_close(k);
		return answer_error(reply, OPSCASE_REFUSED, "there is not enough memory");
	}
	*ret_ctx = k;
	return reply->send(reply, OPSCASE_VALID, "{}");
}

static int k8s_validate(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct params p;
	char why[256] = "";
	bool ok;

	(void)ctx;
	if (strcmp(act->operation, "k8s.rollout") != 0)
		return answer_error(reply, OPSCASE_REFUSED, "there is no operation '%.64s'", act->operation);
	ok = params_parse(act->params, &p, why, sizeof why);
	params_done(&p);
	return ok ? reply->send(reply, OPSCASE_VALID, "{}") : answer_error(reply, OPSCASE_REFUSED, "%s", why);
}

static int k8s_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct step s;
	struct plan plan = { 0 };
	json_t *changes, *diff;

	if (step_begin(&s, ctx, act, reply, OPSCASE_REFUSED) && step_read(&s)) {
		if (!step_plan(&s, &plan)) {
			s.outcome = OPSCASE_REFUSED;
		} else {
			plan_changes(&s.p, &s.w, &plan, &changes, &diff);
			s.dry = true; /* admission and validation of the server have their say */
			if (step_do(&s, &plan)) {
				s.outcome = OPSCASE_WOULD_DO;
				s.body = json_pack("{s:O, s:O}", "changes", changes, "diff", diff);
			} else if (s.outcome == OPSCASE_NOT_APPLIED &&
				   object_at(s.body, "detail", "http", NULL)) {
				s.outcome = OPSCASE_REFUSED;
			}
			json_decref(changes);
			json_decref(diff);
		}
	}
	plan_done(&plan);
	return step_answer(&s);
}

static int k8s_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct step s;

	if (step_begin(&s, ctx, act, reply, OPSCASE_UNCLEAR) && step_read(&s)) {
		s.outcome = world_has(&s.p, &s.w, act->idempotency_key) ? OPSCASE_APPLIED
									: OPSCASE_NOT_APPLIED;
		s.body = json_pack("{s:o, s:o}", "binding", world_binding(&s.p, &s.w), "info",
				   world_info(&s.p, &s.w, act->idempotency_key));
	} else {
		s.outcome = OPSCASE_UNCLEAR; /* it could not look: that says nothing about the world */
	}
	return step_answer(&s);
}

static bool step_run(struct step *s)
{
	struct plan plan = { 0 };
	const char *key = s->act->idempotency_key;
	bool has, marked, ok;

	if (!step_read(s))
		return false;
	has = world_has(&s->p, &s->w, key);
	marked = world_marked(&s->w, key);
	if (s->p.action == ACTION_STATUS && s->w.stable) {
		if (!step_compare(s) || !step_wait(s, false, NULL))
			return false;
		step_done(s, false);
		return true;
	}
	if (marked && !has && !action_has_canary(s->p.action)) {
		step_end(s, OPSCASE_WORLD_CHANGED,
			 "this step was applied before, and somebody has changed %s %s since",
			 kind_word(s->p.kind), s->p.name);
		step_detail(s, "expected", json_incref(s->p.json));
		step_detail(s, "found", world_binding(&s->p, &s->w));
		return false;
	}
	/* What this step itself has begun is no longer as it was approved, and should not be. */
	if (s->w.stable && !has && !marked && !step_compare(s))
		return false;
	if (!step_plan(s, &plan))
		ok = false;
	else if (plan.n == 0)
		ok = (s->p.action == ACTION_CANARY || step_wait(s, false, NULL)) &&
		     (!s->w.canary || step_wait(s, true, NULL));
	else
		ok = step_do(s, &plan);
	if (ok)
		step_done(s, plan.n == 0);
	plan_done(&plan);
	return ok;
}

static int k8s_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct k8s *k = ctx;
	struct step s;

	if (step_begin(&s, k, act, reply, OPSCASE_NOT_APPLIED)) {
		s.stop = &k->stop;
		step_run(&s);
	}
	atomic_store(&k->stop, false);
	return step_answer(&s);
}

static int k8s_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct k8s *k = ctx;
	struct step s;
	struct plan plan = { 0 };
	json_t *before = NULL;

	if (step_begin(&s, k, act, reply, OPSCASE_NOT_APPLIED)) {
		s.stop = &k->stop;
		s.undoing = true;
		before = answer_object(act->before);
		if (step_read(&s) && step_compare(&s)) {
			if (!plan_undo(&s.p, &s.w, before, &plan))
				step_end(&s, plan.outcome, "%s", plan.why);
			else if (step_do(&s, &plan))
				step_done(&s, plan.n == 0);
		}
	}
	plan_done(&plan);
	json_decref(before);
	atomic_store(&k->stop, false);
	return step_answer(&s);
}

static void k8s_cancel(void *ctx)
{
	struct k8s *k = ctx;

	atomic_store(&k->stop, true);
	api_wake(k->api);
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = "k8s",
	.version = "1",
	.manifest = k8s_manifest,
	.open = k8s_open,
	.validate = k8s_validate,
	.dry_run = k8s_dry_run,
	.run = k8s_run,
	.probe = k8s_probe,
	.undo = k8s_undo,
	.cancel = k8s_cancel,
	.close = k8s_close,
};
