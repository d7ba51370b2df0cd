-- 0005 signals: what somebody says is wrong, until it ends; when nobody wants to hear of it; what the detectors remember.

-- One row per episode, and an event_envelope with the same id: open, then cleared. While one is open the same fingerprint only counts on it.
CREATE TABLE signal (
	signal_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	tenant_id   bigint NOT NULL REFERENCES dim_tenant,
	fingerprint text NOT NULL CHECK (length(fingerprint) BETWEEN 1 AND 128),
	source      text NOT NULL,			-- analyst, slo, alertmanager, grafana, cloudevents, pagerduty, generic
	kind        text NOT NULL,			-- anomaly, slo_violation, alert
	resource    text,				-- URN, where the sender knows it
	title       text NOT NULL,
	summary     text,
	severity    severity NOT NULL,
	labels      jsonb NOT NULL DEFAULT '{}',
	evidence    jsonb NOT NULL DEFAULT '[]',	-- as a case names it: [{"kind":"metric","resource":..}]
	confidence  double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
	status      text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'cleared')),
	times       int NOT NULL DEFAULT 1,
	first_at    timestamptz NOT NULL,
	last_at     timestamptz NOT NULL,
	ready_at    timestamptz NOT NULL,		-- first_at and the debounce
	cleared_at  timestamptz,
	case_id     uuid REFERENCES ops_case ON DELETE SET NULL,
	told_at     timestamptz,			-- its end was said to the case
	CHECK ((status = 'cleared') = (cleared_at IS NOT NULL))
);
CREATE UNIQUE INDEX ux_signal_open ON signal (tenant_id, fingerprint) WHERE status = 'open';
CREATE INDEX ix_signal_todo ON signal (ready_at) WHERE status = 'open' AND case_id IS NULL;
CREATE INDEX ix_signal_case ON signal (case_id) WHERE case_id IS NOT NULL;
CREATE INDEX ix_signal_history ON signal (tenant_id, fingerprint, first_at DESC);
CREATE INDEX ix_signal_untold ON signal (case_id) WHERE status = 'cleared' AND told_at IS NULL AND case_id IS NOT NULL;

-- Signals in it open no case; they are kept and shown.
CREATE TABLE maintenance_window (
	id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	tenant_id  bigint NOT NULL REFERENCES dim_tenant,
	starts_at  timestamptz NOT NULL,
	ends_at    timestamptz NOT NULL,
	labels     jsonb NOT NULL DEFAULT '{}',		-- all of them have to be on the signal; {}: every signal
	reason     text NOT NULL CHECK (reason <> ''),
	created_by text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CHECK (starts_at < ends_at)
);
CREATE INDEX ix_maintenance ON maintenance_window (tenant_id, ends_at);

-- What a detector knows of its series, written back now and then; buckets since are looked at again.
CREATE TABLE detector_state (
	tenant_id   bigint NOT NULL,
	series_id   bigint NOT NULL,
	upto        timestamptz NOT NULL,
	state       bytea NOT NULL,
	fingerprint text,				-- of its open signal
	PRIMARY KEY (tenant_id, series_id)
) WITH (fillfactor = 70);

SELECT opscase_secure(t.name::regclass, t.access) FROM (VALUES
	('signal', 'rw'), ('maintenance_window', 'rwd'), ('detector_state', 'r')) AS t (name, access);
