/* ansible.h - an Ansible project: its hosts, what its plays put on them, and whom those need. Pure.
 *
 * A host is urn:host:NAME, a role is urn:ansible:role:STACK/NAME and RUNS_ON the hosts of its plays. A role or a host
 * DEPENDS_ON what its variables, tasks and templates name: another host of the inventory, a group (groups['db']), the host
 * or database of a connection URL, a role in meta/main.yml. No value of a variable is kept except what says a
 * version. */
#pragma once
#include "ingest/topology/inventory.h"
#include "ingest/topology/topo.h"

struct ansible_ask {
	const char *stack;
	const char *inventory; /* this file or folder only; NULL: what looks like one */
};

bool ansible_knows(const struct topo_file *files, size_t count);
MUST_CHECK enum oc_err ansible_read(const struct topo_file *files, size_t count,
				    const struct ansible_ask *ask, struct topo *ret, struct oc_fail *reterr);
