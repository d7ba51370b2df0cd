/* alert_cloudevents.c - POST /alert/cloudevents: CloudEvents 1.0 over HTTP, structured (also a batch) and binary.
 *
 * The same source and subject (or data.fingerprint, data.dedup_key) are the same trouble. It has ended when data.status, or the last word of
 * the type, says resolved, cleared, closed or ok. Source and id tell a delivery from every other one. */
#include <strings.h>
#include "api/alert.h"
#include "base/clock.h"
#include "base/mem.h"

static bool has_ended(const char *word)
{
	static const char *const words[] = { "resolved", "cleared", "closed", "recovered", "ok" };

	for (size_t i = 0; word && i < ARRAY_LEN(words); i++)
		if (strcasecmp(word, words[i]) == 0)
			return true;
	return false;
}

static bool begins(const char *word)
{
	static const char *const words[] = { "firing", "raised", "opened", "triggered", "alerting" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(word, words[i]) == 0)
			return true;
	return false;
}

static const char *last_word(const char *type)
{
	const char *dot = strrchr(type, '.');

	return dot ? dot + 1 : type;
}

struct attributes {
	const char *version, *id, *source, *type, *subject, *time;
};

static enum oc_err read_one(const struct attributes *e, const json_t *data, struct alert_list *ret,
			    struct oc_fail *reterr)
{
	const char *key, *status;
	AUTO(str) char *fallback = NULL;
	struct alert *a;

	if (!str_eq(e->version, "1.0"))
		return oc_fail_field(reterr, OC_INVALID, "/specversion", "only CloudEvents 1.0 are read");
	if (str_empty(e->id) || str_empty(e->source) || str_empty(e->type))
		return oc_fail_field(reterr, OC_INVALID, "/id", "an event has an id, a source and a type");
	a = alert_add(ret, reterr);
	if (!a)
		return OC_INVALID;
	if (e->time && clock_parse(e->time, &a->at_us) != 0)
		return oc_fail_field(reterr, OC_INVALID, "/time", "'%.40s' is no time", e->time);
	status = json_is_object(data) ? json_str(data, "status") : NULL;
	a->firing = !has_ended(status) && !has_ended(last_word(e->type));
	if (json_is_object(data)) {
		alert_labels(a, json_object_get(data, "labels"));
		alert_text(&a->title, json_str(data, "title"));
		if (!a->title)
			alert_text(&a->title, json_str(data, "summary"));
		alert_text(&a->summary, json_str(data, "description"));
		a->severity = alert_severity(json_str(data, "severity"));
		alert_label(a, "resource", json_str(data, "resource"));
	}
	alert_label(a, "source", e->source);
	alert_label(a, "type", e->type);
	if (!a->title)
		alert_text(&a->title, e->type);
	alert_find_resource(a);
	key = json_is_object(data) ? json_str_or(data, "fingerprint", json_str(data, "dedup_key")) : NULL;
	/* One type may have a word for its end: that is not part of what it is about. */
	fallback = key ? mem_printf("%s\n%s", e->source, key)
		       : mem_printf("%s\n%s\n%.*s", e->source, e->subject ? e->subject : "",
				    has_ended(last_word(e->type)) || begins(last_word(e->type))
					    ? (int)(last_word(e->type) - e->type)
					    : (int)strlen(e->type),
				    e->type);
	alert_fingerprint(a, "cloudevents", fallback);
	return OC_OK;
}

static enum oc_err read_structured(const json_t *event, struct alert_list *ret, struct oc_fail *reterr)
{
	if (!json_is_object(event))
		return oc_fail_field(reterr, OC_INVALID, "", "an event is an object");
	return read_one(&(struct attributes){ .version = json_str(event, "specversion"),
					      .id = json_str(event, "id"),
					      .source = json_str(event, "source"),
					      .type = json_str(event, "type"),
					      .subject = json_str(event, "subject"),
					      .time = json_str(event, "time") },
			json_object_get(event, "data"), ret, reterr);
}

static void name_delivery(struct alert_list *ret, const char *source, const char *id)
{
	AUTO(str) char *both = mem_printf("%s%s\n%s\n", ret->delivery, source ? source : "", id ? id : "");

	hash_sha256_hex(both, strlen(both), ret->delivery);
}

enum oc_err alert_read_cloudevents(const json_t *body, const struct alert_around *around,
				   struct alert_list *ret, struct oc_fail *reterr)
{
	const char *version = around->header(around->ctx, "ce-specversion");
	enum oc_err err = OC_OK;
	const json_t *event;
	size_t i;

	if (version) {
		struct attributes e = { .version = version,
					.id = around->header(around->ctx, "ce-id"),
					.source = around->header(around->ctx, "ce-source"),
					.type = around->header(around->ctx, "ce-type"),
					.subject = around->header(around->ctx, "ce-subject"),
					.time = around->header(around->ctx, "ce-time") };

		err = read_one(&e, body, ret, reterr);
		name_delivery(ret, e.source, e.id);
	} else if (json_is_array(body)) {
		json_array_foreach(body, i, event)
		{
			err = read_structured(event, ret, reterr);
			if (err != OC_OK)
				break;
			name_delivery(ret, json_str(event, "source"), json_str(event, "id"));
		}
	} else {
		err = read_structured(body, ret, reterr);
		name_delivery(ret, json_str(body, "source"), json_str(body, "id"));
	}
	if (err != OC_OK)
		alert_list_done(ret);
	return err;
}

void alert_cloudevents(struct api_call *c)
{
	alert_receive(c, "cloudevents", alert_read_cloudevents);
}
