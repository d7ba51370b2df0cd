/* slo.c - slo lint, which needs no server, and slo status. */
#include <math.h>
#include "analyst/slo.h"
#include "apps/opscase/cli.h"
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/mem.h"
#include "wire/yaml/yaml.h"

static void note(void *ctx, const char *text)
{
	printf("%s: note: %s\n", (const char *)ctx, text);
}

enum oc_err cli_slo_lint(struct cli *cli, struct oc_fail *reterr)
{
	unsigned bad = 0;

	for (int i = 0; i < cli->argc; i++) {
		AUTO(yaml) struct yaml_doc *doc = NULL;
		AUTO(slo_list) struct slo_list list = { 0 };
		const char *path = cli_arg(cli, i);
		struct oc_fail why = { 0 };
		enum oc_err err = yaml_read_file(path, &doc, &why);

		if (err == OC_NOT_FOUND || err == OC_UNAVAILABLE)
			return oc_fail(reterr, err, "%s", why.text);
		if (err != OC_OK) {
			printf("%s\n", why.text);
			bad++;
			continue;
		}
		err = slo_read(yaml_value(doc), &list, note, (void *)path, &why);
		if (err != OC_OK) {
			printf("%s:%d: %s: %s\n", path, yaml_line(doc, why.field), why.field, why.text);
			bad++;
			continue;
		}
		printf("%s: %zu objective%s\n", path, list.count, list.count == 1 ? "" : "s");
	}
	return bad ? oc_fail(reterr, OC_INVALID, "%u finding%s", bad, bad == 1 ? "" : "s") : OC_OK;
}

enum oc_err cli_slo_status(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	const json_t *row;
	size_t i;
	enum oc_err err = remote_open(cli, &r, reterr);

	out_table_init(&table, "SLO|SERVICE|TARGET|BUDGET LEFT|BURN 1H|BURN 6H|ALARM");
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr, "/slo");
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, row)
	{
		const json_t *burn = json_object_get(row, "burn"),
			     *left = json_object_get(row, "budget_left");
		const char *alarm = json_str(row, "alarm");
		const char *const spans[] = { "1h", "6h" };
		char number[40];

		out_table_add(&table, OUT_BOLD, json_str_or(row, "name", ""));
		out_table_add(&table, OUT_PLAIN, json_str_or(row, "service", ""));
		snprintf(number, sizeof(number), "%.6g %%", 100 * json_num_or(row, "target", 0));
		out_table_add(&table, OUT_PLAIN, number);
		snprintf(number, sizeof(number), "%.1f %%", 100 * json_number_value(left));
		out_table_add(&table, OUT_PLAIN, json_is_number(left) ? number : "-");
		for (size_t k = 0; k < 2; k++) {
			const json_t *b = json_object_get(burn, spans[k]);

			snprintf(number, sizeof(number), "%.2f", json_number_value(b));
			out_table_add(&table, OUT_PLAIN, json_is_number(b) ? number : "-");
		}
		out_table_add(&table, str_eq(alarm, "quiet") ? OUT_PLAIN : OUT_WARN,
			      alarm                                  ? alarm
			      : json_bool_or(row, "measured", false) ? "no data"
								     : "not measured");
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	return OC_OK;
}
