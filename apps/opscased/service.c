#define LOG_ROOM "opscased"
#include "apps/opscased/service.h"
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include "analyst/opener.h"
#include "analyst/role.h"
#include "api/api.h"
#include "api/waiters.h"
#include "apps/opscased/case_door.h"
#include "apps/opscased/grpc.h"
#include "apps/opscased/hooks.h"
#include "apps/opscased/models.h"
#include "apps/opscased/secrets.h"
#include "apps/opscased/world.h"
#include "base/clock.h"
#include "base/handover.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/waker.h"
#include "detail/sink.h"
#include "detail/sweep.h"
#include "ingest/aggregator.h"
#include "librarian/library.h"
#include "librarian/role.h"
#include "orchestrator/janitor.h"
#include "orchestrator/loop.h"
#include "orchestrator/notify.h"
#include "orchestrator/relay.h"
#include "orchestrator/transition.h"
#include "planner/role.h"
#include "store/retention.h"
#include "wire/bus/bus.h"

#define WORKERS_MAX 12
#define WAITERS_MAX 256
#define ROLE_POOL   16 /* connections that verifier and analyst read with */

#define SINK_STOP_MS   5000 /* what waits for a sink gets so long when we stop */
#define SWEEP_EVERY_US (10 * 60 * INT64_C(1000000))
#define SWEEP_GRACE_US (60 * 60 * INT64_C(1000000))

struct service {
	struct world world;
	struct hooks hooks;
	struct registry *registry;
	struct host *host;
	struct planner *planner;
	struct library *library;
	struct models *models;
	struct gate *gate;
	struct verifier *verifier;
	struct analyst *analyst;
	struct opener *opener;
	struct slo_watch *slos;
	struct aggregators *aggregators;
	struct otlp_grpc *grpc;
	struct executor *executor;
	struct pg_pool *role_pool, *api_pool, *door_pool;
	struct bus *bus;
	struct waker *wake;
	struct handover *hand;
	struct waiters *waiters;
	struct relay *relay;
	struct loop *loop;
	struct janitor *janitor;
	struct worker *workers[WORKERS_MAX];
	size_t worker_count;
	struct api *api;
	struct api_ready ready[3];
	char *secrets_dir, *db_worker;
	struct detail_store *detail;
	struct sink *sinks[3]; /* NULL-ended */
	int64_t swept_us;
	volatile int stopping;
};

/* ---- small things ---- */

static char *beside_program(const char *below)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return NULL;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	return mem_printf("%s/%s", self, below);
}

static char *file_text(const char *path, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	struct text t = { 0 };
	char buf[8192];
	size_t n;

	if (!f) {
		oc_fail(reterr, OC_NOT_FOUND, "%s: %s", path, strerror(errno));
		return NULL;
	}
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0 && t.len < (size_t)4 << 20)
		text_add_n(&t, buf, n);
	return text_take(&t);
}

static void make_dir(const char *path)
{
	if (path && mkdir(path, 0750) != 0 && errno != EEXIST)
		log_warn("%s: %s", path, strerror(errno));
}

static bool has(const struct settings *st, const char *role)
{
	return setting_has(st, SET_ROLES, role);
}

/* ---- the bus tells who waits that a case moved ---- */

static void on_case(void *ctx, const char *case_id)
{
	waiters_notify(((struct service *)ctx)->waiters, case_id);
}

static void on_transition_fact(void *ctx, const char *subject, const char *body, size_t len)
{
	static const char mark[] = "\"subject\":\"";
	const char *at = len > 100 ? memmem(body, len, mark, sizeof(mark) - 1) : NULL;
	char id[37];

	(void)subject;
	if (!at || (size_t)(body + len - at) < sizeof(mark) + 36)
		return;
	memcpy(id, at + sizeof(mark) - 1, 36);
	id[36] = '\0';
	on_case(ctx, id);
}

