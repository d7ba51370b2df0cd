#define LOG_ROOM "planner"
#include "planner/role.h"
#include <pthread.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "store/kb.h"
#include "store/plan.h"

struct planner {
	char *runbook_path;
	struct plan_contract *contract;
	struct planner_config config;
	pthread_rwlock_t lock; /* of set */
	struct runbook_set *set;
};

/* Of the built-in runbooks only the form is checked: an installation may be without one of their adapters, and
 * then the others must still work. A plan from such a runbook says which action is unknown. */
static enum oc_err load_set(const struct planner *p, struct runbook_set **ret, struct oc_fail *reterr)
{
	if (p->runbook_path)
		return runbook_set_load(p->runbook_path, p->contract, ret, NULL, reterr);
	return runbook_set_builtin(NULL, ret, NULL, reterr);
}

enum oc_err planner_new(const struct planner_config *config, struct planner **ret, struct oc_fail *reterr)
{
	AUTO(planner) struct planner *p = mem_alloc(sizeof(*p));
	enum oc_err err;

	pthread_rwlock_init(&p->lock, NULL);
	p->config = *config;
	p->runbook_path = mem_strdup(config->runbook_path);
	p->config.runbook_path = p->runbook_path;
	err = plan_contract_new(config->operations, &p->contract, reterr);
	if (err != OC_OK)
		return err;
	err = load_set(p, &p->set, reterr);
	if (err != OC_OK)
		return err;
	log_info("%zu runbooks from %s", runbook_count(p->set),
		 p->runbook_path ? p->runbook_path : "the program itself");
	*ret = TAKE(p);
	return OC_OK;
}

void planner_free(struct planner *p)
{
	if (!p)
		return;
	runbook_set_free(p->set);
	plan_contract_free(p->contract);
	pthread_rwlock_destroy(&p->lock);
	free(p->runbook_path);
	free(p);
}

enum oc_err planner_reload(struct planner *p, struct oc_fail *reterr)
{
	AUTO(runbook_set) struct runbook_set *fresh = NULL;
	struct runbook_set *old;
	enum oc_err err = load_set(p, &fresh, reterr);

	if (err != OC_OK)
		return err;
	pthread_rwlock_wrlock(&p->lock);
	old = p->set;
	p->set = TAKE(fresh);
	pthread_rwlock_unlock(&p->lock);
	runbook_set_free(old);
	return OC_OK;
}

const struct plan_contract *planner_contract(const struct planner *p)
{
	return p->contract;
}

json_t *planner_runbooks_json(struct planner *p)
{
	json_t *list;

	pthread_rwlock_rdlock(&p->lock);
	list = runbook_set_json(p->set);
	pthread_rwlock_unlock(&p->lock);
	return list;
}

static struct plan_lint_options lint_options(const struct planner *p, const char *tenant)
{
	return (struct plan_lint_options){
		.tenant = tenant,
		.permits = p->config.permits,
		.ctx = p->config.ctx,
		.metric_bucket_s = p->config.metric_bucket_s,
		.call_bucket_s = p->config.call_bucket_s,
	};
}

static enum oc_err lint_json(const struct planner *p, const json_t *plan, const struct plan_lint_options *o,
			     json_t **ret_findings, struct oc_fail *reterr)
{
	struct plan_findings *f = mem_alloc(sizeof(*f));
	enum oc_err err = plan_lint(p->contract, plan, o, f, reterr);

	if (ret_findings)
		*ret_findings = plan_findings_json(f);
	free(f);
	return err;
}

enum oc_err planner_lint_revision(struct planner *p, const char *tenant, const json_t *plan,
				  json_t **ret_errors, struct oc_fail *reterr)
{
	struct plan_lint_options o = lint_options(p, tenant);

	o.none_allowed = true;
	return lint_json(p, plan, &o, ret_errors, reterr);
}

/* --- one command */

/* What the row says, read once. */
struct ask {
	struct planner *p;
	const struct command *cmd;
	const json_t *args;
	const char *mode;
	json_t *labels, *params, *evidence, *defaults, *finding, *applied, *failed;
};

/* What is proposed, and how it came about. */
struct proposal {
	json_t *plan;
	enum plan_kind kind;
	const char *source, *created_by, *rollback_of;
	char *template;
	bool undo_allowed, none_allowed;
	json_t *meta, *doc_ids;
};

static const char *col(const struct ask *a, unsigned c)
{
	return pg_text(a->cmd->row, a->cmd->row_at, c);
}

