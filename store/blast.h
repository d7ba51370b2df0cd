/* blast.h - what depends on a resource, by the topology as of now.
 *
 * An edge says that src needs dst (CALLS, DEPENDS_ON, RUNS_ON), from the temporal table or from calls seen in the
 * last hour. Bounded: six hops, and the caller sets a statement timeout. */
#pragma once

extern const char SQL_BLAST_TIMEOUT[]; /* inside a transaction */
/* $1 tenant, $2 text[] urns: per urn and in order one row: downstream (who needs it), upstream (what it needs);
 * both NULL when the urn or the tenant's topology is not known. */
extern const char SQL_BLAST_RADIUS[];
