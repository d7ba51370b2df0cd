#include "gatekeeper/card.h"
#include "base/clock.h"

#define DIFF_MAX        (16 * 1024) /* bytes of a preview that are kept per step */
#define CHANGES_MAX     50
#define MODEL_WORDS_MAX 1000

static json_t *parsed(const char *text)
{
	json_t *v = NULL;

	if (str_empty(text) || json_read_own(text, &v, NULL) != OC_OK)
		return json_object();
	return v;
}

static json_t *number_or_null(const struct facts *f, enum fact_id id)
{
	if (!fact_known(f, id))
		return json_null();
	return json_integer((json_int_t)(f->v[id].number > 1e15 ? 1e15 : f->v[id].number));
}

/* Cut between characters: half a character would make the whole card invalid. */
static json_t *cut_text(const char *s, size_t max)
{
	size_t n = strlen(s);

	if (n <= max)
		return json_string(s);
	for (n = max; n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80; n--)
		;
	return json_sprintf("%.*s\n... (%zu bytes more)", (int)n, s, strlen(s) - n);
}

static const char *preview_sentence(const struct step_look *s)
{
	switch (s->dry.said) {
	case GATE_WOULD_DO:
		return "ok";
	case GATE_NO_ENTRY:
		return "none: the adapter has no dry run";
	case GATE_REFUSED:
		return "refused: the adapter does not take these params";
	default:
		return str_empty(s->dry.sentence) ? "none: the adapter did not answer" : s->dry.sentence;
	}
}

static const char *bound_sentence(const struct step_look *s)
{
	if (s->binding)
		return "bound";
	if (s->probe.said == GATE_NO_ENTRY)
		return "the adapter has no probe";
	return str_empty(s->probe.sentence) ? "the adapter told no state" : s->probe.sentence;
}

static json_t *step_card(const struct card_in *in, size_t i)
{
	const struct plan_step *step = &in->plan->step[i];
	const struct step_look *s = &in->look->step[i];
	const struct facts *f = &in->facts[i];
	json_t *o = json_pack("{s:I,s:s,s:o,s:o,s:i,s:i,s:b}", "step", (json_int_t)i, "action", step->action,
			      "target", parsed(step->target), "params", parsed(step->params), "timeout_s",
			      step->timeout_s, "retry", step->retry, "reversible", s->reversible);
	json_t *changes = json_array();
	const json_t *list = json_object_get(s->preview, "changes"), *v;
	const char *diff = json_str(s->preview, "diff");
	size_t n;

	if (step->undo)
		json_object_set_new(o, "undo_of", json_integer(step->undo_of));
	json_array_foreach(list, n, v) if (n < CHANGES_MAX) json_array_append(changes, (json_t *)v);
	json_object_set_new(o, "changes", changes);
	if (diff)
		json_object_set_new(o, "diff", cut_text(diff, DIFF_MAX));
	json_put(o, "preview", preview_sentence(s));
	json_object_set_new(o, "bound", json_boolean(s->binding != NULL));
	if (!s->binding)
		json_put(o, "not_bound_because", bound_sentence(s));
	if (s->applied)
		json_object_set_new(o, "already_applied", json_true());
	if (*s->needs)
		json_put(o, "needs", s->needs);
	json_object_set_new(o, "risk",
			    fact_known(f, FACT_RISK) ? json_real(f->v[FACT_RISK].number) : json_null());
	json_object_set_new(o, "blast",
			    json_pack("{s:s,s:o,s:o}", "what",
				      s->op ? operation_blast_name(s->op->blast) : "unknown", "downstream",
				      number_or_null(f, FACT_DOWNSTREAM), "upstream",
				      number_or_null(f, FACT_UPSTREAM)));
	return o;
}

static json_t *undo_step(const struct plan_step *step, const char *how)
{
	return json_pack("{s:s,s:o,s:o,s:s}", "action", step->action, "target", parsed(step->target),
			 "params", parsed(step->params), "how", how);
}

