#define LOG_ROOM "retention"
#include "store/retention.h"
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"

#define BATCH_DEFAULT 1000
#define CASE_BATCH    50
/* No pass works on one table for ever: what is left waits for the next pass. */
#define ROUNDS_MAX    1000

const struct retention_rule retention_rules[] = {
	/* table               owner           how         days  which                                  help */
	{ "installation",        "apps",         KEEP,        0,    NULL,							     "one row"                                   },
	{ "schema_migration",    "store",        KEEP,        0,    NULL,							     "one row per migration"                     },
	{ "dim_tenant",          "apps",         KEEP,        0,    NULL,							     "one row per tenant"                        },
	{ "api_token",           "api",          BY_AGE,      90,   "coalesce(revoked_at, expires_at) < limit_at",
         "revoked or expired"																		     },
	{ "policy_version",      "gatekeeper",   KEEP,        0,    NULL,							     "what decisions were made by"               },
	{ "ops_case",            "orchestrator", CASES,       365,  NULL,							     "closed; open cases stay"                   },
	{ "case_body",           "orchestrator", WITH_CASE,   0,    NULL,							     ""                                          },
	{ "case_timeline",       "orchestrator", WITH_CASE,   0,    NULL,                                                             "the tombstone keeps the head of the chain" },
	{ "plan_proposed",       "planner",      WITH_CASE,   0,    NULL,							     ""                                          },
	{ "gate_decision",       "gatekeeper",   WITH_CASE,   0,    NULL,							     ""                                          },
	{ "plan_approved",       "gatekeeper",   WITH_CASE,   0,    NULL,							     ""                                          },
	{ "approval",            "api",          WITH_CASE,   0,    NULL,							     ""                                          },
	{ "exec_run",            "executor",     WITH_CASE,   0,    NULL,							     ""                                          },
	{ "exec_step",           "executor",     WITH_CASE,   0,    NULL,							     ""                                          },
	{ "verdict",             "verifier",     WITH_CASE,   0,    NULL,							     ""                                          },
	{ "finding",             "analyst",      WITH_CASE,   0,    NULL,							     ""                                          },
	{ "notification",        "orchestrator", WITH_CASE,   0,    NULL,                                                             ""                                          },
	{ "llm_call",            "llm",          BY_AGE,      365,  "created_at < limit_at",                                          "those of a case go with it"                },
	{ "llm_look",            "analyst",      WITH_CASE,   0,    NULL,							     "what models looked at"                     },
	{ "llm_certificate",     "llm",          KEEP,        0,    NULL,							     "one row per model and duty"                },
	{ "case_tombstone",      "store",        KEEP,        0,    NULL,							     "proof of what was pruned"                  },
	{ "timeline_checkpoint", "orchestrator", BY_AGE,      1095, "created_at < limit_at",
         "three years of heads"																		   },
	{ "outbox",              "orchestrator", BY_AGE,      7,    "done_at < limit_at",                                             "done messages; open ones stay"             },
	{ "inbox",               "orchestrator", BY_AGE,      7,    "seen_at < limit_at",
         "longer than any message is offered again"															       },
	{ "idempotency",         "api",          BY_AGE,      0,    "expires_at < limit_at",                                          "each key has its own expiry"               },
	{ "remediation_budget",  "gatekeeper",   BY_AGE,      90,   "created_at < limit_at",
         "budgets look back days, not months"																     },
	{ "target_lock",         "executor",     BY_AGE,      1,    "until < limit_at",                                               "locks whose time is over"                  },
	{ "webhook_delivery",    "api",          BY_AGE,      30,   "received_at < limit_at",                                         "replay protection"                         },
	{ "dead_letter",         "store",        BY_AGE,      90,   "created_at < limit_at",                                          "counted when it goes"                      },
	{ "metric_1m",           "ingest",       BY_CHUNK,    180,  NULL,							     ""                                          },
	{ "service_call_5m",     "ingest",       BY_CHUNK,    365,  NULL,							     ""                                          },
	{ "log_pattern_5m",      "ingest",       BY_CHUNK,    180,  NULL,							     ""                                          },
	{ "log_pattern",         "ingest",       BY_AGE,      365,  "last_seen < limit_at",                                           "not seen for a year"                       },
	{ "metric_series",       "ingest",       BY_AGE,      180,
         "updated_at < limit_at AND NOT EXISTS (SELECT FROM metric_1m m "
	  "WHERE m.tenant_id = t.tenant_id AND m.resource_id = t.resource_id AND m.metric = t.metric AND m.series_id = t.series_id)",
         "nothing of it is left in metric_1m"																     },
	{ "dim_resource",        "ingest",       KEEP,        0,    NULL,							     "history refers to it"                      },
	{ "oo_locator",          "ingest",       BY_AGE,      365,
         "t_to < limit_at AND NOT pinned AND NOT EXISTS (SELECT FROM evidence_link e "
	  "WHERE e.tenant_id = t.tenant_id AND e.ref_oo = t.id)",								     "pinned or cited ones stay"                 },
	{ "detail_filter",       "ingest",       WITH_PARENT, 0,    NULL,							     "with its locator"                          },
	{ "topo_edge_time",      "ingest",       BY_AGE,      365,  "upper(valid) < limit_at",
         "edges that ended; open ones stay"																       },
	{ "topo_resource",       "ingest",       BY_AGE,      365,  "gone_at < limit_at",                                             "no longer described"                       },
	{ "topo_discovery",      "ingest",       BY_AGE,      365,  "created_at < limit_at",                                          "what each reading did"                     },
	{ "kb_doc",              "librarian",    KEEP,        0,    NULL,							     "knowledge"                                 },
	{ "kb_chunk",            "librarian",    WITH_PARENT, 0,    NULL,							     "with its document"                         },
	{ "kb_state",            "librarian",    KEEP,        0,    NULL,							     "one row per tenant"                        },
	{ "kb_model",            "librarian",    KEEP,        0,    NULL,							     "the models in use"                         },
	{ "kb_use",              "librarian",    WITH_CASE,   0,    NULL,							     ""                                          },
	{ "event_envelope",      "analyst",      BY_AGE,      365,
         "detected_at < limit_at AND NOT EXISTS (SELECT FROM ops_case c "
	  "WHERE c.id = t.case_id AND c.tenant_id = t.tenant_id)",								    "those of a kept case stay"                 },
	{ "evidence_link",       "analyst",      WITH_PARENT, 0,    NULL,							     "with its event"                            },
	{ "signal",              "analyst",      BY_AGE,      365,  "status = 'cleared' AND cleared_at < limit_at",
         "open ones stay"																			 },
	{ "maintenance_window",  "analyst",      BY_AGE,      365,  "ends_at < limit_at",                                             "a year after their end"                    },
	{ "detector_state",      "analyst",      BY_AGE,      60,   "upto < limit_at",                                                "of series that are gone"                   },
	{ "etl_job_run",         "ingest",       BY_AGE,      30,   "finished_at < limit_at",                                         "finished runs"                             },
	{ "tel_position",        "ingest",       KEEP,        0,    NULL,							     "one row per partition"                     },
	{ "call_pending",        "ingest",       BY_AGE,      1,    "to_timestamp(arrived_us / 1000000.0) < limit_at",
         "halves of calls; gone in seconds"																       },
	{ "etl_job_circuit",     "ingest",       KEEP,        0,    NULL,							     "one row per job"                           },
	{ "table_registry",      "ingest",       KEEP,        0,    NULL,							     "schemas of users"                          },
	{ NULL,		  NULL,           KEEP,        0,    NULL,							     NULL                                        },
};

