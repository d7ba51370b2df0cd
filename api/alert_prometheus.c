/* alert_prometheus.c - POST /alert/alertmanager and /alert/grafana: Prometheus' webhook, version 4, and Grafana's, which is made
 * after it. An alert is firing or resolved by itself, whatever the group says; its fingerprint is that of its labels. */
#include <stdio.h>
#include "api/alert.h"
#include "base/clock.h"
#include "base/mem.h"

static const char *first_of(const json_t *a, const json_t *b, const char *const *names)
{
	for (; *names; names++) {
		if (!str_empty(json_str(a, *names)))
			return json_str(a, *names);
		if (!str_empty(json_str(b, *names)))
			return json_str(b, *names);
	}
	return NULL;
}

static enum oc_err read_one(const json_t *in, size_t at, const char *sender, struct alert_list *ret,
			    struct oc_fail *reterr)
{
	static const char *const titles[] = { "summary", "title", "alertname", NULL };
	static const char *const summaries[] = { "description", "message", NULL };
	static const char *const severities[] = { "severity", "priority", NULL };
	const json_t *labels = json_object_get(in, "labels"), *notes = json_object_get(in, "annotations");
	const char *status = json_str(in, "status"), *when, *key;
	AUTO(str) char *canonical = NULL;
	char field[64];
	struct alert *a;

	snprintf(field, sizeof(field), "/alerts/%zu", at);
	if (!json_is_object(in) || !json_is_object(labels))
		return oc_fail_field(reterr, OC_INVALID, field, "an alert is an object with labels");
	if (!str_eq(status, "firing") && !str_eq(status, "resolved"))
		return oc_fail_field(reterr, OC_INVALID, field, "its status is neither firing nor resolved");
	a = alert_add(ret, reterr);
	if (!a)
		return OC_INVALID;
	a->firing = str_eq(status, "firing");
	alert_labels(a, labels);
	alert_text(&a->title, first_of(notes, labels, titles));
	if (!a->title)
		a->title = mem_printf("alert of %s", sender);
	alert_text(&a->summary, first_of(notes, NULL, summaries));
	a->severity = alert_severity(first_of(labels, notes, severities));
	alert_find_resource(a);
	when = json_str(in, a->firing ? "startsAt" : "endsAt");
	if (when && clock_parse(when, &a->at_us) != 0)
		return oc_fail_field(reterr, OC_INVALID, field, "'%.40s' is no time", when);
	key = json_str(in, "fingerprint");
	canonical = str_empty(key) ? json_canonical(labels) : NULL;
	alert_fingerprint(a, sender, canonical ? canonical : key);
	return OC_OK;
}

static enum oc_err read_all(const json_t *body, const char *sender, struct alert_list *ret,
			    struct oc_fail *reterr)
{
	const json_t *alerts = json_object_get(body, "alerts"), *one;
	AUTO(str) char *whole = NULL;
	enum oc_err err = OC_OK;
	size_t i;

	if (!json_is_array(alerts))
		return oc_fail_field(reterr, OC_INVALID, "/alerts", "there is no list of alerts");
	json_array_foreach(alerts, i, one)
	{
		err = read_one(one, i, sender, ret, reterr);
		if (err != OC_OK) {
			alert_list_done(ret);
			return err;
		}
	}
	/* Each notification holds the times of its alerts: the same bytes say the same thing. */
	whole = json_canonical(body);
	hash_sha256_hex(whole, strlen(whole), ret->delivery);
	return OC_OK;
}

enum oc_err alert_read_alertmanager(const json_t *body, const struct alert_around *around,
				    struct alert_list *ret, struct oc_fail *reterr)
{
	(void)around;
	if (!str_eq(json_str(body, "version"), "4"))
		return oc_fail_field(reterr, OC_INVALID, "/version", "only version 4 of the webhook is read");
	return read_all(body, "alertmanager", ret, reterr);
}

enum oc_err alert_read_grafana(const json_t *body, const struct alert_around *around, struct alert_list *ret,
			       struct oc_fail *reterr)
{
	(void)around;
	return read_all(body, "grafana", ret, reterr);
}

void alert_alertmanager(struct api_call *c)
{
	alert_receive(c, "alertmanager", alert_read_alertmanager);
}

void alert_grafana(struct api_call *c)
{
	alert_receive(c, "grafana", alert_read_grafana);
}
