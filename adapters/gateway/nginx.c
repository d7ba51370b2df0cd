/* nginx.c - gateway.flip on nginx: one upstream block of one file, tested, swapped in, reloaded, confirmed.
 *
 * The order is what makes it safe to die anywhere: the candidate is exchanged with the file in one step
 * (so the old file, with its old time, can be put back whole), `nginx -t` judges it in place, and only
 * then the master is told. The file carries the idempotency key; together with the age of the workers
 * it says how far an interrupted flip came. */
#include "nginx_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SETTLE_MS      40 /* until the time of the new file is past; see nginx_file_time */
#define BODY_MAX_BYTES (16 * 1024)

static void nginx_done(struct nginx *ng)
{
	free(ng->text);
	upstream_done(&ng->up);
	json_decref(ng->found);
	json_decref(ng->wanted);
	json_decref(ng->to);
	if (ng->running)
		nginx_master_done(&ng->master);
}

static bool key_is_plain(const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)key[i]) && key[i] != '-' && key[i] != '_')
			return false;
	return n <= 64; /* a look from outside a plan has none */
}

/* The schema said so already; but what goes into a configuration file is looked at here too. */
static bool address_is_plain(const char *address)
{
	size_t n = address ? strlen(address) : 0;

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)address[i]) && !strchr("._-:/[]", address[i]))
			return false;
	return n > 0 && n < 256;
}

static bool to_is_plain(const json_t *to)
{
	json_t *s;
	size_t i;

	if (json_is_string(to))
		return address_is_plain(json_string_value(to));
	json_array_foreach((json_t *)to, i,
			   s) if (!address_is_plain(gateway_text(s, "server", NULL)) ||
				  gateway_number(s, "weight", 1) < 1 ||
				  strpbrk(gateway_text(s, "options", ""), ";{}#\r\n")) return false;
	return json_array_size(to) > 0 && json_array_size(to) <= 64;
}

int nginx_validate(struct gateway_call *call)
{
	const json_t *gw = call->gateway_ref, *to = json_object_get(call->params, "to");
	static const char *const needs[] = { "conf", "upstream_file", "pid_file" };

	for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
		if (gateway_text(gw, needs[i], "")[0] != '/')
			return answer_error(call->reply, OPSCASE_REFUSED,
					    "the settings of gateway '%s' need an absolute path in '%s'",
					    call->gateway_name, needs[i]);
	if (gateway_text(gw, "binary", "/usr/sbin/nginx")[0] != '/')
		return answer_error(call->reply, OPSCASE_REFUSED,
				    "the binary of gateway '%s' is no absolute path", call->gateway_name);
	if (!gateway_text(call->params, "upstream", NULL) || !to)
		return answer_error(call->reply, OPSCASE_REFUSED,
				    "gateway '%s' is an nginx: the step needs `upstream` and `to`",
				    call->gateway_name);
	if (!to_is_plain(to))
		return answer_error(call->reply, OPSCASE_REFUSED,
				    "`to` is \"host:port\", or a list of 1 to 64 {\"server\": \"host:port\"}");
	if (!key_is_plain(call->act->idempotency_key))
		return answer_error(call->reply, OPSCASE_REFUSED,
				    "the idempotency key does not fit into a comment");
	return call->reply->send(call->reply, OPSCASE_VALID, "{}");
}

static bool load(struct gateway_call *call, struct nginx *ng)
{
	const json_t *gw = call->gateway_ref;
	const char *slash;

	*ng = (struct nginx){ .call = call, .master.pidfd = -1 };
	ng->binary = gateway_text(gw, "binary", "/usr/sbin/nginx");
	ng->conf = gateway_text(gw, "conf", "");
	ng->prefix = gateway_text(gw, "prefix", NULL);
	ng->pid_file = gateway_text(gw, "pid_file", "");
	ng->reload_wait_ms = gateway_number(gw, "reload_wait_s", 30) * 1000;
	ng->name = gateway_text(call->params, "upstream", "");
	if (!to_is_plain(json_object_get(call->params, "to")) || !key_is_plain(call->act->idempotency_key)) {
		snprintf(ng->why, sizeof ng->why,
			 "the step needs `upstream`, `to` and a plain idempotency key");
		return false;
	}
	ng->running = nginx_master_find(ng->pid_file, &ng->master, ng->why, sizeof ng->why);
	if (!realpath(gateway_text(gw, "upstream_file", ""), ng->path)) {
		snprintf(ng->why, sizeof ng->why, "cannot find '%s': %s",
			 gateway_text(gw, "upstream_file", ""), strerror(errno));
		return false;
	}
	slash = strrchr(ng->path, '/');
	/* A leading dot keeps it out of `include dir/<star>`. */
	if ((size_t)snprintf(ng->side, sizeof ng->side, "%.*s/.%s.opscase", (int)(slash - ng->path), ng->path,
			     slash + 1) >= sizeof ng->side) {
		snprintf(ng->why, sizeof ng->why, "the path of the upstream file is too long");
		return false;
	}
	if (!nginx_file_load(ng))
		return false;
	ng->to = upstream_wanted(json_object_get(call->params, "to"), ng->up.servers);
	ng->wanted = upstream_sorted(ng->to);
	return true;
}