static json_t *col_json(const struct ask *a, unsigned c)
{
	json_t *v = NULL;

	if (!col(a, c) || json_read_own(col(a, c), &v, NULL) != OC_OK)
		return NULL;
	return v;
}

static void ask_read(struct ask *a)
{
	json_t *more, *item;
	size_t i;

	a->labels = col_json(a, PL_LABELS);
	a->params = col_json(a, PL_PARAMS);
	a->evidence = col_json(a, PL_EVIDENCE);
	a->defaults = col_json(a, PL_DEFAULTS);
	a->finding = col_json(a, PL_FINDING);
	a->applied = col_json(a, PL_APPLIED);
	a->failed = col_json(a, PL_FAILED);
	if (!json_is_array(a->evidence)) {
		json_decref(a->evidence);
		a->evidence = json_array();
	}
	more = json_object_get(a->finding, "evidence");
	json_array_foreach(more, i, item) json_array_append(a->evidence, item);
}

static void ask_done(struct ask *a)
{
	json_t *const all[] = { a->labels,  a->params,  a->evidence, a->defaults,
				a->finding, a->applied, a->failed };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		json_decref(all[i]);
}

static void proposal_done(struct proposal *r)
{
	json_decref(r->plan);
	json_decref(r->meta);
	json_decref(r->doc_ids);
	free(r->template);
}

static enum oc_err no_runbook(const struct runbook_set *set, const char *wish, struct oc_fail *reterr)
{
	AUTO(text) struct text names = { 0 };

	for (size_t i = 0; i < runbook_count(set); i++)
		text_addf(&names, "%s%s", i ? ", " : "", runbook_name(runbook_at(set, i)));
	if (wish)
		return oc_fail(reterr, OC_INVALID, "there is no runbook '%.100s'; there are: %s", wish,
			       text_str(&names));
	return oc_fail(reterr, OC_INVALID,
		       "no runbook fits the case's labels, severity and evidence; ask for one by name: %s",
		       text_str(&names));
}

static enum oc_err from_template(struct ask *a, struct proposal *r, struct oc_fail *reterr)
{
	struct case_facts facts = {
		.case_id = a->cmd->case_id,
		.title = col(a, PL_TITLE),
		.severity = col(a, PL_SEVERITY),
		.labels = a->labels,
		.params = a->params,
		.evidence = a->evidence,
		.finding = a->finding,
		.tenant_defaults = a->defaults,
		.asked = json_object_get(a->args, "params"),
	};
	const char *wish = json_str_or(a->args, "template", col(a, PL_TEMPLATE));
	AUTO(json) json_t *filled = NULL;
	AUTO(json) json_t *missing = NULL;
	const struct runbook *rb;
	enum oc_err err;

	pthread_rwlock_rdlock(&a->p->lock);
	rb = str_empty(wish) ? runbook_match(a->p->set, &facts) : runbook_find(a->p->set, wish);
	if (rb) {
		r->template = mem_strdup(runbook_name(rb));
		err = runbook_fill(rb, &facts, &r->plan, &filled, &missing, reterr);
	} else {
		err = no_runbook(a->p->set, str_empty(wish) ? NULL : wish, reterr);
	}
	pthread_rwlock_unlock(&a->p->lock);
	r->kind = PLAN_FORWARD;
	r->source = "template";
	r->created_by = "planner";
	if (r->template)
		json_put(r->meta, "template", r->template);
	if (filled)
		json_object_set(r->meta, "filled", filled);
	if (missing)
		json_object_set(r->meta, "missing", missing);
	return err;
}

static enum oc_err from_person(struct ask *a, const json_t *plan, struct proposal *r)
{
	r->plan = json_deep_copy(plan);
	r->kind = plan_kind_parse(json_str(plan, "kind")) == PLAN_ROLLBACK ? PLAN_ROLLBACK : PLAN_FORWARD;
	r->source = "person";
	r->created_by = json_str_or(a->cmd->payload, "actor", json_str_or(a->args, "actor", "somebody"));
	r->none_allowed = true;
	return OC_OK;
}

static enum oc_err current_plan(struct ask *a, json_t **ret, struct oc_fail *reterr)
{
	if (!col(a, PL_PLAN_TEXT))
		return oc_fail(reterr, OC_INVALID, "the case has no plan yet");
	return json_read_own(col(a, PL_PLAN_TEXT), ret, reterr);
}

