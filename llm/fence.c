#include "llm/fence.h"
#include <stdio.h>
#include "base/mem.h"
#include "llm/suspect.h"

void fence_nonce(const char *case_id, char ret[FENCE_NONCE])
{
	char hex[HASH_HEX];
	AUTO(str) char *from = mem_printf("fence of %s", case_id);

	hash_sha256_hex(from, strlen(from), hex);
	snprintf(ret, FENCE_NONCE, "%.16s", hex);
}

void fence_show(struct text *out, struct redact *r, json_t *withheld, const char *what, const char *text)
{
	AUTO(str) char *clean = NULL;
	char sign[64];

	if (str_empty(text))
		return;
	if (suspect_text(text, sign, sizeof(sign))) {
		json_array_append_new(withheld, json_pack("{s:s, s:s}", "where", what, "sign", sign));
		text_addf(out, "%s: (withheld: text that %s)\n", what, sign);
		return;
	}
	clean = redact_text(r, text);
	text_addf(out, "%s: ", what);
	/* whatever the text says, it cannot end its fence */
	for (const char *p = clean; *p; p++)
		text_add_n(out, *p == '<' ? "(" : *p == '>' ? ")" : p, 1);
	text_add(out, "\n");
}

void fence_show_json(struct text *out, struct redact *r, json_t *withheld, const char *what, const json_t *v)
{
	AUTO(str) char *text = v && !json_is_null(v) ? json_text(v) : NULL;

	if (text && !str_eq(text, "{}") && !str_eq(text, "[]"))
		fence_show(out, r, withheld, what, text);
}
