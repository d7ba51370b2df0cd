/* case.c - opscase case ...: open, read and move cases. */
#include <string.h>
#include <time.h>
#include "apps/opscase/datadir.h"
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "base/mem.h"
#include "domain/case.h"

static enum oc_err open_with_case(const struct cli *cli, struct remote **ret, char id[40],
				  struct oc_fail *reterr)
{
	enum oc_err err = remote_open(cli, ret, reterr);

	return err == OC_OK ? remote_case_id(*ret, cli_arg(cli, 0), id, reterr) : err;
}

/* --- create */

/* key=value into obj; a value that reads as a JSON number, true or false becomes one where typed. */
static enum oc_err put_pair(json_t *obj, const char *option, const char *pair, bool typed,
			    struct oc_fail *reterr)
{
	const char *equals = strchr(pair, '=');
	AUTO(str) char *key = equals ? mem_strndup(pair, (size_t)(equals - pair)) : NULL;
	json_t *value = NULL;

	if (!equals || equals == pair)
		return oc_fail(reterr, OC_BAD_REQUEST, "--%s takes name=value, not '%s'", option, pair);
	if (typed &&
	    (strchr("-0123456789[{", equals[1]) || str_eq(equals + 1, "true") || str_eq(equals + 1, "false")))
		value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
	if (!value)
		value = json_string(equals + 1);
	if (!value)
		return oc_fail(reterr, OC_BAD_REQUEST, "--%s %s is not UTF-8", option, key);
	json_object_set_new(obj, key, value);
	return OC_OK;
}

static enum oc_err pairs(const struct cli *cli, json_t *body, const char *option, const char *field,
			 bool typed, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	for (int i = 0; i < cli->options && err == OC_OK; i++)
		if (str_eq(cli->option[i].name, option)) {
			json_t *obj = json_object_get(body, field);

			if (!obj) {
				json_object_set_new(body, field, json_object());
				obj = json_object_get(body, field);
			}
			err = put_pair(obj, option, cli->option[i].value, typed, reterr);
		}
	return err;
}

/* {"kind":...} as text, or resource/metric for the usual one. */
static enum oc_err evidence(const struct cli *cli, json_t *body, struct oc_fail *reterr)
{
	for (int i = 0; i < cli->options; i++) {
		const char *text = cli->option[i].value, *slash;
		json_t *one = NULL;

		if (!str_eq(cli->option[i].name, "evidence"))
			continue;
		if (text[0] == '{') {
			enum oc_err err = json_read(text, strlen(text), NULL, &one, reterr);

			if (err != OC_OK)
				return err;
		} else if ((slash = strrchr(text, '/')) && slash > text && slash[1]) {
			one = json_pack("{s:s,s:o,s:s}", "kind", "metric", "resource",
					json_stringn(text, (size_t)(slash - text)), "metric", slash + 1);
		}
		if (!one)
			return oc_fail(
				reterr, OC_BAD_REQUEST,
				"--evidence takes RESOURCE/METRIC (urn:svc:shop/http.err_rate) or a JSON object, not '%s'",
				text);
		if (!json_object_get(body, "evidence"))
			json_object_set_new(body, "evidence", json_array());
		json_array_append_new(json_object_get(body, "evidence"), one);
	}
	return OC_OK;
}

static void put_option(const struct cli *cli, json_t *body, const char *option, const char *field)
{
	const char *value = cli_option(cli, option);

	if (value)
		json_object_set_new(body, field, json_string(value));
}

enum oc_err cli_case_create(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_pack("{s:s}", "title", cli_arg(cli, 0));
	static const char *const same[] = { "summary", "severity", "template" };
	enum oc_err err;

	if (!body)
		return oc_fail(reterr, OC_BAD_REQUEST, "the title is not UTF-8");
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		put_option(cli, body, same[i], same[i]);
	put_option(cli, body, "follows", "follows_id");
	put_option(cli, body, "parent", "parent_id");
	json_object_set_new(body, "drive", json_string(cli_flag(cli, "manual") ? "manual" : "auto"));
	err = pairs(cli, body, "label", "labels", false, reterr);
	if (err == OC_OK)
		err = pairs(cli, body, "param", "params", true, reterr);
	if (err == OC_OK)
		err = evidence(cli, body, reterr);
	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "POST",
							 .path = "/case/create",
							 .body = body,
							 .wait_s = -1 },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli_flag(cli, "watch"))
		return watch_case(cli, r, json_str_or(answer.data, "id", ""), reterr);
	return show_answer(cli, answer.data);
}