/* Other steps for the current plan: its way back and its proof stay unless the request brings its own. Probes
 * of steps that are gone are left out. */
static enum oc_err from_steps(struct ask *a, const json_t *steps, struct proposal *r, struct oc_fail *reterr)
{
	const json_t *verify = json_object_get(a->args, "verify"),
		     *rollback = json_object_get(a->args, "rollback");
	json_t *checks, *kept = json_array(), *check;
	AUTO(json) json_t *plan = NULL;
	size_t i;
	enum oc_err err = current_plan(a, &plan, reterr);

	if (err != OC_OK) {
		json_decref(kept);
		return err;
	}
	json_object_set(plan, "steps", (json_t *)steps);
	if (rollback)
		json_object_set(plan, "rollback", (json_t *)rollback);
	checks = json_object_get(json_object_get(plan, "verify"), "checks");
	json_array_foreach(checks, i,
			   check) if (!str_eq(json_str(check, "kind"), "probe") ||
				      json_int_or(check, "step", 0) < (long long)json_array_size(steps))
		json_array_append(kept, check);
	if (json_array_size(kept) > 0)
		json_object_set(json_object_get(plan, "verify"), "checks", kept);
	json_decref(kept);
	if (verify)
		json_object_set(plan, "verify", (json_t *)verify);
	return from_person(a, plan, r);
}

static enum oc_err from_current(struct ask *a, struct proposal *r, struct oc_fail *reterr)
{
	const char *source = col(a, PL_PLAN_SOURCE);
	enum oc_err err = current_plan(a, &r->plan, reterr);

	if (err != OC_OK)
		return err;
	r->kind = plan_kind_parse(col(a, PL_PLAN_KIND));
	r->source = str_eq(source, "person")    ? "person"
		    : str_eq(source, "derived") ? "derived"
		    : str_eq(source, "llm")     ? "llm"
						: "template";
	r->created_by = col(a, PL_PLAN_BY);
	r->template = mem_strdup(col(a, PL_PLAN_TEMPLATE));
	r->undo_allowed = r->kind == PLAN_ROLLBACK && str_eq(source, "derived");
	r->none_allowed = str_eq(source, "person");
	json_put(r->meta, "retry_of", col(a, PL_PLAN_ID));
	return OC_OK;
}

static enum oc_err from_applied(struct ask *a, struct proposal *r, struct oc_fail *reterr)
{
	struct plan_applied applied[PLAN_STEPS_MAX];
	char *texts[PLAN_STEPS_MAX] = { NULL };
	AUTO(json) json_t *plan = NULL;
	const json_t *item;
	size_t i, n = 0;
	enum oc_err err = current_plan(a, &plan, reterr);

	if (err != OC_OK)
		return err;
	json_array_foreach(a->applied, i, item)
	{
		const json_t *before = json_object_get(item, "before");

		if (n == PLAN_STEPS_MAX)
			break;
		texts[n] = json_is_object(before) ? json_text(before) : NULL;
		applied[n].seq = (int)json_int_or(item, "seq", -1);
		applied[n].before = texts[n];
		n++;
	}
	err = plan_derive_rollback(plan, plan_contract_operations(a->p->contract), applied, n, &r->plan,
				   reterr);
	for (i = 0; i < n; i++)
		free(texts[i]);
	r->kind = PLAN_ROLLBACK;
	r->source = "derived";
	r->created_by = "planner";
	r->rollback_of = col(a, PL_PLAN_ID);
	r->undo_allowed = true;
	json_put(r->meta, "rollback_of", r->rollback_of);
	return err;
}

/* The same repair with the same evidence would fail the same way. */
static enum oc_err refuse_failed(struct ask *a, const struct proposal *r, const char *fingerprint,
				 struct oc_fail *reterr)
{
	const char *now = col(a, PL_EVIDENCE_NOW);
	const json_t *item;
	size_t i;

	if (r->kind == PLAN_ROLLBACK)
		return OC_OK;
	json_array_foreach(a->failed, i, item) if (
		str_eq(json_str(item, "fingerprint"), fingerprint) &&
		str_eq(json_str(item, "evidence"),
		       now)) return oc_fail(reterr, OC_INVALID,
					    "this very plan was carried out already and did not help; reanalyse the case, or ask for another plan");
	return OC_OK;
}

