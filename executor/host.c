#include "executor/host.h"
#include <errno.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/mem.h"
#include "executor/pool.h"
#include "executor/runner.h"
#include "executor/scratch.h"
#include "executor/spawn.h"
#define LOG_ROOM "executor"
#include "base/log.h"

#define SHARED_TOTAL 64u
#define PARAMS_MAX   ((size_t)2 << 20)

struct adapter_setup {
	const struct registry_adapter *adapter_ref;
	char *config; /* JSON text for open(); NULL: the settings do not fit */
	char *problem;
};

struct host {
	struct host_config config; /* numbers only; texts are below */
	const struct registry *registry_ref;
	char *runner_path, *scratch_dir, *state_dir;
	char cgroup[CGROUP_PATH];
	struct adapter_setup *setups;
	size_t setups_count;
	bool no_filter; /* no seccomp here: then nothing may be shared */
	struct pool *shared;
	struct pool *single; /* lends nothing, only the right to start one */
};

const char *host_entry_name(enum host_entry entry)
{
	static const char *const names[] = { "validate", "dry_run", "run", "probe", "undo" };

	return (size_t)entry < ARRAY_LEN(names) ? names[entry] : "?";
}

const char *host_outcome_name(enum opscase_outcome outcome)
{
	static const char *const names[] = { "VALID",   "REFUSED", "WOULD_DO", "DONE",          "NOT_APPLIED",
					     "APPLIED", "FAILED",  "UNCLEAR",  "WORLD_CHANGED", "CANCELLED" };

	return (size_t)outcome < ARRAY_LEN(names) ? names[outcome] : "?";
}

/* ---- leash */

struct host_leash *host_leash_new(void)
{
	struct host_leash *l = mem_alloc(sizeof(*l));

	l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return l;
}

void host_leash_free(struct host_leash *l)
{
	if (!l)
		return;
	if (l->event_fd >= 0)
		close(l->event_fd);
	free(l);
}

