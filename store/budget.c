#include "store/budget.h"

const char SQL_BUDGET_USED[] =
	"SELECT (SELECT count(*) FROM remediation_budget b WHERE b.tenant_id = $1::bigint AND b.target = w.target"
	"  AND b.operation = w.operation AND b.created_at > now() - make_interval(secs => w.s))"
	" FROM unnest($2::text[], $3::text[], $4::int[]) WITH ORDINALITY AS w(target, operation, s, ord) ORDER BY w.ord";

/* Of every tenant: housekeeping by age alone. */
const char SQL_BUDGET_PRUNE[] =
	"DELETE FROM remediation_budget b USING (SELECT tenant_id, id FROM remediation_budget"
	"  WHERE created_at < now() - make_interval(secs => $1::float8) LIMIT 10000) old"
	" WHERE b.tenant_id = old.tenant_id AND b.id = old.id";
