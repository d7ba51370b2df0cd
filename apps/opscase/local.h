/* local.h - what commands need that work without a server: the adapters' registry, the plan's contract. */
#pragma once
#include "apps/opscase/cli.h"
#include "contracts/plan.h"
#include "executor/registry.h"

/* --adapters DIR, else the setting adapters.dir, else lib/opscase/adapters beside the program. */
MUST_CHECK enum oc_err local_registry(const struct cli *cli, struct registry **ret, struct oc_fail *reterr);
/* Folder of adapters as local_registry() takes it. Yours. */
char *local_adapters_dir(const struct cli *cli);
/* A connection to the database of --db CONNINFO, else db.owner of the settings, else the embedded installation's.
 * role: "opscase_owner", "opscase_worker" or "postgres", for the embedded one. */
struct pg;
MUST_CHECK enum oc_err local_database(const struct cli *cli, const char *role, struct pg **ret,
				      struct oc_fail *reterr);
/* The question is only asked of people at a terminal; elsewhere --yes is needed. */
MUST_CHECK enum oc_err local_confirm(const struct cli *cli, const char *what, struct oc_fail *reterr);
