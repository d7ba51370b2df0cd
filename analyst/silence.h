/* silence.h - series that stopped: raised once, by the largest thing that fell silent with them, and ended when they are heard again.
 *
 * A series that stops while its resource sends others is a weak signal (shown, opens no case by itself); a resource of which nothing is
 * heard any more is a sure one; a tenant of whom nothing at all is heard is one signal, not one per resource: then it is the way of
 * the telemetry that broke. After a day it is the new usual. Calls between services are not held to come regularly. */
#pragma once
#include "analyst/watched.h"
#include "store/detector.h"

/* Looks at all of the table's series as of closed_us, the last bucket that is over; ret_raised is added to. */
MUST_CHECK enum oc_err silence_pass(struct watched *table, size_t size, struct pg *pg, int64_t closed_us,
				    int debounce_s, unsigned *ret_raised, struct oc_fail *reterr);
/* A sample came at the resource `urn`: ends what its silence had raised; ret_cleared is added to. */
MUST_CHECK enum oc_err silence_over(struct watched *table, size_t size, struct watched *s, struct pg *pg,
				    const char *urn, int64_t at_us, unsigned *ret_cleared,
				    struct oc_fail *reterr);
