/* maintenance.c - times in which signals open no case. */
#include <string.h>
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "base/mem.h"

static enum oc_err body_of(const struct cli *cli, json_t *body, struct oc_fail *reterr)
{
	AUTO(json) json_t *labels = json_object();
	long long minutes = 0;
	enum oc_err err = cli_option_int(cli, "minutes", 1, 129600, &minutes, reterr);

	for (int i = 0; err == OC_OK && i < cli->options; i++) {
		const char *pair = cli->option[i].value, *equals;

		if (!str_eq(cli->option[i].name, "label"))
			continue;
		equals = strchr(pair, '=');
		if (!equals || equals == pair)
			return oc_fail(reterr, OC_BAD_REQUEST, "--label takes name=value, not '%s'", pair);
		AUTO(str) char *name = mem_strndup(pair, (size_t)(equals - pair));
		json_put(labels, name, equals + 1);
	}
	if (err != OC_OK)
		return err;
	json_put(body, "reason", cli_arg(cli, 0));
	json_object_set(body, "labels", labels);
	if (cli_option(cli, "from"))
		json_put(body, "starts_at", cli_option(cli, "from"));
	if (cli_option(cli, "to"))
		json_put(body, "ends_at", cli_option(cli, "to"));
	else
		json_object_set_new(body, "for_s", json_integer(60 * (minutes ? minutes : 60)));
	return OC_OK;
}

enum oc_err cli_maintenance_add(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_object();
	enum oc_err err = body_of(cli, body, reterr);

	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "POST",
							 .path = "/maintenance",
							 .body = body,
							 .wait_s = -1 },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	printf("%s: from %s to %s\n", json_str(answer.data, "id"), json_str(answer.data, "starts_at"),
	       json_str(answer.data, "ends_at"));
	return OC_OK;
}

enum oc_err cli_maintenance_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	const json_t *one;
	size_t i;
	enum oc_err err;

	out_table_init(&table, "ID|FROM|TO||LABELS|REASON|BY");
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr, "/maintenance?past=%s",
				 cli_flag(cli, "past") ? "true" : "false");
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, one)
	{
		AUTO(str) char *labels = json_text(json_object_get(one, "labels"));
		bool active = json_bool_or(one, "active", false);

		out_table_add(&table, OUT_DIM, json_str(one, "id"));
		out_table_add(&table, OUT_PLAIN, json_str(one, "starts_at"));
		out_table_add(&table, OUT_PLAIN, json_str(one, "ends_at"));
		out_table_add(&table, active ? OUT_WARN : OUT_PLAIN, active ? "now" : "");
		out_table_add(&table, OUT_PLAIN, str_eq(labels, "{}") ? "every signal" : labels);
		out_table_add(&table, OUT_BOLD, json_str(one, "reason"));
		out_table_add(&table, OUT_DIM, json_str(one, "created_by"));
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	return OC_OK;
}

enum oc_err cli_maintenance_end(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text path = { 0 };
	enum oc_err err = remote_open(cli, &r, reterr);

	text_add(&path, "/maintenance/");
	url_add(&path, cli_arg(cli, 0));
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "DELETE", .path = path.s, .wait_s = -1 },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	puts("ended");
	return OC_OK;
}
