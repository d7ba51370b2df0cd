/* haproxy.c - gateway.flip on HAProxy: weight and state of servers, over the runtime socket.
 *
 * What is set here is a state, so no mark is needed: the same step twice finds it in place. Servers that
 * shall take traffic are set before those that shall not, so the backend is never empty on the way. */
#include "haproxy_socket.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

static bool name_is_plain(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_.:-", name[i]))
			return false;
	return n > 0 && n <= 128;
}

static bool state_is_known(const json_t *server)
{
	const json_t *state = json_object_get(server, "state");
	const char *s = json_string_value(state);

	return !state || (s && (!strcmp(s, "ready") || !strcmp(s, "drain") || !strcmp(s, "maint")));
}

static bool servers_are_plain(const json_t *servers)
{
	json_t *s;
	size_t i;

	json_array_foreach((json_t *)servers, i, s)
	{
		int64_t weight = gateway_number(s, "weight", 0);

		if (!name_is_plain(gateway_text(s, "name", NULL)) || !state_is_known(s) || weight < 0 ||
		    weight > 256 ||
		    (!json_object_get(s, "state") && !json_is_integer(json_object_get(s, "weight"))))
			return false;
	}
	return json_array_size(servers) > 0;
}

static bool params_are_plain(const json_t *params)
{
	return name_is_plain(gateway_text(params, "backend", NULL)) &&
	       servers_are_plain(json_object_get(params, "servers"));
}

int haproxy_validate(struct gateway_call *call)
{
	if (gateway_text(call->gateway_ref, "socket", "")[0] != '/')
		return answer_error(
			call->reply, OPSCASE_REFUSED,
			"the settings of gateway '%s' need the absolute path of its runtime `socket`",
			call->gateway_name);
	if (!params_are_plain(call->params))
		return answer_error(
			call->reply, OPSCASE_REFUSED,
			"gateway '%s' is an HAProxy: the step needs `backend` and `servers`, each with a name "
			"and a weight (0 to 256) or a state (ready, drain, maint)",
			call->gateway_name);
	return call->reply->send(call->reply, OPSCASE_VALID, "{}");
}

static bool begin(struct gateway_call *call, struct haproxy *ha)
{
	*ha = (struct haproxy){ .call = call,
				.socket = gateway_text(call->gateway_ref, "socket", ""),
				.backend = gateway_text(call->params, "backend", "") };
	if (params_are_plain(call->params))
		return true;
	snprintf(ha->why, sizeof ha->why,
		 "the step needs `backend` and `servers`, each with a weight or a state");
	return false;
}

/* All servers of the backend as they shall be. NULL, with the reason, if one of the named does not exist. */
static json_t *wanted_of(struct haproxy *ha, const json_t *changes)
{
	json_t *wanted = json_deep_copy(ha->servers), *s;
	size_t i;

	json_array_foreach((json_t *)changes, i, s)
	{
		json_t *has = haproxy_server_named(wanted, gateway_text(s, "name", ""));
		json_t *weight = json_object_get(s, "weight"), *state = json_object_get(s, "state");

		if (!has) {
			snprintf(ha->why, sizeof ha->why, "backend '%s' has no server '%s'", ha->backend,
				 gateway_text(s, "name", ""));
			json_decref(wanted);
			return NULL;
		}
		if (json_is_integer(weight))
			json_object_set(has, "weight", weight);
		if (json_is_string(state))
			json_object_set(has, "state", state);
	}
	return wanted;
}

/* ---- what it would do, and what is so */