/* How the plan would be taken back, in the order in which it would happen. */
static json_t *undo_card(const struct card_in *in)
{
	json_t *list = json_array();
	const struct plan *plan = in->plan;

	if (plan->kind == PLAN_ROLLBACK)
		return list;
	if (plan->rollback_given) {
		for (size_t i = 0; i < plan->rollback_count; i++)
			json_array_append_new(list, undo_step(&plan->rollback[i], "given by the plan"));
		return list;
	}
	for (size_t i = plan->step_count; i--;) {
		const struct plan_step *step = &plan->step[i];
		const struct step_look *s = &in->look->step[i];

		if (step->compensate)
			json_array_append_new(list, undo_step(step->compensate, "the step's compensate"));
		else if (s->op && s->op->has_undo && s->reversible)
			json_array_append_new(list,
					      undo_step(step, "the adapter's undo, from what was before"));
		else if (!s->op || s->op->blast != BLAST_NONE)
			json_array_append_new(list, undo_step(step, "no way back"));
	}
	return list;
}

/* What the plan's riskiest step is; NULL when no step's operation is known. */
static const struct step_look *riskiest(const struct card_in *in)
{
	const struct step_look *worst = NULL;

	for (size_t i = 0; i < in->look->count; i++)
		if (in->look->step[i].op && (!worst || in->look->step[i].op->risk > worst->op->risk))
			worst = &in->look->step[i];
	return worst;
}

/* The risk in sentences, from the manifests, the topology and what became of the plan before: never a model's. */
static json_t *risk_text(const struct card_in *in, bool chinese)
{
	static const char *const blast_zh[] = { [BLAST_NONE] = "不影响任何资源",
						[BLAST_SERVICE] = "影响一个服务",
						[BLAST_HOST] = "影响一台主机",
						[BLAST_CLUSTER] = "影响整个集群" };
	const struct step_look *worst = riskiest(in);
	const struct facts *f = &in->facts[0];
	AUTO(text) struct text out = { 0 };
	bool depends = false, known = false;
	double downstream = 0;

	if (!worst)
		return json_string(chinese ? "风险未知：没有适配器说明这些操作。"
					   : "The risk is not known: no adapter tells of these operations.");
	for (size_t i = 0; i < in->look->count; i++)
		if (fact_known(&in->facts[i], FACT_DOWNSTREAM)) {
			known = true;
			downstream = in->facts[i].v[FACT_DOWNSTREAM].number > downstream
					     ? in->facts[i].v[FACT_DOWNSTREAM].number
					     : downstream;
		}
	depends = worst->op->blast != BLAST_NONE;
	text_addf(&out,
		  chinese ? "风险 %.2f（最高为 1），取自 %s，%s%s"
			  : "Risk %.2f of 1, that of %s, which touches %s%s",
		  worst->op->risk, worst->op->name, chinese || worst->op->blast == BLAST_NONE ? "" : "a ",
		  chinese                          ? blast_zh[worst->op->blast]
		  : worst->op->blast == BLAST_NONE ? "nothing"
						   : operation_blast_name(worst->op->blast));
	if (depends && known)
		text_addf(&out, chinese ? "，最多 %.0f 个资源依赖它。" : "; at most %.0f depend on it.",
			  downstream);
	else if (depends)
		text_add(&out,
			 chinese ? "，有多少资源依赖它尚不清楚。" : "; how many depend on it is not known.");
	else
		text_add(&out, chinese ? "。" : ".");
	if (fact_known(f, FACT_UNDO_PLAN))
		text_add(&out, f->v[FACT_UNDO_PLAN].truth
				       ? (chinese ? "每个步骤都可以撤回。" : " Every step can be taken back.")
				       : (chinese ? "并非每个步骤都能撤回。"
						  : " Not every step can be taken back."));
	if (fact_known(f, FACT_TIMES_SUCCEEDED) && fact_known(f, FACT_TIMES_FAILED))
		text_addf(&out,
			  chinese ? "同一方案此前成功 %.0f 次，失败 %.0f 次。"
				  : " The same plan helped %.0f times and failed %.0f times before.",
			  f->v[FACT_TIMES_SUCCEEDED].number, f->v[FACT_TIMES_FAILED].number);
	return json_string(text_str(&out));
}

