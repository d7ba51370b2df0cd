/* report.h - a case told afterwards, in Markdown: timeline, cause, evidence, actions, verdict, follow-ups.
 *
 * Pure and deterministic: only what the case's rows say, in English or Chinese. What came from outside stays inside its
 * line: it can begin neither a heading nor a table. */
#pragma once
#include "wire/json/json.h"

/* `c` as GET /case/{id}?include=plans,decisions,runs,verdicts,findings, `rows` its timeline. lang: "en" or "zh"; false for
 * another one. */
bool report_case(const json_t *c, const json_t *rows, const char *lang, struct text *out);