/* Do all workers that take connections know the file as it is now? */
static bool is_fresh(const struct nginx *ng, struct nginx_workers *ret_workers)
{
	*ret_workers = ng->running ? nginx_workers_look(&ng->master) : (struct nginx_workers){ 0 };
	return ret_workers->current > 0 &&
	       ret_workers->oldest_ns > (int64_t)ng->st.st_mtim.tv_sec * 1000000000 + ng->st.st_mtim.tv_nsec;
}

/* ---- what it would do, and what is so */

int nginx_dry_run(struct gateway_call *call)
{
	struct nginx_workers workers;
	struct nginx ng;
	char *body, *text, *diff;
	json_t *changes;
	int r;

	if (!load(call, &ng)) {
		r = answer_error(call->reply, OPSCASE_REFUSED, "%s", ng.why);
		nginx_done(&ng);
		return r;
	}
	if (json_equal(ng.found, ng.wanted)) {
		bool fresh = is_fresh(&ng, &workers);

		r = answer(
			call->reply, OPSCASE_WOULD_DO,
			json_pack("{s:[], s:s, s:s*}", "changes", "diff", "", "note",
				  fresh ? "the upstream has these servers already"
					: "the file has these servers already; nginx would only be reloaded"));
		nginx_done(&ng);
		return r;
	}
	body = upstream_render(&ng.up, ng.to, call->act->idempotency_key);
	text = body ? upstream_splice(&ng.up, body) : NULL;
	diff = text ? upstream_diff(ng.path, ng.text, text) : NULL;
	changes = json_pack("[{s:o, s:O, s:O}]", "what",
			    json_sprintf("servers of upstream %s in gateway %s", ng.name, call->gateway_name),
			    "from", ng.up.servers, "to", ng.to);
	r = answer(call->reply, OPSCASE_WOULD_DO,
		   json_pack("{s:o, s:o, s:b}", "changes", changes, "diff",
			     diff ? answer_text(diff, strlen(diff), 64 * 1024) : json_string(""), "running",
			     ng.running));
	free(diff);
	free(text);
	free(body);
	nginx_done(&ng);
	return r;
}

int nginx_probe(struct gateway_call *call)
{
	struct nginx_workers workers = { 0 };
	bool same, fresh;
	struct nginx ng;
	json_t *info;
	int r;

	if (!load(call, &ng)) {
		r = answer(call->reply, OPSCASE_UNCLEAR,
			   json_pack("{s:o, s:{}, s:{s:s}}", "error",
				     answer_text(ng.why, strlen(ng.why), 1024), "binding", "info", "kind",
				     "nginx"));
		nginx_done(&ng);
		return r;
	}
	same = json_equal(ng.found, ng.wanted);
	fresh = is_fresh(&ng, &workers);
	/* Our own reload may be under way: the one who asked for it died, nginx did not. */
	while (same && !fresh && ng.running &&
	       nginx_wall_ns() - ((int64_t)ng.st.st_mtim.tv_sec * 1000000000 + ng.st.st_mtim.tv_nsec) <
		       2000000000 &&
	       gateway_wait(call, -1, 0, 50) == WAIT_TIME_OUT && gateway_left_ms(call) > 0)
		fresh = is_fresh(&ng, &workers);
	info = json_pack("{s:s, s:s, s:O, s:s, s:b, s:b, s:i, s:i}", "kind", "nginx", "upstream", ng.name,
			 "servers", ng.up.servers, "key", ng.up.mark, "running", ng.running, "reloaded",
			 fresh, "workers", (int)workers.current, "old_workers", (int)workers.finishing);
	if (ng.up.body_end - ng.up.body <= BODY_MAX_BYTES)
		json_object_set_new(info, "body",
				    answer_text(ng.text + ng.up.body, ng.up.body_end - ng.up.body,
						BODY_MAX_BYTES));
	if (!ng.running)
		json_object_set_new(info, "note", answer_text(ng.why, strlen(ng.why), 1024));
	else if (!fresh)
		json_object_set_new(
			info, "note",
			json_string(
				"the running nginx has not read the file as it is now; the next reload will"));
	r = answer(call->reply, same && fresh ? OPSCASE_APPLIED : OPSCASE_NOT_APPLIED,
		   json_pack("{s:{s:O}, s:o}", "binding", "servers", ng.found, "info", info));
	nginx_done(&ng);
	return r;
}

