/* terraform.h - Terraform and OpenTofu: state files (versions 3 and 4), and what `show -json` prints of a state or a
 * plan. Pure.
 *
 * A resource is an instance; its address is the one that terraform itself prints. DEPENDS_ON comes from
 * what the state or the configuration says, and from attributes that hold another resource's id or
 * arn; RUNS_ON from attributes that name a cluster, node or host. Of the attributes only names, places and
 * what says the version are kept: state files are full of secrets. */
#pragma once
#include "ingest/topology/topo.h"

struct terraform_ask {
	const char *stack; /* tells two installations with the same addresses apart; NULL: "default" */
	bool applied;      /* a plan: take what it will have made, and its changes as made */
};

/* Whether the document looks like one of these. */
bool terraform_knows(const json_t *doc);
/* OC_INVALID with a JSON pointer, OC_TOO_LARGE. `ret` is initialised here; topo_done() it on success. */
MUST_CHECK enum oc_err terraform_read(const json_t *doc, const struct terraform_ask *ask, struct topo *ret,
				      struct oc_fail *reterr);
