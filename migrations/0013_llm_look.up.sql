-- 0013 looks: what a model looked at while it investigated a case, written as it happens.
CREATE TABLE llm_look (
	tenant_id  bigint NOT NULL REFERENCES dim_tenant,
	case_id    uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	epoch      int NOT NULL,
	attempt    int NOT NULL,			-- of the command: a lost lease begins again
	seq        int NOT NULL,
	tool       text NOT NULL,
	input      jsonb NOT NULL,			-- with names
	shown      text NOT NULL,			-- as the model read it: without names
	outcome    text NOT NULL,			-- "60 rows", "error: .."
	took_ms    int NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (tenant_id, case_id, epoch, attempt, seq)
);
SELECT opscase_secure('llm_look', 'r');
