-- 0001 core: tenants, cases, timeline, outbox, and what the roles produce.
-- Tables that the seeds name keep their names and columns; what the rules need is added.
-- Every unique key has tenant_id in it, except ids that are drawn at random or from a sequence.

CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- Raises a serialisation failure when a guarded write touched another number of rows than it must:
-- the transaction is rolled back and tried again from what is true now.
CREATE FUNCTION opscase_expect(got bigint, want bigint, what text) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
	IF got IS DISTINCT FROM want THEN
		RAISE EXCEPTION 'fence: % rows of % written, % expected', got, what, want USING ERRCODE = '40001';
	END IF;
	RETURN got;
END $$;

-- The tenant of this session: unset means no rows.
CREATE FUNCTION opscase_tenant() RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('opscase.tenant', true), '')::bigint $$;

CREATE TABLE installation (
	one            boolean PRIMARY KEY DEFAULT true CHECK (one),
	id             uuid NOT NULL DEFAULT gen_random_uuid(),
	effects        text NOT NULL DEFAULT 'on' CHECK (effects IN ('on', 'off')),
	effects_reason text,
	high_water     bigint NOT NULL DEFAULT 0,
	created_at     timestamptz NOT NULL DEFAULT now(),
	updated_at     timestamptz NOT NULL DEFAULT now()
);
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE dim_tenant (
	tenant_id  bigserial PRIMARY KEY,
	code       text UNIQUE NOT NULL CHECK (code ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
	name       text NOT NULL,
	labels     jsonb NOT NULL DEFAULT '{}',	-- {"defaults": {param: value}, "env": ...}
	disabled_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_token (
	id          uuid PRIMARY KEY,
	tenant_id   bigint REFERENCES dim_tenant,	-- NULL: every tenant (admin of the installation)
	name        text NOT NULL,			-- the principal, shown as actor
	role        text NOT NULL CHECK (role IN ('viewer', 'operator', 'approver', 'admin', 'service')),
	token_hash  bytea NOT NULL UNIQUE,		-- SHA-256; the token itself is shown once and kept nowhere
	created_at  timestamptz NOT NULL DEFAULT now(),
	expires_at  timestamptz,
	revoked_at  timestamptz,
	last_used_at timestamptz
);
CREATE UNIQUE INDEX ux_api_token_name ON api_token (coalesce(tenant_id, 0), name) WHERE revoked_at IS NULL;

CREATE TABLE ops_case (
	id            uuid PRIMARY KEY,
	tenant_id     bigint NOT NULL REFERENCES dim_tenant,
	tenant        text NOT NULL,
	title         text NOT NULL CHECK (length(title) BETWEEN 1 AND 500),
	status        text NOT NULL CHECK (status IN
	              ('NEW', 'ANALYZING', 'PLANNING', 'WAIT_GATE', 'EXECUTING', 'VERIFYING', 'PARKED', 'CLOSED')),
	version       int NOT NULL DEFAULT 1,
	epoch         int NOT NULL DEFAULT 1,
	drive         text NOT NULL DEFAULT 'manual' CHECK (drive IN ('auto', 'manual')),
	severity      text NOT NULL DEFAULT 'ERROR',
	park_reason   text,
	sentence      text,				-- why it is parked or closed, for people
	resolution    text,
	plan_id       uuid,				-- the current plan
	plan_kind     text CHECK (plan_kind IN ('forward', 'rollback')),
	decision_id   uuid,				-- the decision that let it into EXECUTING
	run_id        uuid,				-- the last run
	cmd_id        bigint,				-- the outstanding command, NULL when none
	cmd_topic     text,
	cancel_cause  text CHECK (cancel_cause IN ('person', 'deadline')),
	rollbacks     int NOT NULL DEFAULT 0,
	resumes       int NOT NULL DEFAULT 0,
	failed_plans  text[] NOT NULL DEFAULT '{}',	-- fingerprints of plans that did not help
	deadline_at   timestamptz,
	parent_id     uuid,
	follows_id    uuid,
	opened_by     text NOT NULL,
	trace_id      text,
	timeline_seq  int NOT NULL DEFAULT 0,
	timeline_head bytea NOT NULL DEFAULT '\x',
	entered_at    timestamptz NOT NULL DEFAULT now(),	-- this state
	created_at    timestamptz NOT NULL DEFAULT now(),
	updated_at    timestamptz NOT NULL DEFAULT now(),
	closed_at     timestamptz,
	UNIQUE (tenant_id, id),
	CHECK ((status = 'CLOSED') = (closed_at IS NOT NULL)),
	CHECK ((status = 'CLOSED') = (resolution IS NOT NULL)),
	CHECK ((status = 'PARKED') = (park_reason IS NOT NULL)),
	CHECK (status <> 'EXECUTING' OR decision_id IS NOT NULL)
) WITH (fillfactor = 60);
CREATE INDEX ix_case_list ON ops_case (tenant_id, created_at DESC, id DESC);
CREATE INDEX ix_case_open ON ops_case (tenant_id, status) WHERE status <> 'CLOSED';
CREATE INDEX ix_case_deadline ON ops_case (deadline_at) WHERE deadline_at IS NOT NULL;

-- A case as the API shows it; the events that are legal next are added by the service.
CREATE FUNCTION opscase_case_json(c ops_case) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('id', c.id, 'case_id', c.id, 'tenant', c.tenant, 'title', c.title, 'status', c.status,
		'version', c.version, 'epoch', c.epoch, 'drive', c.drive, 'severity', c.severity,
		'park_reason', c.park_reason, 'sentence', c.sentence, 'resolution', c.resolution,
		'plan_id', c.plan_id, 'plan_kind', c.plan_kind, 'decision_id', c.decision_id, 'run_id', c.run_id,
		'command', c.cmd_topic, 'cancel_cause', c.cancel_cause, 'rollbacks', c.rollbacks, 'resumes', c.resumes,
		'deadline_at', c.deadline_at, 'parent_id', c.parent_id, 'follows_id', c.follows_id,
		'opened_by', c.opened_by, 'trace_id', c.trace_id, 'timeline_seq', c.timeline_seq,
		'timeline_head', encode(c.timeline_head, 'hex'), 'entered_at', c.entered_at,
		'created_at', c.created_at, 'updated_at', c.updated_at, 'closed_at', c.closed_at)
$$;

-- What a case was opened with; apart from the hot row.
CREATE TABLE case_body (
	case_id    uuid PRIMARY KEY REFERENCES ops_case ON DELETE CASCADE,
	tenant_id  bigint NOT NULL,
	summary    text,
	labels     jsonb NOT NULL DEFAULT '{}',		-- service, namespace, env, ...: fills template parameters
	evidence   jsonb NOT NULL DEFAULT '[]',		-- [{"kind":"metric","resource":urn,"metric":..,...}]
	template   text,				-- runbook asked for, if any
	params     jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE case_timeline (
	id             bigserial PRIMARY KEY,
	tenant_id      bigint NOT NULL,
	case_id        uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	seq            int NOT NULL,
	event          text NOT NULL,
	actor          text NOT NULL,
	reason         text,
	correlation_id text,
	meta           jsonb NOT NULL DEFAULT '{}',
	canonical      text NOT NULL,			-- the bytes that were hashed
	hash           bytea NOT NULL,			-- SHA-256(previous hash || canonical)
	refusal_key    text,				-- set on refusals: the same one again is counted here
	repeats        int NOT NULL DEFAULT 0,		-- outside the hash
	created_at     timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, case_id, seq)
);
CREATE UNIQUE INDEX ux_timeline_refusal ON case_timeline (tenant_id, case_id, refusal_key) WHERE refusal_key IS NOT NULL;

CREATE TABLE timeline_checkpoint (
	id         bigserial PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	cases      bigint NOT NULL,
	root       bytea NOT NULL,			-- over (case id, seq, head) in id order
	heads      text NOT NULL,
	signature  bytea,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE case_tombstone (
	case_id       uuid PRIMARY KEY,
	tenant_id     bigint NOT NULL,
	timeline_seq  int NOT NULL,
	timeline_head bytea NOT NULL,
	closed_at     timestamptz,
	pruned_at     timestamptz NOT NULL DEFAULT now()
);

-- One row is one message. 'c' commands are leased and marked done by the role's result transaction;
-- 'e' events are done when the orchestrator has stepped the case; 'x' facts for the world are done when published.
CREATE TABLE outbox (
	id            bigserial PRIMARY KEY,
	tenant_id     bigint NOT NULL,
	case_id       uuid,
	kind          "char" NOT NULL CHECK (kind IN ('c', 'e', 'x')),
	topic         text NOT NULL,
	key           text NOT NULL,			-- tenant code: the subject's last token
	payload       jsonb NOT NULL DEFAULT '{}',
	epoch         int NOT NULL DEFAULT 0,
	case_version  int NOT NULL DEFAULT 0,
	cmd_id        bigint,				-- of an event: the command it answers
	product_id    uuid,				-- of an event: the row that is its proof
	trace_id      text,
	attempts      int NOT NULL DEFAULT 0,
	max_attempts  int NOT NULL DEFAULT 5,
	publish_count int NOT NULL DEFAULT 0,
	not_before    timestamptz,
	lease_token   uuid,
	lease_until   timestamptz,
	created_at    timestamptz NOT NULL DEFAULT now(),
	published_at  timestamptz,
	done_at       timestamptz
) WITH (fillfactor = 70);
CREATE INDEX ix_outbox_unpublished ON outbox (id) WHERE published_at IS NULL AND done_at IS NULL;
CREATE INDEX ix_outbox_open ON outbox (kind, topic, id) WHERE done_at IS NULL;

CREATE TABLE inbox (
	consumer   text NOT NULL,
	msg_id     bigint NOT NULL,			-- outbox id
	tenant_id  bigint NOT NULL,
	seen_at    timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, consumer, msg_id)
);

CREATE TABLE idempotency (
	tenant_id  bigint NOT NULL,
	principal  text NOT NULL,
	route      text NOT NULL,			-- method and route pattern
	key        text NOT NULL,
	body_hash  text NOT NULL,
	state      text NOT NULL CHECK (state IN ('in_flight', 'done')),
	status     int,
	response   jsonb,
	headers    jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
	PRIMARY KEY (tenant_id, principal, route, key)
);
CREATE INDEX ix_idempotency_expiry ON idempotency (expires_at);

CREATE TABLE plan_proposed (
	id          uuid PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	case_id     uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	plan        jsonb NOT NULL,
	plan_text   text NOT NULL,			-- canonical; what the hash is of
	revision    int NOT NULL,
	epoch       int NOT NULL,
	kind        text NOT NULL CHECK (kind IN ('forward', 'rollback')),
	source      text NOT NULL CHECK (source IN ('template', 'person', 'llm', 'derived')),
	template    text,
	hash        text NOT NULL,			-- SHA-256 of plan_text
	fingerprint text NOT NULL,			-- of action, target, params: what makes it the same repair
	complete    boolean NOT NULL,
	findings    jsonb NOT NULL DEFAULT '[]',
	exec_budget_s   int NOT NULL DEFAULT 3600,	-- all steps with all retries
	verify_budget_s int NOT NULL DEFAULT 3600,
	rollback_of uuid,
	created_by  text NOT NULL,
	created_at  timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, case_id, revision)
);

CREATE TABLE policy_version (
	hash       text PRIMARY KEY,
	text       text NOT NULL,
	loaded_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gate_decision (
	id          uuid PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	case_id     uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	plan_id     uuid NOT NULL REFERENCES plan_proposed ON DELETE CASCADE,
	epoch       int NOT NULL,
	answer      text NOT NULL CHECK (answer IN ('allow', 'ask', 'deny')),
	status      text NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'used', 'void')),
	plan_hash   text NOT NULL,
	args_hash   text NOT NULL,			-- over each step's action, target and params
	world_hash  text,				-- over the bindings; NULL: world not bound
	world       jsonb NOT NULL DEFAULT '[]',	-- per step: {"binding":..,"info":..} or null
	policy_hash text NOT NULL,
	rules       jsonb NOT NULL DEFAULT '[]',	-- the rules hit, in order
	facts       jsonb NOT NULL DEFAULT '{}',
	card        jsonb NOT NULL DEFAULT '{}',	-- what the approver saw
	quorum      int NOT NULL DEFAULT 0,
	who         jsonb NOT NULL DEFAULT '[]',	-- roles that may approve
	reason      text,
	expires_at  timestamptz NOT NULL,
	used_by_run uuid,
	void_reason text,
	decided_at  timestamptz,
	used_at     timestamptz,
	created_at  timestamptz NOT NULL DEFAULT now(),
	CHECK ((status = 'used') = (used_at IS NOT NULL))
);
CREATE INDEX ix_decision_case ON gate_decision (tenant_id, case_id, created_at DESC);
CREATE INDEX ix_decision_pending ON gate_decision (expires_at) WHERE status = 'pending';

