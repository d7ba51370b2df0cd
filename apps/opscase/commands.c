/* commands.c - every command, one row each: help, docs/cli.md and completion are printed from here. */
#include "apps/opscase/cli.h"

#define END        { NULL, NULL, NULL }
#define OPT_REASON { "reason", "TEXT", "why; stays on the timeline" }
#define OPT_WATCH  { "watch", NULL, "then follow the case until it is closed or parked" }
#define OPT_WAIT   { "wait", "SECONDS", "how long to wait for the answer, 0 to 120; 30 by default" }
#define OPT_IF     { "if-version", "N", "only if the case is still at this version" }
#define OPT_YES    { "yes", NULL, "do not ask" }
#define OPT_DB     { "db", "CONNINFO", "another database than the embedded installation's" }
#define OPT_ADAPTERS         \
	{ "adapters", "DIR", \
	  "folder of the adapters; else the setting adapters.dir, else beside the program" }

typedef const struct cli_option options[];

static options up_options = {
	{ "no-service", NULL, "only PostgreSQL and the bus, for an opscased of your own" },
        END
};
static options create_options = {
	{ "summary",  "TEXT",       "what is known, in prose"                                              },
	{ "severity", "LEVEL",      "TRACE, DEBUG, INFO, WARN, ERROR (by default) or FATAL"                },
	{ "manual",   NULL,         "somebody asks for each next command; else the loop goes on by itself" },
	{ "label",    "NAME=VALUE", "service=shop, env=prod, ...; may come several times"                  },
	{ "evidence", "WHAT",
         "RESOURCE/METRIC (urn:svc:shop/http.err_rate) or a JSON object; may come several times"           },
	{ "template", "RUNBOOK",    "the runbook wished for"                                               },
	{ "param",    "NAME=VALUE", "a parameter of the runbook; may come several times"                   },
	{ "follows",  "ID",         "the earlier case that this one follows"                               },
	{ "parent",   "ID",         "the case that this one belongs to"                                    },
	OPT_WATCH,
	END,
};
static options list_options = {
	{ "status",   "STATES",
         "NEW, ANALYZING, PLANNING, WAIT_GATE, EXECUTING, VERIFYING, PARKED, CLOSED; several with commas"  },
	{ "severity", "LEVEL",  "only these"							       },
	{ "reason",   "REASON", "only those parked for this: no_plan, verify_failed, outcome_unknown, ..." },
	{ "text",     "TEXT",   "only those with this in the title"                                        },
	{ "since",    "TIME",   "opened at or after, like 2026-01-02T03:04:05Z"                            },
	{ "limit",    "N",      "at most so many; 50 by default"                                           },
	END,
};
static options watch_options = {
	{ "until",   "STATES",  "stop at one of these states, or at `people` (the gate waits for an approval)" },
	{ "timeout", "SECONDS", "give up after so long"							},
	END,
};
static options detail_options = {
	{ "trace",    "ID",   "only lines of this trace"               },
	{ "resource", "URN",  "only lines of this resource"            },
	{ "text",     "TEXT", "only lines with this in them, as it is" },
	{ "from",     "TIME", "not earlier, like 2026-01-02T03:04:05Z" },
	{ "to",       "TIME", "not later"                              },
	{ "limit",    "N",    "at most so many; 1000 by default"       },
	END,
};
#define RANGE(from_default)                                                                    \
	{ "from", "TIME", "like 2026-01-02T03:04:05Z, or seconds since 1970; " from_default }, \
		{ "to", "TIME", "before this; now by default" }
