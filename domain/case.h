/* case.h - the words of a case: states, reasons, resolutions, events, asks. Plain values, no I/O.
 *
 * Each list is a table in a .def file; the enum, its names and its documentation come from the same
 * row. Parsing an unknown name answers the count value. */
#pragma once
#include <stdbool.h>

enum case_state {
#define STATE(id, name, help) id,
#include "domain/case.def"
#undef STATE
	CASE_STATE_COUNT,
	CASE_ABSENT = CASE_STATE_COUNT /* before create */
};

enum case_reason {
#define REASON(id, name, sentence) id,
#include "domain/case.def"
#undef REASON
	WHY_COUNT
};

enum case_resolution {
#define RESOLUTION(id, name, by_hand, help) id,
#include "domain/case.def"
#undef RESOLUTION
	DONE_COUNT
};

enum case_event_kind {
#define EVENT(id, name, who, way, help) id,
#include "domain/event.def"
#undef EVENT
	EV_COUNT
};

enum case_ask {
#define ASK(id, topic, role, lease_ms, attempts, help) id,
#include "domain/ask.def"
#undef ASK
	ASK_COUNT
};

enum case_drive { DRIVE_AUTO, DRIVE_MANUAL };
enum plan_kind { PLAN_NONE, PLAN_FORWARD, PLAN_ROLLBACK };
enum resume_mode {
	RESUME_NONE,
	RESUME_REANALYSE,
	RESUME_REPLAN,
	RESUME_RETRY,
	RESUME_ROLLBACK,
	RESUME_COUNT
};
enum event_who { WHO_PERSON = 1, WHO_ROLE = 2, WHO_TIMER = 4 };

const char *case_state_name(enum case_state s); /* "NEW"; "(none)" for CASE_ABSENT */
const char *case_state_help(enum case_state s);
enum case_state case_state_parse(const char *name);
const char *case_reason_name(enum case_reason r);
const char *case_reason_sentence(enum case_reason r);
enum case_reason case_reason_parse(const char *name);
const char *case_resolution_name(enum case_resolution r);
bool case_resolution_by_hand(enum case_resolution r);
enum case_resolution case_resolution_parse(const char *name);
const char *case_event_name(enum case_event_kind e);
const char *case_event_help(enum case_event_kind e);
const char *case_event_way_in(enum case_event_kind e);
unsigned case_event_who(enum case_event_kind e); /* bits of enum event_who */
enum case_event_kind case_event_parse(const char *name);
/* From a bus subject, with or without its tenant token: "evt.plan.proposed.v1.t-1". */
enum case_event_kind case_event_of_subject(const char *subject);
const char *case_ask_topic(enum case_ask a); /* "cmd.plan.generate" */
const char *case_ask_role(enum case_ask a);
int case_ask_lease_ms(enum case_ask a);
int case_ask_attempts(enum case_ask a);
const char *resume_mode_name(enum resume_mode m);
enum resume_mode resume_mode_parse(const char *name);
