/* http.c - http.get and http.call: from params to a request, from an answer to an outcome. */
#include "request.h"

#include <http_manifest.h>

#include <string.h>

static bool main_request(struct call *call, bool look_only, struct request *ret, char *why, size_t why_size)
{
	const char *method = text_of(call->params, "method", call->reads ? "GET" : "POST");

	if (call->reads && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		snprintf(why, why_size, "http.get does GET and HEAD; use http.call for '%.16s'", method);
		return false;
	}
	return request_make(call, call->params, method, call->act->idempotency_key,
			    call->reads ? NULL : text_of(call->params, "key_header", "Idempotency-Key"),
			    look_only, ret, why, why_size);
}

static bool undo_request(struct call *call, bool look_only, struct request *ret, char *why, size_t why_size)
{
	const json_t *undo = json_object_get(call->params, "undo");
	char key[160];

	key[0] = '\0';
	if (call->act->idempotency_key[0])
		snprintf(key, sizeof key, "%.128s-undo", call->act->idempotency_key);
	return request_make(call, undo, text_of(undo, "method", "POST"), key,
			    text_of(call->params, "key_header", "Idempotency-Key"), look_only, ret, why,
			    why_size);
}

static void call_do(struct call *call, struct request *rq, struct fetched *ret)
{
	int64_t left = call->deadline_at_ms - answer_clock_ms(),
		own = number_of(call->params, "timeout_s", 30) * 1000;

	rq->fetch.timeout_ms = own > 0 && own < left ? own : left;
	fetch(call->ctx, &rq->fetch, ret);
}

/* ---- answers */

static void blot(char *text, size_t len, const char *secret)
{
	size_t n = strlen(secret);

	for (char *p = text; n > 0 && (p = memmem(p, len - (size_t)(p - text), secret, n)); p += n)
		memset(p, '*', n);
}

static json_t *answered(struct call *call, struct fetched *got)
{
	size_t room = call->reply->limit > 8192 ? (call->reply->limit - 4096) : 4096, longest = 0;
	json_t *out = json_pack("{s:I, s:I}", "status", (json_int_t)got->status, "took_ms",
				(json_int_t)got->took_ms);
	json_t *body = NULL;

	for (size_t i = 0; i < call->used_count; i++) {
		blot(got->body, got->len, call->used[i]);
		blot(got->content_type, strlen(got->content_type), call->used[i]);
		blot(got->etag, strlen(got->etag), call->used[i]);
		blot(got->final_url, strlen(got->final_url), call->used[i]);
		longest = strlen(call->used[i]) > longest ? strlen(call->used[i]) : longest;
	}
	if (got->cut && longest > 1) /* the cut may have gone through a secret */
		got->len -= got->len < longest ? got->len : longest - 1;
	for (size_t max = got->len;; max /= 2) { /* what JSON makes of it must fit as well */
		char *text;
		bool fits;

		json_decref(body);
		body = answer_text(got->body, got->len, max);
		text = body ? json_dumps(body, JSON_ENCODE_ANY) : NULL;
		fits = !text || strlen(text) <= room;
		free(text);
		if (fits)
			break;
		got->cut = true;
	}
	json_object_set_new(out, "body", body);
	if (got->cut)
		json_object_set_new(out, "cut", json_true());
	if (got->content_type[0])
		json_object_set_new(out, "content_type",
				    answer_text(got->content_type, strlen(got->content_type), 128));
	if (got->retry_after[0])
		json_object_set_new(out, "retry_after",
				    answer_text(got->retry_after, strlen(got->retry_after), 64));
	if (got->final_url[0])
		json_object_set_new(out, got->hops ? "final_url" : "location",
				    answer_text(got->final_url, strlen(got->final_url), 2048));
	if (got->why[0])
		json_object_set_new(out, "note", answer_text(got->why, strlen(got->why), 1024));
	return out;
}

/* What a status that was not expected means. The first match wins; 0 to 999 ends the list. */
static const struct meaning {
	int from, to;
	enum opscase_outcome outcome;
	const char *says;
} meanings[] = {
	{ 409, 409, OPSCASE_FAILED,
         "the service sees a conflict, or another call with this key is under way"                   },
	{ 425, 425, OPSCASE_NOT_APPLIED, "the service did not process it: too early, try again"      },
	{ 429, 429, OPSCASE_NOT_APPLIED,
         "the service did not process it: too many requests, try again later"                        },
	{ 502, 502, OPSCASE_UNCLEAR,
         "a gateway lost the service; whether the call took effect is not known"                     },
	{ 503, 503, OPSCASE_FAILED,      "the service says that it is not available now"             },
	{ 504, 504, OPSCASE_UNCLEAR,
         "a gateway did not wait for the service; whether the call took effect is not known"         },
	{ 0,   299, OPSCASE_FAILED,      "the service took it, but answered otherwise than expected" },
	{ 300, 399, OPSCASE_FAILED,
         "the service points elsewhere; redirects are followed only as far as `follow` allows"       },
	{ 400, 499, OPSCASE_FAILED,      "the service refuses it"                                    },
	{ 0,   999, OPSCASE_FAILED,      "the service failed"                                        },
};

