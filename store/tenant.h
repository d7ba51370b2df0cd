/* tenant.h - who shares this installation. For opscase_worker or opscase_owner, except tenant_find(). */
#pragma once
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct tenant {
	long long id;
	char code[64];
};

/* labels: an object or NULL. OC_CONFLICT when the code is taken, OC_INVALID for a bad code. */
MUST_CHECK enum oc_err tenant_create(struct pg *pg, const char *code, const char *name, const json_t *labels,
				     struct tenant *ret, struct oc_fail *reterr);
/* OC_NOT_FOUND also for a disabled one. Any role may ask. */
MUST_CHECK enum oc_err tenant_find(struct pg *pg, const char *code, struct tenant *ret,
				   struct oc_fail *reterr);
/* tenant_id 0: all. */
MUST_CHECK enum oc_err tenant_list(struct pg *pg, long long tenant_id, json_t **ret, struct oc_fail *reterr);