int haproxy_dry_run(struct gateway_call *call)
{
	json_t *changes = json_array(), *warnings = json_array(), *wanted = NULL, *s;
	char *diff = NULL;
	size_t size, i;
	FILE *out = open_memstream(&diff, &size);
	struct haproxy ha;
	bool good = false;
	int r;

	if (begin(call, &ha))
		haproxy_look(&ha, &good);
	if (good)
		wanted = wanted_of(&ha, json_object_get(call->params, "servers"));
	if (!wanted || !out) {
		if (out)
			fclose(out);
		r = answer_error(call->reply, OPSCASE_REFUSED, "%s", ha.why);
	} else {
		fprintf(out, "--- %s/%s\n+++ %s/%s\n", call->gateway_name, ha.backend, call->gateway_name,
			ha.backend);
		json_array_foreach(wanted, i, s)
		{
			json_t *was = json_array_get(ha.servers, i);
			const char *name = gateway_text(s, "name", "");
			char status[64];

			if (json_equal(was, s)) {
				fprintf(out, " %s weight %lld %s\n", name,
					(long long)gateway_number(s, "weight", 0),
					gateway_text(s, "state", ""));
				continue;
			}
			fprintf(out, "-%s weight %lld %s\n+%s weight %lld %s\n", name,
				(long long)gateway_number(was, "weight", 0), gateway_text(was, "state", ""),
				name, (long long)gateway_number(s, "weight", 0),
				gateway_text(s, "state", ""));
			json_array_append_new(changes,
					      json_pack("{s:o, s:O, s:O}", "what",
							json_sprintf("server %s of backend %s in gateway %s",
								     name, ha.backend, call->gateway_name),
							"from", was, "to", s));
			if (strcmp(gateway_text(s, "state", ""), "ready") == 0 &&
			    gateway_number(s, "weight", 0) > 0 &&
			    haproxy_sessions(&ha, name, status, sizeof status) >= 0 &&
			    strncmp(status, "DOWN", 4) == 0)
				json_array_append_new(warnings,
						      json_sprintf("server %s is DOWN by its health check",
								   name));
		}
		fclose(out);
		r = answer(call->reply, OPSCASE_WOULD_DO,
			   json_pack("{s:O, s:o, s:O}", "changes", changes, "diff",
				     json_array_size(changes) ? answer_text(diff, strlen(diff), 64 * 1024)
							      : json_string(""),
				     "warnings", warnings));
	}
	free(diff);
	json_decref(wanted);
	json_decref(changes);
	json_decref(warnings);
	json_decref(ha.servers);
	return r;
}

int haproxy_probe(struct gateway_call *call)
{
	json_t *wanted = NULL;
	struct haproxy ha;
	bool good = false;
	int r;

	if (begin(call, &ha))
		haproxy_look(&ha, &good);
	if (good)
		wanted = wanted_of(&ha, json_object_get(call->params, "servers"));
	if (wanted)
		r = answer(call->reply,
			   json_equal(wanted, ha.servers) ? OPSCASE_APPLIED : OPSCASE_NOT_APPLIED,
			   json_pack("{s:{s:O}, s:{s:s, s:s, s:O}}", "binding", "servers", ha.servers, "info",
				     "kind", "haproxy", "backend", ha.backend, "servers", ha.servers));
	else
		r = answer(call->reply, OPSCASE_UNCLEAR,
			   json_pack("{s:o, s:{}, s:{s:s}}", "error",
				     answer_text(ha.why, strlen(ha.why), 1024), "binding", "info", "kind",
				     "haproxy"));
	json_decref(wanted);
	json_decref(ha.servers);
	return r;
}

/* ---- doing it */

/* One `set server`. HAProxy says nothing when it did it. */
static enum said set(struct haproxy *ha, const char *server, const char *what, bool *ret_good)
{
	char command[512], *text = NULL;
	enum said s;

	snprintf(command, sizeof command, "set server %s/%s %s\n", ha->backend, server, what);
	s = haproxy_ask(ha, command, &text);
	*ret_good = s == SAID && text[strspn(text, " \n")] == '\0';
	if (s == SAID && !*ret_good) {
		size_t lead = strspn(text, " \n");

		snprintf(ha->why, sizeof ha->why, "HAProxy refuses `set server %s/%s %s`: %.*s", ha->backend,
			 server, what,
			 (int)strcspn(text + lead, "\n") > 400 ? 400 : (int)strcspn(text + lead, "\n"),
			 text + lead);
	}
	free(text);
	return s;
}

