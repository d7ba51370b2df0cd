#include "apps/opscase/report.h"
#include <math.h>
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/mem.h"

enum word {
	W_REPORT,
	W_STATE,
	W_SEVERITY,
	W_OPENED,
	W_BY,
	W_CLOSED,
	W_SUMMARY,
	W_CAUSE,
	W_NO_CAUSE,
	W_CONFIDENCE,
	W_EVIDENCE,
	W_ACTIONS,
	W_NO_ACTION,
	W_PLAN_FROM,
	W_APPLIED,
	W_APPROVED,
	W_VERDICT,
	W_NO_VERDICT,
	W_TIMELINE,
	W_TIME,
	W_EVENT,
	W_ACTOR,
	W_REASON,
	W_FOLLOW,
	W_NOTHING,
	W_F_PARKED,
	W_F_UNKNOWN,
	W_F_UNPROVEN,
	W_F_ROLLBACK,
	W_F_WITHHELD,
	W_F_NO_DATA,
	W_F_LEARN,
	W_MODEL,
	W_RISK,
	W_SAYS,
	WORDS
};

static const char *const words[2][WORDS] = {
	{ "Report",
         "State", "Severity",
         "Opened", "by",
         "Closed", "Summary",
         "Cause", "No finding was made.",
         "confidence", "Evidence",
         "What was done", "Nothing was done.",
         "plan from", "steps applied",
         "approved by", "Verdict",
         "Nothing was measured.", "Timeline",
         "Time (UTC)",  "Event",
         "Actor",  "Reason",
         "Follow-ups", "None that the rows show.",
         "The case is parked; somebody has to say how it goes on", "Nobody knows whether a step took effect: look, then settle it",
         "The effect was not proven: add a metric that shows it", "It was taken back: find a repair that helps",
         "Text in the evidence spoke to the model: find out who can write there", "Evidence that was named had no data: mend the measurement",
         "A page was drafted from this case: accept it, or retire it", "language model",
         "risk", "the model's words, unchecked" },
	{ "报告",
         "状态",  "严重度",
         "开启",   "由",
         "关闭",   "摘要",
         "原因",  "没有得出结论。",
         "置信度",     "证据",
         "采取的措施",    "没有采取措施。",
         "计划来源",  "步骤已生效",
         "批准人",      "验证结论",
         "没有测量。",	    "时间线",
         "时间（UTC）", "事件",
         "执行者", "理由",
         "后续事项",   "记录中没有需要跟进的事项。",
         "案例已搁置，需要有人决定如何继续",		       "不清楚某个步骤是否生效：请先查看，再确认结果",
         "效果未得到证明：请增加能体现效果的指标",		"变更已回滚：需要寻找有效的修复办法",
         "证据中的文本试图指挥模型：请查明谁能在那里写入",			"列出的证据没有数据：请修复采集",
         "已根据此案例起草知识条目：请采纳或停用",		     "语言模型",
         "风险", "模型的说法，未经核实"         },
};

#define SPENT_EN "models until then: %lld calls, %lld tokens, %.4f"
#define SPENT_ZH "截至此时模型开销：调用 %lld 次，%lld 个词元，费用 %.4f"

/* One line of Markdown that is only text. */
static void put(struct text *out, const char *s)
{
	for (; s && *s; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			text_add(out, " ");
		else if (strchr("|`<>*_[]#\\", *s))
			text_addf(out, "\\%c", *s);
		else
			text_add_n(out, s, 1);
	}
}

/* "2026-01-02T03:04:05.678Z" as "2026-01-02 03:04:05". */
static void put_time(struct text *out, const char *s)
{
	AUTO(str) char *t = mem_strndup(s ? s : "", 19);

	if (strlen(t) > 10)
		t[10] = ' ';
	put(out, t);
}

static void heading(struct text *out, const char *word)
{
	text_addf(out, "\n## %s\n\n", word);
}

static void head(const json_t *c, const char *const *w, struct text *out)
{
	const char *why = json_str_or(c, "park_reason", json_str(c, "resolution"));

	text_addf(out, "# %s: ", w[W_REPORT]);
	put(out, json_str_or(c, "title", "?"));
	text_addf(out, "\n\n- %s: %s", w[W_STATE], json_str_or(c, "status", "?"));
	if (why) {
		text_add(out, " (");
		put(out, why);
		text_add(out, ")");
	}
	text_addf(out, "\n- %s: ", w[W_SEVERITY]);
	put(out, json_str_or(c, "severity", "?"));
	text_addf(out, "\n- %s: ", w[W_OPENED]);
	put_time(out, json_str(c, "created_at"));
	text_addf(out, ", %s ", w[W_BY]);
	put(out, json_str_or(c, "opened_by", "?"));
	if (json_str(c, "closed_at")) {
		text_addf(out, "\n- %s: ", w[W_CLOSED]);
		put_time(out, json_str(c, "closed_at"));
	}
	text_addf(out, "\n- ID: %s\n", json_str_or(c, "id", "?"));
	if (!str_empty(json_str(c, "summary"))) {
		heading(out, w[W_SUMMARY]);
		put(out, json_str(c, "summary"));
		text_add(out, "\n");
	}
}

