/* tenant_tx.h - the opening of every transaction of opscase_api: whose rows it may see.
 *
 * Both send without waiting; the results of the two statements come first at the next pg_sync(). */
#pragma once
#include "wire/pg/pg.h"

#define TENANT_TX_SENT 2

MUST_CHECK enum oc_err tenant_tx_send_begin(struct pg *pg, long long tenant_id, bool read_only,
					    struct oc_fail *reterr);
