/* machine.c - opscase fsm: the case machine, printed from its own rules. */
#include "apps/opscase/cli.h"
#include "orchestrator/fsm.h"

enum oc_err cli_fsm(struct cli *cli, struct oc_fail *reterr)
{
	static const struct {
		const char *name;
		enum fsm_format format;
	} formats[] = {
		{ "text",     FSM_TEXT     },
		{ "markdown", FSM_MARKDOWN },
		{ "mermaid",  FSM_MERMAID  },
		{ "dot",      FSM_DOT      },
		{ "matrix",   FSM_MATRIX   }
	};
	const char *want = cli_option(cli, "format");
	AUTO(text) struct text out = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (str_eq(want ? want : "text", formats[i].name)) {
			fsm_print(formats[i].format, &out);
			fputs(text_str(&out), stdout);
			return OC_OK;
		}
	return oc_fail(reterr, OC_BAD_REQUEST,
		       "--format '%s' is not known; it may be text, markdown, mermaid, dot or matrix", want);
}