static void prune(void *ctx, struct pg *pg)
{
	struct service *s = ctx;
	struct retention_report report;
	struct detail_swept swept;
	struct oc_fail fail;

	if (retention_run(pg, 1, 1000, NULL, &report, &fail) != OC_OK)
		log_warn("retention: %s", fail.text);
	library_tidy(s->library, pg, &s->stopping);
	/* it walks the whole store */
	if (s->swept_us && clock_mono_us() - s->swept_us < SWEEP_EVERY_US)
		return;
	s->swept_us = clock_mono_us();
	if (s->detail && detail_sweep(s->detail, pg, clock_wall_us(), SWEEP_GRACE_US, &swept, &fail) != OC_OK)
		log_warn("sweep of the detail store: %s", fail.text);
}

static enum oc_err open_sink(struct service *s, const struct settings *st, enum sink_kind kind,
			     enum setting_id url, enum setting_id table, enum setting_id user,
			     enum setting_id password, struct oc_fail *reterr)
{
	struct sink **next = s->sinks[0] ? &s->sinks[1] : &s->sinks[0];

	if (!setting_given(st, url))
		return OC_OK;
	return sink_start(&(struct sink_config){ .kind = kind,
						 .url = setting_text(st, url),
						 .table = setting_text(st, table),
						 .user = setting_given(st, user) ? setting_text(st, user)
										 : NULL,
						 .password = setting_text(st, password) },
			  next, reterr);
}

/* What steps print and raw telemetry, in a folder and perhaps a bucket. */
static enum oc_err open_detail(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	AUTO(str) char *dir = setting_dir(st, SET_DETAIL_DIR, "detail");

	enum oc_err err = open_sink(s, st, SINK_CLICKHOUSE, SET_CLICKHOUSE_URL, SET_CLICKHOUSE_TABLE,
				    SET_CLICKHOUSE_USER, SET_CLICKHOUSE_PASSWORD, reterr);

	if (err == OC_OK)
		err = open_sink(s, st, SINK_OPENOBSERVE, SET_OPENOBSERVE_URL, SET_OPENOBSERVE_STREAM,
				SET_OPENOBSERVE_USER, SET_OPENOBSERVE_PASSWORD, reterr);
	if (err != OC_OK)
		return err;
	make_dir(dir);
	return detail_store_open(
		&(struct detail_store_config){ .dir = dir ? dir : "/tmp/opscase-detail",
					       .sinks = s->sinks,
					       .quota_bytes = setting_int(st, SET_DETAIL_QUOTA) << 20,
					       .s3_url = setting_given(st, SET_DETAIL_S3_URL)
								 ? setting_text(st, SET_DETAIL_S3_URL)
								 : NULL,
					       .s3_bucket = setting_text(st, SET_DETAIL_S3_BUCKET),
					       .s3_region = setting_text(st, SET_DETAIL_S3_REGION),
					       .s3_key_id = setting_text(st, SET_DETAIL_S3_KEY_ID),
					       .s3_secret = setting_text(st, SET_DETAIL_S3_SECRET),
					       .s3_prefix = setting_text(st, SET_DETAIL_S3_PREFIX),
					       .s3_ca_file = setting_text(st, SET_DETAIL_S3_CA) },
		&s->detail, reterr);
}

/* ---- parts ---- */