static void cause(const json_t *c, const char *const *w, struct text *out)
{
	const json_t *f = json_array_get(json_object_get(c, "findings"), 0), *e;
	const json_t *evidence = json_object_get(json_object_get(f, "body"), "evidence");
	size_t i;

	heading(out, w[W_CAUSE]);
	if (!f) {
		text_addf(out, "%s\n", w[W_NO_CAUSE]);
		return;
	}
	put(out, json_str_or(f, "summary", ""));
	if (json_is_number(json_object_get(f, "confidence")))
		text_addf(out, " (%s %.2f)", w[W_CONFIDENCE], json_num_or(f, "confidence", 0));
	text_add(out, "\n");
	if (!json_array_size(evidence))
		return;
	heading(out, w[W_EVIDENCE]);
	json_array_foreach(evidence, i, e)
	{
		AUTO(str) char *rest = NULL;
		AUTO(json) json_t *more = json_copy((json_t *)e);

		text_add(out, "- ");
		put(out, json_str_or(e, "kind", "?"));
		if (json_str(e, "metric")) {
			text_add(out, " ");
			put(out, json_str(e, "metric"));
		}
		if (json_str(e, "resource")) {
			text_add(out, " @ ");
			put(out, json_str(e, "resource"));
		}
		json_object_del(more, "kind");
		json_object_del(more, "metric");
		json_object_del(more, "resource");
		rest = json_text(more);
		if (strlen(rest) > 2 && strlen(rest) < 400) {
			text_add(out, ": ");
			put(out, rest);
		}
		text_add(out, "\n");
	}
}

static const json_t *row_of(const json_t *list, const char *id)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one) if (str_eq(json_str(one, "id"), id)) return one;
	return NULL;
}

/* As the approver saw them. Words of a model stand beside the server's figures, never in their place. */
static void risk_and_cost(const json_t *card, const char *const *w, struct text *out)
{
	const json_t *risk = json_object_get(card, "risk"), *spent = json_at(card, "/cost/models");
	const char *text = json_str(json_object_get(risk, "text"), w == words[1] ? "zh" : "en");

	if (text) {
		text_addf(out, "  - %s: ", w[W_RISK]);
		put(out, text);
		text_add(out, "\n");
	}
	if (!str_empty(json_str(risk, "model_says"))) {
		text_addf(out, "  - %s: ", w[W_SAYS]);
		put(out, json_str(risk, "model_says"));
		text_add(out, "\n");
	}
	if (json_int_or(spent, "calls", 0)) {
		text_add(out, "  - ");
		text_addf(out, w == words[1] ? SPENT_ZH : SPENT_EN, json_int_or(spent, "calls", 0),
			  json_int_or(spent, "tokens", 0), json_num_or(spent, "money", 0));
		text_add(out, "\n");
	}
}

static void actions(const json_t *c, const char *const *w, struct text *out)
{
	const json_t *runs = json_object_get(c, "runs"), *run, *step, *who;
	size_t i, k;

	heading(out, w[W_ACTIONS]);
	if (!json_array_size(runs))
		text_addf(out, "%s\n", w[W_NO_ACTION]);
	/* the rows come newest first */
	for (i = json_array_size(runs); i > 0; i--) {
		const json_t *plan_row, *decision;

		run = json_array_get(runs, i - 1);
		plan_row = row_of(json_object_get(c, "plans"), json_str(run, "plan_id"));
		decision = row_of(json_object_get(c, "decisions"), json_str(run, "decision_id"));
		text_add(out, "- ");
		put_time(out, json_str(run, "created_at"));
		text_add(out, " ");
		put(out, json_str_or(json_object_get(plan_row, "plan"), "title", "?"));
		text_addf(out, " (%s: %s", w[W_PLAN_FROM],
			  str_eq(json_str(plan_row, "source"), "llm") ? w[W_MODEL]
								      : json_str_or(plan_row, "source", "?"));
		json_array_foreach(json_object_get(decision, "approvals"), k,
				   who) if (str_eq(json_str(who, "answer"), "approve"))
		{
			text_addf(out, "; %s ", w[W_APPROVED]);
			put(out, json_str_or(who, "principal", "?"));
		}
		text_addf(out, "): %s, %lld/%lld %s\n", json_str_or(run, "status", "?"),
			  json_int_or(run, "applied", 0), json_int_or(run, "steps_total", 0), w[W_APPLIED]);
		risk_and_cost(json_object_get(decision, "card"), w, out);
		json_array_foreach(json_object_get(run, "steps"), k, step)
		{
			text_addf(out, "  %lld. ", json_int_or(step, "seq", 0) + 1);
			put(out, json_str_or(step, "action", "?"));
			text_add(out, " @ ");
			put(out, json_str_or(step, "target", "?"));
			text_addf(out, ": %s\n", json_str_or(step, "status", "?"));
		}
	}
}

