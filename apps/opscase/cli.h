/* cli.h - the command line: a table of commands, what was given, and who answers.
 *
 * One row of commands.c is one command; help, docs/cli.md and shell completion are printed from it. A handler
 * gets its arguments checked for number and its options for name, answers an error like everything else in the
 * house, and main() turns it into a sentence and an exit code. One thread. */
#pragma once
#include "base/err.h"
#include "base/text.h"
#include "wire/json/json.h"

struct cli;

struct cli_option {
	const char *name;
	const char *value; /* "DIR"; NULL: a flag */
	const char *help;
};

enum cli_flag {
	CLI_LOCAL = 1,    /* needs no server */
	CLI_SETTINGS = 2, /* takes settings, too: --http.port=81 */
	CLI_REPEAT = 4,   /* reads from the folder or database of the installation itself */
};

struct cli_command {
	const char *path; /* "case approve" */
	const char *args; /* "ID [REASON]"; a last name with ... may come several times */
	enum oc_err (*run)(struct cli *cli, struct oc_fail *reterr);
	const char *help;                 /* one line */
	const char *more;                 /* a paragraph for the page, or NULL */
	const struct cli_option *options; /* ends with a NULL name; or NULL */
	unsigned flags;
};
extern const struct cli_command cli_commands[]; /* ends with a NULL path */
extern const struct cli_option cli_globals[];   /* options that every command takes */
extern const struct cli_option cli_no_options[];

#define CLI_WORDS_MAX 64

struct cli {
	const struct cli_command *command;
	int argc; /* positional arguments */
	const char *argv[CLI_WORDS_MAX];
	struct {
		const char *name, *value;
	} option[CLI_WORDS_MAX];
	int options;
	char *setting[CLI_WORDS_MAX + 1]; /* as given, for commands that take settings */
	int settings;
	bool json;      /* --json */
	bool colour;    /* of standard output */
	unsigned width; /* of standard output; 0: no limit */
	int exit_code;  /* where the handler's meaning is no error: 0 */
};

/* Fills cli from the command line; a wrong word gets the nearest right one. */
MUST_CHECK enum oc_err cli_parse(struct cli *cli, int argc, char **argv, struct oc_fail *reterr);
const char *cli_arg(const struct cli *cli, int i); /* NULL when not given */
const char *cli_option(const struct cli *cli,
		       const char *name); /* the last one's value; NULL when not given */
bool cli_flag(const struct cli *cli, const char *name);
MUST_CHECK enum oc_err cli_option_int(const struct cli *cli, const char *name, long long min, long long max,
				      long long *io_value, struct oc_fail *reterr);

/* "" for everything; "case" for a group. False when there is no such command or group. */
bool cli_help(const char *path, struct text *out);
void cli_help_markdown(struct text *out); /* docs/cli.md */
bool cli_completion(const char *shell, struct text *out);

/* --- handlers, one file per noun */
#define CLI_HANDLER(name) enum oc_err name(struct cli *cli, struct oc_fail *reterr)
CLI_HANDLER(cli_up);
CLI_HANDLER(cli_down);
CLI_HANDLER(cli_case_create);
CLI_HANDLER(cli_case_list);
CLI_HANDLER(cli_case_show);
CLI_HANDLER(cli_case_watch);
CLI_HANDLER(cli_case_timeline);
CLI_HANDLER(cli_case_report);
CLI_HANDLER(cli_llm_replay);
CLI_HANDLER(cli_llm_certify);
CLI_HANDLER(cli_slo_lint);
CLI_HANDLER(cli_slo_status);
CLI_HANDLER(cli_maintenance_add);
CLI_HANDLER(cli_maintenance_list);
CLI_HANDLER(cli_maintenance_end);
CLI_HANDLER(cli_case_story);
CLI_HANDLER(cli_case_start);
CLI_HANDLER(cli_case_plan);
CLI_HANDLER(cli_case_gate);
CLI_HANDLER(cli_case_exec);
CLI_HANDLER(cli_case_verify);
CLI_HANDLER(cli_case_approve);
CLI_HANDLER(cli_case_reject);
CLI_HANDLER(cli_case_resume);
CLI_HANDLER(cli_case_settle);
CLI_HANDLER(cli_case_cancel);
CLI_HANDLER(cli_case_close);
CLI_HANDLER(cli_case_reopen);
CLI_HANDLER(cli_plan_show);
CLI_HANDLER(cli_gate_show);
CLI_HANDLER(cli_runbook_list);
CLI_HANDLER(cli_runbook_show);
CLI_HANDLER(cli_runbook_lint);
CLI_HANDLER(cli_policy_lint);
CLI_HANDLER(cli_policy_show);
CLI_HANDLER(cli_policy_test);
CLI_HANDLER(cli_adapter_list);
CLI_HANDLER(cli_adapter_check);
CLI_HANDLER(cli_kb_add);
CLI_HANDLER(cli_kb_sync);
CLI_HANDLER(cli_kb_search);
CLI_HANDLER(cli_kb_list);
CLI_HANDLER(cli_kb_accept);
CLI_HANDLER(cli_kb_retire);
CLI_HANDLER(cli_kb_embed);
CLI_HANDLER(cli_generate);
CLI_HANDLER(cli_fsm);
CLI_HANDLER(cli_audit_export);
CLI_HANDLER(cli_audit_verify);
CLI_HANDLER(cli_migrate_up);
CLI_HANDLER(cli_migrate_down);
CLI_HANDLER(cli_migrate_status);
CLI_HANDLER(cli_detail_get);
CLI_HANDLER(cli_detail_trace);
CLI_HANDLER(cli_metrics_query);
CLI_HANDLER(cli_calls_top);
CLI_HANDLER(cli_logs_patterns);
CLI_HANDLER(cli_event_list);
CLI_HANDLER(cli_event_show);
CLI_HANDLER(cli_deadletter_list);
CLI_HANDLER(cli_deadletter_replay);
CLI_HANDLER(cli_deadletter_show);
CLI_HANDLER(cli_topology_import);
CLI_HANDLER(cli_topology_list);
CLI_HANDLER(cli_topology_show);
CLI_HANDLER(cli_tenant_create);
CLI_HANDLER(cli_tenant_list);
CLI_HANDLER(cli_token_create);
CLI_HANDLER(cli_token_list);
CLI_HANDLER(cli_token_revoke);
CLI_HANDLER(cli_restore);
CLI_HANDLER(cli_doctor);
CLI_HANDLER(cli_settings);
CLI_HANDLER(cli_help_command);
CLI_HANDLER(cli_completion_command);
CLI_HANDLER(cli_version);