/* --- list */

static void add_query(const struct cli *cli, struct text *path, const char *option, const char *name)
{
	const char *value = cli_option(cli, option);

	if (!value)
		return;
	text_addf(path, "%c%s=", strchr(path->s, '?') ? '&' : '?', name);
	url_add(path, value);
}

enum oc_err cli_case_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *all = json_array();
	AUTO(str) char *cursor = NULL;
	long long limit = 50;
	enum oc_err err = cli_option_int(cli, "limit", 1, 100000, &limit, reterr);

	if (err == OC_OK)
		err = remote_open(cli, &r, reterr);
	do {
		AUTO(remote_answer) struct remote_answer answer = { 0 };
		AUTO(text) struct text path = { 0 };
		long long want = limit - (long long)json_array_size(all);

		text_addf(&path, "/case?limit=%lld", want > 200 ? 200 : want);
		add_query(cli, &path, "status", "status");
		add_query(cli, &path, "severity", "severity");
		add_query(cli, &path, "reason", "park_reason");
		add_query(cli, &path, "text", "text");
		add_query(cli, &path, "since", "since");
		if (cursor) {
			text_add(&path, "&cursor=");
			url_add(&path, cursor);
		}
		if (err == OC_OK)
			err = remote_get(r, &answer, reterr, "%s", path.s);
		if (err != OC_OK)
			return err;
		json_array_extend(all, answer.data);
		mem_set(&cursor, json_str(answer.doc, "next_cursor"));
	} while (cursor && (long long)json_array_size(all) < limit);

	if (cli->json)
		return show_json(all);
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	int64_t now = clock_wall_us();
	json_t *c;
	size_t i;

	out_table_init(&table, "ID|STATUS|WHY|SEVERITY|OPENED|BY|TITLE");
	json_array_foreach(all, i, c)
	{
		const char *status = json_str_or(c, "status", "");
		char ago[40];

		out_ago(json_str(c, "created_at"), now, ago, sizeof(ago));
		out_table_add(&table, OUT_PLAIN, json_str(c, "id"));
		out_table_add(&table, out_state_style(status), status);
		out_table_add(&table, OUT_PLAIN,
			      json_str_or(c, "park_reason", json_str_or(c, "resolution", "")));
		out_table_add(&table, OUT_PLAIN, json_str(c, "severity"));
		out_table_add(&table, OUT_DIM, ago);
		out_table_add(&table, OUT_DIM, json_str(c, "opened_by"));
		out_table_add(&table, OUT_PLAIN, json_str(c, "title"));
	}
	if (json_array_size(all))
		out_table_print(&table, cli->width, cli->colour, &out);
	else
		text_add(&out, "no case; open one with `opscase case create TITLE`\n");
	if (cursor)
		text_addf(&out, "(there are more: --limit %lld)\n", limit * 4);
	fputs(out.s, stdout);
	return OC_OK;
}

/* --- show, timeline, watch */