/* The template's plan if it stands by itself; NULL with why otherwise. */
static void try_template(struct ask *a, struct proposal *r, struct oc_fail *why)
{
	struct plan_lint_options o = lint_options(a->p, a->cmd->tenant);

	if (from_template(a, r, why) != OC_OK)
		return;
	plan_normalize(r->plan);
	if (lint_json(a->p, r->plan, &o, NULL, why) != OC_OK) {
		json_decref(r->plan);
		r->plan = NULL;
	}
}

/* What the model would need to know; in the sentence that the case is parked with. */
static void say_missing(const struct model_plan *m, struct text *out)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(m->meta, "missing"), i, one) if (json_is_string(one))
		text_addf(out, "%s%s", i ? ", " : "; missing: ", json_string_value(one));
}

/* Both are made. The model's stands only where it passed everything; where the two differ, both are shown. */
static enum oc_err from_model(struct ask *a, struct proposal *r, struct oc_fail *reterr)
{
	struct plan_lint_options o = lint_options(a->p, a->cmd->tenant);
	AUTO(text) struct text missing = { 0 };
	struct model_plan m = { 0 };
	struct oc_fail why = { 0 };
	json_t *differs = NULL;

	try_template(a, r, &why);
	model_plan_make(&a->p->config.model, a->p->contract, &o,
			&(struct model_case){ .tenant_id = a->cmd->tenant_id,
					      .case_id = a->cmd->case_id,
					      .title = col(a, PL_TITLE),
					      .severity = col(a, PL_SEVERITY),
					      .labels = a->labels,
					      .evidence = a->evidence,
					      .finding = a->finding,
					      .opened_us = pg_int(a->cmd->row, a->cmd->row_at, PL_CREATED_US),
					      .other_plan = r->plan },
			&m);
	json_object_set(r->meta, "llm", m.meta);
	r->kind = PLAN_FORWARD;
	if (m.plan && r->plan)
		differs = a->p->config.advise ? model_plan_differs(r->plan, m.plan)
					      : model_plan_differs(m.plan, r->plan);
	if (differs)
		json_object_set_new(r->meta, a->p->config.advise ? "llm_plan" : "template_plan", differs);
	if (m.plan && (!r->plan || (differs && !a->p->config.advise))) {
		json_decref(r->plan);
		r->plan = json_incref(m.plan);
		r->source = "llm";
		r->created_by = "planner";
		free(r->template);
		r->template = NULL;
		r->doc_ids = json_incref(m.doc_ids);
	} else if (!r->plan) {
		say_missing(&m, &missing);
		oc_fail(reterr, OC_INVALID, "%.300s; the model: %.300s%.300s", why.text, m.why,
			text_str(&missing));
	}
	model_plan_done(&m);
	return r->plan ? OC_OK : OC_INVALID;
}

static enum oc_err make(struct ask *a, struct proposal *r, struct oc_fail *reterr)
{
	const json_t *given = json_object_get(a->args, "plan");

	if (given && !json_is_null(given))
		return from_person(a, given, r);
	if (json_is_array(json_object_get(a->args, "steps")))
		return from_steps(a, json_object_get(a->args, "steps"), r, reterr);
	if (str_eq(a->mode, "rollback"))
		return from_applied(a, r, reterr);
	if (str_eq(a->mode, "retry"))
		return from_current(a, r, reterr);
	/* a runbook that was asked for by name is what is wanted */
	if (a->p->config.model.llm_ref && str_empty(json_str(a->args, "template")) &&
	    str_empty(col(a, PL_TEMPLATE)))
		return from_model(a, r, reterr);
	return from_template(a, r, reterr);
}

static const char *int_text(char out[24], long long n)
{
	snprintf(out, 24, "%lld", n);
	return out;
}

/* The row, also of a plan that is not complete: a person wants to see what was refused and why. */
static void store_plan(const struct ask *a, const struct proposal *r, const char *id, const char *fingerprint,
		       const json_t *findings, struct answer *ans)
{
	AUTO(plan) struct plan *parsed = NULL;
	AUTO(str) char *text = plan_canonical(r->plan);
	AUTO(str) char *said = findings ? json_text(findings) : mem_strdup("[]");
	bool complete = json_array_size(findings) == 0 && plan_parse(r->plan, &parsed, NULL) == OC_OK;
	char hash[HASH_HEX], tenant[24], epoch[24], exec_s[24], verify_s[24];

	plan_hash(r->plan, hash);
	answer_do(ans, SQL_PLAN_INSERT,
		  PG_ARGS(id, int_text(tenant, a->cmd->tenant_id), a->cmd->case_id, text,
			  int_text(epoch, a->cmd->epoch), plan_kind_name(r->kind), r->source, r->template,
			  hash, fingerprint, complete ? "true" : "false", said,
			  int_text(exec_s, parsed ? plan_exec_budget_s(parsed) : 0),
			  int_text(verify_s, parsed ? plan_verify_budget_s(parsed) : 0), r->rollback_of,
			  r->created_by));
}