static options metrics_options = {
	{ "resource",  "URN",        "of this resource only"                            },
	{ "label",     "NAME:VALUE", "where a label has this value"                     },
	{ "aggregate", "WORD",       "avg, max, min, sum, count or p95; avg by default" },
	{ "by",        "WORD",       "a line for each resource, series, or none"        },
	{ "step",      "SECONDS",    "of one point; 60 by default"                      },
	RANGE("the last hour by default"),
	END,
};
static options calls_options = {
	{ "src",   "URN", "what this one calls"           },
	{ "dst",   "URN", "who calls this one"            },
	{ "limit", "N",   "at most so many; 5 by default" },
	RANGE("the last half hour by default"),
	END,
};
static options patterns_options = {
	{ "resource", "URN",  "of this resource only"                 },
	{ "text",     "TEXT", "with this in the template"             },
	{ "severity", "WORD", "INFO, WARN, ERROR, ..."                },
	{ "fresh",    NULL,   "only what was first seen in the range" },
	{ "limit",    "N",    "at most so many; 50 by default"        },
	RANGE("the last hour by default"),
	END,
};
static options observed_event_options = {
	{ "kind",     "WORD", "anomaly, slo_violation, deploy, ..." },
	{ "severity", "WORD", "INFO, WARN, ERROR, ..."              },
	{ "resource", "URN",  "of this resource only"               },
	{ "limit",    "N",    "at most so many; 50 by default"      },
	RANGE("the last day by default"),
	END,
};
static options dead_options = {
	{ "kind",     "WORD", "command, event or telemetry"        },
	{ "replayed", NULL,   "those that were sent again as well" },
	{ "limit",    "N",    "at most so many; 50 by default"     },
	END,
};
static options dead_replay_options = {
	{ "record", "FILE", "of telemetry: the record, mended"                       },
	{ "all",    NULL,   "each that is there, newest first; says which ones stay" },
	{ "kind",   "WORD", "with --all: command, event or telemetry"                },
	END,
};
static options trace_options = {
	{ "dataset", "WORD", "logs or traces; both by default"                                   },
	{ "from",    "TIME", "not earlier, like 2026-01-02T03:04:05Z; seven days ago by default" },
	{ "to",      "TIME", "not later"							 },
	{ "limit",   "N",    "at most so many; 1000 by default"                                  },
	END,
};
static options report_options = {
	{ "lang", "LANGUAGE", "en (by default) or zh" },
        END
};
static options replay_options = { OPT_ADAPTERS, OPT_DB, END };
static options certify_options = {
	OPT_ADAPTERS,
	OPT_DB,
	{ "secrets", "DIR",  "folder with the providers' keys, as secrets.dir" },
	{ "duty",    "WORD", "plan or analysis; both by default"               },
	{ "no-keep", NULL,   "only say it; needs no database"                  },
	END,
};
static options event_options = { OPT_REASON, OPT_IF, OPT_WATCH, END };
static options resume_options = {
	{ "rollback",  NULL, "take back what was done: a plan like any other, gated and verified" },
	{ "replan",    NULL, "make another plan"						  },
	{ "reanalyse", NULL, "gather the evidence again"                                          },
	{ "retry",     NULL, "the same state again"                                               },
	OPT_REASON,
	OPT_IF,
	OPT_WATCH,
	END,
};
static options close_options = {
	{ "resolution", "WORD", "fixed_by_hand, false_alarm, duplicate, accepted, rolled_back or wont_fix" },
	OPT_REASON,
	OPT_IF,
	END,
};
static options maintenance_options = {
	{ "minutes", "N",          "how long; 60"                                       },
	{ "from",    "TIME",       "2026-01-02T03:04:05Z; now by default"               },
	{ "to",      "TIME",       "instead of --minutes"                               },
	{ "label",   "NAME=VALUE", "that a signal has to carry; may come several times" },
	END,
};
static options past_options = {
	{ "past", NULL, "also those that are over" },
        END
};
static options plan_options = {
	{ "template", "RUNBOOK",    "the runbook; the planner chooses by default" },
	{ "param",    "NAME=VALUE", "a parameter of it; may come several times"   },
	OPT_REASON,
	OPT_WAIT,
	OPT_WATCH,
	END,
};
static options drive_options = { OPT_REASON, OPT_WAIT, OPT_WATCH, END };
static options answer_options = {
	{ "decision", "ID", "the decision that you looked at; the pending one by default" },
	OPT_REASON,
	OPT_WAIT,
	OPT_WATCH,
	END,
};
static options revision_options = {
	{ "revision", "N", "not the newest one" },
        END
};
static options lint_options = { OPT_ADAPTERS, END };
static options from_options = {
	{ "from", "PATH", "a file or folder instead of those built in" },
        END
};
static options policies_options = {
	{ "policies", "DIR", "the folder that is tested; those built in by default" },
        END
};
static options reference_options = {
	{ "reference", NULL, "the manual of policy files (docs/policy.md)" },
        END
};
#define OPT_PAGE                                                                       \
	{ "kind", "WORD", "runbook, page (by default), postmortem, ..." },             \
		{ "service", "NAME", "the service they are about; none: of all" },     \
		{ "from", "TIME", "since when they hold, like 2026-01-02T03:04:05Z" }, \
		{ "until", "TIME", "until when" }
