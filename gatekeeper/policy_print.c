/* The reference of policy files, printed from the tables that the loader and the evaluator use. */
#include "gatekeeper/policy.h"

static const struct {
	const char *name, *arg, *help;
} ops[] = {
	{ "eq",             "a value",       "the fact is this; `fact: value` is the short form"                },
	{ "ne",             "a value",       "the fact is known and is not this"                                },
	{ "gt, ge, lt, le", "a number",      "more than, at least, less than, at most"                          },
	{ "in",             "a list",        "the fact is one of these; `fact: [a, b]` is the short form"       },
	{ "glob",           "a pattern",     "the text fits: `*` stands for any run of characters, `?` for one" },
	{ "exists",         "true or false", "the fact is known, or is not"                                     },
};

static const struct {
	const char *name, *where, *help;
} sections[] = {
	{ "version",       "each file",                               "1"								 },
	{ "default",       "one file",
         "what happens where no rule is hit: `answer` (ask or deny), `approvers`, `expires`, `reason`"                                    },
	{ "self_approval", "one file",
         "`deny` (if not said): who opened the case or wrote the plan may not approve it; `warn`: "
	  "they may, and it is written down"											      },
	{ "break_glass",   "one file",
         "`roles` that may approve alone, their own plans too, with a reason that begins with "
	  "`break-glass:`. What is denied stays denied"										   },
	{ "freeze_answer", "one file",                                "what an open freeze window answers: `deny` (if not said) or `ask`" },
	{ "freeze",        "any file, added up",
         "windows: `name`; `from` and `to`, or `cron` (minute hour day month weekday, UTC: open in "
	  "every minute that fits all five); `tenants`, `environments`: only for these; `except`: "
	  "operations that it does not hold up"											   },
	{ "kill_switch",   "any file, added up",
         "`true`, or `{global: true, tenants: [..]}`: nothing is carried out, rollbacks neither"                                          },
	{ "permits",       "any file, added up",
         "what an operation needs a permit for (its manifest's `needs`), and the tenants that have "
	  "it: `script_body: [t-001]`"												    },
	{ "budgets",       "any file; the last row that fits counts",
         "`tenant`, `operation` (patterns), `limit` (forward runs, or none), `window`. Without any: 2 in 24h. Counted per tenant, "
	  "target and operation; what touches nothing is not counted"                                                                     },
	{ "rules",         "any file, added up",
         "`id`, `when`, `answer`, `reason`; where the answer is ask also `approvers: {roles, count}`; "
	  "`expires`; `replaces: true` puts it in the place of an earlier rule with the same id"                                          },
};

static const char *const builtins[][2] = {
	{ "builtin.kill-switch",
         "denies everything while `kill_switch` is true; also while effects are off (after a restore)" },
	{ "builtin.permit",      "denies a step that needs a permit which its tenant does not have"    },
	{ "builtin.freeze",      "answers `freeze_answer` for forward plans while `frozen` is true"    },
	{ "builtin.budget",
         "denies a forward plan when `budget_left` is used up; the case parks as recurring"            },
};

