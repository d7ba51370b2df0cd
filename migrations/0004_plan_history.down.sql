DROP INDEX ix_plan_fingerprint;