static int answer_fetched(struct call *call, const struct request *rq, struct fetched *got)
{
	const struct meaning *m = meanings;
	json_t *out;

	switch (got->end) {
	case FETCH_BLOCKED:
		return answer_error(call->reply, OPSCASE_REFUSED, "%s", got->why);
	case FETCH_NOT_SENT:
		return answer_error(call->reply, OPSCASE_NOT_APPLIED, "nothing was sent: %s", got->why);
	case FETCH_CANCELLED:
		return answer_error(call->reply, OPSCASE_CANCELLED, "cancelled before anything was sent");
	case FETCH_LOST:
		return answer_error(call->reply, OPSCASE_UNCLEAR, "it was sent, but no answer came: %s",
				    got->why);
	case FETCH_ANSWERED:
		break;
	}
	if (is_expected(rq->expect, got->status)) {
		bool holds = !rq->contains || memmem(got->body, got->len, rq->contains, strlen(rq->contains));

		out = answered(call, got);
		if (holds) {
			json_object_set_new(out, "changed", json_integer(call->reads ? 0 : 1));
			return answer(call->reply, OPSCASE_DONE, out);
		}
		json_object_set_new(out, "error",
				    json_string("the answer does not hold the text that was expected"));
		return answer(call->reply, OPSCASE_FAILED, out);
	}
	while (got->status < m->from || got->status > m->to)
		m++;
	out = answered(call, got);
	json_object_set_new(out, "error", json_sprintf("%ld: %s", got->status, m->says));
	return answer(call->reply, call->reads && got->status == 503 ? OPSCASE_NOT_APPLIED : m->outcome, out);
}

/* ---- probe */

enum seen { SEEN_APPLIED, SEEN_NOT_APPLIED, SEEN_NOTHING };

/* Asks the step's probe. `*ret_binding` is the caller's; SEEN_NOTHING comes with a sentence. */
static enum seen probe_ask(struct call *call, struct fetched *got, json_t **ret_binding, char *why,
			   size_t why_size)
{
	const json_t *from = call->reads ? call->params : json_object_get(call->params, "probe");
	struct request rq;
	enum seen seen;

	*ret_binding = json_object();
	if (!json_is_object(from)) {
		snprintf(why, why_size, "this step names no probe, so nobody can look");
		return SEEN_NOTHING;
	}
	if (!request_make(call, from, call->reads ? text_of(from, "method", "GET") : "GET",
			  call->act->idempotency_key, NULL, false, &rq, why, why_size))
		return SEEN_NOTHING;
	call_do(call, &rq, got);
	if (got->end != FETCH_ANSWERED) {
		snprintf(why, why_size, "the probe could not be asked: %s", got->why);
		seen = SEEN_NOTHING;
	} else {
		bool holds = !rq.contains || memmem(got->body, got->len, rq.contains, strlen(rq.contains));

		if (!call->reads) {
			json_object_set_new(*ret_binding, "probe_status", json_integer(got->status));
			if (got->etag[0])
				json_object_set_new(*ret_binding, "probe_etag",
						    answer_text(got->etag, strlen(got->etag),
								sizeof got->etag));
		}
		seen = is_expected(rq.expect, got->status) && holds ? SEEN_APPLIED : SEEN_NOT_APPLIED;
		/* Busy or broken is no answer to the question whether the effect is there. */
		if (seen == SEEN_NOT_APPLIED &&
		    (got->status >= 500 || got->status == 429 || got->status == 425 || got->status == 401 ||
		     got->status == 403)) {
			snprintf(why, why_size, "the probe answers %ld, which says nothing about the effect",
				 got->status);
			seen = SEEN_NOTHING;
		}
	}
	request_done(&rq);
	return seen;
}

static int do_probe(struct call *call, struct fetched *got)
{
	json_t *binding = NULL, *info = json_object();
	char why[3072] = "";
	enum seen seen = probe_ask(call, got, &binding, why, sizeof why);
	json_t *out = json_pack("{s:o, s:o}", "binding", binding, "info", info);

	if (got->end == FETCH_ANSWERED && got->status) {
		json_t *all = answered(call, got);

		json_object_set(info, "status", json_object_get(all, "status"));
		json_object_set_new(info, "body", answer_text(got->body, got->len, 4096));
		json_decref(all);
	}
	if (why[0])
		json_object_set_new(out, "error", answer_text(why, strlen(why), 2048));
	return answer(call->reply,
		      seen == SEEN_APPLIED       ? OPSCASE_APPLIED
		      : seen == SEEN_NOT_APPLIED ? OPSCASE_NOT_APPLIED
						 : OPSCASE_UNCLEAR,
		      out);
}

