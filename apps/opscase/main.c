/* opscase - the command line, and the embedded default (opscase up). */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include "apps/opscase/cli.h"
#include "base/log.h"

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
	if (fail.text[0])
		fprintf(stderr, "opscase: %s\n", fail.text);
	else
		fprintf(stderr, "opscase: %s; %s\n", oc_err_title(err), oc_err_advice(err));
	return oc_err_exit(err);
}
