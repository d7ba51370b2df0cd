/* alert_pagerduty.c - POST /alert/pagerduty: the shape of PagerDuty's Events API v2, for senders that know nothing else.
 * trigger opens or counts, resolve ends, acknowledge does nothing: who works on a case is the case's own business. */
#include "api/alert.h"
#include "base/clock.h"
#include "base/mem.h"

enum oc_err alert_read_pagerduty(const json_t *body, const struct alert_around *around,
				 struct alert_list *ret, struct oc_fail *reterr)
{
	const char *action = json_str(body, "event_action"), *key = json_str(body, "dedup_key"), *when;
	const json_t *payload = json_object_get(body, "payload");
	struct alert *a;

	(void)around;
	if (str_eq(action, "acknowledge"))
		return OC_OK;
	if (!str_eq(action, "trigger") && !str_eq(action, "resolve"))
		return oc_fail_field(reterr, OC_INVALID, "/event_action",
				     "it is trigger, acknowledge or resolve");
	if (str_eq(action, "resolve") && str_empty(key))
		return oc_fail_field(reterr, OC_INVALID, "/dedup_key", "a resolve has to name what it ends");
	if (str_eq(action, "trigger") && str_empty(json_str(payload, "summary")))
		return oc_fail_field(reterr, OC_INVALID, "/payload/summary", "a trigger has a summary");
	if (str_eq(action, "trigger") && str_empty(json_str(payload, "source")))
		return oc_fail_field(reterr, OC_INVALID, "/payload/source", "a trigger has a source");
	a = alert_add(ret, reterr);
	if (!a)
		return OC_INVALID;
	a->firing = str_eq(action, "trigger");
	if (payload) {
		AUTO(str) char *fallback = NULL;

		alert_labels(a, json_object_get(payload, "custom_details"));
		alert_label(a, "source", json_str(payload, "source"));
		alert_label(a, "component", json_str(payload, "component"));
		alert_label(a, "group", json_str(payload, "group"));
		alert_label(a, "class", json_str(payload, "class"));
		if (!json_object_get(a->labels, "service"))
			alert_label(a, "service", json_str(payload, "component"));
		if (!json_object_get(a->labels, "instance"))
			alert_label(a, "instance", json_str(payload, "source"));
		alert_text(&a->title, json_str(payload, "summary"));
		a->severity = alert_severity(json_str(payload, "severity"));
		when = json_str(payload, "timestamp");
		if (when && clock_parse(when, &a->at_us) != 0) {
			alert_list_done(ret);
			return oc_fail_field(reterr, OC_INVALID, "/payload/timestamp", "'%.40s' is no time",
					     when);
		}
		fallback = mem_printf("%s\n%s", json_str_or(payload, "source", ""),
				      json_str_or(payload, "summary", ""));
		alert_fingerprint(a, "pagerduty", str_empty(key) ? fallback : key);
	} else {
		alert_fingerprint(a, "pagerduty", key);
	}
	if (!a->title)
		a->title = mem_strdup("alert");
	alert_find_resource(a);
	return OC_OK;
}

void alert_pagerduty(struct api_call *c)
{
	alert_receive(c, "pagerduty", alert_read_pagerduty);
}