CREATE TABLE plan_approved (
	id         uuid PRIMARY KEY,			-- the decision's id
	tenant_id  bigint NOT NULL,
	case_id    uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	plan_id    uuid NOT NULL,
	decision   jsonb NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE approval (
	id          bigserial PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	decision_id uuid NOT NULL REFERENCES gate_decision ON DELETE CASCADE,
	case_id     uuid NOT NULL,
	principal   text NOT NULL,
	role        text NOT NULL,
	answer      text NOT NULL CHECK (answer IN ('approve', 'reject')),
	reason      text,
	created_at  timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, decision_id, principal)
);

CREATE TABLE remediation_budget (
	id          bigserial PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	target      text NOT NULL,
	operation   text NOT NULL,
	case_id     uuid NOT NULL,
	run_id      uuid NOT NULL,
	created_at  timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, run_id, target, operation)
);
CREATE INDEX ix_budget ON remediation_budget (tenant_id, target, operation, created_at DESC);

CREATE TABLE exec_run (
	id          uuid PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	case_id     uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	plan_id     uuid NOT NULL,
	decision_id uuid NOT NULL,
	cmd_id      bigint NOT NULL,
	epoch       int NOT NULL,
	status      text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'unknown', 'cancelled', 'void')),
	steps_total int NOT NULL,
	applied     int NOT NULL DEFAULT 0,		-- steps known to be in place
	dispatched  int NOT NULL DEFAULT 0,		-- steps handed to an adapter
	reason      text,
	created_at  timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz,
	UNIQUE (tenant_id, case_id, epoch),
	CHECK ((status = 'running') = (finished_at IS NULL))
);

