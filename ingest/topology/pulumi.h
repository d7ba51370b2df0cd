/* pulumi.h - `pulumi stack export`: resources by their own URNs, with their dependencies. Pure. */
#pragma once
#include "ingest/topology/topo.h"

bool pulumi_knows(const json_t *doc);
/* OC_INVALID with a JSON pointer, OC_TOO_LARGE. stack NULL: the one that the URNs name. */
MUST_CHECK enum oc_err pulumi_read(const json_t *doc, const char *stack, struct topo *ret,
				   struct oc_fail *reterr);
