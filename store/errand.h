/* errand.h - what happens on the side of a case: notifications, drafts of knowledge. */
#pragma once

extern const char SQL_NOTIFY_LOAD[];   /* $1 bigint[]: id, title, status, park_reason, sentence */
extern const char SQL_NOTIFY_INSERT[]; /* $1 id, $2 tenant, $3 case, $4 sentence, $5 body */
/* $1 bigint[]: id, title, summary, plan text, verdict checks, timeline, finding, its body, service */
extern const char SQL_LEARN_LOAD[];
extern const char SQL_LEARN_DRAFT[]; /* $1 tenant, $2 case, $3 title, $4 page, $5 service; once per case */