static void verdicts(const json_t *c, const char *const *w, struct text *out)
{
	const json_t *list = json_object_get(c, "verdicts"), *check;
	size_t i, k;

	heading(out, w[W_VERDICT]);
	if (!json_array_size(list))
		text_addf(out, "%s\n", w[W_NO_VERDICT]);
	for (i = json_array_size(list); i > 0; i--) {
		const json_t *v = json_array_get(list, i - 1);

		text_addf(out, "- **%s** ", json_str_or(v, "verdict", "?"));
		put(out, json_str_or(v, "reason", ""));
		text_add(out, "\n");
		json_array_foreach(json_object_get(v, "checks"), k, check)
		{
			double value = json_num_or(check, "value", NAN);

			text_addf(out, "  - %s: ", json_str_or(check, "verdict", "?"));
			put(out, json_str_or(check, "title",
					     json_str_or(check, "metric", json_str_or(check, "kind", ""))));
			if (!isnan(value))
				text_addf(out, " = %.6g", value);
			if (json_str(check, "sentence")) {
				text_add(out, "; ");
				put(out, json_str(check, "sentence"));
			}
			text_add(out, "\n");
		}
	}
}

static void timeline(const json_t *rows, const char *const *w, struct text *out)
{
	const json_t *row;
	size_t i;

	heading(out, w[W_TIMELINE]);
	text_addf(out, "| # | %s | %s | %s | %s |\n|---|---|---|---|---|\n", w[W_TIME], w[W_EVENT],
		  w[W_ACTOR], w[W_REASON]);
	json_array_foreach(rows, i, row)
	{
		text_addf(out, "| %lld | ", json_int_or(row, "seq", 0));
		put_time(out, json_str(row, "created_at"));
		text_add(out, " | ");
		put(out, json_str_or(row, "event", "?"));
		if (!str_empty(json_str(row, "to")) && !str_eq(json_str(row, "from"), json_str(row, "to")))
			text_addf(out, " → %s", json_str(row, "to"));
		text_add(out, " | ");
		put(out, json_str_or(row, "actor", "?"));
		text_add(out, " | ");
		put(out, json_str_or(row, "reason", ""));
		text_add(out, " |\n");
	}
}

static bool any_withheld(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) if (json_array_size(json_at(json_object_get(row, "meta"),
								     "/llm/withheld"))) return true;
	return false;
}

static bool any_empty(const json_t *c)
{
	const json_t *f = json_array_get(json_object_get(c, "findings"), 0), *e;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(f, "body"), "evidence"), i, e)
	{
		const json_t *series = json_object_get(e, "series");

		if (json_is_array(series) && !json_array_size(series))
			return true;
	}
	return false;
}

static void follow_ups(const json_t *c, const json_t *rows, const char *const *w, struct text *out)
{
	const char *parked = json_str_or(c, "park_reason", ""), *closed = json_str_or(c, "resolution", "");
	const struct {
		bool due;
		enum word word;
	} all[] = {
		{ str_eq(parked, "outcome_unknown"), W_F_UNKNOWN },
		{ *parked && !str_eq(parked, "outcome_unknown"), W_F_PARKED },
		{ str_eq(parked, "unverified"), W_F_UNPROVEN },
		{ str_eq(parked, "rolled_back") || str_eq(closed, "rolled_back") ||
			  json_int_or(c, "rollbacks", 0) > 0,
                 W_F_ROLLBACK },
		{ any_withheld(rows), W_F_WITHHELD },
		{ any_empty(c), W_F_NO_DATA },
		{ str_eq(closed, "verified"), W_F_LEARN },
	};
	bool any = false;

	heading(out, w[W_FOLLOW]);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].due) {
			text_addf(out, "- [ ] %s", w[all[i].word]);
			if (all[i].word == W_F_PARKED && json_str(c, "sentence")) {
				text_add(out, ": ");
				put(out, json_str(c, "sentence"));
			}
			text_add(out, "\n");
			any = true;
		}
	if (!any)
		text_addf(out, "%s\n", w[W_NOTHING]);
}

bool report_case(const json_t *c, const json_t *rows, const char *lang, struct text *out)
{
	const char *const *w;

	if (!str_eq(lang, "en") && !str_eq(lang, "zh"))
		return false;
	w = words[str_eq(lang, "zh")];
	head(c, w, out);
	cause(c, w, out);
	actions(c, w, out);
	verdicts(c, w, out);
	timeline(rows, w, out);
	follow_ups(c, rows, w, out);
	return true;
}

enum oc_err cli_case_report(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *rows = json_array();
	AUTO(text) struct text out = { 0 };
	const char *lang = cli_option(cli, "lang") ? cli_option(cli, "lang") : "en";
	char id[40];
	enum oc_err err = remote_open(cli, &r, reterr);

	if (err == OC_OK)
		err = remote_case_id(r, cli_arg(cli, 0), id, reterr);
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr,
				 "/case/%s?include=plans,decisions,runs,verdicts,findings", id);
	if (err == OC_OK)
		err = remote_timeline(r, id, 0, rows, reterr);
	if (err != OC_OK)
		return err;
	if (!report_case(answer.data, rows, lang, &out))
		return oc_fail(reterr, OC_BAD_REQUEST, "--lang is en or zh, not '%s'", lang);
	fputs(out.s, stdout);
	return OC_OK;
}
