/* fence.h - text from outside, as a model is shown it: between fences that it cannot end, without names, and without what
 * speaks to the model instead of telling what happened.
 *
 * Pure. */
#pragma once
#include "llm/redact.h"

#define FENCE_NONCE 17

/* The same case has the same fence, so that its calls can be replayed; nobody who writes a log line knows the id. */
void fence_nonce(const char *case_id, char ret[FENCE_NONCE]);
/* One piece, "what: text\n". What was withheld is added to `withheld`: [{"where","sign"}]. */
void fence_show(struct text *out, struct redact *r, json_t *withheld, const char *what, const char *text);
/* A value; empty ones are not shown. A sign that is split over its strings counts, too. */
void fence_show_json(struct text *out, struct redact *r, json_t *withheld, const char *what, const json_t *v);
