/* budget.h - how often an operation was used on a target. Rows are written when a decision is used. */
#pragma once

/* $1 tenant, $2 text[] targets, $3 text[] operations, $4 int[] windows in seconds: one row per element, in order:
 * the forward runs of that operation on that target inside the window. */
extern const char SQL_BUDGET_USED[];
extern const char SQL_BUDGET_PRUNE[]; /* $1 seconds: rows older than the longest window, at most 10000 */