enum oc_err cli_case_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	char id[40];
	enum oc_err err = open_with_case(cli, &r, id, reterr);

	if (err == OC_OK)
		err = remote_get(r, &answer, reterr,
				 "/case/%s?include=plans,decisions,runs,verdicts,findings,timeline", id);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	AUTO(text) struct text out = { 0 };
	show_case_full(cli, answer.data, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

/* Rows with seq above after; in pages. */
enum oc_err remote_timeline(struct remote *r, const char *id, long long after, json_t *into,
			    struct oc_fail *reterr)
{
	AUTO(str) char *cursor = NULL;

	do {
		AUTO(remote_answer) struct remote_answer answer = { 0 };
		AUTO(text) struct text path = { 0 };
		json_t *row;
		size_t i;
		enum oc_err err;

		text_addf(&path, "/case/%s/timeline?limit=500", id);
		if (cursor) {
			text_add(&path, "&cursor=");
			url_add(&path, cursor);
		}
		err = remote_get(r, &answer, reterr, "%s", path.s);
		if (err != OC_OK)
			return err;
		json_array_foreach(answer.data, i, row) if (json_int_or(row, "seq", 0) > after)
			json_array_append(into, row);
		mem_set(&cursor, json_str(answer.doc, "next_cursor"));
	} while (cursor);
	return OC_OK;
}

enum oc_err cli_case_timeline(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *rows = json_array();
	AUTO(text) struct text out = { 0 };
	struct show_timeline seen = { 0 };
	char id[40];
	enum oc_err err = open_with_case(cli, &r, id, reterr);

	if (err == OC_OK)
		err = remote_timeline(r, id, 0, rows, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(rows);
	show_timeline(cli, rows, &seen, &out);
	fputs(text_str(&out), stdout);
	return OC_OK;
}

/* "CLOSED", "PARKED", ... or "people": the gate has answered and waits for an approval. */
static bool reached(const json_t *c, const char *until)
{
	const char *status = json_str_or(c, "status", "");

	for (const char *w = until; *w;) {
		size_t n = strcspn(w, ",");

		if (n == strlen(status) && strncmp(w, status, n) == 0)
			return true;
		if (n == 6 && strncmp(w, "people", 6) == 0 && case_asks_people(c))
			return true;
		w += n + (w[n] == ',');
	}
	return false;
}

static void say_people_asked(const struct cli *cli, const char *id)
{
	AUTO(text) struct text out = { 0 };

	out_styled(&out, cli->colour, OUT_WARN, "     waits for people to answer");
	text_addf(&out, ": opscase gate show %s\n", id);
	fputs(out.s, stdout);
	fflush(stdout);
}

/* What a model looks at, as it happens: it moves no case, so it is read from the story. `seen`: how many were told. */
static void say_looks(const struct cli *cli, struct remote *r, const char *id, unsigned *seen)
{
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text out = { 0 };
	const json_t *row;
	unsigned n = 0;
	size_t i;

	/* the next time, then */
	if (remote_get(r, &answer, NULL, "/case/%s/story", id) != OC_OK)
		return;
	json_array_foreach(answer.data, i, row)
	{
		if (!str_eq(json_str(row, "kind"), "look") || n++ < *seen)
			continue;
		if (cli->json) {
			AUTO(str) char *line = json_text(row);

			text_addf(&out, "%s\n", line);
		} else {
			out_styled(&out, cli->colour, OUT_DIM, "     the model looks");
			text_addf(&out, ": %s\n", json_str_or(row, "what", ""));
		}
	}
	*seen = n > *seen ? n : *seen;
	fputs(text_str(&out), stdout);
	fflush(stdout);
}

enum oc_err watch_case(struct cli *cli, struct remote *r, const char *id, struct oc_fail *reterr)
{
	const char *until = cli_option(cli, "until");
	AUTO(str) char *path = mem_printf("/case/%s", id);
	AUTO(json) json_t *last = NULL;
	struct show_timeline seen = { 0 };
	char etag[64] = "";
	long long timeout_s = 0;
	int64_t began = clock_mono_ms();
	unsigned away = 0, people_seen = 0, looks = 0, round = 0;
	bool analysed = false;
	enum oc_err err = cli_option_int(cli, "timeout", 1, 86400 * 7, &timeout_s, reterr);

	if (err != OC_OK)
		return err;
	for (const char *w = until; w && *w; w += strcspn(w, ",") + (w[strcspn(w, ",")] == ',')) {
		AUTO(str) char *word = mem_strndup(w, strcspn(w, ","));

		if (!str_eq(word, "people") && case_state_parse(word) == CASE_STATE_COUNT)
			return oc_fail(reterr, OC_BAD_REQUEST,
				       "--until takes states (CLOSED,PARKED) or people, not '%s'", word);
	}
	for (;;) {
		AUTO(remote_answer) struct remote_answer answer = { 0 };
		AUTO(json) json_t *rows = json_array();

		err = remote_send(r,
				  &(struct remote_call){ .method = "GET",
							 .path = path,
							 .etag = *etag ? etag : NULL,
							 .any_tenant = true },
				  &answer, reterr);
		if (err == OC_OK && answer.status != 304) {
			snprintf(etag, sizeof(etag), "%s", answer.etag);
			err = remote_timeline(r, id, seen.seq, rows, reterr);
		}
		/* A service that is being restarted comes back; one that was never there does not. */
		if (err == OC_UNAVAILABLE && last && away++ < 120) {
			nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
			continue;
		}
		if (err != OC_OK)
			return err;
		away = 0;
		if (answer.status != 304) {
			AUTO(text) struct text out = { 0 };

			json_decref(last);
			last = json_incref(answer.data);
			if (cli->json) {
				json_t *row;
				size_t i;

				json_array_foreach(rows, i, row)
				{
					AUTO(str) char *line = json_text(row);

					seen.seq = (int)json_int_or(row, "seq", seen.seq);
					puts(line);
				}
			} else {
				show_timeline(cli, rows, &seen, &out);
				fputs(text_str(&out), stdout);
			}
			fflush(stdout);
		}
		/* once a second while it goes on, and once when it is over */
		if (reached(last, "ANALYZING") ? round++ % 4 == 0 : analysed)
			say_looks(cli, r, id, &looks);
		analysed = reached(last, "ANALYZING");
		/* That people are asked changes no version: it is seen by looking at the decisions. */
		if (reached(last, "WAIT_GATE")) {
			AUTO(remote_answer) struct remote_answer full = { 0 };

			if (remote_get(r, &full, reterr, "/case/%s?include=decisions", id) == OC_OK &&
			    json_int_or(full.data, "version", 0) == json_int_or(last, "version", -1)) {
				json_decref(last);
				last = json_incref(full.data);
				/* once it stays so: a gate that counts an approval looks the same for a moment */
				people_seen = case_asks_people(last) ? people_seen + 1 : 0;
				if (people_seen == 4 && !cli->json &&
				    !reached(last, until ? until : "CLOSED,PARKED"))
					say_people_asked(cli, id);
			}
		}
		if (reached(last, until ? until : "CLOSED,PARKED"))
			break;
		if (timeout_s && clock_mono_ms() - began > timeout_s * 1000)
			return oc_fail(reterr, OC_UNAVAILABLE, "still %s after %lld s",
				       json_str_or(last, "status", "?"), timeout_s);
		nanosleep(&(struct timespec){ .tv_nsec = 250000000 }, NULL);
	}
	if (!cli->json) {
		AUTO(text) struct text out = { 0 };

		show_case_end(cli, last, &out);
		fputs(text_str(&out), stdout);
	}
	/* Parked is an answer, but not the one that was hoped for: scripts can tell. */
	if (!until && str_eq(json_str(last, "status"), "PARKED"))
		cli->exit_code = 1;
	return OC_OK;
}

enum oc_err cli_case_watch(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	char id[40];
	enum oc_err err = open_with_case(cli, &r, id, reterr);

	return err == OC_OK ? watch_case(cli, r, id, reterr) : err;
}

/* --- events */

static enum oc_err wait_option(const struct cli *cli, int *ret, struct oc_fail *reterr)
{
	long long s = -1;
	enum oc_err err = cli_option_int(cli, "wait", 0, 120, &s, reterr);

	*ret = (int)s;
	return err;
}

/* PATCH /case/{id}/transition; args is taken over. */
static enum oc_err send_event(struct cli *cli, const char *event, json_t *take_body, struct oc_fail *reterr)
{
	AUTO(json) json_t *body = take_body;
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	const char *version = cli_option(cli, "if-version");
	long long expected = 0;
	char id[40];
	enum oc_err err = open_with_case(cli, &r, id, reterr);
	AUTO(str) char *path = mem_printf("/case/%s/transition", err == OC_OK ? id : "");

	json_object_set_new(body, "event", json_string(event));
	put_option(cli, body, "reason", "reason");
	if (err == OC_OK)
		err = cli_option_int(cli, "if-version", 1, 2147483647, &expected, reterr);
	if (version)
		json_object_set_new(body, "expected_version", json_integer(expected));
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "PATCH",
							 .path = path,
							 .body = body,
							 .wait_s = -1,
							 .any_tenant = true },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli_flag(cli, "watch"))
		return watch_case(cli, r, id, reterr);
	return show_answer(cli, answer.data);
}

