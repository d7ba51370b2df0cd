/* detail.c - raw detail: the lines behind a locator, and everything of a trace. */
#include <stdint.h>
#include "apps/opscase/remote.h"
#include "base/mem.h"

static void add_options(const struct cli *cli, struct text *path, char first)
{
	static const char *const names[] = { "trace", "resource", "text", "from", "to", "dataset" };
	static const char *const words[] = { "trace_id", "resource", "text", "from", "to", "dataset" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = cli_option(cli, names[i]);

		if (!value)
			continue;
		text_addf(path, "%c%s=", first, words[i]);
		url_add(path, value);
		first = '&';
	}
}

/* One line each, so that it goes into jq or grep. */
static size_t print(const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
	{
		AUTO(str)
		char *text = json_is_string(line) ? mem_strdup(json_string_value(line)) : json_text(line);

		puts(text);
	}
	return json_array_size(lines);
}

enum oc_err cli_detail_get(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(str) char *cursor = NULL;
	long long limit = 1000, number, left;
	enum oc_err err;

	if (!str_to_long(cli_arg(cli, 0), 1, INT64_MAX, &number))
		return oc_fail(reterr, OC_BAD_REQUEST, "'%s' is no locator: evidence names it by its number",
			       cli_arg(cli, 0));
	err = cli_option_int(cli, "limit", 1, 1000000, &limit, reterr);
	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	for (left = limit; err == OC_OK && left > 0;) {
		AUTO(remote_answer) struct remote_answer answer = { 0 };
		AUTO(text) struct text path = { 0 };

		text_addf(&path, "/detail/%lld?limit=%lld", number, left < 1000 ? left : 1000);
		add_options(cli, &path, '&');
		if (cursor) {
			text_add(&path, "&cursor=");
			url_add(&path, cursor);
		}
		err = remote_get(r, &answer, reterr, "%s", text_str(&path));
		if (err != OC_OK)
			return err;
		left -= (long long)print(json_object_get(answer.data, "lines"));
		free(cursor);
		cursor = mem_strdup(json_str(answer.doc, "next_cursor"));
		if (!cursor)
			return OC_OK;
	}
	if (err == OC_OK)
		fprintf(stderr, "there are more: --limit\n");
	return err;
}

enum oc_err cli_detail_trace(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text path = { 0 };
	long long limit = 1000;
	enum oc_err err = cli_option_int(cli, "limit", 1, 1000, &limit, reterr);

	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	if (err != OC_OK)
		return err;
	text_addf(&path, "/detail?limit=%lld&trace_id=", limit);
	url_add(&path, cli_arg(cli, 0));
	add_options(cli, &path, '&');
	err = remote_get(r, &answer, reterr, "%s", text_str(&path));
	if (err != OC_OK)
		return err;
	if (print(answer.data) == 0)
		cli->exit_code = oc_err_exit(OC_NOT_FOUND);
	if (json_int_or(answer.doc, "unavailable", 0))
		fprintf(stderr, "%lld segments could not be read now: something may be missing\n",
			json_int_or(answer.doc, "unavailable", 0));
	if (json_bool_or(answer.doc, "more", false))
		fprintf(stderr, "there are more: --limit, --from, --to\n");
	return OC_OK;
}