static json_t *risk_card(const struct card_in *in)
{
	const struct facts *f = &in->facts[0];
	json_t *reasons = json_array(), *card;
	const struct step_look *worst = riskiest(in);

	if (worst)
		json_array_append_new(reasons, json_sprintf("%s has the highest risk of its steps, %g",
							    worst->op->name, worst->op->risk));
	if (in->plan->has_risk)
		json_array_append_new(reasons, json_sprintf("the plan itself says %g", in->plan->risk_score));
	if (fact_known(f, FACT_TIMES_SUCCEEDED) && fact_known(f, FACT_TIMES_FAILED))
		json_array_append_new(reasons,
				      json_sprintf("the same plan helped %g times and failed %g times before",
						   f->v[FACT_TIMES_SUCCEEDED].number,
						   f->v[FACT_TIMES_FAILED].number));
	if (fact_known(f, FACT_UNDO_PLAN) && !f->v[FACT_UNDO_PLAN].truth)
		json_array_append_new(reasons, json_string("not every step can be taken back"));
	card = json_pack("{s:o,s:o,s:{s:o,s:o}}", "highest", worst ? json_real(worst->op->risk) : json_null(),
			 "reasons", reasons, "text", "en", risk_text(in, false), "zh", risk_text(in, true));
	/* Why the model wants it is shown as what it is, words, and decides nothing. */
	if (!str_empty(in->model_says))
		json_object_set_new(card, "model_says", cut_text(in->model_says, MODEL_WORDS_MAX));
	return card;
}

static json_t *warnings(const struct card_in *in)
{
	json_t *list = json_array();

	if (in->before)
		json_array_append_new(list, json_sprintf("asked again: %s", in->before));
	for (size_t i = 0; i < in->look->count; i++) {
		const struct step_look *s = &in->look->step[i];
		bool harmless = s->op && s->op->blast == BLAST_NONE;

		if (!s->binding && !harmless)
			json_array_append_new(
				list,
				json_sprintf("step %zu: world not bound (%s): a change between approval and "
					     "execution will not be noticed",
					     i + 1, bound_sentence(s)));
		if (s->dry.said != GATE_WOULD_DO && !harmless && !in->plan->step[i].undo)
			json_array_append_new(list, json_sprintf("step %zu: no preview (%s)", i + 1,
								 preview_sentence(s)));
		if (s->applied)
			json_array_append_new(list,
					      json_sprintf("step %zu: the wanted state is in place already",
							   i + 1));
	}
	for (size_t i = 0; i < in->decision->hits_count && i < POLICY_HITS_MAX; i++)
		if (in->decision->hits[i].unsure)
			json_array_append_new(
				list,
				json_sprintf("it is not known whether rule %s holds; it counts as if it asked",
					     in->decision->hits[i].id));
	if (in->decision->answer == POLICY_ASK && policy_self_approval(in->policy) == SELF_APPROVAL_WARN)
		json_array_append_new(list,
				      json_string("self approval is possible here (self_approval: warn)"));
	return list;
}

static json_t *terms(const struct card_in *in)
{
	json_t *authors = json_array();

	if (!str_empty(in->opened_by))
		json_array_append_new(authors, json_string(in->opened_by));
	if (!str_empty(in->created_by) && !str_eq(in->created_by, in->opened_by))
		json_array_append_new(authors, json_string(in->created_by));
	return json_pack("{s:o,s:i,s:s,s:o,s:o}", "roles", policy_roles_json(in->decision->roles), "quorum",
			 (int)in->decision->quorum, "self_approval",
			 policy_self_approval(in->policy) == SELF_APPROVAL_WARN ? "warn" : "deny", "authors",
			 authors, "break_glass", policy_roles_json(policy_break_glass_roles(in->policy)));
}

