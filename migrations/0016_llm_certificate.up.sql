-- 0016 certificates: which duties a model may take, by the golden set it was tried with.
CREATE TABLE llm_certificate (
	tenant_id  bigint NOT NULL REFERENCES dim_tenant,
	provider   text NOT NULL,
	model      text NOT NULL,
	duty       text NOT NULL CHECK (duty IN ('plan', 'analysis')),
	golden     text NOT NULL,			-- hash of the set
	passed     int NOT NULL,
	total      int NOT NULL CHECK (passed BETWEEN 0 AND total),
	certified  boolean NOT NULL,
	detail     jsonb NOT NULL DEFAULT '[]',
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, provider, model, duty)
);
SELECT opscase_secure('llm_certificate', 'r');