/* What hangs on a case without ON DELETE CASCADE. Children before parents. */
static const char *const case_tables[] = { "notification", "llm_call", "approval" };

static const char SQL_CASES_OLD[] =
	"SELECT id FROM ops_case WHERE status = 'CLOSED' AND closed_at < now() - make_interval(secs => $1::float8) "
	/* what still waits to be told or answered is not over */
	"AND NOT EXISTS (SELECT FROM outbox o WHERE o.tenant_id = ops_case.tenant_id AND o.case_id = ops_case.id AND o.done_at IS NULL) "
	"ORDER BY closed_at LIMIT $2::int FOR UPDATE SKIP LOCKED";
static const char SQL_TOMBSTONE[] =
	"INSERT INTO case_tombstone (case_id, tenant_id, timeline_seq, timeline_head, closed_at) "
	"SELECT id, tenant_id, timeline_seq, timeline_head, closed_at FROM ops_case WHERE id = ANY ($1::uuid[]) "
	"ON CONFLICT (case_id) DO NOTHING";
static const char SQL_CASES_DELETE[] = "DELETE FROM ops_case WHERE id = ANY ($1::uuid[])";
static const char SQL_CHUNKS[] =
	"SELECT opscase_drop_chunks($1::regclass, now() - make_interval(secs => $2::float8))";

static enum oc_err prune_age(struct pg *pg, const struct retention_rule *rule, const char *seconds, int batch,
			     const volatile int *stop, long long *rows, struct oc_fail *reterr)
{
	/* Locked as they are found: a row that somebody is just renewing must not be judged by what it was. */
	AUTO(str)
	char *sql = mem_printf(
		"DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM %s t, "
		"(SELECT now() - make_interval(secs => $1::float8) AS limit_at) l WHERE %s LIMIT $2::int FOR UPDATE OF t SKIP LOCKED))",
		rule->table, rule->table, rule->which);
	char limit[16];
	unsigned n = 0;
	enum oc_err err = OC_OK;

	snprintf(limit, sizeof(limit), "%d", batch);
	for (int round = 0; round < ROUNDS_MAX && !(stop && *stop); round++) {
		AUTO(pg_result) struct pg_result *r = NULL;

		err = pg_query(pg, sql, PG_ARGS(seconds, limit), &r, reterr);
		if (err != OC_OK)
			return err;
		n = pg_affected(r);
		*rows += n;
		if (n < (unsigned)batch)
			break;
	}
	return err;
}