static options kb_add_options = {
	{ "url", "ADDRESS", "what the page is known by; its path by default" },
	OPT_PAGE,
	END,
};
static options kb_sync_options = {
	{ "source", "NAME", "what the folder is known by; its path by default"                      },
	{ "keep",   NULL,   "pages that are gone from the folder stay; by default they are retired" },
	OPT_PAGE,
	END,
};
static options kb_search_options = {
	{ "service", "NAME", "pages of this service, and of none"                          },
	{ "kind",    "WORD", "only such pages"					     },
	{ "limit",   "N",    "at most so many; 10 by default"                              },
	{ "how",     "WAY",  "fused (by default), words or vector: to see what each finds" },
	END,
};
static options kb_list_options = {
	{ "state", "STATE", "draft, live, superseded or retired" },
	{ "limit", "N",     "at most so many; 100 by default"    },
	END,
};
static options kb_retire_options = {
	{ "by", "PAGE", "superseded by this page, which says it now" },
        END
};
static options kb_embed_options = {
	{ "anew", NULL, "with a new snapshot of the words, though the tenant has not grown" },
        END
};
static options fsm_options = {
	{ "format", "FORMAT", "text, markdown, mermaid, dot or matrix" },
        END
};
static options export_options = {
	{ "heads",  NULL,   "only where each chain ends: a checkpoint, to be kept elsewhere" },
	{ "output", "FILE", "instead of standard output"                                     },
	END,
};
static options verify_options = {
	{ "checkpoint", "FILE", "heads that were exported earlier" },
        END
};
static options migrate_options = {
	{ "to", "N", "this version" },
        OPT_DB, OPT_YES, END
};
static options db_options = { OPT_DB, END };
static options import_options = {
	{ "stack",     "NAME", "tells descriptions apart; Pulumi's says its own"                       },
	{ "inventory", "PATH", "Ansible: this file or folder of it only"                               },
	{ "applied",   NULL,   "a Terraform plan that was carried out: its changes become deployments" },
	{ "force",     NULL,   "close whatever is gone, however much that is"                          },
	{ "at",        "TIME", "when it was so; now by default"                                        },
	END,
};
static options describe_options = {
	{ "stack",     "NAME", "tells descriptions apart"                  },
	{ "inventory", "PATH", "Ansible: this file or folder of it only"   },
	{ "applied",   NULL,   "a Terraform plan as if it was carried out" },
	END,
};
static options edges_options = {
	{ "at",       "TIME", "as it was then, like 2026-01-02T03:04:05Z" },
	{ "source",   "NAME", "iac, ansible, otlp or ebpf only"           },
	{ "relation", "NAME", "DEPENDS_ON, RUNS_ON or CALLS only"         },
	{ "resource", "URN",  "edges of this one only"                    },
	{ "limit",    "N",    "at most so many; 200 by default"           },
	END,
};
static options tenant_options = {
	{ "name",    "TEXT",       "for people"                                     },
	{ "label",   "NAME=VALUE", "env=prod, ...; policies can ask for it"         },
	{ "default", "NAME=VALUE", "a runbook parameter where nothing else says it" },
	END,
};
static options token_options = {
	{ "name",         "NAME", "whose; the same as the argument"                              },
	{ "role",         "ROLE", "viewer, operator, approver, admin or service"                 },
	{ "expires",      "TIME", "after 12h, 30d, ...; never by default"                        },
	{ "installation", NULL,   "good for every tenant (admin and service)"                    },
	{ "save",         NULL,   "into DATA/tokens/NAME instead of printing it; then --as NAME" },
	END,
};
static options restore_options = {
	{ "finish", NULL,   "make it safe to go on, and switch effects on" },
	{ "force",  NULL,   "although the database does not look restored" },
	{ "actor",  "NAME", "who, for the timelines; $USER by default"     },
	OPT_DB,
	OPT_YES,
	END,
};
static options doctor_options = { OPT_ADAPTERS, OPT_DB, END };
static options help_options = {
	{ "format", "FORMAT", "text or markdown (the page docs/cli.md)" },
        END
};
static options settings_options = {
	{ "format", "FORMAT", "text (what holds now, and whence), sample (a config file) or markdown" },
	END,
};

