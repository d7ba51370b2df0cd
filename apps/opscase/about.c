/* about.c - commands about the program itself: help, settings, completion, version. */
#include <unistd.h>
#include "apps/opscase/cli.h"
#include "base/settings.h"

extern char **environ;

static enum oc_err format_unknown(const char *format, const char *known, struct oc_fail *reterr)
{
	return oc_fail(reterr, OC_BAD_REQUEST, "--format '%s' is not known; it may be %s", format, known);
}

enum oc_err cli_help_command(struct cli *cli, struct oc_fail *reterr)
{
	const char *format = cli_option(cli, "format");
	AUTO(text) struct text path = { 0 };
	AUTO(text) struct text out = { 0 };

	if (format && !str_eq(format, "text") && !str_eq(format, "markdown"))
		return format_unknown(format, "text or markdown", reterr);
	for (int i = 0; i < cli->argc; i++)
		text_addf(&path, "%s%s", i ? " " : "", cli->argv[i]);
	if (str_eq(format, "markdown"))
		cli_help_markdown(&out);
	else if (!cli_help(text_str(&path), &out))
		return oc_fail(reterr, OC_BAD_REQUEST, "there is no command '%s'; `opscase help` lists them",
			       path.s);
	fputs(text_str(&out), stdout);
	return OC_OK;
}

enum oc_err cli_settings(struct cli *cli, struct oc_fail *reterr)
{
	const char *format = cli_option(cli, "format");
	AUTO(settings) struct settings *s = settings_new();
	AUTO(text) struct text out = { 0 };
	enum oc_err err;

	if (str_eq(format, "markdown")) {
		settings_print_reference(&out);
	} else if (str_eq(format, "sample")) {
		settings_print_sample(&out);
	} else if (format && !str_eq(format, "text")) {
		return format_unknown(format, "text, sample or markdown", reterr);
	} else {
		err = settings_load(s, cli->settings, cli->setting, (const char *const *)environ, NULL,
				    reterr);
		if (err != OC_OK)
			return err;
		settings_print(s, &out);
	}
	fputs(text_str(&out), stdout);
	return OC_OK;
}

enum oc_err cli_completion_command(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(text) struct text out = { 0 };

	if (!cli_completion(cli_arg(cli, 0), &out))
		return oc_fail(reterr, OC_BAD_REQUEST, "completion is for bash or zsh, not '%s'",
			       cli_arg(cli, 0));
	fputs(text_str(&out), stdout);
	return OC_OK;
}

enum oc_err cli_version(struct cli *cli, struct oc_fail *reterr)
{
	(void)reterr;
	if (cli->json)
		printf("{\"version\":\"%s\"}\n", OPSCASE_VERSION);
	else
		printf("opscase %s\n", OPSCASE_VERSION);
	return OC_OK;
}