static enum oc_err prune_case_batch(struct pg *pg, const char *seconds, unsigned *ret_n,
				    struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *old = NULL, *gone = NULL;
	AUTO(text) struct text ids = { 0 };
	char limit[16];
	const char *list;
	enum oc_err err;

	snprintf(limit, sizeof(limit), "%d", CASE_BATCH);
	err = pg_query(pg, SQL_CASES_OLD, PG_ARGS(seconds, limit), &old, reterr);
	if (err != OC_OK)
		return err;
	*ret_n = pg_rows(old);
	if (!*ret_n)
		return OC_OK;
	for (unsigned i = 0; i < pg_rows(old); i++)
		pg_array_add(&ids, pg_text(old, i, 0));
	list = pg_array_end(&ids);
	err = pg_query(pg, SQL_TOMBSTONE, PG_ARGS(list), NULL, reterr);
	for (size_t i = 0; err == OC_OK && i < ARRAY_LEN(case_tables); i++) {
		AUTO(str)
		char *sql = mem_printf("DELETE FROM %s WHERE case_id = ANY ($1::uuid[])", case_tables[i]);

		err = pg_query(pg, sql, PG_ARGS(list), NULL, reterr);
	}
	if (err == OC_OK)
		err = pg_query(pg, SQL_CASES_DELETE, PG_ARGS(list), &gone, reterr);
	if (err == OC_OK && pg_affected(gone) != *ret_n)
		return oc_fail(reterr, OC_CONFLICT, "%u cases went, %u were locked", pg_affected(gone),
			       *ret_n);
	return err;
}

static enum oc_err prune_cases(struct pg *pg, const char *seconds, const volatile int *stop, long long *cases,
			       struct oc_fail *reterr)
{
	unsigned n = CASE_BATCH;

	for (int round = 0; round < ROUNDS_MAX && n == CASE_BATCH && !(stop && *stop); round++) {
		enum oc_err err = pg_begin(pg, reterr);

		if (err == OC_OK)
			err = prune_case_batch(pg, seconds, &n, reterr);
		if (err == OC_OK)
			err = pg_commit(pg, reterr);
		if (err != OC_OK) {
			pg_rollback(pg);
			return err;
		}
		*cases += n;
	}
	return OC_OK;
}

static enum oc_err prune(struct pg *pg, const struct retention_rule *rule, double scale, int batch,
			 const volatile int *stop, struct retention_report *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char seconds[40];
	enum oc_err err = OC_OK;

	snprintf(seconds, sizeof(seconds), "%.3f", rule->days * 86400.0 * scale);
	switch (rule->how) {
	case BY_AGE:
		return prune_age(pg, rule, seconds, batch, stop, &ret->rows, reterr);
	case BY_CHUNK:
		err = pg_query(pg, SQL_CHUNKS, PG_ARGS(rule->table, seconds), &r, reterr);
		if (err == OC_OK)
			ret->chunks += pg_int(r, 0, 0);
		return err;
	case CASES:
		return prune_cases(pg, seconds, stop, &ret->cases, reterr);
	case KEEP:
	case WITH_CASE:
	case WITH_PARENT:
		break;
	}
	return OC_OK;
}

enum oc_err retention_run(struct pg *pg, double days_scale, int batch, const volatile int *stop,
			  struct retention_report *ret, struct oc_fail *reterr)
{
	enum oc_err first = OC_OK;

	memset(ret, 0, sizeof(*ret));
	for (const struct retention_rule *rule = retention_rules; rule->table && !(stop && *stop); rule++) {
		struct oc_fail why = { 0 };
		enum oc_err err =
			prune(pg, rule, days_scale, batch > 0 ? batch : BATCH_DEFAULT, stop, ret, &why);

		if (err == OC_OK)
			continue;
		log_warn("%s was not pruned: %s", rule->table, why.text);
		if (first == OC_OK)
			first = oc_fail(reterr, err, "%s was not pruned: %s", rule->table, why.text);
		if (!pg_alive(pg))
			break;
	}
	if (ret->rows || ret->chunks || ret->cases)
		log_info("pruned %lld cases, %lld rows, %lld chunks", ret->cases, ret->rows, ret->chunks);
	return first;
}

void retention_reference(struct text *out)
{
	text_add(out, "| table | written by | kept | how |\n|---|---|---|---|\n");
	for (const struct retention_rule *r = retention_rules; r->table; r++) {
		static const char *const how[] = {
			"stays",          "goes with its case", "goes with its parent",
			"batches by age", "whole chunks",       "whole cases, with a tombstone"
		};

		text_addf(out, "| %s | %s | ", r->table, r->owner);
		if (r->how == BY_AGE && r->days == 0)
			text_add(out, "until it expires");
		else if (r->days)
			text_addf(out, "%d days", r->days);
		else
			text_add(out, r->how == KEEP ? "always" : "as that");
		text_addf(out, " | %s%s%s |\n", how[r->how], r->help[0] ? "; " : "", r->help);
	}
}
