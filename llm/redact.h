/* redact.h - what leaves the house has no names in it: hosts, addresses and e-mails become placeholders, tokens go.
 *
 * Pure. A case has one struct redact; the same name is the same placeholder in every call of it, and what comes back is
 * turned into names again. Tokens, passwords and keys are taken out for good: no answer needs them. */
#pragma once
#include "wire/json/json.h"

#define REDACT_MAX 2000 /* names of one case; later ones are taken out for good */

struct redact;
struct redact *redact_new(void);
void redact_free(struct redact *r);
DEFINE_AUTO(redact, struct redact *, redact_free);

char *redact_text(struct redact *r, const char *text);       /* yours */
char *redact_back(const struct redact *r, const char *text); /* yours */
/* Every string of a document, keys too; yours. */
json_t *redact_json_back(const struct redact *r, const json_t *doc);
/* {"HOST_1": "web-1.shop.internal", ...}: what the call's record keeps, so that it can be replayed. */
json_t *redact_map(const struct redact *r); /* yours */
struct redact *redact_from_map(const json_t *map);
