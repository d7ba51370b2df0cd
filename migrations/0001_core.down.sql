DROP FUNCTION IF EXISTS opscase_case_json(ops_case);
DROP TABLE IF EXISTS dead_letter, webhook_delivery, llm_call, notification, finding, verdict, target_lock,
	exec_step, exec_run, remediation_budget, approval, plan_approved, gate_decision, policy_version,
	plan_proposed, idempotency, inbox, outbox, case_tombstone, timeline_checkpoint, case_timeline,
	case_body, ops_case, api_token, dim_tenant, installation;
DROP FUNCTION IF EXISTS opscase_tenant();
DROP FUNCTION IF EXISTS opscase_expect(bigint, bigint, text);