static bool takes_traffic(const json_t *server)
{
	return strcmp(gateway_text(server, "state", ""), "ready") == 0 &&
	       gateway_number(server, "weight", 0) > 0;
}

/* Sessions left on the servers that shall take no more; waits for them as long as the step allows. */
static long drain(struct haproxy *ha, const json_t *wanted)
{
	const json_t *drain_s = json_object_get(ha->call->params, "drain_s");
	int64_t until = answer_clock_ms() +
			(json_is_integer(drain_s) ? json_integer_value(drain_s) * 1000 : 0);

	for (;;) {
		long left = 0;
		json_t *s;
		size_t i;

		json_array_foreach((json_t *)wanted, i, s)
		{
			char status[64];
			long n = 0;

			/* Those that this step stops, not others that were stopped before it. */
			if (!takes_traffic(s) && !json_equal(s, json_array_get(ha->servers, i)))
				n = haproxy_sessions(ha, gateway_text(s, "name", ""), status, sizeof status);
			left += n > 0 ? n : 0;
		}
		if (left == 0 || answer_clock_ms() >= until || gateway_left_ms(ha->call) < 1000 ||
		    gateway_wait(ha->call, -1, 0, 200) != WAIT_TIME_OUT)
			return left;
	}
}

/* The state that is set first: a server on its way to maint drains before, if there is time for it. */
static const char *state_now(const struct haproxy *ha, const json_t *want, bool last)
{
	const char *state = gateway_text(want, "state", "");

	return !last && strcmp(state, "maint") == 0 && gateway_number(ha->call->params, "drain_s", 0) > 0
		       ? "drain"
		       : state;
}

/* Brings the backend from ha->servers to `wanted`, one command at a time. */
static int apply(struct haproxy *ha, const json_t *wanted)
{
	struct opscase_reply *reply = ha->call->reply;
	json_t *did = json_array(), *from = json_incref(ha->servers), *s;
	long sessions_left = 0;
	bool good = true;
	enum said said = SAID;
	size_t i;
	int r;

	for (int pass = 0; pass < 3 && good; pass++) {
		if (pass == 2) /* all but a late `maint` is done; waiting cannot harm any more */
			sessions_left = drain(ha, wanted);
		json_array_foreach((json_t *)wanted, i, s)
		{
			const json_t *was = json_array_get(ha->servers, i);
			const char *name = gateway_text(s, "name", ""), *state = state_now(ha, s, pass == 2);
			bool late = strcmp(state_now(ha, s, false), gateway_text(s, "state", "")) != 0;
			char what[64];

			if (json_equal(was, s) || (pass < 2 ? pass != !takes_traffic(s) : !late))
				continue;
			if (pass < 2 &&
			    gateway_number(was, "weight", -1) != gateway_number(s, "weight", -1)) {
				snprintf(what, sizeof what, "weight %lld",
					 (long long)gateway_number(s, "weight", 0));
				said = set(ha, name, what, &good);
				if (!good)
					break;
				json_array_append_new(did, json_sprintf("%s %s", name, what));
			}
			if (strcmp(gateway_text(was, "state", ""), gateway_text(s, "state", "")) != 0) {
				snprintf(what, sizeof what, "state %s", state);
				said = set(ha, name, what, &good);
				if (!good)
					break;
				json_array_append_new(did, json_sprintf("%s %s", name, what));
			}
		}
	}
	if (good) {
		bool seen;

		ha->call->deaf = true; /* it is done; only the last look is left */
		haproxy_look(ha, &seen);
		if (seen && json_equal(ha->servers, wanted))
			r = answer(reply, OPSCASE_DONE,
				   json_pack("{s:i, s:O, s:O, s:O, s:i}", "changed",
					     (int)json_array_size(did), "did", did, "from", from, "servers",
					     ha->servers, "sessions_left", (int)sessions_left));
		else
			r = answer(
				reply, seen ? OPSCASE_FAILED : OPSCASE_UNCLEAR,
				json_pack(
					"{s:o, s:O, s:O}", "error",
					seen ? json_string(
						       "HAProxy took every command, but the servers are not as they should be")
					     : json_sprintf(
						       "every command was taken, but looking again did not work: %s",
						       ha->why),
					"did", did, "servers", ha->servers));
	} else {
		bool none = json_array_size(did) == 0;
		enum opscase_outcome outcome = said == NOT_HEARD        ? OPSCASE_UNCLEAR
					       : !none                  ? OPSCASE_FAILED
					       : said == SAID_CANCELLED ? OPSCASE_CANCELLED
									: OPSCASE_NOT_APPLIED;

		r = answer(reply, outcome,
			   json_pack("{s:o, s:O}", "error", answer_text(ha->why, strlen(ha->why), 1024),
				     "did", did));
	}
	json_decref(from);
	json_decref(did);
	return r;
}

