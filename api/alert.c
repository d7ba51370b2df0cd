#include "api/alert.h"
#include <stdio.h>
#include <strings.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/signal.h"
#include "store/webhook.h"

#define STAMP_SLACK_S 300

void alert_list_done(struct alert_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->item[i].title);
		free(l->item[i].summary);
		free(l->item[i].resource);
		json_decref(l->item[i].labels);
	}
	free(l->item);
	memset(l, 0, sizeof(*l));
}

struct alert *alert_add(struct alert_list *l, struct oc_fail *reterr)
{
	if (l->count == ALERTS_MAX) {
		oc_fail(reterr, OC_INVALID, "more than %d alerts in one body", ALERTS_MAX);
		return NULL;
	}
	l->item = mem_grow(l->item, l->count + 1, sizeof(*l->item));
	l->item[l->count] = (struct alert){ .severity = "ERROR", .firing = true, .labels = json_object() };
	return &l->item[l->count++];
}

void alert_text(char **dst, const char *text)
{
	size_t n = text ? strlen(text) : 0;

	if (!text)
		return;
	free(*dst);
	n = n > ALERT_TEXT_MAX ? ALERT_TEXT_MAX : n;
	*dst = mem_strndup(text, n);
	for (; n && !str_utf8_ok(*dst, n); n--)
		(*dst)[n - 1] = '\0';
}

void alert_label(struct alert *a, const char *name, const char *value)
{
	AUTO(str) char *cut = NULL;

	if (str_empty(name) || !value || strlen(name) > 256 ||
	    json_object_size(a->labels) >= ALERT_LABELS_MAX)
		return;
	alert_text(&cut, value);
	json_object_set_new(a->labels, name, json_string(cut));
}

void alert_labels(struct alert *a, const json_t *object)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)object, name, v)
	{
		char number[40];

		if (json_is_string(v)) {
			alert_label(a, name, json_string_value(v));
		} else if (json_is_number(v)) {
			snprintf(number, sizeof(number), "%.17g", json_number_value(v));
			alert_label(a, name, number);
		}
	}
}

void alert_fingerprint(struct alert *a, const char *sender, const char *key)
{
	char hash[HASH_HEX];

	/* Of any length and with anything in it. */
	hash_sha256_hex(key, strlen(key), hash);
	snprintf(a->fingerprint, sizeof(a->fingerprint), "%s:%s", sender, hash);
}

const char *alert_severity(const char *word)
{
	static const struct {
		const char *word, *is;
	} words[] = {
		{ "critical",  "FATAL" },
                { "fatal",     "FATAL" },
                { "page",      "FATAL" },
                { "emergency", "FATAL" },
		{ "disaster",  "FATAL" },
                { "p1",        "FATAL" },
                { "sev1",      "FATAL" },
                { "error",     "ERROR" },
		{ "high",      "ERROR" },
                { "major",     "ERROR" },
                { "p2",        "ERROR" },
                { "sev2",      "ERROR" },
		{ "warning",   "WARN"  },
                { "warn",      "WARN"  },
                { "medium",    "WARN"  },
                { "minor",     "WARN"  },
		{ "p3",        "WARN"  },
                { "sev3",      "WARN"  },
                { "ticket",    "WARN"  },
                { "info",      "INFO"  },
		{ "none",      "INFO"  },
                { "low",       "INFO"  },
                { "ok",        "INFO"  },
                { "p4",        "INFO"  },
		{ "notice",    "INFO"  },
                { "debug",     "DEBUG" },
	};

	for (size_t i = 0; word && i < ARRAY_LEN(words); i++)
		if (strcasecmp(words[i].word, word) == 0)
			return words[i].is;
	return "ERROR";
}

void alert_find_resource(struct alert *a)
{
	const char *urn = json_str(a->labels, "resource"), *ns = json_str(a->labels, "namespace"),
		   *service = json_str(a->labels, "service"), *instance = json_str(a->labels, "instance");
	size_t n;

	if (a->resource)
		return;
	if (urn && str_starts(urn, "urn:"))
		a->resource = mem_strdup(urn);
	else if (!str_empty(service) && !str_empty(ns))
		a->resource = mem_printf("urn:k8s:svc:%s/%s", ns, service);
	else if (!str_empty(service))
		a->resource = mem_printf("urn:svc:%s", service);
	else if (!str_empty(instance)) {
		n = strcspn(instance, ":");
		a->resource = mem_printf("urn:host:%.*s", (int)n, instance);
	}
	if (a->resource && strlen(a->resource) > 512) {
		free(a->resource);
		a->resource = NULL;
	}
}

/* ---- who says so: signature ---- */

bool alert_signature_ok(const char *secret, const char *timestamp, const char *body, size_t len,
			const char *signature, int64_t now_us)
{
	unsigned char want[HASH_LEN], got[HASH_LEN];
	AUTO(text) struct text signed_text = { 0 };
	unsigned differs = 0;
	long long stamp;

	if (!signature)
		return false;
	if (str_starts(signature, "sha256="))
		signature += strlen("sha256=");
	if (strlen(signature) != 2 * (size_t)HASH_LEN || !str_unhex(signature, got, HASH_LEN))
		return false;
	if (timestamp) {
		if (!str_to_long(timestamp, 0, INT64_C(1) << 40, &stamp) ||
		    llabs(stamp - now_us / 1000000) > STAMP_SLACK_S)
			return false;
		text_addf(&signed_text, "%s:", timestamp);
	}
	text_add_n(&signed_text, body, len);
	hash_hmac_sha256(secret, strlen(secret), text_str(&signed_text), signed_text.len, want);
	for (size_t i = 0; i < HASH_LEN; i++)
		differs |= (unsigned)(want[i] ^ got[i]);
	return differs == 0;
}