/* Which pages the plan was made with: its verdict moves their trust. */
static void store_use(const struct ask *a, const struct proposal *r, const char *id, struct answer *ans)
{
	AUTO(text) struct text ids = { 0 };
	const json_t *one;
	char tenant[24];
	size_t i;

	json_array_foreach(r->doc_ids, i, one)
		text_addf(&ids, "%s%lld", i ? "," : "{", (long long)json_integer_value(one));
	if (!ids.len)
		return;
	text_add(&ids, "}");
	answer_do(ans, SQL_KB_USED, PG_ARGS(int_text(tenant, a->cmd->tenant_id), a->cmd->case_id, id, ids.s));
}

static void say_failed(struct proposal *r, const struct oc_fail *why, struct answer *ans)
{
	answer_event(ans, "evt.plan.failed.v1", NULL);
	answer_reason(ans, "%s", why->text);
	answer_meta(ans, TAKE(r->meta));
}

static enum oc_err work(void *ctx, const struct command *cmd, struct answer *ans, struct oc_fail *reterr)
{
	__attribute__((cleanup(ask_done))) struct ask a = { .p = ctx, .cmd = cmd };
	__attribute__((cleanup(proposal_done))) struct proposal r = { .meta = json_object() };
	AUTO(json) json_t *findings = NULL;
	struct plan_lint_options o;
	struct oc_fail why = { 0 };
	char id[UUID_TEXT], fingerprint[HASH_HEX];
	enum oc_err err;

	if (!cmd->row)
		return oc_fail(reterr, OC_NOT_FOUND, "the case of the command is not there");
	a.args = json_object_get(cmd->payload, "args");
	a.mode = json_str(a.args, "mode");
	ask_read(&a);
	err = make(&a, &r, &why);
	if (err != OC_OK) {
		say_failed(&r, &why, ans);
		return OC_OK;
	}

	plan_normalize(r.plan);
	o = lint_options(a.p, cmd->tenant);
	o.kind = r.kind;
	o.undo_allowed = r.undo_allowed;
	o.none_allowed = r.none_allowed;
	plan_fingerprint(r.plan, fingerprint);
	err = lint_json(a.p, r.plan, &o, &findings, &why);
	uuid_new(id);
	json_put(r.meta, "plan_id", id);
	json_put(r.meta, "kind", plan_kind_name(r.kind));
	json_put(r.meta, "source", r.source);
	json_put(r.meta, "fingerprint", fingerprint);
	if (json_str(r.plan, "title"))
		json_put(r.meta, "title", json_str(r.plan, "title"));
	/* A refused document of any size is not kept; what is wrong with it is. */
	if (err == OC_OK || json_dumpb(r.plan, NULL, 0, JSON_COMPACT) <= PLAN_BYTES_MAX) {
		store_plan(&a, &r, id, fingerprint, findings, ans);
		store_use(&a, &r, id, ans);
	}
	if (err == OC_OK)
		err = refuse_failed(&a, &r, fingerprint, &why);
	if (err != OC_OK) {
		json_object_set(r.meta, "findings", findings);
		say_failed(&r, &why, ans);
		return OC_OK;
	}
	answer_event(ans, "evt.plan.proposed.v1", id);
	answer_reason(ans, "%s", json_str_or(r.plan, "title", "a plan"));
	answer_meta(ans, TAKE(r.meta));
	return OC_OK;
}

struct role planner_role(struct planner *p)
{
	return (struct role){
		.name = "planner",
		.topics = { "cmd.plan.generate", NULL },
		.load_sql = SQL_PLAN_LOAD,
		.threads = p->config.threads ? p->config.threads : 2,
		.max_batch = p->config.max_batch ? p->config.max_batch : 32,
		/* a model takes its time: llm/llm.c ends a document after four minutes */
		.lease_ms = p->config.model.llm_ref ? 300000 : 30000,
		.work = work,
		.ctx = p,
	};
}
