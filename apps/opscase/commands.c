/* commands.c - every command, one row each. */
#include "apps/opscase/cli.h"

static const struct cli_option up_options[] = {
	{ "no-service", NULL, "only PostgreSQL and the bus, for an opscased of your own" },
	{ NULL,         NULL, NULL						       },
};
static const struct cli_option help_options[] = {
	{ "format", "FORMAT", "text or markdown (the page docs/cli.md)" },
	{ NULL,     NULL,     NULL				      },
};
static const struct cli_option settings_options[] = {
	{ "format", "FORMAT", "text (what holds now, and whence), sample (a config file) or markdown" },
	{ NULL,     NULL,     NULL								    },
};

const struct cli_command cli_commands[] = {
	{ "up", "", cli_up, "start everything on this machine and keep it running",
         "Brings a private PostgreSQL and a private nats-server below the data folder, migrates, makes the first tokens\n"
	  "(DATA/tokens/admin and DATA/tokens/approver) and runs opscased with every role. Stops all of it in order on\n"
	  "Ctrl-C; after any kill the next start goes on with the same data. Settings: DATA/opscase.conf, a --config FILE,\n"
	  "the environment, --name=value.", up_options, CLI_LOCAL | CLI_SETTINGS },
	{ "down", "", cli_down, "stop what `opscase up` runs on the data folder", NULL, NULL, CLI_LOCAL },
	{ "settings", "", cli_settings, "every setting of the service: what holds, a sample file, the manual",
         NULL, settings_options, CLI_LOCAL | CLI_SETTINGS },
	{ "completion", "SHELL", cli_completion_command, "completion for bash or zsh",
         "source <(opscase completion bash)", NULL, CLI_LOCAL },
	{ "help", "[COMMAND...]", cli_help_command, "what can be said, or what one command does", NULL,
         help_options, CLI_LOCAL },
	{ "version", "", cli_version, "the version of this program", NULL, NULL, CLI_LOCAL },
	{ 0 },
};
