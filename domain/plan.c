#include "domain/plan.h"
#include <stdlib.h>
#include <string.h>
#include "base/text.h"

static const char *const kinds[] = { "metric", "call", "probe", "http" };
static const char *const aggregates[] = { "avg", "max", "min", "p95", "count", "sum" };
static const char *const ops[] = { "<", "<=", ">", ">=", "==" };

/* The index of name, or count. */
static int find(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (str_eq(names[i], name))
			return i;
	return count;
}

const char *plan_check_kind_name(enum plan_check_kind k)
{
	return k < CHECK_KIND_COUNT ? kinds[k] : "";
}
enum plan_check_kind plan_check_kind_parse(const char *s)
{
	return find(kinds, CHECK_KIND_COUNT, s);
}
const char *plan_aggregate_name(enum plan_aggregate a)
{
	return a < AGG_NONE ? aggregates[a] : "";
}
enum plan_aggregate plan_aggregate_parse(const char *s)
{
	return find(aggregates, AGG_NONE, s);
}
const char *plan_op_name(enum plan_op o)
{
	return o < OP_NONE ? ops[o] : "";
}
enum plan_op plan_op_parse(const char *s)
{
	return find(ops, OP_NONE, s);
}
const char *plan_no_data_name(enum plan_no_data n)
{
	return n == NO_DATA_FAIL ? "fail" : "insufficient";
}

const char *plan_kind_name(enum plan_kind k)
{
	return k == PLAN_FORWARD ? "forward" : k == PLAN_ROLLBACK ? "rollback" : "";
}

enum plan_kind plan_kind_parse(const char *s)
{
	return str_eq(s, "forward") ? PLAN_FORWARD : str_eq(s, "rollback") ? PLAN_ROLLBACK : PLAN_NONE;
}

int plan_backoff_s(int attempt)
{
	if (attempt < 2)
		return 0;
	return attempt > 6 ? 60 : 1 << (attempt - 1);
}

/* Probing before and after, starting the child, storing the intent. */
#define STEP_MARGIN_S 20
#define RUN_MARGIN_S  60
#define BUDGET_MAX_S  (7 * 24 * 3600)

static long verify_s(const struct plan_verify *v)
{
	return v ? (long)v->settle_s + v->deadline_s : 0;
}

static int clamp(long s)
{
	return s > BUDGET_MAX_S ? BUDGET_MAX_S : (int)s;
}

int plan_exec_budget_s(const struct plan *plan)
{
	long sum = RUN_MARGIN_S;

	for (size_t i = 0; i < plan->step_count; i++) {
		const struct plan_step *s = &plan->step[i];

		sum += STEP_MARGIN_S + (long)s->timeout_s * (s->retry + 1) + verify_s(s->verify);
		for (int attempt = 2; attempt <= s->retry + 1; attempt++)
			sum += plan_backoff_s(attempt) * 3 / 2;
	}
	return clamp(sum);
}

int plan_verify_budget_s(const struct plan *plan)
{
	return clamp(RUN_MARGIN_S + verify_s(&plan->verify));
}

static void verify_done(struct plan_verify *v)
{
	for (size_t i = 0; i < v->count; i++) {
		struct plan_check *c = &v->check[i];

		free(c->title);
		free(c->resource);
		free(c->metric);
		free(c->labels);
		free(c->src);
		free(c->dst);
		free(c->field);
		free(c->url);
	}
	free(v->check);
}

static void step_done(struct plan_step *s)
{
	free(s->action);
	free(s->params);
	free(s->target);
	free(s->target_urn);
	free(s->before);
	if (s->verify)
		verify_done(s->verify);
	free(s->verify);
	if (s->compensate)
		step_done(s->compensate);
	free(s->compensate);
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->step_count; i++)
		step_done(&p->step[i]);
	for (size_t i = 0; i < p->rollback_count; i++)
		step_done(&p->rollback[i]);
	free(p->step);
	free(p->rollback);
	verify_done(&p->verify);
	if (p->rollback_verify)
		verify_done(p->rollback_verify);
	free(p->rollback_verify);
	free(p->rollback_none);
	free(p->title);
	free(p);
}

void plan_verify_free(struct plan_verify *v)
{
	if (!v)
		return;
	verify_done(v);
	free(v);
}
