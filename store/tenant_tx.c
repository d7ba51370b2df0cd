#include "store/tenant_tx.h"
#include <stdio.h>

enum oc_err tenant_tx_send_begin(struct pg *pg, long long tenant_id, bool read_only, struct oc_fail *reterr)
{
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	/* One snapshot for all reads of a request: a case and its timeline must tell the same story. */
	err = pg_send(pg, read_only ? "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" : "BEGIN",
		      PG_NO_ARGS, reterr);
	if (err != OC_OK)
		return err;
	return pg_send(pg, "SELECT set_config('opscase.tenant', $1, true)", PG_ARGS(tenant), reterr);
}
