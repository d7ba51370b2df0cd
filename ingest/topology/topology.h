/* topology.h - whatever describes an installation, recognised by its content. Pure. */
#pragma once
#include "ingest/topology/inventory.h"
#include "ingest/topology/topo.h"

struct topology_ask {
	const char *stack;     /* NULL: what the description calls itself, else "default" */
	const char *inventory; /* Ansible: this inventory only */
	bool applied;          /* a Terraform plan: it was carried out */
};

/* One JSON file: Terraform, OpenTofu or Pulumi. Several files, or one of another kind: an Ansible project. OC_INVALID
 * when it is none of these. Texts end in NUL and have none before. */
MUST_CHECK enum oc_err topology_read(const struct topo_file *files, size_t count,
				     const struct topology_ask *ask, struct topo *ret,
				     struct oc_fail *reterr);
