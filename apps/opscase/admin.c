/* admin.c - tenants and tokens, by the API; migrations, by the database. */
#include <string.h>
#include "apps/opscase/datadir.h"
#include "apps/opscase/local.h"
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/migrate.h"

/* --- tenants */

enum oc_err cli_tenant_create(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_object(), *labels = json_object(), *defaults = json_object();
	enum oc_err err = OC_OK;

	json_put(body, "code", cli_arg(cli, 0));
	json_put(body, "name", cli_option(cli, "name") ? cli_option(cli, "name") : cli_arg(cli, 0));
	for (int i = 0; i < cli->options; i++) {
		const char *pair = cli->option[i].value, *equals = strchr(pair, '=');
		bool label = str_eq(cli->option[i].name, "label");

		if (!label && !str_eq(cli->option[i].name, "default"))
			continue;
		if (!equals || equals == pair)
			return oc_fail(reterr, OC_BAD_REQUEST, "--%s takes name=value, not '%s'",
				       cli->option[i].name, pair);
		AUTO(str) char *name = mem_strndup(pair, (size_t)(equals - pair));
		json_put(label ? labels : defaults, name, equals + 1);
	}
	if (json_object_size(defaults))
		json_object_set(labels, "defaults", defaults);
	if (json_object_size(labels))
		json_object_set(body, "labels", labels);
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "POST",
							 .path = "/tenant",
							 .body = body,
							 .wait_s = -1,
							 .any_tenant = true },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	printf("tenant %s is there\n", json_str_or(answer.data, "code", cli_arg(cli, 0)));
	return OC_OK;
}

enum oc_err cli_tenant_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	const json_t *one;
	size_t i;
	enum oc_err err;

	out_table_init(&table, "TENANT|NAME|LABELS|SINCE|");
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){
					  .method = "GET", .path = "/tenant", .any_tenant = true },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, one)
	{
		AUTO(str) char *labels = json_text(json_object_get(one, "labels"));
		char ago[40];

		out_ago(json_str(one, "created_at"), clock_wall_us(), ago, sizeof(ago));
		out_table_add(&table, OUT_BOLD, json_str(one, "code"));
		out_table_add(&table, OUT_PLAIN, json_str(one, "name"));
		out_table_add(&table, OUT_DIM, str_eq(labels, "{}") ? "" : labels);
		out_table_add(&table, OUT_DIM, ago);
		out_table_add(&table, OUT_BAD, json_bool_or(one, "disabled", false) ? "disabled" : "");
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

/* --- tokens */

/* "30d" as seconds. */
static bool expiry(const char *text, long long *ret_s)
{
	static const struct {
		char unit;
		long long s;
	} units[] = {
		{ 's', 1     },
                { 'm', 60    },
                { 'h', 3600  },
                { 'd', 86400 }
	};
	size_t n = strspn(text, "0123456789");
	AUTO(str) char *digits = mem_strndup(text, n);
	long long value;

	if (!str_to_long(digits, 1, 100000, &value) || strlen(text) != n + 1)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (text[n] == units[i].unit) {
			*ret_s = value * units[i].s;
			return true;
		}
	return false;
}

enum oc_err cli_token_create(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_object();
	const char *role = cli_option(cli, "role"), *expires = cli_option(cli, "expires"), *token;
	const char *name = cli_arg(cli, 0) ? cli_arg(cli, 0) : cli_option(cli, "name");
	long long s = 0;
	enum oc_err err;

	if (!name)
		return oc_fail(reterr, OC_BAD_REQUEST, "whose token? opscase token create NAME --role ROLE");
	if (!role)
		return oc_fail(reterr, OC_BAD_REQUEST,
			       "which --role: viewer, operator, approver, admin or service?");
	if (expires && !expiry(expires, &s))
		return oc_fail(reterr, OC_BAD_REQUEST, "--expires takes a time like 12h or 30d, not '%s'",
			       expires);
	if (cli_flag(cli, "save") && (strchr(name, '/') || name[0] == '.'))
		return oc_fail(reterr, OC_BAD_REQUEST, "'%s' cannot be the name of a file", name);
	json_put(body, "name", name);
	json_put(body, "role", role);
	if (s)
		json_object_set_new(body, "expires_s", json_integer(s));
	err = remote_open(cli, &r, reterr);
	if (err != OC_OK)
		return err;
	if (*remote_tenant(r) && !cli_flag(cli, "installation"))
		json_put(body, "tenant", remote_tenant(r));
	err = remote_send(
		r,
		&(struct remote_call){
			.method = "POST", .path = "/token", .body = body, .wait_s = -1, .any_tenant = true },
		&answer, reterr);
	if (err != OC_OK)
		return err;
	token = json_str(answer.data, "token");
	if (cli_flag(cli, "save") && token) {
		AUTO(str) char *data = datadir_path(cli_option(cli, "data"));
		AUTO(str) char *path = mem_printf("%s/tokens/%s", data, name);

		err = file_put(path, token, 0600, reterr);
		if (err != OC_OK)
			return err;
		fprintf(stderr, "kept in %s; use it with --as %s\n", path, name);
		return OC_OK;
	}
	if (cli->json)
		return show_json(answer.data);
	/* The token alone on standard output, so that scripts can take it. */
	fprintf(stderr, "token of %s (%s), id %s; it is shown this once:\n", name, role,
		json_str_or(answer.data, "id", "?"));
	puts(token ? token : "");
	return OC_OK;
}

enum oc_err cli_token_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	int64_t now = clock_wall_us();
	const json_t *one;
	size_t i;
	enum oc_err err;

	out_table_init(&table, "ID|NAME|ROLE|TENANT|MADE|LAST USED|");
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){
					  .method = "GET", .path = "/token", .any_tenant = true },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, one)
	{
		char made[40], used[40], until[40];

		out_ago(json_str(one, "created_at"), now, made, sizeof(made));
		out_ago(json_str(one, "last_used_at"), now, used, sizeof(used));
		out_ago(json_str(one, "expires_at"), now, until, sizeof(until));
		out_table_add(&table, OUT_DIM, json_str(one, "id"));
		out_table_add(&table, OUT_BOLD, json_str(one, "name"));
		out_table_add(&table, OUT_PLAIN, json_str(one, "role"));
		out_table_add(&table, OUT_PLAIN, json_str_or(one, "tenant", "(every)"));
		out_table_add(&table, OUT_DIM, made);
		out_table_add(&table, OUT_DIM, *used ? used : "never");
		if (json_str(one, "revoked_at"))
			out_table_add(&table, OUT_BAD, "revoked");
		else if (*until)
			out_table_addf(&table, OUT_DIM, str_starts(until, "in ") ? "ends %s" : "ended %s",
				       until);
		else
			out_table_add(&table, OUT_PLAIN, "");
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

enum oc_err cli_token_revoke(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text path = { 0 };
	enum oc_err err = remote_open(cli, &r, reterr);

	text_add(&path, "/token/");
	url_add(&path, cli_arg(cli, 0));
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "DELETE",
							 .path = path.s,
							 .wait_s = -1,
							 .any_tenant = true },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	puts("revoked");
	return OC_OK;
}