static enum oc_err need_reason(const struct cli *cli, const char *what, struct oc_fail *reterr)
{
	return str_empty(cli_option(cli, "reason"))
		       ? oc_fail(reterr, OC_BAD_REQUEST, "%s needs --reason TEXT: it stays on the timeline",
				 what)
		       : OC_OK;
}

enum oc_err cli_case_start(struct cli *cli, struct oc_fail *reterr)
{
	return send_event(cli, "start_analysis", json_object(), reterr);
}

enum oc_err cli_case_resume(struct cli *cli, struct oc_fail *reterr)
{
	const char *mode = cli_arg(cli, 1);

	for (unsigned m = RESUME_NONE + 1; m < RESUME_COUNT; m++)
		if (cli_flag(cli, resume_mode_name(m))) {
			if (mode && !str_eq(mode, resume_mode_name(m)))
				return oc_fail(reterr, OC_BAD_REQUEST,
					       "one way to resume, please, not %s and %s", mode,
					       resume_mode_name(m));
			mode = resume_mode_name(m);
		}
	if (!mode || resume_mode_parse(mode) == RESUME_COUNT || resume_mode_parse(mode) == RESUME_NONE)
		return oc_fail(
			reterr, OC_BAD_REQUEST,
			"how shall it go on? --rollback (take back what was done), --replan, --reanalyse or --retry");
	return send_event(cli, "resume", json_pack("{s:s}", "mode", mode), reterr);
}