static enum oc_err check_signature(struct api_call *c, const char *sender, const char *body, size_t len,
				   struct oc_fail *reterr)
{
	AUTO(str) char *secret = NULL;
	const char *signature = http_header(c->req, "X-Signature-256"),
		   *timestamp = http_header(c->req, "X-Signature-Timestamp");
	enum oc_err err;

	if (!c->deps->webhook_secret)
		return OC_OK;
	err = c->deps->webhook_secret(c->deps->ctx, c->tenant, sender, &secret, reterr);
	if (err == OC_NOT_FOUND)
		return OC_OK; /* this sender does not sign */
	if (err != OC_OK)
		return err;
	if (!signature)
		signature = http_header(c->req, "X-Grafana-Alerting-Signature");
	if (!signature)
		signature = http_header(c->req, "X-Hub-Signature-256");
	if (!alert_signature_ok(secret, timestamp, body, len, signature, clock_wall_us()))
		return oc_fail(
			reterr, OC_FORBIDDEN,
			"the signature is missing, does not fit the body, or its timestamp is not within "
			"%d seconds of now",
			STAMP_SLACK_S);
	return OC_OK;
}

/* ---- what it does ---- */

struct tally {
	unsigned raised, counted, cleared, idle;
};

/* Those who only inform are kept and open no case by the default. */
static double confidence(const struct alert *a)
{
	return str_eq(a->severity, "INFO") || str_eq(a->severity, "DEBUG") ? 0.3 : 0.9;
}

static enum oc_err apply(struct pg *pg, long long tenant_id, const char *sender, const struct alert *a,
			 int64_t now_us, struct tally *tally, struct oc_fail *reterr)
{
	int64_t at_us = a->at_us > 0 && a->at_us <= now_us ? a->at_us : now_us;
	AUTO(json) json_t *evidence = NULL;
	enum oc_err err;
	bool yes = false;

	if (!a->firing) {
		err = signal_clear(pg, tenant_id, a->fingerprint, at_us, &yes, reterr);
		tally->cleared += yes;
		tally->idle += !yes;
		return err;
	}
	if (a->resource)
		evidence = json_pack("[{s:s, s:s}]", "kind", "metric", "resource", a->resource);
	err = signal_raise(pg, tenant_id,
			   &(struct signal_new){ .fingerprint = a->fingerprint,
						 .source = sender,
						 .kind = "alert",
						 .title = a->title,
						 .summary = a->summary,
						 .resource = a->resource,
						 .severity = a->severity,
						 .labels = a->labels,
						 .evidence = evidence,
						 .confidence = confidence(a),
						 .at_us = at_us },
			   &yes, reterr);
	tally->raised += yes;
	tally->counted += !yes;
	return err;
}

static const char *request_header(const void *ctx, const char *name)
{
	return http_header(ctx, name);
}

static const char *request_query(const void *ctx, const char *name)
{
	return http_query(ctx, name);
}

static enum oc_err write_all(struct api_call *c, const char *sender, const struct alert_list *l,
			     const json_t *body, struct tally *tally, bool *ret_seen, struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	int64_t now_us = clock_wall_us();
	enum oc_err err = call_take_pg(c, WORKER_POOL, &pg, reterr);

	if (err != OC_OK)
		return err;
	*ret_seen = false;
	err = pg_begin(pg, reterr);
	if (err == OC_OK && l->delivery[0])
		err = webhook_remember(pg, c->tenant_id, sender, l->delivery, body, ret_seen, reterr);
	for (size_t i = 0; err == OC_OK && !*ret_seen && i < l->count; i++)
		err = apply(pg, c->tenant_id, sender, &l->item[i], now_us, tally, reterr);
	if (err == OC_OK)
		err = pg_commit(pg, reterr);
	if (err != OC_OK)
		pg_rollback(pg);
	pg_pool_give(c->deps->worker_pool, pg);
	return err;
}

void alert_receive(struct api_call *c, const char *sender, alert_reader *read)
{
	AUTO(alert_list) struct alert_list list = { 0 };
	AUTO(json) json_t *body = NULL;
	struct tally tally = { 0 };
	struct oc_fail fail = { 0 };
	bool seen = false;
	size_t len;
	const char *bytes = http_body(c->req, &len);
	enum oc_err err = check_signature(c, sender, bytes, len, &fail);

	if (err == OC_OK)
		err = json_read(bytes, len, NULL, &body, &fail);
	if (err == OC_OK)
		err = read(body,
			   &(struct alert_around){
				   .header = request_header, .query = request_query, .ctx = c->req },
			   &list, &fail);
	if (err == OC_OK)
		err = write_all(c, sender, &list, body, &tally, &seen, &fail);
	if (err != OC_OK) {
		call_problem(c, &fail, NULL);
		return;
	}
	call_data(c, seen ? 200 : 202,
		  json_pack("{s:b, s:i, s:i, s:i, s:i}", "seen_before", seen, "opened", (int)tally.raised,
			    "counted", (int)tally.counted, "cleared", (int)tally.cleared, "not_open",
			    (int)tally.idle));
}
