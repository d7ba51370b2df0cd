/* inventory.h - Ansible inventories: INI, YAML, or a folder of both; with group_vars and host_vars. Pure: files are
 * handed in.
 *
 * Reads as ansible-core does: ranges, children, variables by its precedence (all, outer group, inner group, host;
 * the inventory's own before group_vars). Values stay as they are written: templates in them are not run. */
#pragma once
#include "wire/json/json.h"

struct topo_file {
	const char *path; /* relative, '/' between: "group_vars/all.yml" */
	const char *text;
	size_t len;
};

#define INVENTORY_HOSTS_MAX  20000
#define INVENTORY_GROUPS_MAX 2000

struct inventory;
/* Files that may belong to inventories and their variables; which of them are inventories is told by `is_inventory`. */
MUST_CHECK enum oc_err inventory_read(const struct topo_file *files, size_t count, const char *only,
				      struct inventory **ret, struct oc_fail *reterr);
void inventory_free(struct inventory *inv);
DEFINE_AUTO(inventory, struct inventory *, inventory_free);

size_t inventory_host_count(const struct inventory *inv);
/* All variables of a host, merged; lent, an object. NULL: no such host. */
const json_t *inventory_vars(const struct inventory *inv, const char *host);
/* Names of the hosts that a pattern means ("web:&prod:!old", "db*", "all", "~web\d+"), in the inventory's order; yours. */
json_t *inventory_match(const struct inventory *inv, const char *pattern);
/* Hosts of a group and of the groups below it; yours, an empty array where there is none. */
json_t *inventory_group_hosts(const struct inventory *inv, const char *group);
/* As `ansible-inventory --list` prints it; yours. */
json_t *inventory_json(const struct inventory *inv);
const json_t *inventory_notes(const struct inventory *inv); /* lent */
/* Whether a path looks like an inventory: hosts, inventory, hosts.prod, inventories/prod/x.ini, x.inventory */
bool inventory_path(const char *path);