/* What run and undo have in common: `changes` shall hold afterwards. */
static int flip(struct haproxy *ha, const json_t *changes, bool undo)
{
	struct gateway_call *call = ha->call;
	const json_t *expected = json_object_get(call->expected, "servers");
	json_t *wanted, *flipped = NULL;
	bool good;
	enum said said;
	int r;

	said = haproxy_look(ha, &good);
	wanted = good ? wanted_of(ha, changes) : NULL;
	if (good && undo)
		flipped = wanted_of(ha, json_object_get(call->params, "servers"));
	if (!wanted)
		r = answer_error(call->reply,
				 said == SAID_CANCELLED ? OPSCASE_CANCELLED : OPSCASE_NOT_APPLIED, "%s",
				 ha->why);
	else if (json_equal(
			 wanted,
			 ha->servers)) /* by an earlier try of this step, or by nobody's doing: nothing to do */
		r = answer(call->reply, OPSCASE_DONE,
			   json_pack("{s:i, s:b, s:O}", "changed", 0, "already", true, "servers",
				     ha->servers));
	else if (call->expected && !json_equal(expected, ha->servers))
		r = gateway_world_changed(call, expected, ha->servers);
	else if (undo && !call->expected && !(flipped && json_equal(flipped, ha->servers)))
		r = gateway_world_changed(call, flipped, ha->servers);
	else
		r = apply(ha, wanted);
	json_decref(wanted);
	json_decref(flipped);
	return r;
}

/* Only the servers that the step named come back; others may have moved since, for their own reasons. */
static json_t *before_of(const struct gateway_call *call)
{
	json_t *named = json_object_get(call->params, "servers"), *back = json_array(), *s;
	const json_t *before = json_object_get(call->before, "servers");
	size_t i;

	json_array_foreach(named, i, s)
	{
		json_t *was = haproxy_server_named(before, gateway_text(s, "name", ""));

		if (was)
			json_array_append(back, was);
	}
	if (json_array_size(back) == json_array_size(named) && servers_are_plain(back))
		return back;
	json_decref(back);
	return NULL;
}

static int locked(struct gateway_call *call, bool undo)
{
	json_t *changes = undo ? before_of(call) : json_incref(json_object_get(call->params, "servers"));
	struct haproxy ha;
	int lock = -1, r;

	if (!begin(call, &ha))
		r = answer_error(call->reply, OPSCASE_REFUSED, "%s", ha.why);
	else if (!changes)
		r = answer_error(
			call->reply, OPSCASE_REFUSED,
			"nothing to go back to: `before` does not tell the servers that the step named");
	else if ((lock = gateway_lock(call, ha.socket, ha.why, sizeof ha.why)) < 0)
		r = answer_error(call->reply,
				 gateway_cancelled(call) ? OPSCASE_CANCELLED : OPSCASE_NOT_APPLIED, "%s",
				 ha.why);
	else
		r = flip(&ha, changes, undo);
	if (lock >= 0)
		close(lock);
	json_decref(changes);
	json_decref(ha.servers);
	return r;
}

int haproxy_run(struct gateway_call *call)
{
	return locked(call, false);
}

int haproxy_undo(struct gateway_call *call)
{
	return locked(call, true);
}