static const char intro[] =
	"# Policy files\n"
	"\n"
	"Printed from the tables by `opscase policy reference`; a test compares this page with them.\n"
	"\n"
	"The gate asks the policy about every plan before anything is carried out, once for each of its steps. The answer is\n"
	"**allow**, **ask** (people, who, how many, until when) or **deny**. Deny beats ask beats allow, over all rules that are\n"
	"hit and over all steps. Where no rule is hit the default holds: ask, unless the files say deny.\n"
	"\n"
	"All `*.yaml` files of the policy folder count, in name order. A file that is wrong is refused with its line: at the start\n"
	"the service does not come up, at a reload (SIGHUP) the last good set stays in force and the log says so. A new set makes\n"
	"the gate look again at every decision that waits; it voids only those that would be answered more strictly.\n"
	"`opscase policy test FILE` runs cases from a file; `policies/tests/` has those of the files that come with opscase.\n"
	"\n"
	"## What is not known\n"
	"\n"
	"A fact may be unknown: no topology, no environment, an adapter that did not answer. Conditions then are neither true nor\n"
	"false, and neither is their `not`.\n"
	"\n"
	"- A rule that **allows** counts only when it is certainly true. Nothing about an unknown fact is true there, not even\n"
	"  `exists: false`.\n"
	"- A rule that **denies or asks** and cannot be known counts as **ask**: what would have stopped a plan must not be\n"
	"  silent because somebody forgot a label. Where that is too much, say `fact: {exists: true, ...}`.\n"
	"\n"
	"## Conditions\n"
	"\n"
	"`when` is a mapping; everything in it must hold. `all: [..]`, `any: [..]` and `not: {..}` group conditions, at most 16\n"
	"levels deep; a list is `all`; the word `always` is always true.\n"
	"\n";

static const char example[] =
	"\n```yaml\n"
	"version: 1\n"
	"rules:\n"
	"  - id: restart-at-night\n"
	"    when: {action: k8s.rollout, verb: restart, environment: prod, bound: true, hour: {lt: 6}}\n"
	"    answer: allow\n"
	"    reason: nobody minds at night\n"
	"  - id: database-needs-two\n"
	"    when: {target: {glob: 'urn:db:*'}, plan_kind: forward}\n"
	"    answer: ask\n"
	"    approvers: {roles: [approver, admin], count: 2}\n"
	"    expires: 2h\n"
	"  - id: measured-in-production\n"
	"    when: {environment: prod, plan_kind: forward, blast: {ne: none}, verify_metric: false}\n"
	"    answer: deny\n"
	"    reason: in production a probe alone proves nothing\n"
	"```\n";

/* A bar would end the table's cell. */
static void add_cell(struct text *out, const char *s)
{
	for (; *s; s++)
		if (*s == '|')
			text_add(out, ", ");
		else
			text_add_n(out, s, 1);
}

void policy_print_reference(struct text *out)
{
	text_add(out, intro);
	text_add(out, "| comparison | with | holds when |\n|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		text_addf(out, "| `%s` | %s | %s |\n", ops[i].name, ops[i].arg, ops[i].help);
	text_add(out, example);
	text_add(out, "\n## Facts\n\n| fact | is | of the | meaning |\n|---|---|---|---|\n");
	for (int i = 0; i < FACT_COUNT; i++) {
		const struct fact_row *row = fact_row((enum fact_id)i);

		text_addf(out, "| `%s` | ", row->name);
		add_cell(out, *row->values ? row->values : fact_type_name(row->type));
		text_addf(out, " | %s | ", row->per == FACT_PER_STEP ? "step" : "plan");
		add_cell(out, row->help);
		text_add(out, " |\n");
	}
	text_add(out, "\n## Sections of a file\n\n| section | may stand in | meaning |\n|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		text_addf(out, "| `%s` | %s | %s |\n", sections[i].name, sections[i].where, sections[i].help);
	text_add(out, "\nTimes are seconds, or a number with s, m, h or d.\n");
	text_add(
		out,
		"\n## Built in\n\nThese hold beside the rules and cannot be switched off by one.\n\n| rule | meaning |\n|---|---|\n");
	for (size_t i = 0; i < ARRAY_LEN(builtins); i++)
		text_addf(out, "| `%s` | %s |\n", builtins[i][0], builtins[i][1]);
	text_add(
		out,
		"\n## What a decision is bound to\n\n"
		"To the hash of the plan, of its arguments, of the policy, and to the state of the world as the adapters' probes told\n"
		"it, for each step without what earlier steps of the plan write. It is good for one run, until it expires. Right\n"
		"before the first effect all of that is looked at again: a plan, a world or a policy that changed voids the decision,\n"
		"and the timeline says what changed.\n");
}