CREATE TABLE exec_step (
	id              bigserial PRIMARY KEY,
	tenant_id       bigint NOT NULL,
	run_id          uuid NOT NULL REFERENCES exec_run ON DELETE CASCADE,
	case_id         uuid NOT NULL,
	seq             int NOT NULL,			-- from 0
	attempt         int NOT NULL DEFAULT 1,
	action          text NOT NULL,
	target          text NOT NULL,
	params          jsonb NOT NULL,			-- secrets are references here
	idempotency_key text NOT NULL,			-- the same for every attempt of the step
	status          text NOT NULL CHECK (status IN
	                ('intent', 'succeeded', 'failed', 'not_applied', 'unknown', 'cancelled', 'world_changed')),
	epoch           int NOT NULL,
	lease_token     uuid NOT NULL,
	before          jsonb,				-- what probe said before: binding and info
	result          jsonb,
	log_ref         bigint,				-- oo_locator.id of stdout and stderr
	runner_pid      int,
	started_at      timestamptz NOT NULL DEFAULT now(),
	finished_at     timestamptz,
	UNIQUE (tenant_id, run_id, seq, attempt),
	CHECK ((status = 'intent') = (finished_at IS NULL))
);

CREATE TABLE target_lock (
	tenant_id  bigint NOT NULL,
	target     text NOT NULL,
	run_id     uuid NOT NULL,
	until      timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, target)
);

