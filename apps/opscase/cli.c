#include "apps/opscase/cli.h"
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/nearest.h"
#include "base/settings.h"

const struct cli_option cli_no_options[] = {
	{ NULL, NULL, NULL }
};

const struct cli_option cli_globals[] = {
	{ "json",     NULL,   "answer with JSON, for programs"                                                },
	{ "data",     "DIR",  "data folder of the embedded installation; else $OPSCASE_DATA, else the user's" },
	{ "url",      "URL",  "where the API is; else $OPSCASE_URL, else what the data folder says"           },
	{ "as",       "NAME", "use the token DATA/tokens/NAME; else $OPSCASE_TOKEN, else DATA/tokens/admin"   },
	{ "tenant",   "CODE", "the tenant, for tokens that are good for several; else $OPSCASE_TENANT"        },
	{ "no-color", NULL,   "no colours, also on a terminal"                                                },
	{ "help",     NULL,   "what this command does"							},
	{ NULL,       NULL,   NULL									    },
};

/* --- finding the command */

/* How many words of argv are the path's; 0: not this one. */
static int path_words(const char *path, int argc, char **argv)
{
	int n = 0;

	for (const char *p = path; *p; n++) {
		size_t len = strcspn(p, " ");

		if (n >= argc || strlen(argv[n]) != len || strncmp(p, argv[n], len) != 0)
			return 0;
		p += len + (p[len] == ' ');
	}
	return n;
}

static bool is_group(const char *word)
{
	size_t n = strlen(word);

	for (const struct cli_command *c = cli_commands; c->path; c++)
		if (strncmp(c->path, word, n) == 0 && c->path[n] == ' ')
			return true;
	return false;
}

static enum oc_err no_such_command(int argc, char **argv, struct oc_fail *reterr)
{
	bool group = argc > 0 && is_group(argv[0]);
	AUTO(str)
	char *want = group && argc > 1 ? mem_printf("%s %s", argv[0], argv[1])
				       : mem_strdup(argc ? argv[0] : "");
	struct nearest near = { .want = want };

	if (group && argc == 1)
		return oc_fail(reterr, OC_BAD_REQUEST,
			       "what about the %s? `opscase help %s` lists what can be said", argv[0],
			       argv[0]);
	AUTO(str) char *two = argc > 1 ? mem_printf("%s %s", argv[0], argv[1]) : NULL;
	struct nearest both = { .want = two ? two : want };

	for (const struct cli_command *c = cli_commands; c->path; c++) {
		nearest_offer(&near, c->path);
		nearest_offer(&both, c->path);
	}
	/* `opscase cse list`: the word after it says which one of the group is meant */
	if (both.name)
		near.name = both.name;
	if (near.name)
		return oc_fail(reterr, OC_BAD_REQUEST, "there is no command '%s'; did you mean `opscase %s`?",
			       want, near.name);
	return oc_fail(reterr, OC_BAD_REQUEST, "there is no command '%s'; `opscase help` lists them", want);
}

static const struct cli_command *find(int argc, char **argv, int *ret_words)
{
	const struct cli_command *best = NULL;

	*ret_words = 0;
	for (const struct cli_command *c = cli_commands; c->path; c++) {
		int n = path_words(c->path, argc, argv);

		if (n > *ret_words) {
			*ret_words = n;
			best = c;
		}
	}
	return best;
}

/* --- what was given */

static const struct cli_option *option_find(const struct cli_command *command, const char *name, size_t n)
{
	const struct cli_option *lists[] = { command && command->options ? command->options : cli_no_options,
					     cli_globals };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (const struct cli_option *o = lists[i]; o->name; o++)
			if (strlen(o->name) == n && strncmp(o->name, name, n) == 0)
				return o;
	return NULL;
}

static enum oc_err no_such_option(const struct cli_command *command, const char *name, struct oc_fail *reterr)
{
	struct nearest near = { .want = name };

	for (const struct cli_option *o = command->options ? command->options : cli_no_options; o->name; o++)
		nearest_offer(&near, o->name);
	for (const struct cli_option *o = cli_globals; o->name; o++)
		nearest_offer(&near, o->name);
	if (near.name)
		return oc_fail(reterr, OC_BAD_REQUEST, "`opscase %s` has no option --%s; did you mean --%s?",
			       command->path, name, near.name);
	return oc_fail(reterr, OC_BAD_REQUEST, "`opscase %s` has no option --%s; see `opscase help %s`",
		       command->path, name, command->path);
}

static enum oc_err take_option(struct cli *cli, int argc, char **argv, int *io_at, struct oc_fail *reterr)
{
	const char *word = argv[*io_at] + 2, *equals = strchr(word, '=');
	size_t n = equals ? (size_t)(equals - word) : strlen(word);
	const struct cli_option *o = option_find(cli->command, word, n);
	AUTO(str) char *name = mem_strndup(word, n);
	const char *value = equals ? equals + 1 : NULL;