static enum oc_err start_adapters(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	AUTO(str)
	char *dir = setting_given(st, SET_ADAPTERS_DIR) ? mem_strdup(setting_text(st, SET_ADAPTERS_DIR))
							: beside_program("../lib/opscase/adapters");
	AUTO(str)
	char *runner = setting_given(st, SET_RUNNER_PATH) ? mem_strdup(setting_text(st, SET_RUNNER_PATH))
							  : beside_program("opscase-runner");
	AUTO(str) char *scratch = setting_dir(st, SET_SCRATCH_DIR, "scratch");
	AUTO(str) char *state = setting_dir(st, SET_STATE_DIR, "adapters");
	AUTO(str) char *config = NULL;
	enum oc_err err;

	if (setting_given(st, SET_ADAPTERS_CONFIG)) {
		config = file_text(setting_text(st, SET_ADAPTERS_CONFIG), reterr);
		if (!config)
			return OC_NOT_FOUND;
	}
	s->secrets_dir = setting_dir(st, SET_SECRETS_DIR, "secrets");
	make_dir(scratch);
	make_dir(state);
	err = registry_open(&(struct registry_config){ .runner_path = runner, .dir = dir }, &s->registry,
			    reterr);
	if (err != OC_OK)
		return err;
	for (size_t i = 0; i < registry_adapter_count(s->registry); i++)
		if (registry_adapter_at(s->registry, i)->refusal)
			log_warn("adapter refused: %s", registry_adapter_at(s->registry, i)->refusal);
	err = host_new(&(struct host_config){ .runner_path = runner,
					      .registry_ref = s->registry,
					      .settings = config,
					      .scratch_dir = scratch ? scratch : "/tmp",
					      .state_dir = state,
					      .secret = s->secrets_dir ? secret_from_dir : NULL,
					      .secret_arg = s->secrets_dir },
		       &s->host, reterr);
	if (err != OC_OK)
		return err;
	s->world.host = s->host;
	s->world.operations = registry_operations(s->registry);
	return OC_OK;
}

static enum oc_err start_roles(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	const char *runbooks = setting_given(st, SET_RUNBOOKS_DIR) ? setting_text(st, SET_RUNBOOKS_DIR)
								   : NULL;
	const char *policies = setting_given(st, SET_POLICIES_DIR) ? setting_text(st, SET_POLICIES_DIR)
								   : NULL;
	struct verify_world vw = world_for_verifier(&s->world);
	struct library_config lc;
	enum oc_err err;

	err = models_new(st, s->role_pool, s->secrets_dir, &s->models, reterr);
	if (err != OC_OK)
		return err;
	lc = (struct library_config){ .index_bytes = (size_t)setting_int(st, SET_KB_INDEX_MB) << 20,
				      .exact_chunks = (unsigned)setting_int(st, SET_KB_EXACT) };
	models_embed_into(s->models, &lc);
	err = library_new(&lc, &s->library, reterr);
	if (err != OC_OK)
		return err;
	models_use(s->models, s->library);
	s->hooks.library = s->library;
	s->hooks.pool = s->role_pool;
	err = gate_new(&(struct gate_config){ .policy_dir = policies,
					      .conninfo = s->db_worker,
					      .world = world_for_gate(&s->world),
					      .call_timeout_ms = (int)setting_ms(st, SET_GATE_TIMEOUT),
					      .threads = (unsigned)setting_int(st, SET_GATE_THREADS),
					      .relay_wake = s->wake },
		       &s->gate, reterr);
	if (err != OC_OK)
		return err;
	s->world.gate = s->gate;
	s->hooks.gate = s->gate;
	err = planner_new(
		&(struct planner_config){ .runbook_path = runbooks,
					  .operations = s->world.operations,
					  .threads = (unsigned)setting_int(st, SET_PLAN_THREADS),
					  .metric_bucket_s = (int)setting_int(st, SET_WINDOW_METRIC_S),
					  .model = models_for_planner(s->models),
					  .advise = str_eq(setting_text(st, SET_LLM_PLANNER), "advise"),
					  .permits = hooks_permits,
					  .ctx = &s->hooks },
		&s->planner, reterr);
	if (err != OC_OK)
		return err;
	s->hooks.planner = s->planner;
	s->verifier =
		verifier_new(&(struct verifier_config){ .metric_bucket_s =
								(int)setting_int(st, SET_WINDOW_METRIC_S),
							.delay_s = (int)setting_int(st, SET_WINDOW_DELAY_S),
							.threads = (int)setting_int(st, SET_VERIFY_THREADS) },
			     s->role_pool, &vw);
	s->world.verifier = s->verifier;
	s->slos = slo_watch_new(setting_given(st, SET_SLO_DIR) ? setting_text(st, SET_SLO_DIR) : NULL,
				(double)setting_int(st, SET_SLO_EVENTS));
	s->hooks.slos = s->slos;
	s->analyst =
		analyst_new(&(struct analyst_config){ .model = models_for_analyst(s->models) }, s->role_pool);
	return executor_new(&(struct executor_config){ .host = s->host,
						       .operations_ref = s->world.operations,
						       .conninfo = s->db_worker,
						       .detail = s->detail,
						       .threads = (unsigned)setting_int(st, SET_EXEC_THREADS),
						       .may_begin = world_may_begin,
						       .hold = world_hold,
						       .ctx = &s->world },
			    &s->executor, reterr);
}