/* ---- doing it */

static struct nginx_said nginx_test(struct nginx *ng)
{
	char *argv[8] = { (char *)ng->binary, "-t", "-q", "-c", (char *)ng->conf };

	if (ng->prefix) {
		argv[5] = "-p";
		argv[6] = (char *)ng->prefix;
	}
	return nginx_command(ng->call, argv);
}

/* Ends a flip that did not go through: the old file back in force, then one sentence. `side` says whether there is one. */
static int give_up(struct nginx *ng, bool side, enum opscase_outcome outcome, const char *sentence,
		   const char *detail)
{
	bool back = side && nginx_file_put_back(ng);

	if (!back)
		outcome = OPSCASE_FAILED;
	return answer(ng->call->reply, outcome,
		      json_pack("{s:s, s:o, s:s}", "error", sentence, "detail",
				answer_text(detail, strlen(detail), 4096), "file",
				back ? "the old file is back in force"
				: side ? "the old file could not be put back: it lies beside the upstream file"
				       : "the new file is in place; nginx still runs the old one"));
}

/* From the new file in place to new workers. `side`: the old file lies beside it. */
static int test_and_reload(struct nginx *ng, bool side, json_t *take_done)
{
	struct gateway_call *call = ng->call;
	const json_t *drain = json_object_get(call->params, "drain_s");
	int64_t asked_ns, until_ms, drain_until_ms;
	struct nginx_workers workers;
	struct timespec times[2];
	struct nginx_said said;
	int e;

	said = nginx_test(ng);
	if (said.end == WAIT_CANCELLED || said.end == WAIT_TIME_OUT || !said.good) {
		json_decref(take_done);
		return give_up(ng, side, said.end == WAIT_CANCELLED ? OPSCASE_CANCELLED : OPSCASE_NOT_APPLIED,
			       said.end == WAIT_CANCELLED
				       ? "cancelled while nginx tested the new configuration"
			       : said.end == WAIT_TIME_OUT
				       ? "no time was left for nginx to test the new configuration"
				       : "nginx refuses the new configuration",
			       said.text);
	}
	nginx_file_time(times);
	if (utimensat(AT_FDCWD, ng->path, times, 0) != 0 || stat(ng->path, &ng->st) != 0) {
		json_decref(take_done);
		return give_up(ng, side, OPSCASE_NOT_APPLIED, "cannot set the time of the upstream file",
			       strerror(errno));
	}
	if (gateway_wait(call, -1, 0, SETTLE_MS) == WAIT_CANCELLED || gateway_left_ms(call) == 0) {
		bool cancelled = gateway_cancelled(call);

		json_decref(take_done);
		return give_up(ng, side, cancelled ? OPSCASE_CANCELLED : OPSCASE_NOT_APPLIED,
			       cancelled ? "cancelled before nginx was told"
					 : "no time was left to tell nginx",
			       "");
	}
	asked_ns = nginx_wall_ns();
	e = nginx_master_reload(&ng->master);
	if (e < 0) {
		json_decref(take_done);
		return give_up(ng, side, OPSCASE_NOT_APPLIED, "cannot tell the nginx master to reload",
			       strerror(-e));
	}
	gateway_progress(call, "nginx was told to reload; waiting for its new workers");
	until_ms = answer_clock_ms() + ng->reload_wait_ms;
	while (!is_fresh(ng, &workers)) {
		enum gateway_wait w = gateway_wait(call, -1, 0, 20);

		if (w == WAIT_CANCELLED || gateway_left_ms(call) == 0 || answer_clock_ms() > until_ms) {
			json_decref(take_done);
			unlink(ng->side);
			return answer(
				call->reply, OPSCASE_UNCLEAR,
				json_pack(
					"{s:s, s:i, s:s}", "error",
					w == WAIT_CANCELLED
						? "cancelled after nginx was told to reload; its new workers were not seen"
						: "nginx was told to reload, but no new workers were seen in time",
					"workers", (int)workers.current, "detail",
					"the new file is in place; nginx's error log says whether it took it"));
		}
	}
	unlink(ng->side);
	nginx_file_sync(ng);
	drain_until_ms = answer_clock_ms() + (json_is_integer(drain) ? json_integer_value(drain) * 1000 : 0);
	/* The flip stands; what is left is politeness, and ends without harm. */
	while (workers.finishing > 0 && answer_clock_ms() < drain_until_ms && gateway_left_ms(call) > 200 &&
	       gateway_wait(call, -1, 0, 50) == WAIT_TIME_OUT)
		workers = nginx_workers_look(&ng->master);
	json_object_set_new(take_done, "workers", json_integer(workers.current));
	json_object_set_new(take_done, "old_workers_left", json_integer(workers.finishing));
	json_object_set_new(take_done, "reload_ms", json_integer((nginx_wall_ns() - asked_ns) / 1000000));
	return answer(call->reply, OPSCASE_DONE, take_done);
}