static options generate_options = {
	{ "logs",     "N",  "log lines a minute; 5000"                                     },
	{ "points",   "N",  "metric points a minute; 500"                                  },
	{ "spans",    "N",  "spans a minute; 1000"                                         },
	{ "minutes",  "N",  "how long; 1"						  },
	{ "past",     NULL, "the minutes that are over, at once, instead of those to come" },
	{ "services", "N",  "that send; 10"						},
	{ "errors",   "N",  "of a hundred calls and lines; 1"                              },
	{ "seed",     "N",  "the same seed draws the same load; 1"                         },
	END,
};

const struct cli_command cli_commands[] = {
	{ "up", "", cli_up, "start everything on this machine and keep it running",
         "Brings a private PostgreSQL and a private nats-server below the data folder, migrates, makes the first tokens\n"
	  "(DATA/tokens/admin and DATA/tokens/approver) and runs opscased with every role. Stops all of it in order on\n"
	  "Ctrl-C; after any kill the next start goes on with the same data. Settings: DATA/opscase.conf, a --config FILE,\n"
	  "the environment, --name=value.", up_options, CLI_LOCAL | CLI_SETTINGS },
	{ "down", "", cli_down, "stop what `opscase up` runs on the data folder", NULL, NULL, CLI_LOCAL },

	{ "case create", "TITLE", cli_case_create, "open a case",
         "The loop goes on by itself unless --manual: analysis, plan, gate, execution, verification.", create_options, 0 },
	{ "case list", "", cli_case_list, "list cases, newest first", NULL, list_options, 0 },
	{ "case show", "ID", cli_case_show, "everything about a case; `last` is the newest one", NULL, NULL,
         0 },
	{ "case watch", "ID", cli_case_watch, "follow a case as it moves",
         "Ends when the case is closed (exit code 0) or parked (1), or at --until (0). With --json one timeline row a line.",
         watch_options, 0 },
	{ "case timeline", "ID", cli_case_timeline, "what happened, oldest first", NULL, NULL, 0 },
	{ "case report", "ID", cli_case_report,
         "the case told afterwards, in Markdown: timeline, cause, evidence, actions, verdict, follow-ups", "Made from the case's rows alone; no model is asked.", report_options, 0 },
	{ "case story", "ID", cli_case_story, "signals, changes, logs and actions around it, in order", NULL,
         NULL, 0 },
	{ "case approve", "ID", cli_case_approve, "approve what the gate asks about; see `opscase gate show`",
         "Needs the token of an approver who neither opened the case nor wrote the plan: --as approver.", answer_options, 0 },
	{ "case reject", "ID", cli_case_reject, "say no, with a --reason", NULL, answer_options, 0 },
	{ "case resume", "ID [MODE]", cli_case_resume, "go on with a parked case", NULL, resume_options, 0 },
	{ "case settle", "ID OUTCOME", cli_case_settle, "say what became of a step: applied or not_applied",
         "For cases parked as outcome_unknown, by somebody who looked. Needs --reason.", event_options, 0 },
	{ "case cancel", "ID", cli_case_cancel, "stop it", NULL, event_options, 0 },
	{ "case close", "ID", cli_case_close, "close a parked case with a --resolution and a --reason", NULL,
         close_options, 0 },
	{ "case reopen", "ID", cli_case_reopen, "open a closed case again", NULL, event_options, 0 },
	{ "case start", "ID", cli_case_start, "begin the analysis (manual drive)", NULL, event_options, 0 },
	{ "case plan", "ID", cli_case_plan, "make the plan now (manual drive)", NULL, plan_options, 0 },
	{ "case gate", "ID", cli_case_gate, "let the gate decide now (manual drive)", NULL, drive_options,
         0 },
	{ "case exec", "ID", cli_case_exec, "carry the approved plan out now (manual drive)", NULL,
         drive_options, 0 },
	{ "case verify", "ID", cli_case_verify, "verify now (manual drive)", NULL, drive_options, 0 },

	{ "plan show", "ID", cli_plan_show, "the plan of a case: steps, verification, findings", NULL,
         revision_options, 0 },
	{ "plan generate", "ID", cli_case_plan, "the same as `case plan`", NULL, plan_options, 0 },
	{ "gate show", "ID", cli_gate_show,
         "the approval card: what would be done, to what, how it is taken back", NULL, NULL, 0 },

	{ "maintenance add", "REASON", cli_maintenance_add, "signals open no case for a while",
         "Of signals that carry all of the labels; of every signal without any. They are kept and shown, and those that last longer than it open\n"
	  "a case when it is over.", maintenance_options, 0 },
	{ "maintenance list", "", cli_maintenance_list, "the windows that are not over", NULL, past_options,
         0 },
	{ "maintenance end", "ID", cli_maintenance_end, "end one now; one that has not begun is taken away",
         NULL, NULL, 0 },
	{ "slo lint", "FILE...", cli_slo_lint, "what is wrong with OpenSLO or sloth files", NULL, NULL,
         CLI_LOCAL },
	{ "slo status", "", cli_slo_status, "error budgets and how fast they burn", NULL, NULL, 0 },
	{ "runbook list", "[PATH]", cli_runbook_list, "the runbooks built in, or those of a file or folder",
         NULL, NULL, CLI_LOCAL },
	{ "runbook lint", "PATH...", cli_runbook_lint, "what is wrong with runbooks, line by line",
         "Each is filled with its examples and its plan held against the loaded adapters' operations.", lint_options, CLI_LOCAL },
	{ "runbook show", "NAME", cli_runbook_show, "one runbook", NULL, from_options, CLI_LOCAL },
	{ "policy test", "FILE...", cli_policy_test, "run cases from a file against a folder of policies",
         NULL, policies_options, CLI_LOCAL },
	{ "policy lint", "[DIR]", cli_policy_lint,
         "what is wrong with a folder of policies; those built in by default", NULL, NULL, CLI_LOCAL },
	{ "policy show", "[DIR]", cli_policy_show, "the policies as they are compiled", NULL,
         reference_options, CLI_LOCAL },
	{ "adapter list", "", cli_adapter_list, "what can be done here: adapters and their operations", NULL,
         lint_options, CLI_LOCAL },
	{ "adapter check", "FILE...", cli_adapter_check, "would these adapters load? if not, why", NULL, NULL,
         CLI_LOCAL },
	{ "kb add", "FILE...", cli_kb_add,
         "add or change pages of knowledge (Markdown or text; - is standard input)", "Pages are cut at their headings. The same page again embeds only what changed in it.",
         kb_add_options, 0 },
	{ "kb sync", "DIR", cli_kb_sync, "bring the knowledge to what a folder says",
         "Every *.md and *.txt below it; links are not followed.", kb_sync_options, 0 },
	{ "kb search", "WORD...", cli_kb_search, "ask the knowledge", NULL, kb_search_options, 0 },
	{ "kb list", "", cli_kb_list, "pages of knowledge, and drafts that wait for somebody to accept them",
         NULL, kb_list_options, 0 },
	{ "kb accept", "PAGE", cli_kb_accept, "a draft is right: from now on it is found", NULL, NULL, 0 },
	{ "kb retire", "PAGE", cli_kb_retire, "a page does not hold any more", NULL, kb_retire_options, 0 },
	{ "kb embed", "", cli_kb_embed, "embed again what has another model; goes on where it stopped", NULL,
         kb_embed_options, 0 },
	{ "generate", "", cli_generate,
         "send telemetry of a shop that does not exist, to try an installation", "Logs, metric points and spans by OTLP/HTTP, each second's when it is over. Needs a token that may send.",
         generate_options, 0 },
	{ "fsm", "", cli_fsm, "the case machine, printed from its own rules", NULL, fsm_options, CLI_LOCAL },

	{ "llm certify", "CONFIG [PROVIDER]", cli_llm_certify,
         "try models with the golden incidents, and keep which duties they may take", "CONFIG is the file of llm.config. Healthy incidents, missing metrics and injected instructions must all be answered rightly, of the others four in five. A provider with another model needs its own certificate.",
         certify_options, CLI_LOCAL },
	{ "llm replay", "CASE", cli_llm_replay,
         "make a model's findings and plan again from the recorded calls, without a network, and compare their hashes",
         "Exit code 1 when others come out: the code, the adapters or the records changed since.", replay_options, CLI_LOCAL },

	{ "audit export", "[ID...]", cli_audit_export,
         "timelines with their hash chains, as JSON lines; all cases by default", NULL, export_options, 0 },
	{ "audit verify", "FILE", cli_audit_verify,
         "prove an export (- reads standard input); says what is proven and what not", "Works without a server. A chain proves that no row was changed, left out or moved; that the chain as a whole was\n"
	  "not rewritten is proven against heads that were exported earlier and kept elsewhere: --checkpoint.",
         verify_options, CLI_LOCAL },

	{ "detail get", "LOCATOR", cli_detail_get,
         "raw log lines, spans or the output of a step behind a locator, one JSON object a line", NULL,
         detail_options, 0 },
	{ "detail trace", "TRACE_ID", cli_detail_trace,
         "every raw line of one trace; exit code 66 when there is none", NULL, trace_options, 0 },
	{ "metrics query", "METRIC", cli_metrics_query, "a metric over time, drawn in a line each", NULL,
         metrics_options, 0 },
	{ "calls top", "", cli_calls_top, "the slowest and most faulty calls", NULL, calls_options, 0 },
	{ "logs patterns", "", cli_logs_patterns, "log templates, the most frequent first", NULL,
         patterns_options, 0 },
	{ "event list", "", cli_event_list, "anomalies, violated objectives, deployments; newest first", NULL,
         observed_event_options, 0 },
	{ "event show", "ID", cli_event_show, "an event with its evidence, and the way to the raw lines",
         NULL, NULL, 0 },
	{ "deadletter list", "", cli_deadletter_list, "what was given up, newest first", NULL, dead_options,
         0 },
	{ "deadletter show", "ID", cli_deadletter_show, "the reason, and the whole record", NULL, NULL, 0 },
	{ "deadletter replay", "[ID]", cli_deadletter_replay, "send it again, once",
         "Telemetry goes in as if its sender had sent it; what would be rejected again stays. Errands and events get all their\n"
	  "attempts anew.", dead_replay_options, 0 },
	{ "topology show", "PATH", cli_topology_show,
         "what a Terraform, Pulumi or Ansible description says there is", "PATH is a state file, the output of `terraform show -json` or `pulumi stack export`, or the folder of an Ansible project.",
         describe_options, CLI_LOCAL },
	{ "topology import", "PATH", cli_topology_import,
         "compare a description with what is known, and store it", "New edges open, gone ones close; what another version says becomes a deployment. A reading that shrank by more than\n"
	  "half closes nothing and says so, unless --force.", import_options, 0 },
	{ "topology list", "", cli_topology_list, "who needs whom, now or earlier", NULL, edges_options, 0 },

	{ "tenant create", "CODE", cli_tenant_create, "make a tenant", NULL, tenant_options, 0 },
	{ "tenant list", "", cli_tenant_list, "list tenants", NULL, NULL, 0 },
	{ "token create", "[NAME]", cli_token_create, "make a token; it is shown once", NULL, token_options,
         0 },
	{ "token list", "", cli_token_list, "list tokens, never their text", NULL, NULL, 0 },
	{ "token revoke", "ID", cli_token_revoke, "a token is good no more, at once", NULL, NULL, 0 },

	{ "migrate up", "", cli_migrate_up, "bring the database to what this program needs", NULL,
         migrate_options, CLI_LOCAL },
	{ "migrate down", "", cli_migrate_down, "take migrations back, with the data in their tables", NULL,
         migrate_options, CLI_LOCAL },
	{ "migrate status", "", cli_migrate_status,
         "which migrations are in place; exit code 1 when some are not", NULL, db_options, CLI_LOCAL },
	{ "restore", "", cli_restore,
         "after the database came back from a backup: what is known, and --finish", "A restored database has forgotten what was done since the backup. `opscase up` recognises it and keeps effects off.\n"
	  "--finish parks every open case as outcome_unknown, voids leases and open approvals, gives the\n"
	  "installation a new id, and switches effects on.", restore_options, CLI_LOCAL },
	{ "doctor", "", cli_doctor, "is everything as it has to be? one line each, and what to do", NULL,
         doctor_options, CLI_LOCAL | CLI_SETTINGS },

	{ "settings", "", cli_settings, "every setting of the service: what holds, a sample file, the manual",
         NULL, settings_options, CLI_LOCAL | CLI_SETTINGS },
	{ "completion", "SHELL", cli_completion_command, "completion for bash or zsh",
         "source <(opscase completion bash)", NULL, CLI_LOCAL },
	{ "help", "[COMMAND...]", cli_help_command, "what can be said, or what one command does", NULL,
         help_options, CLI_LOCAL },
	{ "version", "", cli_version, "the version of this program", NULL, NULL, CLI_LOCAL },
	{ 0 },
};
