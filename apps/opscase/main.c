/* opscase - the command line, and the embedded default (opscase up). */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "apps/opscase/cli.h"
#include "base/log.h"

/* False when a text in it is no UTF-8: then it is said in plain words. */
static bool say_json(enum oc_err err, const struct oc_fail *fail)
{
	AUTO(json)
	json_t *doc = json_pack("{s:{s:s,s:i,s:s,s:s}}", "error", "kind", oc_err_name(err) + strlen("OC_"),
				"exit", oc_err_exit(err), "text", fail->text, "field", fail->field);
	AUTO(str) char *line = doc ? json_text(doc) : NULL;

	return line && fprintf(stderr, "%s\n", line) > 0;
}

int main(int argc, char **argv)
{
	struct oc_fail fail = { 0 };
	struct cli cli;
	enum oc_err err;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	/* What libraries of ours report on the way is for the service's log, not for people at a terminal. */
	if (!getenv("OPSCASE_LOG"))
		log_set_level(LOG_ERROR);
	err = cli_parse(&cli, argc, argv, &fail);
	if (err == OC_OK && cli_flag(&cli, "help")) {
		AUTO(text) struct text help = { 0 };

		cli_help(cli.command->path, &help);
		fputs(text_str(&help), stdout);
		return 0;
	}
	if (err == OC_OK)
		err = cli.command->run(&cli, &fail);
	fflush(stdout);
	if (err == OC_OK)
		return cli.exit_code;
	if (cli.json && say_json(err, &fail))
		return oc_err_exit(err);
	if (fail.text[0])
		fprintf(stderr, "opscase: %s\n", fail.text);
	else
		fprintf(stderr, "opscase: %s; %s\n", oc_err_title(err), oc_err_advice(err));
	return oc_err_exit(err);
}