/* Puts another body into the block: write, swap, then test and reload. */
static int replace_body(struct nginx *ng, const char *body, json_t *take_done)
{
	char *text = upstream_splice(&ng->up, body);
	bool written = text && nginx_file_write_beside(ng, text);

	free(text);
	if (!written) {
		json_decref(take_done);
		return answer_error(ng->call->reply, OPSCASE_NOT_APPLIED, "%s", ng->why);
	}
	if (gateway_cancelled(ng->call)) {
		json_decref(take_done);
		unlink(ng->side);
		return answer_error(ng->call->reply, OPSCASE_CANCELLED,
				    "cancelled before anything was changed");
	}
	if (!nginx_file_exchange(ng)) {
		json_decref(take_done);
		snprintf(ng->why, sizeof ng->why, "cannot put the new file in place of '%s': %s", ng->path,
			 strerror(errno));
		unlink(ng->side);
		return answer_error(ng->call->reply, OPSCASE_NOT_APPLIED, "%s", ng->why);
	}
	nginx_file_sync(ng);
	if (!nginx_file_is_what_was_read(ng)) {
		json_decref(take_done);
		if (!nginx_file_put_back(ng))
			return answer_error(
				ng->call->reply, OPSCASE_FAILED,
				"the file was written by another while this ran, and could not be put back");
		nginx_file_load(ng);
		return gateway_world_changed(ng->call, json_object_get(ng->call->expected, "servers"),
					     ng->found);
	}
	return test_and_reload(ng, true, take_done);
}

/* The file is as it should be; does nginx know? A flip that was interrupted goes on from here. */
static int already_or_reload(struct nginx *ng, bool ours, const char *resumed)
{
	struct nginx_workers workers;

	if (is_fresh(ng, &workers)) {
		unlink(ng->side);
		return answer(ng->call->reply, OPSCASE_DONE,
			      json_pack("{s:i, s:b, s:O}", "changed", 0, "already", true, "servers",
					ng->up.servers));
	}
	return test_and_reload(ng, ours && access(ng->side, F_OK) == 0,
			       json_pack("{s:i, s:b, s:s, s:O}", "changed", 1, "already", false, "note",
					 resumed, "servers", ng->up.servers));
}

static int flip(struct nginx *ng)
{
	struct gateway_call *call = ng->call;
	const json_t *expected = json_object_get(call->expected, "servers");
	bool ours = ng->up.mark[0] && strcmp(ng->up.mark, call->act->idempotency_key) == 0;
	bool same = json_equal(ng->found, ng->wanted);
	char *body;
	int r;

	if (ours && !same) /* this step was done, and then somebody set other servers: not ours to set back */
		return gateway_world_changed(call, ng->wanted, ng->found);
	if (ours)
		return already_or_reload(
			ng, true, "this step had put the file in place before; nginx was reloaded now");
	if (call->expected && !json_equal(expected, ng->found))
		return gateway_world_changed(call, expected, ng->found);
	if (same)
		return already_or_reload(ng, false, "the file had these servers already; nginx was reloaded");
	body = upstream_render(&ng->up, ng->to, call->act->idempotency_key);
	if (!body)
		return answer_error(call->reply, OPSCASE_NOT_APPLIED, "no memory for the new file");
	r = replace_body(ng, body,
			 json_pack("{s:i, s:s, s:O, s:O}", "changed", 1, "upstream", ng->name, "from",
				   ng->up.servers, "servers", ng->to));
	free(body);
	return r;
}

