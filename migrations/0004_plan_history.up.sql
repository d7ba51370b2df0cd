-- 0004 plan history: the gate asks how often the same plan was used, and how that ended. Without these a plan that was
-- used ten thousand times is read ten thousand times for the next decision.
CREATE INDEX ix_plan_fingerprint ON plan_proposed (tenant_id, fingerprint, created_at DESC);