enum oc_err cli_case_settle(struct cli *cli, struct oc_fail *reterr)
{
	const char *outcome = cli_arg(cli, 1);
	enum oc_err err = need_reason(cli, "settle", reterr);

	if (err == OC_OK && !str_eq(outcome, "applied") && !str_eq(outcome, "not_applied"))
		err = oc_fail(reterr, OC_BAD_REQUEST, "the outcome is `applied` or `not_applied`, not '%s'",
			      outcome);
	return err == OC_OK ? send_event(cli, "settled", json_pack("{s:s}", "outcome", outcome), reterr)
			    : err;
}

enum oc_err cli_case_cancel(struct cli *cli, struct oc_fail *reterr)
{
	return send_event(cli, "cancel", json_object(), reterr);
}

enum oc_err cli_case_close(struct cli *cli, struct oc_fail *reterr)
{
	const char *resolution = cli_option(cli, "resolution");
	AUTO(text) struct text known = { 0 };
	enum oc_err err = need_reason(cli, "close", reterr);

	for (unsigned i = 0; i < DONE_COUNT; i++)
		if (case_resolution_by_hand(i))
			text_addf(&known, "%s%s", known.len ? ", " : "", case_resolution_name(i));
	if (err == OC_OK && (!resolution || !case_resolution_by_hand(case_resolution_parse(resolution))))
		err = oc_fail(reterr, OC_BAD_REQUEST, "close needs --resolution: %s", known.s);
	return err == OC_OK ? send_event(cli, "close", json_pack("{s:s}", "resolution", resolution), reterr)
			    : err;
}

enum oc_err cli_case_reopen(struct cli *cli, struct oc_fail *reterr)
{
	return send_event(cli, "reopen", json_object(), reterr);
}

/* --- the manual drive, and people's answers: calls that wait */

static enum oc_err call_and_show(struct cli *cli, struct remote *r, const char *id, const char *path,
				 const json_t *body, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	int wait_s = -1;
	enum oc_err err = wait_option(cli, &wait_s, reterr);

	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "POST",
							 .path = path,
							 .body = body,
							 .wait_s = wait_s,
							 .any_tenant = true },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli_flag(cli, "watch"))
		return watch_case(cli, r, id, reterr);
	return show_answer(cli, answer.data);
}

static enum oc_err drive(struct cli *cli, const char *path, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *body = json_object();
	char id[40];
	enum oc_err err = open_with_case(cli, &r, id, reterr);

	if (err != OC_OK)
		return err;
	json_put(body, "case_id", id);
	put_option(cli, body, "reason", "reason");
	put_option(cli, body, "template", "template");
	err = pairs(cli, body, "param", "params", true, reterr);
	return err == OC_OK ? call_and_show(cli, r, id, path, body, reterr) : err;
}

enum oc_err cli_case_plan(struct cli *cli, struct oc_fail *reterr)
{
	return drive(cli, "/plan/generate", reterr);
}
enum oc_err cli_case_gate(struct cli *cli, struct oc_fail *reterr)
{
	return drive(cli, "/gate/eval", reterr);
}
enum oc_err cli_case_exec(struct cli *cli, struct oc_fail *reterr)
{
	return drive(cli, "/adapter/exec", reterr);
}
enum oc_err cli_case_verify(struct cli *cli, struct oc_fail *reterr)
{
	return drive(cli, "/verify/run", reterr);
}

static enum oc_err answer_decision(struct cli *cli, const char *what, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *body = json_object();
	char id[40];
	enum oc_err err = open_with_case(cli, &r, id, reterr);
	AUTO(str) char *path = mem_printf("/case/%s/%s", err == OC_OK ? id : "", what);

	if (err != OC_OK)
		return err;
	put_option(cli, body, "reason", "reason");
	put_option(cli, body, "decision", "decision_id");
	return call_and_show(cli, r, id, path, body, reterr);
}

enum oc_err cli_case_approve(struct cli *cli, struct oc_fail *reterr)
{
	return answer_decision(cli, "approve", reterr);
}

enum oc_err cli_case_reject(struct cli *cli, struct oc_fail *reterr)
{
	enum oc_err err = need_reason(cli, "reject", reterr);

	return err == OC_OK ? answer_decision(cli, "reject", reterr) : err;
}