/* A body without our mark, for telling whether it is what a flip left. */
static char *unmarked(const struct upstream *up)
{
	return upstream_render(up, up->servers, "");
}

/* The body as it was, if the block is still what the flip made of it; else only its servers. */
static char *body_before(struct nginx *ng, const char *was, const json_t *servers)
{
	struct upstream then = { 0 };
	char *text = NULL, *made = NULL, *now = NULL, *body = NULL;
	size_t n = strlen(was) + 32;

	text = malloc(n);
	if (text) {
		snprintf(text, n, "upstream before {%s}\n", was);
		/* It must be one block to its end, so that nothing but a body comes back. */
		if (upstream_parse(text, strlen(text), "before", &then) && then.body_end == strlen(text) - 2)
			made = upstream_render(&then, ng->up.servers, "");
	}
	now = unmarked(&ng->up);
	if (made && now && strcmp(made, now) == 0)
		body = strdup(was);
	else
		body = upstream_render(&ng->up, servers, "");
	upstream_done(&then);
	free(text);
	free(made);
	free(now);
	return body;
}

static int unflip(struct nginx *ng)
{
	struct gateway_call *call = ng->call;
	const json_t *servers = json_object_get(call->before, "servers");
	const json_t *expected = json_object_get(call->expected, "servers");
	json_t *then;
	char *body;
	bool back;
	int r;

	if (!json_is_array(servers) || json_array_size(servers) == 0 || !to_is_plain(servers) ||
	    strcmp(gateway_text(call->before, "upstream", ng->name), ng->name) != 0)
		return answer_error(
			call->reply, OPSCASE_REFUSED,
			"nothing to go back to: `before` does not tell the servers of upstream '%s'",
			ng->name);
	then = upstream_sorted(servers);
	back = json_equal(then, ng->found);
	json_decref(then);
	if (back)
		return already_or_reload(ng, false,
					 "the file had the old servers already; nginx was reloaded");
	if (call->expected ? !json_equal(expected, ng->found) : !json_equal(ng->wanted, ng->found))
		return gateway_world_changed(call, call->expected ? expected : ng->wanted, ng->found);
	body = body_before(ng, gateway_text(call->before, "body", ""), servers);
	if (!body)
		return answer_error(call->reply, OPSCASE_NOT_APPLIED, "no memory for the old file");
	r = replace_body(ng, body,
			 json_pack("{s:i, s:s, s:O, s:O}", "changed", 1, "upstream", ng->name, "from",
				   ng->up.servers, "servers", servers));
	free(body);
	return r;
}

/* What run and undo have in common: nginx runs, the folder is ours, the file is read under the lock. */
static int locked(struct gateway_call *call, int (*act)(struct nginx *ng))
{
	struct nginx ng;
	int lock, r;

	if (!load(call, &ng)) {
		r = answer_error(call->reply, OPSCASE_NOT_APPLIED, "%s", ng.why);
	} else if (!ng.running) {
		r = answer_error(call->reply, OPSCASE_NOT_APPLIED, "%s", ng.why);
	} else if ((lock = gateway_lock(call, ng.path, ng.why, sizeof ng.why)) < 0) {
		r = answer_error(call->reply,
				 gateway_cancelled(call) ? OPSCASE_CANCELLED : OPSCASE_NOT_APPLIED, "%s",
				 ng.why);
	} else {
		if (!nginx_file_load(&ng)) {
			r = answer_error(call->reply, OPSCASE_NOT_APPLIED, "%s", ng.why);
		} else {
			json_decref(ng.to);
			json_decref(ng.wanted);
			ng.to = upstream_wanted(json_object_get(call->params, "to"), ng.up.servers);
			ng.wanted = upstream_sorted(ng.to);
			r = act(&ng);
		}
		close(lock);
	}
	nginx_done(&ng);
	return r;
}

int nginx_run(struct gateway_call *call)
{
	return locked(call, flip);
}

int nginx_undo(struct gateway_call *call)
{
	return locked(call, unflip);
}
