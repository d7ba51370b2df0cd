/* playbook.h - Ansible plays: on which hosts which roles and tasks. Pure: files are handed in, templates are not run. */
#pragma once
#include "ingest/topology/inventory.h"

#define PLAYS_MAX 2000
#define TASKS_MAX 50000

/* [{"playbook","name","pattern":[..],"hosts":[..],"roles":[..],"tasks":[{"role","name","tags":[..]}]}]: as
 * `ansible-playbook --list-hosts --list-tasks` sees it; imported playbooks and tasks are followed, roles with those
 * that they depend on first; what is only known when it runs (include_tasks in a loop) stays one task. Yours. Files
 * that are no playbooks are passed over; a broken one is noted. */
MUST_CHECK enum oc_err playbook_read(const struct topo_file *files, size_t count, const struct inventory *inv,
				     json_t *notes, json_t **ret, struct oc_fail *reterr);
/* The roles that a role asks for in its meta/main.yml, by name; yours. */
json_t *playbook_role_needs(const struct topo_file *files, size_t count, const char *role);
/* "roles/web/tasks/main.yml" is the role "web"; NULL where the path is in none. Yours. */
char *playbook_role_of(const char *path);
