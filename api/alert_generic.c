/* alert_generic.c - POST /alert/generic: any JSON. Where things are is said in the query, as JSON pointers:
 *
 *   ?each=/items&fingerprint=/id&title=/name&summary=/text&severity=/level&resource=/urn&status=/state&ended=ok,closed
 *
 * Only the title has to be there. Without `each` the body is one alert; without `fingerprint` the same title at the same resource is the same
 * trouble. `ended` names the values of status that say that it is over. The header Idempotency-Key tells a delivery from every other one. */
#include <stdio.h>
#include <strings.h>
#include "api/alert.h"
#include "base/mem.h"

struct map {
	const char *fingerprint, *title, *summary, *severity, *resource, *status, *labels, *ended;
};

static char *value_at(const json_t *in, const char *pointer)
{
	const json_t *v = json_at(in, pointer);

	if (json_is_string(v))
		return mem_strdup(json_string_value(v));
	if (json_is_integer(v))
		return mem_printf("%lld", (long long)json_integer_value(v));
	if (json_is_real(v))
		return mem_printf("%.17g", json_real_value(v));
	return json_is_boolean(v) ? mem_strdup(json_is_true(v) ? "true" : "false") : NULL;
}

static bool one_of(const char *word, const char *list)
{
	size_t n = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (strcspn(p, ",") == n && strncasecmp(p, word, n) == 0)
			return true;
	return false;
}

static enum oc_err read_one(const json_t *in, const struct map *m, struct alert_list *ret,
			    struct oc_fail *reterr)
{
	AUTO(str)
	char *title = value_at(in, m->title), *key = value_at(in, m->fingerprint),
	     *status = value_at(in, m->status), *severity = value_at(in, m->severity),
	     *summary = value_at(in, m->summary), *resource = value_at(in, m->resource), *fallback = NULL;
	const json_t *labels = json_at(in, m->labels);
	struct alert *a;

	if (str_empty(title))
		return oc_fail_field(reterr, OC_INVALID, m->title, "there is no title at '%.80s'", m->title);
	a = alert_add(ret, reterr);
	if (!a)
		return OC_INVALID;
	if (json_is_object(labels))
		alert_labels(a, labels);
	alert_text(&a->title, title);
	alert_text(&a->summary, summary);
	a->severity = alert_severity(severity);
	a->firing = !status || !one_of(status, m->ended);
	alert_label(a, "resource", resource);
	alert_find_resource(a);
	fallback = mem_printf("%s\n%s", title, resource ? resource : "");
	alert_fingerprint(a, "generic", str_empty(key) ? fallback : key);
	return OC_OK;
}

static const char *asked(const struct alert_around *around, const char *name, const char *fallback)
{
	const char *v = around->query(around->ctx, name);

	return v ? v : fallback;
}

enum oc_err alert_read_generic(const json_t *body, const struct alert_around *around, struct alert_list *ret,
			       struct oc_fail *reterr)
{
	struct map m = { .fingerprint = asked(around, "fingerprint", "/fingerprint"),
			 .title = asked(around, "title", "/title"),
			 .summary = asked(around, "summary", "/summary"),
			 .severity = asked(around, "severity", "/severity"),
			 .resource = asked(around, "resource", "/resource"),
			 .status = asked(around, "status", "/status"),
			 .labels = asked(around, "labels", "/labels"),
			 .ended = asked(around, "ended", "resolved,ok,closed,cleared,recovered") };
	const char *each = around->query(around->ctx, "each"),
		   *key = around->header(around->ctx, "Idempotency-Key");
	enum oc_err err = OC_OK;
	const json_t *list = each ? json_at(body, each) : NULL, *one;
	size_t i;

	if (!each) {
		err = read_one(body, &m, ret, reterr);
	} else if (!json_is_array(list)) {
		err = oc_fail_field(reterr, OC_INVALID, each, "there is no list at '%.80s'", each);
	} else {
		json_array_foreach(list, i, one)
		{
			err = read_one(one, &m, ret, reterr);
			if (err != OC_OK)
				break;
		}
	}
	if (err != OC_OK)
		alert_list_done(ret);
	else if (!str_empty(key))
		hash_sha256_hex(key, strlen(key), ret->delivery);
	return err;
}

void alert_generic(struct api_call *c)
{
	alert_receive(c, "generic", alert_read_generic);
}
