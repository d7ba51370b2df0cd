/* story.c - case story: everything around a case in one ordered list. */
#include "apps/opscase/cli.h"
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/mem.h"

enum oc_err cli_case_story(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	char id[40];
	const json_t *row;
	size_t i;
	enum oc_err err = remote_open(cli, &r, reterr);

	out_table_init(&table, "AT|KIND|WHAT|WHERE|BY");
	if (err == OC_OK)
		err = remote_case_id(r, cli_arg(cli, 0), id, reterr);
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr, "/case/%s/story", id);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, row)
	{
		AUTO(str) char *at = mem_strndup(json_str_or(row, "at", ""), 19);

		out_table_add(&table, OUT_DIM, at);
		out_table_add(&table, OUT_BOLD, json_str_or(row, "kind", ""));
		out_table_add(&table, OUT_PLAIN, json_str_or(row, "what", ""));
		out_table_add(&table, OUT_DIM, json_str_or(row, "resource", ""));
		out_table_add(&table, OUT_DIM, json_str_or(row, "by", ""));
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	return OC_OK;
}
