/* deadletter.c - what was given up, and the way back. */
#include <stdio.h>
#include "apps/opscase/datadir.h"
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "base/mem.h"

static enum oc_err get_page(const struct cli *cli, struct remote *r, long long limit, const char *cursor,
			    struct remote_answer *ret, struct oc_fail *reterr)
{
	AUTO(text) struct text path = { 0 };

	text_addf(&path, "/deadletter?limit=%lld", limit);
	if (cli_option(cli, "kind")) {
		text_add(&path, "&kind=");
		url_add(&path, cli_option(cli, "kind"));
	}
	if (cli_flag(cli, "replayed"))
		text_add(&path, "&replayed=true");
	if (cursor) {
		text_add(&path, "&cursor=");
		url_add(&path, cursor);
	}
	return remote_get(r, ret, reterr, "%s", text_str(&path));
}

enum oc_err cli_deadletter_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	long long limit = 50;
	const json_t *one;
	size_t i;
	enum oc_err err = cli_option_int(cli, "limit", 1, 500, &limit, reterr);

	out_table_init(&table, "ID|KIND|SOURCE|WHEN|REASON|");
	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = get_page(cli, r, limit, NULL, &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, one)
	{
		char id[24], ago[40];

		snprintf(id, sizeof(id), "%lld", json_int_or(one, "id", 0));
		out_ago(json_str(one, "created_at"), clock_wall_us(), ago, sizeof(ago));
		out_table_add(&table, OUT_BOLD, id);
		out_table_add(&table, OUT_PLAIN, json_str(one, "kind"));
		out_table_add(&table, OUT_PLAIN, json_str(one, "source"));
		out_table_add(&table, OUT_DIM, ago);
		out_table_add(&table, OUT_PLAIN, json_str(one, "reason"));
		out_table_add(&table, OUT_DIM, json_str(one, "replayed_at") ? "sent again" : "");
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	if (json_str(answer.doc, "next_cursor"))
		fprintf(stderr, "there are more: --limit\n");
	return OC_OK;
}

static enum oc_err number_of(const struct cli *cli, long long *ret, struct oc_fail *reterr)
{
	return str_to_long(cli_arg(cli, 0), 1, INT64_MAX, ret)
		       ? OC_OK
		       : oc_fail(reterr, OC_BAD_REQUEST,
				 "'%s' is no dead letter: `opscase deadletter list` shows their numbers",
				 cli_arg(cli, 0));
}

enum oc_err cli_deadletter_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text out = { 0 }, clean = { 0 };
	long long id = 0;
	enum oc_err err = number_of(cli, &id, reterr);

	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr, "/deadletter/%lld", id);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	text_addf(&out, "%lld  %s from %s, %s\n  %s\n", id, json_str_or(answer.data, "kind", "?"),
		  json_str_or(answer.data, "source", "?"), json_str_or(answer.data, "created_at", "?"),
		  json_str_or(answer.data, "reason", ""));
	if (json_str(answer.data, "replayed_at"))
		text_addf(&out, "  sent again %s by %s\n", json_str(answer.data, "replayed_at"),
			  json_str_or(answer.data, "replayed_by", "somebody"));
	text_addf(&out, "%s\n", json_str_or(answer.data, "record", ""));
	out_clean(&clean, text_str(&out), true);
	fputs(text_str(&clean), stdout);
	return OC_OK;
}

static enum oc_err replay(struct remote *r, long long id, const json_t *body, struct remote_answer *ret,
			  struct oc_fail *reterr)
{
	AUTO(str) char *path = mem_printf("/deadletter/%lld/replay", id);

	return remote_send(r,
			   &(struct remote_call){
				   .method = "POST", .path = path, .body = body, .wait_s = -1 },
			   ret, reterr);
}

/* What is refused again stays; the first failure of another kind ends it. */
static enum oc_err replay_all(const struct cli *cli, struct remote *r, struct oc_fail *reterr)
{
	AUTO(str) char *cursor = NULL;
	AUTO(json) json_t *body = json_object();
	size_t sent = 0, stayed = 0;

	do {
		AUTO(remote_answer) struct remote_answer page = { 0 };
		const json_t *one;
		size_t i;
		enum oc_err err = get_page(cli, r, 500, cursor, &page, reterr);

		if (err != OC_OK)
			return err;
		json_array_foreach(page.data, i, one)
		{
			AUTO(remote_answer) struct remote_answer answer = { 0 };
			long long id = json_int_or(one, "id", 0);

			err = replay(r, id, body, &answer, reterr);
			if (err == OC_OK) {
				sent++;
			} else if (err == OC_INVALID || err == OC_CONFLICT || err == OC_BAD_REQUEST) {
				fprintf(stderr, "%lld: %s\n", id, reterr->text);
				stayed++;
			} else {
				return err;
			}
		}
		free(cursor);
		cursor = mem_strdup(json_str(page.doc, "next_cursor"));
	} while (cursor);
	printf("%zu sent again, %zu stay\n", sent, stayed);
	return OC_OK;
}

enum oc_err cli_deadletter_replay(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_object();
	const char *file = cli_option(cli, "record");
	bool all = cli_flag(cli, "all");
	long long id = 0;
	enum oc_err err = OC_OK;

	if (all && (cli_arg(cli, 0) || file))
		return oc_fail(reterr, OC_BAD_REQUEST, "--all takes no ID and no --record");
	if (!all && !cli_arg(cli, 0))
		return oc_fail(reterr, OC_BAD_REQUEST, "which one? opscase deadletter replay ID, or --all");
	if (!all)
		err = number_of(cli, &id, reterr);
	if (err == OC_OK && file) {
		AUTO(str) char *record = file_slurp(file);

		if (!record)
			return oc_fail(reterr, OC_NOT_FOUND, "%s cannot be read", file);
		json_put(body, "record", record);
	}
	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	if (err == OC_OK && all)
		return replay_all(cli, r, reterr);
	if (err == OC_OK)
		err = replay(r, id, body, &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	printf("%lld sent again\n", id);
	return OC_OK;
}