	if (!o && cli->command->flags & CLI_SETTINGS) {
		enum setting_id id = setting_find(name);

		/* Its name is checked with all the other settings. */
		if (cli->settings + 2 > CLI_WORDS_MAX)
			return oc_fail(reterr, OC_BAD_REQUEST, "that are too many settings");
		cli->setting[cli->settings++] = argv[*io_at];
		if (!value && *io_at + 1 < argc &&
		    (str_eq(name, "config") || (id < SETTING_COUNT && setting_row(id)->type != SETTING_BOOL)))
			cli->setting[cli->settings++] = argv[++*io_at];
		return OC_OK;
	}
	if (!o)
		return no_such_option(cli->command, name, reterr);
	if (o->value && !value) {
		if (*io_at + 1 >= argc)
			return oc_fail(reterr, OC_BAD_REQUEST, "--%s needs a value: --%s %s", o->name,
				       o->name, o->value);
		value = argv[++*io_at];
	}
	if (!o->value && value)
		return oc_fail(reterr, OC_BAD_REQUEST, "--%s takes no value", o->name);
	if (cli->options == CLI_WORDS_MAX)
		return oc_fail(reterr, OC_BAD_REQUEST, "that are too many options");
	cli->option[cli->options].name = o->name;
	cli->option[cli->options++].value = value ? value : "";
	return OC_OK;
}

/* "ID [REASON]": at least one, at most two; "FILE...": any number from one. */
static void args_range(const char *args, int *ret_min, int *ret_max)
{
	*ret_min = *ret_max = 0;
	for (const char *a = args; *a;) {
		size_t n = strcspn(a, " ");

		*ret_min += *a != '[';
		*ret_max = n > 3 && strstr(a, "...") && strstr(a, "...") < a + n ? CLI_WORDS_MAX
										 : *ret_max + 1;
		a += n + (a[n] == ' ');
	}
}

static enum oc_err check_args(const struct cli *cli, struct oc_fail *reterr)
{
	int min, max;

	args_range(cli->command->args, &min, &max);
	if (cli->argc >= min && cli->argc <= max)
		return OC_OK;
	if (max == 0)
		return oc_fail(reterr, OC_BAD_REQUEST, "`opscase %s` takes no '%s'", cli->command->path,
			       cli->argv[0]);
	return oc_fail(reterr, OC_BAD_REQUEST, "%s: opscase %s %s",
		       cli->argc < min ? "something is missing" : "that is too much", cli->command->path,
		       cli->command->args);
}

static void look_at_terminal(struct cli *cli)
{
	const char *columns = getenv("COLUMNS"), *term = getenv("TERM");
	struct winsize size;
	long long number;

	cli->colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && !str_eq(term, "dumb");
	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		cli->width = size.ws_col;
	if (columns && str_to_long(columns, 20, 1000, &number))
		cli->width = (unsigned)number;
}

enum oc_err cli_parse(struct cli *cli, int argc, char **argv, struct oc_fail *reterr)
{
	bool only_args = false;
	enum oc_err err;
	int at;

	*cli = (struct cli){ 0 };
	look_at_terminal(cli);
	argc--;
	argv++;
	if (argc == 0 || str_eq(argv[0], "--help") || str_eq(argv[0], "-h")) {
		static char *const help[] = { (char *)"help" };

		cli->command = find(1, (char **)help, &at);
		return OC_OK;
	}
	if (str_eq(argv[0], "--version"))
		argv[0] = (char *)"version";
	cli->command = find(argc, argv, &at);
	/* `opscase case --help` asks about the group */
	if (!cli->command && is_group(argv[0]) &&
	    (argc == 1 || str_eq(argv[1], "--help") || str_eq(argv[1], "-h"))) {
		static char *const help[] = { (char *)"help" };

		cli->argv[cli->argc++] = argv[0];
		cli->command = find(1, (char **)help, &at);
		cli->exit_code = argc == 1 ? oc_err_exit(OC_BAD_REQUEST) : 0;
		return OC_OK;
	}
	if (!cli->command)
		return no_such_command(argc, argv, reterr);
	for (; at < argc; at++) {
		if (!only_args && str_eq(argv[at], "--")) {
			only_args = true;
		} else if (!only_args && str_eq(argv[at], "-h")) {
			cli->option[cli->options++].name = "help";
		} else if (!only_args && str_starts(argv[at], "--")) {
			err = take_option(cli, argc, argv, &at, reterr);
			if (err != OC_OK)
				return err;
		} else if (!only_args && argv[at][0] == '-' && argv[at][1]) {
			return oc_fail(reterr, OC_BAD_REQUEST,
				       "there is no option %s; options are words, like --json", argv[at]);
		} else if (cli->argc == CLI_WORDS_MAX) {
			return oc_fail(reterr, OC_BAD_REQUEST, "that are too many words");
		} else {
			cli->argv[cli->argc++] = argv[at];
		}
	}
	if (cli_flag(cli, "no-color"))
		cli->colour = false;
	cli->json = cli_flag(cli, "json");
	return cli_flag(cli, "help") ? OC_OK : check_args(cli, reterr);
}

