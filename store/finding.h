/* finding.h - what the analyst reads of a case, and the row with what it found. */
#pragma once

/* $1 outbox ids: id, and the columns of enum analysis_load_col. */
extern const char SQL_ANALYSIS_LOAD[];
enum analysis_load_col {
	AL_ID,
	AL_TITLE,
	AL_LABELS,
	AL_EVIDENCE,
	AL_CREATED_US,
};
/* $1 id, $2 tenant, $3 case, $4 epoch, $5 summary, $6 body, $7 confidence. */
extern const char SQL_FINDING_INSERT[];
