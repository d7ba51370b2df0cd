/* door.h - what the parts of the one door share: whom a commit wakes (set by transition.h at start), and the answer. */
#pragma once
#include "orchestrator/transition.h"
#include "wire/pg/pg.h"

struct handover;
struct waker;
struct handover *door_hand(void); /* NULL: commands go by the bus */
struct waker *door_waker(void);   /* the relay's */

/* What a result says of the case as it is now, from the columns of store/case_doc.h. */
void transition_result_case(struct transition_result *ret, const struct pg_result *r, unsigned row,
			    unsigned first);
