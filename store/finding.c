#include "store/finding.h"

const char SQL_ANALYSIS_LOAD[] =
	"SELECT o.id, c.title, b.labels::text, b.evidence::text, (extract(epoch FROM c.created_at) * 1000000)::bigint "
	"FROM outbox o JOIN ops_case c ON c.tenant_id = o.tenant_id AND c.id = o.case_id "
	"LEFT JOIN case_body b ON b.tenant_id = c.tenant_id AND b.case_id = c.id WHERE o.id = ANY ($1::bigint[])";

const char SQL_FINDING_INSERT[] =
	"INSERT INTO finding (id, tenant_id, case_id, epoch, summary, body, confidence) "
	"VALUES ($1::uuid, $2::bigint, $3::uuid, $4::int, $5, $6::jsonb, $7::float8)";
