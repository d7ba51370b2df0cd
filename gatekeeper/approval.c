#include "gatekeeper/approval.h"
#include "gatekeeper/policy.h"
#include "store/decision.h"
#include "worker/worker.h"

#define BREAK_GLASS "break-glass:"
#define MAKE_ONE    "make one with `opscase token create --role approver --name NAME`"

static bool listed(const json_t *list, const char *text)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), text)) return true;
	return false;
}

static void join(const json_t *list, const char *with, struct text *out)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		text_addf(out, "%s%s", i ? with : "", json_string_value(v) ? json_string_value(v) : "?");
}

static enum oc_err still_open(const struct gate_ask *ask, struct oc_fail *reterr)
{
	if (str_eq(ask->status, "pending") && ask->expires_us > ask->now_us)
		return OC_OK;
	if (str_eq(ask->status, "pending") || str_eq(ask->status, "expired"))
		return oc_fail(reterr, OC_ILLEGAL, "nobody decided in time: the decision has expired");
	if (str_eq(ask->status, "void"))
		return oc_fail(reterr, OC_ILLEGAL, "the decision is void: %s",
			       str_empty(ask->void_reason) ? "something changed" : ask->void_reason);
	return oc_fail(reterr, OC_ILLEGAL, "the decision does not wait for people: it is %s",
		       str_empty(ask->status) ? "unknown" : ask->status);
}

enum oc_err gate_check_approval(const struct gate_ask *ask, const struct gate_person *who,
				struct gate_may *ret, struct oc_fail *reterr)
{
	const json_t *roles = json_object_get(ask->terms, "roles");
	struct gate_may may = { 0 };
	enum oc_err err = still_open(ask, reterr);
	bool own;

	if (err != OC_OK)
		return err;
	own = listed(json_object_get(ask->terms, "authors"), who->principal);
	if (who->reason && str_starts(who->reason, BREAK_GLASS)) {
		const char *why = who->reason + strlen(BREAK_GLASS);

		if (!listed(json_object_get(ask->terms, "break_glass"), who->role))
			return oc_fail(reterr, OC_FORBIDDEN, "role %s may not break the glass here",
				       who->role);
		if (why[strspn(why, " ")] == '\0')
			return oc_fail(reterr, OC_FORBIDDEN,
				       "breaking the glass needs a reason after '" BREAK_GLASS "'");
		may.break_glass = true;
		may.self = own;
		*ret = may;
		return OC_OK;
	}
	if (!listed(roles, who->role)) {
		AUTO(text) struct text t = { 0 };

		join(roles, " or ", &t);
		return oc_fail(reterr, OC_FORBIDDEN,
			       "role %s may not approve this: it asks for %s; " MAKE_ONE,
			       str_empty(who->role) ? "(none)" : who->role, text_str(&t));
	}
	if (own && !str_eq(json_str(ask->terms, "self_approval"), "warn"))
		return oc_fail(
			reterr, OC_FORBIDDEN,
			"%s opened the case or wrote the plan, and may not approve it (self_approval: deny); another "
			"approver is needed: " MAKE_ONE,
			who->principal);
	may.self = own;
	*ret = may;
	return OC_OK;
}

/* Saying no needs less than saying yes: whoever may act on cases at all, on their own plans too. */
static enum oc_err check_reject(const struct gate_ask *ask, const struct gate_person *who,
				struct oc_fail *reterr)
{
	enum oc_err err = still_open(ask, reterr);

	if (err != OC_OK)
		return err;
	if (listed(json_object_get(ask->terms, "roles"), who->role) || str_eq(who->role, "operator") ||
	    str_eq(who->role, "approver") || str_eq(who->role, "admin"))
		return OC_OK;
	return oc_fail(reterr, OC_FORBIDDEN,
		       "role %s may not reject a plan; operator, approver and admin may",
		       str_empty(who->role) ? "(none)" : who->role);
}

struct names {
	const char *name[64];
	char text[64][128];
	size_t count;
};

static void take_name(void *ctx, const char *value)
{
	struct names *n = ctx;

	if (!value || n->count == ARRAY_LEN(n->name))
		return;
	snprintf(n->text[n->count], sizeof(n->text[0]), "%s", value);
	n->name[n->count] = n->text[n->count];
	n->count++;
}

enum oc_err gate_check_approval_row(struct pg *pg, long long tenant_id, const char *case_id,
				    const char *decision_id, const struct gate_person *who, bool reject,
				    char *ret_decision, struct gate_may *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(json) json_t *terms = NULL;
	struct names names = { .count = 0 };
	struct gate_ask ask = { 0 };
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, SQL_DECISION_TERMS, PG_ARGS(tenant, case_id, decision_id), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return oc_fail(reterr, OC_NOT_FOUND, "the case has no %s",
			       decision_id ? "such decision" : "decision that people could answer");
	if (pg_named(r, 0, "terms")) {
		err = json_read_own(pg_named(r, 0, "terms"), &terms, reterr);
		if (err != OC_OK)
			return err;
	}
	if (pg_named(r, 0, "approved_by"))
		pg_array_each(pg_named(r, 0, "approved_by"), take_name, &names);
	ask.status = pg_named(r, 0, "status");
	ask.void_reason = pg_named(r, 0, "void_reason");
	ask.expires_us = pg_int(r, 0, (unsigned)pg_col(r, "expires_us"));
	ask.now_us = pg_int(r, 0, (unsigned)pg_col(r, "now_us"));
	ask.terms = terms;
	ask.approved_by = names.name;
	ask.approved_count = names.count;
	*ret = (struct gate_may){ 0 };
	err = reject ? check_reject(&ask, who, reterr) : gate_check_approval(&ask, who, ret, reterr);
	if (err == OC_OK && ret_decision)
		snprintf(ret_decision, 37, "%s", pg_named(r, 0, "id"));
	return err;
}