const char *cli_arg(const struct cli *cli, int i)
{
	return i < cli->argc ? cli->argv[i] : NULL;
}

const char *cli_option(const struct cli *cli, const char *name)
{
	for (int i = cli->options; i > 0; i--)
		if (str_eq(cli->option[i - 1].name, name))
			return cli->option[i - 1].value;
	return NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
	return cli_option(cli, name) != NULL;
}

enum oc_err cli_option_int(const struct cli *cli, const char *name, long long min, long long max,
			   long long *io_value, struct oc_fail *reterr)
{
	const char *text = cli_option(cli, name);

	if (text && !str_to_long(text, min, max, io_value))
		return oc_fail(reterr, OC_BAD_REQUEST, "--%s wants a number from %lld to %lld, not '%s'",
			       name, min, max, text);
	return OC_OK;
}

/* --- help */

static bool in_group(const struct cli_command *c, const char *group)
{
	size_t n = strlen(group);

	return n == 0 || (strncmp(c->path, group, n) == 0 && (c->path[n] == ' ' || !c->path[n]));
}

static void help_options(const struct cli_option *options, struct text *out)
{
	for (; options->name; options++) {
		AUTO(str)
		char *left = mem_printf("--%s%s%s", options->name, options->value ? " " : "",
					options->value ? options->value : "");

		text_addf(out, "  %-22s %s\n", left, options->help);
	}
}

static void help_one(const struct cli_command *c, struct text *out)
{
	text_addf(out, "opscase %s%s%s%s%s\n\n  %s\n", c->path, *c->args ? " " : "", c->args,
		  c->options ? " [OPTIONS]" : "", c->flags & CLI_SETTINGS ? " [--SETTING=VALUE ...]" : "",
		  c->help);
	if (c->more)
		text_addf(out, "\n%s\n", c->more);
	if (c->options) {
		text_add(out, "\n");
		help_options(c->options, out);
	}
	text_add(out, "\n");
	help_options(cli_globals, out);
}

bool cli_help(const char *path, struct text *out)
{
	size_t longest = 0;
	bool any = false;

	for (const struct cli_command *c = cli_commands; c->path; c++)
		if (str_eq(c->path, path)) {
			help_one(c, out);
			any = true;
		}
	if (any && !is_group(path))
		return true;
	for (const struct cli_command *c = cli_commands; c->path; c++)
		if (in_group(c, path)) {
			size_t n = strlen(c->path) + strlen(c->args) + 1;

			any = true;
			if (n > longest && n < 36)
				longest = n;
		}
	if (!any)
		return false;
	if (!*path)
		text_add(out,
			 "opscase turns a signal into a case and carries it round one closed loop: analyse, plan, gate,\n"
			 "execute, verify, close. `opscase up` starts everything on this machine.\n\n");
	for (const struct cli_command *c = cli_commands; c->path; c++)
		if (in_group(c, path)) {
			AUTO(str) char *left = mem_printf("%s %s", c->path, c->args);

			text_addf(out, "  %-*s  %s\n", (int)longest, left, c->help);
		}
	text_add(out, "\nEvery command takes:\n");
	help_options(cli_globals, out);
	if (!*path)
		text_add(
			out,
			"\n`opscase help COMMAND` says more. Exit codes go by what to do next:\n"
			"  0 done, 64 mend the command, 65 mend what was given, 66 not there, 69 try later,\n"
			"  75 reload or choose another event, 76 find out before doing it again, 77 not allowed,\n"
			"  70 report a bug.\n");
	return true;
}