json_t *card_make(const struct card_in *in)
{
	json_t *steps = json_array(), *card;
	char expires[32];

	for (size_t i = 0; i < in->look->count; i++)
		json_array_append_new(steps, step_card(in, i));
	clock_format(in->expires_us, expires, sizeof(expires));
	card = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s?,s:i,s:s}", "case_id", in->case_id, "title", in->title,
			 "tenant", in->tenant, "plan_id", in->plan_id, "plan_hash", in->plan_hash, "kind",
			 in->kind, "template", in->template_name, "revision", in->revision, "source",
			 in->source);
	json_put(card, "plan_title", in->plan->title ? in->plan->title : "");
	json_put(card, "answer", policy_answer_name(in->decision->answer));
	json_put(card, "reason", in->decision->reason);
	json_object_set_new(card, "steps", steps);
	json_object_set_new(card, "undo", undo_card(in));
	json_object_set_new(card, "risk", risk_card(in));
	json_object_set_new(card, "rules", policy_rules_json(in->decision));
	json_object_set_new(card, "terms", terms(in));
	json_put(card, "expires_at", expires);
	json_object_set_new(card, "cost",
			    json_pack("{s:i,s:i,s:{s:I,s:I,s:f}}", "exec_at_most_s", in->exec_budget_s,
				      "verify_at_most_s", in->verify_budget_s, "models", "calls",
				      (json_int_t)in->model_calls, "tokens", (json_int_t)in->model_tokens,
				      "money", in->model_money));
	if (!str_empty(in->nearest))
		json_put(card, "nearest", in->nearest);
	json_object_set_new(card, "warnings", warnings(in));
	json_put(card, "policy", policy_hash(in->policy));
	return card;
}

/* ---- as text ---- */

/* Control characters would let a diff repaint the approver's screen. */
static void add_safe(struct text *out, const char *s, const char *indent)
{
	for (; *s; s++) {
		if (*s == '\n')
			text_addf(out, "\n%s", indent);
		else if (*s == '\t')
			text_add(out, "    ");
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			text_addf(out, "\\x%02x", (unsigned char)*s);
		else if ((unsigned char)s[0] == 0xC2 && (unsigned char)s[1] >= 0x80 &&
			 (unsigned char)s[1] < 0xA0)
			text_addf(out, "\\u%04x", (unsigned)(unsigned char)*++s); /* C1 controls */
		else
			text_add_n(out, s, 1);
	}
}

static void add_field(struct text *out, const char *name, const char *value)
{
	text_addf(out, "%-10s ", name);
	add_safe(out, value, "           ");
	text_add(out, "\n");
}

static void add_json(struct text *out, const json_t *v)
{
	AUTO(str) char *s = json_is_string(v) ? NULL : json_text(v);

	add_safe(out, s ? s : json_string_value(v), "        ");
}

static void print_step(const json_t *s, struct text *out)
{
	const json_t *changes = json_object_get(s, "changes"), *v;
	const char *urn = json_str(json_object_get(s, "target"), "urn");
	size_t i;

	text_addf(out, "  %lld. ", (long long)json_int_or(s, "step", 0) + 1);
	add_safe(out, json_str_or(s, "action", "?"), "     ");
	if (urn) {
		text_add(out, "  on ");
		add_safe(out, urn, "     ");
	}
	text_add(out, "\n     params ");
	add_json(out, json_object_get(s, "params"));
	text_add(out, "\n");
	json_array_foreach(changes, i, v)
	{
		text_add(out, "     ~ ");
		add_safe(out, json_str_or(v, "what", "?"), "       ");
		text_add(out, ": ");
		if (json_object_get(v, "from"))
			add_json(out, json_object_get(v, "from"));
		text_add(out, " -> ");
		if (json_object_get(v, "to"))
			add_json(out, json_object_get(v, "to"));
		text_add(out, "\n");
	}
	if (json_str(s, "diff")) {
		text_add(out, "     ");
		add_safe(out, json_str(s, "diff"), "     ");
		text_add(out, "\n");
	}
	if (!str_eq(json_str_or(s, "preview", ""), "ok"))
		text_addf(out, "     preview: %s\n", json_str_or(s, "preview", ""));
	v = json_object_get(json_object_get(s, "blast"), "downstream");
	text_addf(out, "     touches a %s", json_str_or(json_object_get(s, "blast"), "what", "?"));
	if (json_is_integer(v))
		text_addf(out, ", %lld depend on it", (long long)json_integer_value(v));
	else
		text_add(out, ", how many depend on it is not known");
	text_addf(out, "; %s\n", json_bool_or(s, "bound", false) ? "state bound" : "state not bound");
}