static void pull(struct host_leash *l)
{
	uint64_t one = 1;

	if (write(l->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_warn("a leash could not be pulled: %s", strerror(errno));
}

void host_leash_cancel(struct host_leash *l)
{
	atomic_store(&l->cancel, true);
	pull(l);
}

void host_leash_extend(struct host_leash *l, int64_t ms)
{
	atomic_store(&l->lease_until_ms, runner_boot_ms() + ms);
	pull(l);
}

/* ---- set-up */

static enum oc_err check_config(const struct registry_adapter *a, const char *config, struct oc_fail *reterr)
{
	AUTO(json_schema) struct json_schema *schema = NULL;
	enum oc_err err = json_schema_compile(a->config_schema_text, &schema, reterr);

	return err == OC_OK ? json_schema_check(schema, config, NULL, reterr) : err;
}

static void set_up(struct host *h, struct adapter_setup *s, const json_t *settings)
{
	const struct registry_adapter *a = s->adapter_ref;
	const json_t *given = json_object_get(settings, a->name);
	AUTO(json) json_t *config = json_is_object(given) ? json_copy((json_t *)given) : json_object();
	struct oc_fail fail;

	if (a->wants_state_dir && h->state_dir && !json_object_get(config, "state_dir")) {
		AUTO(str) char *dir = mem_printf("%s/%s", h->state_dir, a->name);

		if (mkdir(dir, 0700) != 0 && errno != EEXIST)
			log_warn("no folder %s: %s", dir, strerror(errno));
		json_put(config, "state_dir", dir);
	}
	s->config = json_text(config);
	if (given && !json_is_object(given))
		s->problem = mem_printf("the settings of adapter '%s' are not a JSON object", a->name);
	else if (check_config(a, s->config, &fail) != OC_OK)
		s->problem = mem_printf("the settings of adapter '%s' do not fit: %s%s%s", a->name, fail.text,
					*fail.field ? " at " : "", fail.field);
	if (s->problem && given)
		log_warn("%s", s->problem);
}

static void defaults(struct host_config *c)
{
#define OR(field, value) c->field = c->field ? c->field : (value)
	OR(reply_max, (size_t)256 << 10);
	OR(output_max, (size_t)1 << 20);
	OR(grace_ms, 2000);
	OR(term_ms, 1000);
	OR(process_max, 16);
	OR(shared_max, 4);
	OR(shared_calls, 10000);
	OR(idle_ms, 60000);
	OR(memory_max, (size_t)2 << 30);
#undef OR
	if (c->reply_max > (FRAME_MAX - 65536) / 6)
		c->reply_max = (FRAME_MAX - 65536) / 6;
}

enum oc_err host_new(const struct host_config *config, struct host **ret, struct oc_fail *reterr)
{
	AUTO(host) struct host *h = mem_alloc(sizeof(*h));
	AUTO(json) json_t *settings = NULL;
	char *dir;
	enum oc_err err;

	h->config = *config;
	defaults(&h->config);
	h->registry_ref = config->registry_ref;
	h->state_dir = mem_strdup(config->state_dir);
	err = spawn_find_runner(config->runner_path, &h->runner_path, reterr);
	if (err != OC_OK)
		return err;
	dir = config->scratch_dir ? realpath(config->scratch_dir, NULL) : NULL;
	if (!dir || access(dir, W_OK | X_OK) != 0) {
		free(dir);
		return oc_fail(reterr, OC_UNAVAILABLE, "the scratch folder %s cannot be used: %s",
			       config->scratch_dir ? config->scratch_dir : "(none)", strerror(errno));
	}
	h->scratch_dir = dir;
	scratch_sweep(dir);
	err = json_read_own(config->settings ? config->settings : "{}", &settings, reterr);
	if (err != OC_OK)
		return err;
	if (!config->no_cgroup)
		cgroup_base(h->cgroup, sizeof(h->cgroup));
	/* EFAULT says that filters are there, and that we gave none. */
	h->no_filter = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) != 0 && errno != EFAULT;
	h->setups = mem_array(registry_adapter_count(h->registry_ref), sizeof(*h->setups));
	for (size_t i = 0; i < registry_adapter_count(h->registry_ref); i++) {
		const struct registry_adapter *a = registry_adapter_at(h->registry_ref, i);

		if (a->refusal)
			continue;
		h->setups[h->setups_count].adapter_ref = a;
		set_up(h, &h->setups[h->setups_count++], settings);
	}
	h->shared = pool_new(&(struct pool_config){ .per_key = h->config.shared_max,
						    .total = SHARED_TOTAL,
						    .calls = h->config.shared_calls,
						    .idle_ms = h->config.idle_ms });
	h->single = pool_new(
		&(struct pool_config){ .per_key = h->config.process_max, .total = h->config.process_max });
	*ret = TAKE(h);
	return OC_OK;
}

void host_free(struct host *h)
{
	if (!h)
		return;
	pool_free(h->shared);
	pool_free(h->single);
	for (size_t i = 0; i < h->setups_count; i++) {
		free(h->setups[i].config);
		free(h->setups[i].problem);
	}
	free(h->setups);
	free(h->runner_path);
	free(h->scratch_dir);
	free(h->state_dir);
	free(h);
}

void host_tidy(struct host *h)
{
	pool_tidy(h->shared);
}
void host_renew(struct host *h)
{
	pool_renew(h->shared);
}

static const struct adapter_setup *setup_of(const struct host *h, const char *adapter)
{
	for (size_t i = 0; i < h->setups_count; i++) {
		if (str_eq(h->setups[i].adapter_ref->name, adapter))
			return &h->setups[i];
	}
	return NULL;
}

const char *host_problem(const struct host *h, const char *adapter)
{
	const struct adapter_setup *s = setup_of(h, adapter);

	return s ? s->problem : "no such adapter is loaded";
}

int64_t host_longest_ms(const struct host *h, int64_t timeout_ms)
{
	return timeout_ms + h->config.grace_ms + h->config.term_ms + 15000;
}

/* ---- one call */

/* All that was found out before anything is started. */
struct order {
	const struct operation *op;
	const struct adapter_setup *setup;
	char *secrets; /* JSON text, wiped afterwards */
	bool network, shared;
	struct runner_times times;
};

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static enum oc_err gather_secrets(const struct host *h, const struct host_call *call, struct order *o,
				  struct oc_fail *reterr)
{
	struct text t = { 0 };
	enum oc_err err = OC_OK;

	t.cap = 65536; /* beforehand: growing leaves copies behind that cannot be wiped */
	t.s = mem_alloc(t.cap);
	text_add(&t, "{");
	for (size_t i = 0; h->config.secret && i < o->op->secrets_count; i++) {
		char *value = NULL;

		err = h->config.secret(h->config.secret_arg, call, o->op->adapter, o->op->secrets[i], &value,
				       reterr);
		if (err == OC_OK && value) {
			text_add(&t, t.len > 1 ? "," : "");
			frame_quote(&t, o->op->secrets[i], strlen(o->op->secrets[i]));
			text_add(&t, ":");
			frame_quote(&t, value, strlen(value));
		}
		wipe(&value);
		if (err == OC_NOT_FOUND)
			err = OC_OK;
		if (err != OC_OK)
			break;
	}
	text_add(&t, "}");
	o->secrets = text_take(&t);
	return err;
}

/* A value at the pointer that is neither false nor null. */
static bool asks_at(const char *params, const char *pointer)
{
	AUTO(json) json_t *v = NULL;
	const json_t *at;

	if (!pointer || json_read(params, strlen(params), &(struct json_limits){ .bytes = PARAMS_MAX }, &v,
				  NULL) != OC_OK)
		return false;
	at = json_at(v, pointer);
	return at && !json_is_false(at) && !json_is_null(at);
}

static bool has_entry(const struct operation *op, enum host_entry entry)
{
	switch (entry) {
	case HOST_VALIDATE:
		return op->has_validate;
	case HOST_DRY_RUN:
		return op->has_dry_run;
	case HOST_RUN:
		return true;
	case HOST_PROBE:
		return op->has_probe;
	case HOST_UNDO:
		return op->has_undo;
	}
	return false;
}

static enum oc_err prepare(const struct host *h, const struct host_call *call, struct order *o,
			   struct oc_fail *reterr)
{
	int64_t most;
	enum oc_err err;

	o->op = operation_find(registry_operations(h->registry_ref), call->operation);
	if (!o->op)
		return oc_fail(reterr, OC_NOT_FOUND, "no loaded adapter offers '%s'",
			       call->operation ? call->operation : "");
	if (!has_entry(o->op, call->entry))
		return oc_fail(reterr, OC_ILLEGAL, "the adapter '%s' has no %s", o->op->adapter,
			       host_entry_name(call->entry));
	o->setup = setup_of(h, o->op->adapter);
	if (!o->setup || o->setup->problem)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s",
			       o->setup ? o->setup->problem : "the adapter is gone");
	if (!call->params || strlen(call->params) > PARAMS_MAX)
		return oc_fail_field(reterr, OC_INVALID, "/params",
				     "params are missing or larger than 2 MiB");
	err = registry_check_params(h->registry_ref, call->operation, call->params, NULL, reterr);
	if (err != OC_OK)
		return err;
	o->network = o->op->network || asks_at(call->params, o->op->network_pointer);
	o->shared = o->op->isolation == ISOLATION_SHARED && !h->no_filter;
	/* A shared runner is jailed once for all that its adapter offers. */
	if (o->shared)
		o->network = o->setup->adapter_ref->network;
	most = (int64_t)o->op->timeout_max_s * 1000;
	o->times = (struct runner_times){ .timeout_ms = call->timeout_ms
								? call->timeout_ms
								: (int64_t)o->op->timeout_default_s * 1000,
					  .grace_ms = h->config.grace_ms,
					  .term_ms = h->config.term_ms,
					  .reply_max = h->config.reply_max,
					  .output_max = h->config.output_max };
	if (o->times.timeout_ms > most)
		o->times.timeout_ms = most;
	if (o->times.timeout_ms < 1)
		o->times.timeout_ms = 1;
	return gather_secrets(h, call, o, reterr);
}

