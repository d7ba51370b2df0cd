/* maintenance.h - times in which signals open no case. As opscase_worker: every statement names the tenant. Times are microseconds. */
#pragma once
#include "base/uuid.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct maintenance_new {
	int64_t starts_us, ends_us;
	const json_t
		*labels; /* object of texts, all of which a signal has to carry; {} or NULL: every signal */
	const char *reason, *created_by;
};
MUST_CHECK enum oc_err maintenance_add(struct pg *pg, long long tenant_id, const struct maintenance_new *m,
				       char ret_id[UUID_TEXT], struct oc_fail *reterr);
/* [{"id","starts_at","ends_at","active","labels","reason","created_by"}], latest first, at most 500; those that are over only where `past`. */
MUST_CHECK enum oc_err maintenance_list(struct pg *pg, long long tenant_id, bool past, json_t **ret,
					struct oc_fail *reterr);
/* One that has begun ends now; one that has not is gone. OC_NOT_FOUND: none, or it is over. */
MUST_CHECK enum oc_err maintenance_end(struct pg *pg, long long tenant_id, const char *id,
				       struct oc_fail *reterr);
