/* case_doc.h - the case as clients see it, written straight from a row's columns.
 *
 * The same document as the SQL function opscase_case_json() makes (a test holds them against each other),
 * member by member in jsonb's order, so that an answer and its replay are the same text. Making it here costs
 * a few microseconds and nothing of PostgreSQL's time. Needs DateStyle ISO, which wire/pg asks for. */
#pragma once
#include "base/text.h"
#include "wire/pg/pg.h"

/* name of the member, expression over ops_case c, kind of value */
#define CASE_DOC(X)                                               \
	X(ID, "id", "c.id", TEXT)                                 \
	X(DRIVE, "drive", "c.drive", TEXT)                        \
	X(EPOCH, "epoch", "c.epoch", NUMBER)                      \
	X(TITLE, "title", "c.title", TEXT)                        \
	X(RUN_ID, "run_id", "c.run_id", TEXT)                     \
	X(STATUS, "status", "c.status", TEXT)                     \
	X(TENANT, "tenant", "c.tenant", TEXT)                     \
	X(CASE_ID, "case_id", "c.id", TEXT)                       \
	X(COMMAND, "command", "c.cmd_topic", TEXT)                \
	X(PLAN_ID, "plan_id", "c.plan_id", TEXT)                  \
	X(RESUMES, "resumes", "c.resumes", NUMBER)                \
	X(VERSION, "version", "c.version", NUMBER)                \
	X(SENTENCE, "sentence", "c.sentence", TEXT)               \
	X(SEVERITY, "severity", "c.severity", TEXT)               \
	X(TRACE_ID, "trace_id", "c.trace_id", TEXT)               \
	X(CLOSED_AT, "closed_at", "c.closed_at", TIME)            \
	X(OPENED_BY, "opened_by", "c.opened_by", TEXT)            \
	X(PARENT_ID, "parent_id", "c.parent_id", TEXT)            \
	X(PLAN_KIND, "plan_kind", "c.plan_kind", TEXT)            \
	X(ROLLBACKS, "rollbacks", "c.rollbacks", NUMBER)          \
	X(CREATED_AT, "created_at", "c.created_at", TIME)         \
	X(ENTERED_AT, "entered_at", "c.entered_at", TIME)         \
	X(FOLLOWS_ID, "follows_id", "c.follows_id", TEXT)         \
	X(RESOLUTION, "resolution", "c.resolution", TEXT)         \
	X(UPDATED_AT, "updated_at", "c.updated_at", TIME)         \
	X(DEADLINE_AT, "deadline_at", "c.deadline_at", TIME)      \
	X(DECISION_ID, "decision_id", "c.decision_id", TEXT)      \
	X(PARK_REASON, "park_reason", "c.park_reason", TEXT)      \
	X(CANCEL_CAUSE, "cancel_cause", "c.cancel_cause", TEXT)   \
	X(TIMELINE_SEQ, "timeline_seq", "c.timeline_seq", NUMBER) \
	X(TIMELINE_HEAD, "timeline_head", "encode(c.timeline_head, 'hex')", TEXT)

enum case_doc_col {
#define X(id, name, expression, kind) CD_##id,
	CASE_DOC(X)
#undef X
		CD_COUNT
};

/* The list of columns, each with a comma before it: "SELECT 1" CASE_DOC_COLUMNS " FROM ops_case c ..." */
#define CASE_DOC_COLUMN(id, name, expression, kind) ", " expression
#define CASE_DOC_COLUMNS                            CASE_DOC(CASE_DOC_COLUMN)

/* The members, without braces, of the case in this row; its columns begin at `first`. */
void case_doc_write(struct text *out, const struct pg_result *r, unsigned row, unsigned first);