static char *pool_key(const struct host_call *call, const struct order *o)
{
	if (!o->shared)
		return mem_strdup("");
	return mem_printf("%s\x1f%s\x1f%s", o->op->adapter, call->tenant ? call->tenant : "",
			  call->secret_scope ? call->secret_scope : "");
}

static enum oc_err start_one(struct host *h, const struct order *o, struct runner **ret,
			     struct oc_fail *reterr)
{
	struct runner_start start = { .runner_path = h->runner_path,
				      .adapter_ref = o->setup->adapter_ref,
				      .config = o->setup->config,
				      .scratch_dir = h->scratch_dir,
				      .cgroup = h->cgroup,
				      .memory_max = h->config.memory_max,
				      .network = o->network,
				      .shared = o->shared };

	return runner_new(&start, ret, reterr);
}

static void never_began(struct host_answer *ret)
{
	*ret = (struct host_answer){
		.outcome = OPSCASE_CANCELLED, .cancelled = true, .everything_gone = true, .exit_code = -1
	};
	ret->json = mem_strdup("{\"error\":\"cancelled before it began\"}");
	ret->out = mem_strdup("");
	ret->err = mem_strdup("");
}

static enum oc_err with_runner(struct host *h, const struct host_call *call, struct order *o,
			       struct pool *pool, const char *key, struct host_answer *ret,
			       struct oc_fail *reterr)
{
	AUTO(runner) struct runner *runner = NULL;
	int64_t end = runner_boot_ms() + o->times.timeout_ms;
	bool reuse = false;
	enum oc_err err = pool_take(pool, key, end, call->leash_ref, &runner);

