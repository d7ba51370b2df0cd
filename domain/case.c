#include "domain/case.h"
#include <string.h>
#include "base/text.h"

static const char *const state_names[][2] = {
#define STATE(id, name, help) { name, help },
#include "domain/case.def"
#undef STATE
};
static const char *const reasons[][2] = {
#define REASON(id, name, sentence) { name, sentence },
#include "domain/case.def"
#undef REASON
};
static const struct {
	const char *name;
	bool by_hand;
} resolutions[] = {
#define RESOLUTION(id, name, by_hand, help) { name, by_hand },
#include "domain/case.def"
#undef RESOLUTION
};
static const struct {
	const char *name, *who, *way, *help;
} events[] = {
#define EVENT(id, name, who, way, help) { name, who, way, help },
#include "domain/event.def"
#undef EVENT
};
static const struct {
	const char *topic, *role;
	int lease_ms, attempts;
} asks[] = {
#define ASK(id, topic, role, lease_ms, attempts, help) { topic, role, lease_ms, attempts },
#include "domain/ask.def"
#undef ASK
};
static const char *const resume_names[] = { "", "reanalyse", "replan", "retry", "rollback" };

const char *case_state_name(enum case_state s)
{
	return s < CASE_STATE_COUNT ? state_names[s][0] : "(none)";
}
const char *case_state_help(enum case_state s)
{
	return s < CASE_STATE_COUNT ? state_names[s][1] : "";
}

enum case_state case_state_parse(const char *name)
{
	for (int i = 0; name && i < CASE_STATE_COUNT; i++)
		if (strcmp(name, state_names[i][0]) == 0)
			return (enum case_state)i;
	return CASE_STATE_COUNT;
}

const char *case_reason_name(enum case_reason r)
{
	return r < WHY_COUNT ? reasons[r][0] : "";
}
const char *case_reason_sentence(enum case_reason r)
{
	return r < WHY_COUNT ? reasons[r][1] : "";
}

enum case_reason case_reason_parse(const char *name)
{
	for (int i = 0; name && i < WHY_COUNT; i++)
		if (strcmp(name, reasons[i][0]) == 0)
			return (enum case_reason)i;
	return WHY_COUNT;
}

const char *case_resolution_name(enum case_resolution r)
{
	return r < DONE_COUNT ? resolutions[r].name : "";
}
bool case_resolution_by_hand(enum case_resolution r)
{
	return r < DONE_COUNT && resolutions[r].by_hand;
}

enum case_resolution case_resolution_parse(const char *name)
{
	for (int i = 0; name && i < DONE_COUNT; i++)
		if (strcmp(name, resolutions[i].name) == 0)
			return (enum case_resolution)i;
	return DONE_COUNT;
}

const char *case_event_name(enum case_event_kind e)
{
	return e < EV_COUNT ? events[e].name : "";
}
const char *case_event_help(enum case_event_kind e)
{
	return e < EV_COUNT ? events[e].help : "";
}
const char *case_event_way_in(enum case_event_kind e)
{
	return e < EV_COUNT ? events[e].way : "";
}

unsigned case_event_who(enum case_event_kind e)
{
	unsigned bits = 0;

	if (e >= EV_COUNT)
		return 0;
	if (strchr(events[e].who, 'P'))
		bits |= WHO_PERSON;
	if (strchr(events[e].who, 'R'))
		bits |= WHO_ROLE;
	if (strchr(events[e].who, 'T'))
		bits |= WHO_TIMER;
	return bits;
}

enum case_event_kind case_event_parse(const char *name)
{
	for (int i = 0; name && i < EV_COUNT; i++)
		if (strcmp(name, events[i].name) == 0)
			return (enum case_event_kind)i;
	return EV_COUNT;
}

enum case_event_kind case_event_of_subject(const char *subject)
{
	for (int i = 0; subject && i < EV_COUNT; i++) {
		size_t n = strlen(events[i].way);

		if (str_starts(events[i].way, "evt.") && str_starts(subject, events[i].way) &&
		    (subject[n] == '\0' || subject[n] == '.'))
			return (enum case_event_kind)i;
	}
	return EV_COUNT;
}

const char *case_ask_topic(enum case_ask a)
{
	return a < ASK_COUNT ? asks[a].topic : "";
}
const char *case_ask_role(enum case_ask a)
{
	return a < ASK_COUNT ? asks[a].role : "";
}
int case_ask_lease_ms(enum case_ask a)
{
	return a < ASK_COUNT ? asks[a].lease_ms : 0;
}
int case_ask_attempts(enum case_ask a)
{
	return a < ASK_COUNT ? asks[a].attempts : 0;
}
const char *resume_mode_name(enum resume_mode m)
{
	return m < RESUME_COUNT ? resume_names[m] : "";
}

enum resume_mode resume_mode_parse(const char *name)
{
	for (int i = 1; name && i < RESUME_COUNT; i++)
		if (strcmp(name, resume_names[i]) == 0)
			return (enum resume_mode)i;
	return RESUME_NONE;
}