static void print_list(struct text *out, const char *name, const json_t *list)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	if (name)
		text_addf(out, "%s\n", name);
	json_array_foreach(list, i, v)
	{
		text_add(out, "  ");
		add_safe(out, json_is_string(v) ? json_string_value(v) : "?", "    ");
		text_add(out, "\n");
	}
}

void card_print(const json_t *card, struct text *out)
{
	const json_t *list, *v, *t = json_object_get(card, "terms");
	AUTO(text) struct text line = { 0 };
	size_t i;

	add_field(out, "case", json_str_or(card, "title", "?"));
	add_field(out, "", json_str_or(card, "case_id", "?"));
	text_addf(&line, "%s (%s, from a %s%s%s), %.12s", json_str_or(card, "plan_title", "?"),
		  json_str_or(card, "kind", "?"), json_str_or(card, "source", "?"),
		  json_str(card, "template") ? " " : "", json_str_or(card, "template", ""),
		  json_str_or(card, "plan_hash", ""));
	add_field(out, "plan", text_str(&line));
	add_field(out, "answer", json_str_or(card, "answer", "?"));
	add_field(out, "because", json_str_or(card, "reason", ""));
	text_add(out, "steps\n");
	list = json_object_get(card, "steps");
	json_array_foreach(list, i, v) print_step(v, out);
	list = json_object_get(card, "undo");
	text_add(out, "way back\n");
	if (json_array_size(list) == 0)
		text_add(out, str_eq(json_str(card, "kind"), "rollback") ? "  this is the way back\n"
									 : "  none is needed\n");
	json_array_foreach(list, i, v)
	{
		text_addf(out, "  %zu. ", i + 1);
		add_safe(out, json_str_or(v, "action", "?"), "     ");
		text_addf(out, " (%s)\n", json_str_or(v, "how", "?"));
	}
	add_field(out, "risk", json_str_or(json_at(card, "/risk/text"), "en", "not known"));
	print_list(out, NULL, json_object_get(json_object_get(card, "risk"), "reasons"));
	if (json_str(json_object_get(card, "risk"), "model_says")) {
		text_add(out, "model says ");
		add_safe(out, json_str(json_object_get(card, "risk"), "model_says"), "           ");
		text_add(out, " (words; nobody checked them)\n");
	}
	list = json_object_get(card, "rules");
	text_add(out, "rules\n");
	if (json_array_size(list) == 0)
		text_add(out, "  none speaks of it\n");
	json_array_foreach(list, i, v)
		text_addf(out, "  %-5s %s%s%s%s\n", json_str_or(v, "answer", "?"), json_str_or(v, "id", "?"),
			  json_str(v, "reason") ? ": " : "", json_str_or(v, "reason", ""),
			  json_bool_or(v, "unsure", false) ? " (not known)" : "");
	print_list(out, "warnings", json_object_get(card, "warnings"));
	if (str_eq(json_str(card, "answer"), "ask")) {
		AUTO(str) char *roles = json_text(json_object_get(t, "roles"));

		text_addf(out, "asks       %lld of %s, until %s\n", (long long)json_int_or(t, "quorum", 1),
			  roles, json_str_or(card, "expires_at", "?"));
	}
	v = json_object_get(card, "cost");
	text_addf(out, "takes      at most %llds, then at most %llds to verify\n",
		  (long long)json_int_or(v, "exec_at_most_s", 0),
		  (long long)json_int_or(v, "verify_at_most_s", 0));
	if (json_int_or(json_object_get(v, "models"), "calls", 0))
		text_addf(out, "cost       %lld calls to models so far, %lld tokens, %.4f\n",
			  (long long)json_int_or(json_object_get(v, "models"), "calls", 0),
			  (long long)json_int_or(json_object_get(v, "models"), "tokens", 0),
			  json_num_or(json_object_get(v, "models"), "money", 0));
	if (json_str(card, "nearest"))
		add_field(out, "otherwise", json_str(card, "nearest"));
}