	if (err == OC_CONFLICT) {
		never_began(ret);
		return OC_OK;
	}
	if (err != OC_OK)
		return oc_fail(reterr, OC_BUSY, "no runner came free for '%s' in time; nothing was started",
			       o->op->name);
	/* Waiting counts: the caller's deadline is the caller's. */
	o->times.timeout_ms = end - runner_boot_ms() > 1 ? end - runner_boot_ms() : 1;
	if (!runner)
		err = start_one(h, o, &runner, reterr);
	if (err == OC_OK)
		err = runner_exchange(runner, call, o->secrets, &o->times, ret, &reuse, reterr);
	if (reuse)
		scratch_wipe(runner->scratch);
	else
		runner_free(TAKE(runner));
	pool_give(pool, key, &runner);
	return err;
}

enum oc_err host_call(struct host *h, const struct host_call *call, struct host_answer *ret,
		      struct oc_fail *reterr)
{
	AUTO(str) char *key = NULL;
	struct order order = { 0 };
	int64_t began_us = clock_mono_us();
	enum oc_err err;

	*ret = (struct host_answer){ 0 };
	err = prepare(h, call, &order, reterr);
	if (err == OC_OK && call->leash_ref && atomic_load(&call->leash_ref->cancel)) {
		never_began(ret);
	} else if (err == OC_OK) {
		key = pool_key(call, &order);
		err = with_runner(h, call, &order, order.shared ? h->shared : h->single, key, ret, reterr);
	}
	wipe(&order.secrets);
	ret->duration_us = clock_mono_us() - began_us;
	return err;
}

void host_answer_done(struct host_answer *a)
{
	free(a->json);
	free(a->out);
	free(a->err);
	*a = (struct host_answer){ 0 };
}