/* ---- the entries' bodies */

static int do_validate(struct call *call)
{
	struct request rq;
	char why[2048];

	if (!main_request(call, true, &rq, why, sizeof why))
		return answer_error(call->reply, OPSCASE_REFUSED, "%s", why);
	request_done(&rq);
	if (json_object_get(call->params, "probe")) {
		if (!request_make(call, json_object_get(call->params, "probe"), "GET",
				  call->act->idempotency_key, NULL, true, &rq, why, sizeof why))
			return answer_error(call->reply, OPSCASE_REFUSED, "probe: %s", why);
		request_done(&rq);
	}
	if (json_object_get(call->params, "undo")) {
		if (!undo_request(call, true, &rq, why, sizeof why))
			return answer_error(call->reply, OPSCASE_REFUSED, "undo: %s", why);
		request_done(&rq);
	}
	return call->reply->send(call->reply, OPSCASE_VALID, "{}");
}

static int do_dry_run(struct call *call)
{
	json_t *changes = json_array(), *value;
	struct request rq;
	char *diff = NULL, why[2048];
	const char *name;
	size_t size;
	FILE *out;
	int r;

	if (!main_request(call, true, &rq, why, sizeof why)) {
		json_decref(changes);
		return answer_error(call->reply, OPSCASE_REFUSED, "%s", why);
	}
	out = open_memstream(&diff, &size);
	if (out) {
		fprintf(out, "%s %s\n", rq.fetch.method, rq.url);
		json_object_foreach(json_object_get(rq.shown, "headers"), name, value)
			fprintf(out, "%s: %s\n", name, json_string_value(value));
		if (rq.body)
			fprintf(out, "\n%.16384s\n", rq.body);
		fclose(out);
	}
	if (!call->reads)
		json_array_append_new(changes, json_pack("{s:o, s:n, s:O}", "what",
							 json_sprintf("%s %s", rq.fetch.method, rq.url),
							 "from", "to", rq.shown));
	r = answer(call->reply, OPSCASE_WOULD_DO,
		   json_pack("{s:o, s:o}", "changes", changes, "diff",
			     diff ? answer_text(diff, strlen(diff), 32768) : json_string("")));
	free(diff);
	request_done(&rq);
	return r;
}

/* Looks before the leap: is it there already, is the world as it was? True if an answer was sent. */
static bool looked_and_answered(struct call *call, struct fetched *got, bool undo, int *ret)
{
	char why[3072] = "";
	json_t *binding = NULL;
	enum seen seen;
	bool sent = true;

	if (call->reads || !json_is_object(json_object_get(call->params, "probe")))
		return false;
	seen = probe_ask(call, got, &binding, why, sizeof why);
	if (seen == SEEN_NOTHING)
		*ret = answer_error(call->reply,
				    atomic_load(&call->ctx->cancelled) ? OPSCASE_CANCELLED
								       : OPSCASE_NOT_APPLIED,
				    "nothing was done, because looking first did not work: %s", why);
	else if (seen == (undo ? SEEN_NOT_APPLIED : SEEN_APPLIED))
		*ret = answer(call->reply, OPSCASE_DONE,
			      json_pack("{s:i, s:b, s:s, s:O}", "changed", 0, "already", true, "note",
					undo ? "the probe says that there is nothing to take back"
					     : "the probe says that it has taken effect already",
					"binding", binding));
	else if (call->expected && !json_equal(call->expected, binding))
		*ret = answer(
			call->reply, OPSCASE_WORLD_CHANGED,
			json_pack("{s:s, s:O, s:O}", "error",
				  "the probe answers otherwise than when this was decided; nothing was done",
				  "expected", call->expected, "found", binding));
	else
		sent = false;
	json_decref(binding);
	return sent;
}

static int do_run(struct call *call, struct fetched *got)
{
	struct request rq;
	char why[2048];
	int r;

	if (!main_request(call, false, &rq, why, sizeof why))
		return answer_error(call->reply, OPSCASE_REFUSED, "%s", why);
	if (!looked_and_answered(call, got, false, &r)) {
		call_do(call, &rq, got);
		r = answer_fetched(call, &rq, got);
	}
	request_done(&rq);
	return r;
}

