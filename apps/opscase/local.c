#include "apps/opscase/local.h"
#include <string.h>
#include <unistd.h>
#include "apps/opscase/datadir.h"
#include "apps/opscase/up_children.h"
#include "apps/opscase/up_postgres.h"
#include "base/mem.h"
#include "base/settings.h"
#include "wire/pg/pg.h"

extern char **environ;

static enum oc_err load(struct settings *s, struct oc_fail *reterr)
{
	return settings_load(s, 0, NULL, (const char *const *)environ, NULL, reterr);
}

char *local_adapters_dir(const struct cli *cli)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(str) char *here = program_dir();

	if (cli_option(cli, "adapters"))
		return mem_strdup(cli_option(cli, "adapters"));
	if (load(s, NULL) == OC_OK && setting_given(s, SET_ADAPTERS_DIR))
		return mem_strdup(setting_text(s, SET_ADAPTERS_DIR));
	return mem_printf("%s/../lib/opscase/adapters", here);
}

enum oc_err local_registry(const struct cli *cli, struct registry **ret, struct oc_fail *reterr)
{
	AUTO(str) char *dir = local_adapters_dir(cli);

	return registry_open(&(struct registry_config){ .dir = dir }, ret, reterr);
}

enum oc_err local_database(const struct cli *cli, const char *role, struct pg **ret, struct oc_fail *reterr)
{
	AUTO(settings) struct settings *s = settings_new();
	AUTO(str) char *data = datadir_path(cli_option(cli, "data"));
	AUTO(str) char *conninfo = NULL;
	enum oc_err err = load(s, reterr);

	if (err != OC_OK)
		return err;
	if (cli_option(cli, "db"))
		conninfo = mem_strdup(cli_option(cli, "db"));
	else if (cli_option(cli, "data") || !setting_given(s, SET_DB_OWNER))
		conninfo = up_postgres_conninfo_of(data, role);
	else
		conninfo = mem_strdup(setting_text(s, SET_DB_OWNER));
	if (!conninfo)
		return oc_fail(
			reterr, OC_NOT_FOUND,
			"which database? give --db CONNINFO, or set OPSCASE_DB_OWNER, or --data the folder of an embedded "
			"installation that you may read (%s is none)",
			data);
	err = pg_open(conninfo, "opscase", ret, reterr);
	if (err == OC_UNAVAILABLE && !cli_option(cli, "db") && reterr && strstr(reterr->text, "No such file"))
		return oc_fail(
			reterr, err,
			"the embedded installation in %s does not run: start it with `opscase up --data %s`",
			data, data);
	return err;
}

enum oc_err local_confirm(const struct cli *cli, const char *what, struct oc_fail *reterr)
{
	char answer[16] = "";

	if (cli_flag(cli, "yes"))
		return OC_OK;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return oc_fail(reterr, OC_BAD_REQUEST, "%s: say --yes if that is meant", what);
	printf("%s. Type yes to go on: ", what);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin) || !str_eq(answer, "yes\n"))
		return oc_fail(reterr, OC_ILLEGAL, "nothing was done");
	return OC_OK;
}