void cli_help_markdown(struct text *out)
{
	text_add(out,
		 "# The command line\n\nPrinted from the table of commands by `opscase help --format markdown`.\n\n"
		 "Every command takes:\n\n```\n");
	help_options(cli_globals, out);
	text_add(
		out,
		"```\n\nExit codes go by what to do next:\n\n| code | meaning | what to do |\n|---|---|---|\n| 0 | done | |\n");
	for (int code = 1; code < 128; code++) {
		AUTO(text) struct text titles = { 0 };
		AUTO(text) struct text advice = { 0 };

		for (unsigned e = OC_OK + 1; e < OC_ERR_COUNT; e++)
			if (oc_err_exit(e) == code) {
				text_addf(&titles, "%s%s", titles.len ? "; " : "", oc_err_title(e));
				text_addf(&advice, "%s%s", advice.len ? "; " : "", oc_err_advice(e));
			}
		if (titles.len)
			text_addf(out, "| %d | %s | %s |\n", code, titles.s, advice.s);
	}
	for (const struct cli_command *c = cli_commands; c->path; c++) {
		text_addf(out, "\n## opscase %s%s%s\n\n%s\n", c->path, *c->args ? " " : "", c->args, c->help);
		if (c->more)
			text_addf(out, "\n%s\n", c->more);
		if (c->flags & CLI_SETTINGS)
			text_add(
				out,
				"\nTakes settings as well, as `--name=value` or in a file by `--config FILE`: see settings.md.\n");
		if (c->options) {
			text_add(out, "\n```\n");
			help_options(c->options, out);
			text_add(out, "```\n");
		}
	}
}

/* --- completion: both shells get one function with the same words */

static void completion_words(struct text *out)
{
	for (const struct cli_command *c = cli_commands; c->path; c++) {
		bool seen = false;
		size_t n = strcspn(c->path, " ");

		for (const struct cli_command *d = cli_commands; d != c; d++)
			seen |= strncmp(d->path, c->path, n) == 0 && (d->path[n] == ' ' || !d->path[n]);
		if (seen)
			continue;
		text_add(out, out->len ? " " : "");
		text_add_n(out, c->path, n);
	}
}

static void completion_cases(struct text *out)
{
	for (const struct cli_command *c = cli_commands; c->path; c++) {
		size_t n = strcspn(c->path, " ");
		bool seen = false;

		for (const struct cli_command *d = cli_commands; d != c; d++)
			seen |= strncmp(d->path, c->path, n) == 0 && (d->path[n] == ' ' || !d->path[n]);
		if (seen || !c->path[n])
			continue;
		text_addf(out, "\t%.*s) words=\"", (int)n, c->path);
		bool first = true;
		for (const struct cli_command *d = c; d->path; d++)
			if (strncmp(d->path, c->path, n) == 0 && d->path[n] == ' ') {
				text_addf(out, "%s%s", first ? "" : " ", d->path + n + 1);
				first = false;
			}
		text_add(out, "\" ;;\n");
	}
}

static void completion_options(struct text *out)
{
	for (const struct cli_command *c = cli_commands; c->path; c++) {
		if (!c->options)
			continue;
		text_addf(out, "\t\"%s\"*) options=\"$options", c->path);
		for (const struct cli_option *o = c->options; o->name; o++)
			text_addf(out, " --%s", o->name);
		text_add(out, "\" ;;\n");
	}
}

bool cli_completion(const char *shell, struct text *out)
{
	AUTO(text) struct text words = { 0 };
	bool zsh = str_eq(shell, "zsh");

	if (!zsh && !str_eq(shell, "bash"))
		return false;
	completion_words(&words);
	if (zsh)
		text_add(out,
			 "#compdef opscase\n# opscase completion zsh > ~/.zfunc/_opscase, with fpath+=~/.zfunc before compinit\n"
			 "autoload -U +X bashcompinit && bashcompinit\n");
	else
		text_add(out,
			 "# source <(opscase completion bash), or put it into /etc/bash_completion.d/\n");
	text_addf(
		out,
		"_opscase() {\n"
		"\tlocal current=${COMP_WORDS[COMP_CWORD]} words=\"\" options=\"\" line=\"${COMP_WORDS[*]:1:2}\"\n"
		"\tif [[ $COMP_CWORD -eq 1 ]]; then\n"
		"\t\tCOMPREPLY=($(compgen -W \"%s\" -- \"$current\"))\n"
		"\t\treturn\n"
		"\tfi\n"
		"\toptions=\"",
		text_str(&words));
	for (const struct cli_option *o = cli_globals; o->name; o++)
		text_addf(out, "%s--%s", o == cli_globals ? "" : " ", o->name);
	text_add(out, "\"\n\tcase ${COMP_WORDS[1]} in\n");
	completion_cases(out);
	text_add(out, "\tesac\n\tcase $line in\n");
	completion_options(out);
	text_add(out, "\tesac\n"
		      "\tif [[ $current == -* ]]; then\n"
		      "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
		      "\telif [[ $COMP_CWORD -eq 2 && -n $words ]]; then\n"
		      "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
		      "\telse\n"
		      "\t\tCOMPREPLY=($(compgen -f -- \"$current\"))\n"
		      "\tfi\n"
		      "}\n"
		      "complete -F _opscase opscase\n");
	return true;
}