static int do_undo(struct call *call, struct fetched *got)
{
	struct request rq;
	char why[2048];
	int r;

	if (call->reads)
		return answer_error(call->reply, OPSCASE_NOT_APPLIED,
				    "http.get changes nothing, so there is nothing to undo");
	if (!json_is_object(json_object_get(call->params, "undo")))
		return answer_error(call->reply, OPSCASE_NOT_APPLIED,
				    "this step does not say which call takes it back");
	if (!undo_request(call, false, &rq, why, sizeof why))
		return answer_error(call->reply, OPSCASE_REFUSED, "%s", why);
	if (!looked_and_answered(call, got, true, &r)) {
		call_do(call, &rq, got);
		r = answer_fetched(call, &rq, got);
	}
	request_done(&rq);
	return r;
}

enum entry { ENTRY_VALIDATE, ENTRY_DRY_RUN, ENTRY_RUN, ENTRY_PROBE, ENTRY_UNDO };

static int enter(void *ctx, const struct opscase_action *act, struct opscase_reply *reply, enum entry entry)
{
	struct call call = { .ctx = ctx, .act = act, .reply = reply };
	struct fetched *got = calloc(1, sizeof *got);
	int r;

	atomic_store(&call.ctx->cancelled, false);
	call.reads = strcmp(act->operation, "http.get") == 0;
	call.deadline_at_ms = answer_clock_ms() + (act->deadline_ms > 0 ? act->deadline_ms : 0);
	call.params = answer_object(act->params);
	call.secrets = answer_object(act->secrets);
	call.expected = answer_object(act->expected_binding);
	if (!got)
		r = answer_error(reply, entry == ENTRY_PROBE ? OPSCASE_UNCLEAR : OPSCASE_NOT_APPLIED,
				 "no memory");
	else if (!call.params || (!call.reads && strcmp(act->operation, "http.call") != 0))
		r = answer_error(reply, OPSCASE_REFUSED,
				 "this adapter does http.get and http.call, with an object of params");
	else if (act->expected_binding && !call.expected)
		r = answer_error(reply, OPSCASE_REFUSED, "the expected binding is not a JSON object");
	else if (!value_is_plain(act->idempotency_key) || strlen(act->idempotency_key) > 128)
		r = answer_error(reply, OPSCASE_REFUSED, "the idempotency key does not fit into a header");
	else
		r = entry == ENTRY_VALIDATE  ? do_validate(&call)
		    : entry == ENTRY_DRY_RUN ? do_dry_run(&call)
		    : entry == ENTRY_RUN     ? do_run(&call, got)
		    : entry == ENTRY_PROBE   ? do_probe(&call, got)
					     : do_undo(&call, got);
	free(got);
	json_decref(call.params);
	json_decref(call.secrets);
	json_decref(call.expected);
	return r;
}

static void http_close(void *ctx)
{
	struct http_ctx *http = ctx;

	if (!http)
		return;
	if (http->multi)
		curl_multi_cleanup(http->multi);
	allow_done(&http->allow);
	free(http->ca_file);
	free(http);
	curl_global_cleanup();
}

static int http_open(void **ret_ctx, const char *config, struct opscase_reply *reply)
{
	json_t *settings = answer_object(config && *config ? config : "{}");
	struct http_ctx *http = calloc(1, sizeof *http);
	char why[512] = "the settings of the http adapter are not a JSON object";
	bool good;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	good = settings && http &&
	       allow_read(json_object_get(settings, "allow"), &http->allow, why, sizeof why);
	if (good) {
		http->connect_timeout_ms = number_of(settings, "connect_timeout_s", 10) * 1000;
		if (text_of(settings, "ca_file", NULL))
			http->ca_file = strdup(text_of(settings, "ca_file", ""));
		http->multi = curl_multi_init();
		good = http->multi;
	}
	json_decref(settings);
	if (!good) {
		http_close(http);
		return answer_error(reply, OPSCASE_REFUSED, "%s", why);
	}
	*ret_ctx = http;
	return reply->send(reply, OPSCASE_VALID, "{}");
}

static int http_validate(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_VALIDATE);
}

static int http_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_DRY_RUN);
}

static int http_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_RUN);
}

static int http_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_PROBE);
}

static int http_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_UNDO);
}

static void http_cancel(void *ctx)
{
	struct http_ctx *http = ctx;

	atomic_store(&http->cancelled, true);
	curl_multi_wakeup(http->multi);
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = "http",
	.version = "1",
	.manifest = http_manifest,
	.open = http_open,
	.validate = http_validate,
	.dry_run = http_dry_run,
	.run = http_run,
	.probe = http_probe,
	.undo = http_undo,
	.cancel = http_cancel,
	.close = http_close,
};
