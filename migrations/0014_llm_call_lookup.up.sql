-- 0014 llm call lookup: what a case and a tenant's last day have cost is asked before every call and for every card.
CREATE INDEX ix_llm_call_case ON llm_call (tenant_id, case_id) INCLUDE (tokens_in, tokens_out, cost);
CREATE INDEX ix_llm_call_time ON llm_call (tenant_id, created_at);