CREATE TABLE verdict (
	id         uuid PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	case_id    uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	plan_id    uuid NOT NULL,
	run_id     uuid,
	epoch      int NOT NULL,
	verdict    text NOT NULL CHECK (verdict IN ('PASS', 'FAIL', 'INSUFFICIENT_DATA', 'SOURCE_ERROR', 'INCONCLUSIVE')),
	checks     jsonb NOT NULL,			-- each check with the values seen
	reason     text,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE finding (
	id         uuid PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	case_id    uuid NOT NULL REFERENCES ops_case ON DELETE CASCADE,
	epoch      int NOT NULL,
	summary    text NOT NULL,
	body       jsonb NOT NULL,			-- {"evidence":[...], "values":{...}}
	confidence double precision,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notification (
	id         uuid PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	case_id    uuid NOT NULL,
	sentence   text NOT NULL,
	body       jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE llm_call (
	id            uuid PRIMARY KEY,
	tenant_id     bigint NOT NULL,
	case_id       uuid,
	purpose       text NOT NULL,
	provider      text NOT NULL,
	model         text NOT NULL,
	request       jsonb NOT NULL,
	response      jsonb,
	request_hash  text NOT NULL,
	response_hash text,
	tokens_in     int,
	tokens_out    int,
	cost          numeric(12, 6),
	latency_ms    int,
	outcome       text NOT NULL,
	created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE webhook_delivery (
	id          uuid PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	source      text NOT NULL,
	dedup_key   text NOT NULL,
	body        jsonb NOT NULL,
	received_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (tenant_id, source, dedup_key)
);

CREATE TABLE dead_letter (
	id          bigserial PRIMARY KEY,
	tenant_id   bigint,
	kind        text NOT NULL,			-- command, event, telemetry, ...
	source      text NOT NULL,
	reason      text NOT NULL,
	body        text NOT NULL,
	ref_id      bigint,				-- outbox id, where it was a message
	created_at  timestamptz NOT NULL DEFAULT now(),
	replayed_at timestamptz
);
CREATE INDEX ix_dead_letter ON dead_letter (kind, created_at) WHERE replayed_at IS NULL;