static enum oc_err add_worker(struct service *s, const struct settings *st, const char *role_name,
			      struct role role, struct oc_fail *reterr)
{
	struct worker_deps deps = {
		.conninfo = s->db_worker, .bus = s->bus, .relay_wake = s->wake, .hand = s->hand
	};

	if (!has(st, role_name))
		return OC_OK;
	if (s->worker_count == WORKERS_MAX)
		return oc_fail(reterr, OC_BUG, "too many roles");
	return worker_start(&role, &deps, &s->workers[s->worker_count++], reterr);
}

static enum oc_err start_workers(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	const struct {
		const char *name;
		struct role role;
	} roles[] = {
		{ "analyst",    analyst_role(s->analyst)          },
		{ "planner",    planner_role(s->planner)          },
		{ "gatekeeper", gate_role(s->gate)                },
		{ "executor",   executor_role(s->executor)        },
		{ "executor",   executor_cancel_role(s->executor) },
		{ "verifier",   verifier_role(s->verifier)        },
		{ "notifier",   notify_role()                     },
		{ "librarian",  librarian_role()                  },
	};

	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		enum oc_err err = add_worker(s, st, roles[i].name, roles[i].role, reterr);

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

static enum oc_err start_orchestrator(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	enum oc_err err = OC_OK;

	transition_set_waker(s->wake);
	transition_set_handover(s->hand);
	if (has(st, "relay"))
		err = relay_start(s->db_worker, s->bus, s->wake, &s->relay, reterr);
	if (err == OC_OK && has(st, "orchestrator"))
		err = loop_start(&(struct loop_deps){ .conninfo = s->db_worker,
						      .bus = s->bus,
						      .relay_wake = s->wake,
						      .hand = s->hand,
						      .on_case = on_case,
						      .ctx = s },
				 &s->loop, reterr);
	if (err == OC_OK && has(st, "janitor"))
		err = janitor_start(&(struct janitor_deps){ .conninfo = s->db_worker,
							    .relay_wake = s->wake,
							    .prune = prune,
							    .on_case = on_case,
							    .ctx = s },
				    &s->janitor, reterr);
	return err;
}

static enum oc_err start_opener(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	struct opener_config config = {
		.least_confidence = (double)setting_int(st, SET_SIGNAL_SURE) / 100,
		.storm_signals = (int)setting_int(st, SET_SIGNAL_STORM),
		.storm_s = (int)(setting_ms(st, SET_SIGNAL_STORM_S) / 1000),
		.follow_s = (int)(setting_ms(st, SET_SIGNAL_FOLLOW) / 1000),
	};

	struct watch_config watch = {
		.bucket_s = (int)setting_int(st, SET_WINDOW_METRIC_S),
		.delay_s = (int)setting_int(st, SET_WINDOW_DELAY_S),
		.false_alarms = (double)setting_int(st, SET_FALSE_ALARMS) / 100,
		.debounce_s = (int)(setting_ms(st, SET_SIGNAL_DEBOUNCE) / 1000),
		.series_max = (unsigned)setting_int(st, SET_SERIES_MAX),
	};

	if (!has(st, "analyst"))
		return OC_OK;
	return opener_start(s->db_worker, &config, &watch, s->slos, &case_door, &s->opener, reterr);
}

static bool nats_ready(void *ctx, char *word, size_t size)
{
	bool up = bus_connected(((struct service *)ctx)->bus);

	snprintf(word, size, up ? "connected" : "not connected; cases go on, slower");
	return up;
}

static enum oc_err start_api(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	AUTO(str) char *cert = NULL;
	AUTO(str) char *key = NULL;
	unsigned pool = (unsigned)setting_int(st, SET_DB_POOL);
	struct api_deps deps = { 0 };
	struct api_config cfg = {
		.address = setting_text(st, SET_HTTP_ADDRESS),
		.port = (unsigned)setting_int(st, SET_HTTP_PORT),
		.plain_anywhere = setting_bool(st, SET_HTTP_PLAIN),
		.handler_threads = (unsigned)setting_int(st, SET_HTTP_THREADS),
		.default_wait_s = (int)(setting_ms(st, SET_HTTP_WAIT) / 1000),
	};

	if (setting_given(st, SET_HTTP_TLS_CERT)) {
		cert = file_text(setting_text(st, SET_HTTP_TLS_CERT), reterr);
		key = cert ? file_text(setting_text(st, SET_HTTP_TLS_KEY), reterr) : NULL;
		if (!key)
			return OC_NOT_FOUND;
		cfg.tls_cert = cert;
		cfg.tls_key = key;
	}
	s->api_pool = pg_pool_new(setting_text(st, SET_DB_API), "api", pool);
	s->door_pool = pg_pool_new(s->db_worker, "api-door", pool);
	s->ready[0] = (struct api_ready){ .name = "nats", .check = nats_ready, .ctx = s };
	s->hooks.secrets_dir = s->secrets_dir;
	s->hooks.receiver = (struct receiver){ .bus_ref = s->bus,
					       .partitions = (unsigned)setting_int(st, SET_TEL_PARTITIONS) };
	deps = (struct api_deps){ .api_pool = s->api_pool,
				  .worker_pool = s->door_pool,
				  .waiters_ref = s->waiters,
				  .operations_ref = s->world.operations,
				  .contract_ref = planner_contract(s->planner),
				  .detail = s->detail,
				  .version = OPSCASE_VERSION,
				  .ready = s->ready };
	hooks_into(&s->hooks, &deps);
	return api_start(&cfg, &deps, &s->api, reterr);
}

static enum oc_err start_grpc(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	const struct otlp_grpc_config config = { .port = (unsigned)setting_int(st, SET_GRPC_PORT),
						 .message_max = TEL_BYTES_MAX,
						 .pool_ref = s->api_pool,
						 .receiver_ref = &s->hooks.receiver };

	return config.port ? otlp_grpc_start(&config, &s->grpc, reterr) : OC_OK;
}

static enum oc_err start_ingest(struct service *s, const struct settings *st, struct oc_fail *reterr)
{
	const struct aggregator_config config = {
		.window = { .bucket_s = (int)setting_int(st, SET_WINDOW_METRIC_S),
                           .delay_s = (int)setting_int(st, SET_WINDOW_DELAY_S),
                           .max_age_s = (int)setting_int(st, SET_WINDOW_MAX_AGE_S),
                           .drop_late = str_eq(setting_text(st, SET_WINDOW_LATE), "drop") },
		.partitions = (unsigned)setting_int(st, SET_TEL_PARTITIONS),
		.bus_ref = s->bus,
		.conninfo = s->db_worker,
		.detail_ref = s->detail,
	};

	return has(st, "ingest") ? aggregators_start(&config, &s->aggregators, reterr) : OC_OK;
}

enum oc_err service_start(const struct settings *st, struct service **ret, struct oc_fail *reterr)
{
	struct service *s = mem_alloc(sizeof(*s));
	enum oc_err err;

	s->db_worker = mem_strdup(setting_text(st, SET_DB_WORKER));
	s->wake = waker_new();
	s->hand = handover_new();
	s->waiters = waiters_new(WAITERS_MAX);
	s->role_pool = pg_pool_new(s->db_worker, "roles", ROLE_POOL);
	err = start_adapters(s, st, reterr);
	if (err == OC_OK)
		err = open_detail(s, st, reterr);
	if (err == OC_OK)
		err = start_roles(s, st, reterr);
	if (err == OC_OK)
		err = bus_open(&(struct bus_config){ .url = setting_text(st, SET_NATS_URL),
						     .token = setting_text(st, SET_NATS_TOKEN),
						     .name = "opscased",
						     .prefix = setting_text(st, SET_NATS_PREFIX),
						     .replicas = (int)setting_int(st, SET_NATS_REPLICAS),
						     .tel_bytes = setting_int(st, SET_TEL_STREAM_MB) << 20 },
			       &s->bus, reterr);
	if (err == OC_OK)
		err = bus_listen(s->bus, "evt.case.transition.v1.*", on_transition_fact, s, reterr);
	if (err == OC_OK)
		err = start_orchestrator(s, st, reterr);
	if (err == OC_OK)
		err = start_workers(s, st, reterr);
	if (err == OC_OK)
		err = start_ingest(s, st, reterr);
	if (err == OC_OK)
		err = start_opener(s, st, reterr);
	if (err == OC_OK && has(st, "api"))
		err = start_api(s, st, reterr);
	if (err == OC_OK && has(st, "api"))
		err = start_grpc(s, st, reterr);
	if (err != OC_OK) {
		service_stop(s);
		return err;
	}
	*ret = s;
	return OC_OK;
}

void service_reload(struct service *s)
{
	struct oc_fail fail;

	if (gate_reload(s->gate, &fail) == OC_OK)
		log_info("policies read again");
	else
		log_error("policies: %s; the last good set stays in force", fail.text);
	if (planner_reload(s->planner, &fail) == OC_OK)
		log_info("runbooks read again");
	else
		log_error("runbooks: %s; the last good set stays in force", fail.text);
	host_renew(s->host);
}

void service_tidy(struct service *s)
{
	host_tidy(s->host);
}

unsigned service_port(const struct service *s)
{
	return s->api ? api_port(s->api) : 0;
}

void service_stop(struct service *s)
{
	if (!s)
		return;
	s->stopping = 1;
	/* First nobody asks any more, then nobody works, then nobody steps; what is left lies in the outbox. */
	waiters_close(s->waiters);
	api_stop(s->api);
	otlp_grpc_stop(s->grpc);
	for (size_t i = 0; i < s->worker_count; i++)
		worker_quit(s->workers[i]);
	for (size_t i = 0; i < s->worker_count; i++)
		worker_stop(s->workers[i]);
	opener_stop(s->opener);
	janitor_stop(s->janitor);
	loop_stop(s->loop);
	relay_stop(s->relay);
	transition_set_waker(NULL);
	transition_set_handover(NULL);
	aggregators_stop(s->aggregators);
	bus_close(s->bus);
	executor_free(s->executor);
	detail_store_close(s->detail);
	sink_stop(s->sinks[0], SINK_STOP_MS);
	sink_stop(s->sinks[1], SINK_STOP_MS);
	verifier_free(s->verifier);
	analyst_free(s->analyst);
	slo_watch_free(s->slos);
	planner_free(s->planner);
	library_free(s->library);
	models_free(s->models);
	gate_free(s->gate);
	host_free(s->host);
	registry_free(s->registry);
	pg_pool_free(s->role_pool);
	pg_pool_free(s->api_pool);
	pg_pool_free(s->door_pool);
	waiters_free(s->waiters);
	handover_free(s->hand);
	waker_free(s->wake);
	free(s->secrets_dir);
	free(s->db_worker);
	free(s);
}