/* --- migrations */

static enum oc_err migrate_target(const struct cli *cli, long long fallback, int *ret, struct oc_fail *reterr)
{
	enum oc_err err = cli_option_int(cli, "to", 0, migrate_latest(), &fallback, reterr);

	*ret = (int)fallback;
	return err;
}

enum oc_err cli_migrate_up(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = NULL;
	int target = 0, applied = 0;
	enum oc_err err = migrate_target(cli, migrate_latest(), &target, reterr);

	if (err == OC_OK)
		err = local_database(cli, "postgres", &pg, reterr);
	if (err == OC_OK)
		err = migrate_up(pg, target, &applied, reterr);
	if (err == OC_OK)
		printf(applied ? "%d applied; the database is at version %d\n"
			       : "nothing to do%.0d; the database is at version %d\n",
		       applied, target);
	return err;
}

enum oc_err cli_migrate_down(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = NULL;
	AUTO(str) char *what = NULL;
	int target = -1, undone = 0;
	enum oc_err err;

	if (!cli_option(cli, "to"))
		return oc_fail(reterr, OC_BAD_REQUEST,
			       "down to which version? --to N (0 takes everything away)");
	err = migrate_target(cli, -1, &target, reterr);
	what = mem_printf("this takes back every migration above %d and the data in their tables", target);
	if (err == OC_OK)
		err = local_confirm(cli, what, reterr);
	if (err == OC_OK)
		err = local_database(cli, "postgres", &pg, reterr);
	if (err == OC_OK)
		err = migrate_down(pg, target, &undone, reterr);
	if (err == OC_OK)
		printf("%d undone; the database is at version %d\n", undone, target);
	return err;
}

enum oc_err cli_migrate_status(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(pg) struct pg *pg = NULL;
	AUTO(json) json_t *list = NULL;
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text out = { 0 };
	const json_t *one;
	bool wrong = false;
	size_t i;
	enum oc_err err;

	out_table_init(&table, "VERSION|NAME|STATE|APPLIED");
	err = local_database(cli, "opscase_worker", &pg, reterr);
	if (err == OC_OK)
		err = migrate_status(pg, &list, reterr);
	if (err != OC_OK)
		return err;
	json_array_foreach(list, i, one)
	{
		const char *state = json_str_or(one, "state", "?");

		wrong |= !str_eq(state, "applied");
		out_table_addf(&table, OUT_PLAIN, "%lld", json_int_or(one, "version", 0));
		out_table_add(&table, OUT_PLAIN, json_str(one, "name"));
		out_table_add(&table, str_eq(state, "applied") ? OUT_GOOD : OUT_WARN, state);
		out_table_add(&table, OUT_DIM, json_str(one, "applied_at"));
	}
	if (cli->json)
		show_json(list);
	else
		out_table_print(&table, cli->width, cli->colour, &out);
	fputs(text_str(&out), stdout);
	cli->exit_code = wrong ? 1 : 0;
	return OC_OK;
}
