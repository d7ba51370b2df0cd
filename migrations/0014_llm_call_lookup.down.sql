DROP INDEX ix_llm_call_time;
DROP INDEX ix_llm_call_case;
