/* gate.c - opscase plan and gate: what was proposed, and the card that an approver reads. */
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "gatekeeper/card.h"

static enum oc_err read_case(struct cli *cli, const char *include, struct remote_answer *ret, char id[40],
			     struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	enum oc_err err = remote_open(cli, &r, reterr);

	if (err == OC_OK)
		err = remote_case_id(r, cli_arg(cli, 0), id, reterr);
	return err == OC_OK ? remote_get(r, ret, reterr, "/case/%s?include=%s", id, include) : err;
}

enum oc_err cli_plan_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text out = { 0 };
	const json_t *plans, *row;
	long long revision = 0;
	char id[40];
	size_t i;
	enum oc_err err = cli_option_int(cli, "revision", 1, 1000000, &revision, reterr);

	if (err == OC_OK)
		err = read_case(cli, "plans", &answer, id, reterr);
	if (err != OC_OK)
		return err;
	plans = json_object_get(answer.data, "plans");
	json_array_foreach(plans, i, row)
	{
		if (revision && json_int_or(row, "revision", 0) != revision)
			continue;
		if (cli->json)
			return show_json(row);
		show_plan(cli, row, &out);
		fputs(text_str(&out), stdout);
		return OC_OK;
	}
	return revision ? oc_fail(reterr, OC_NOT_FOUND, "the case has no plan of revision %lld", revision)
			: oc_fail(reterr, OC_NOT_FOUND, "no plan yet; `opscase case plan %s` asks for one",
				  id);
}

enum oc_err cli_gate_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text out = { 0 };
	const json_t *d, *one;
	char id[40], ago[40];
	size_t i;
	enum oc_err err = read_case(cli, "decisions", &answer, id, reterr);

	if (err != OC_OK)
		return err;
	d = json_array_get(json_object_get(answer.data, "decisions"), 0);
	if (!d)
		return oc_fail(reterr, OC_NOT_FOUND, "the gate has not decided about this case yet");
	if (cli->json)
		return show_json(d);
	card_print(json_object_get(d, "card"), &out);
	text_add(&out, "\n");
	json_array_foreach(json_object_get(d, "approvals"), i, one)
	{
		out_clean(&out, json_str_or(one, "principal", "?"), false);
		text_addf(&out, " (%s) said %s", json_str_or(one, "role", "?"),
			  json_str_or(one, "answer", "?"));
		if (json_str(one, "reason")) {
			text_add(&out, ": ");
			out_clean(&out, json_str(one, "reason"), false);
		}
		text_add(&out, "\n");
	}
	out_ago(json_str(d, "expires_at"), clock_wall_us(), ago, sizeof(ago));
	text_addf(&out, "This decision is %s", json_str_or(d, "status", "?"));
	if (str_eq(json_str(d, "status"), "pending"))
		text_addf(
			&out,
			" and expires %s.\n  opscase case approve %s --as approver\n  opscase case reject %s --reason TEXT\n",
			ago, id, id);
	else
		text_add(&out, ".\n");
	fputs(out.s, stdout);
	return OC_OK;
}
