#include "executor/registry.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "executor/loader.h"
#include "executor/spawn.h"
#define LOG_ROOM "executor"
#include "base/log.h"

#define DESCRIBE_MS  30000
#define DESCRIBE_MAX ((size_t)8 << 20)
#define FILES_MAX    256u

struct registry {
	struct operation_list operations;
	struct json_schema **schemas; /* of operations.item, same order */
	struct registry_adapter *adapters;
	size_t adapters_count;
};

/* ---- asking one file */

static bool read_all(int fd, struct text *out)
{
	int64_t until = clock_mono_ms() + DESCRIBE_MS;
	char buf[16384];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = until - clock_mono_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return false;
		n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || out->len + (size_t)n > DESCRIBE_MAX)
			return false;
		if (n == 0)
			return true;
		text_add_n(out, buf, (size_t)n);
	}
}

static enum oc_err describe(const char *runner, const char *file, json_t **ret, struct oc_fail *reterr)
{
	struct spawn s = {
		.runner_path = runner, .mode = "--describe", .name = file, .err = -1, .call = -1, .control = -1
	};
	AUTO(text) struct text said = { 0 };
	int line[2];
	enum oc_err err;
	pid_t pid;
	bool whole;

	if (!spawn_pipe(line))
		return oc_fail(reterr, OC_UNAVAILABLE, "no pipe: %s", strerror(errno));
	s.out = line[1];
	err = spawn_runner(&s, &pid, reterr);
	close(line[1]);
	if (err == OC_OK) {
		whole = read_all(line[0], &said);
		spawn_reap(pid, whole ? 2000 : 0);
		*ret = whole ? json_loadb(text_str(&said), said.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	}
	close(line[0]);
	return err;
}

/* ---- taking it */

static void adapter_done(struct registry_adapter *a)
{
	free(a->file);
	free(a->name);
	free(a->version);
	free(a->summary);
	free(a->refusal);
	free(a->config_schema_text);
	for (size_t i = 0; i < a->secrets_count; i++)
		free(a->secrets[i]);
	free(a->secrets);
}

static enum loader_refusal compile_all(const struct manifest *m, struct json_schema **schemas,
				       struct loader_fail *fail)
{
	AUTO(json_schema) struct json_schema *config = NULL;
	struct oc_fail why;

	if (json_schema_compile(m->config_schema_text, &config, &why) != OC_OK)
		return loader_refuse(fail, LOADER_OP_SCHEMA_BAD, "\"config\": %s", why.text);
	for (size_t i = 0; i < m->operations.count; i++) {
		const struct operation *op = &m->operations.item[i];

		if (json_schema_compile(op->params_schema_text, &schemas[i], &why) != OC_OK)
			return loader_refuse(fail, LOADER_OP_SCHEMA_BAD, "\"params\" of '%s': %s", op->name,
					     why.text);
	}
	return LOADER_TAKEN;
}

static bool taken_before(const struct registry *r, const char *name)
{
	for (size_t i = 0; i < r->operations.count; i++) {
		if (str_eq(r->operations.item[i].name, name))
			return true;
	}
	return false;
}

/* Moves the manifest's operations into the registry. */
static void join(struct registry *r, struct manifest *m, struct json_schema **schemas, const json_t *has)
{
	for (size_t i = 0; i < m->operations.count; i++) {
		struct operation *op = operation_list_add(&r->operations);

		*op = m->operations.item[i];
		op->has_validate = json_is_true(json_object_get(has, "validate"));
		op->has_dry_run = json_is_true(json_object_get(has, "dry_run"));
		op->has_probe = json_is_true(json_object_get(has, "probe"));
		op->has_undo = json_is_true(json_object_get(has, "undo"));
		r->schemas = mem_grow(r->schemas, r->operations.count, sizeof(*r->schemas));
		r->schemas[r->operations.count - 1] = TAKE(schemas[i]);
	}
	m->operations.count = 0;
}

static enum loader_refusal take(struct registry *r, struct registry_adapter *a, const json_t *said,
				struct loader_fail *fail)
{
	const char *text = json_string_value(json_object_get(said, "manifest"));
	struct manifest m = { 0 };
	struct json_schema **schemas;
	enum loader_refusal why;

	if (!said || (json_is_true(json_object_get(said, "taken")) && !text))
		return loader_refuse(fail, LOADER_NO_ANSWER, "%s", a->file);
	if (!json_is_true(json_object_get(said, "taken"))) {
		const char *sentence = json_string_value(json_object_get(said, "sentence"));

		snprintf(fail->text, sizeof(fail->text), "%s", sentence ? sentence : "no reason was given");
		return fail->why = LOADER_NO_ANSWER;
	}
	why = manifest_read(text, &m, fail);
	if (why != LOADER_TAKEN)
		return why;
	schemas = mem_array(m.operations.count, sizeof(*schemas));
	why = compile_all(&m, schemas, fail);
	for (size_t i = 0; why == LOADER_TAKEN && i < m.operations.count; i++) {
		if (taken_before(r, m.operations.item[i].name))
			why = loader_refuse(fail, LOADER_OP_TAKEN, "'%s'", m.operations.item[i].name);
	}
	if (why == LOADER_TAKEN) {
		mem_set(&a->name, m.name);
		mem_set(&a->version, m.version);
		mem_set(&a->summary, m.summary);
		mem_set(&a->config_schema_text, m.config_schema_text);
		a->isolation = m.isolation;
		a->scratch_only = m.scratch_only;
		a->wants_state_dir = m.wants_state_dir;
		a->secrets = TAKE(m.secrets);
		a->secrets_count = m.secrets_count;
		m.secrets_count = 0;
		for (size_t i = 0; i < m.operations.count; i++)
			a->network = a->network || m.operations.item[i].network ||
				     m.operations.item[i].network_pointer;
		join(r, &m, schemas, json_object_get(said, "has"));
	} else {
		for (size_t i = 0; i < m.operations.count; i++)
			json_schema_free(schemas[i]);
	}
	free(schemas);
	manifest_done(&m);
	return why;
}

static enum oc_err add_file(struct registry *r, const char *runner, const char *file, struct oc_fail *reterr)
{
	AUTO(json) json_t *said = NULL;
	struct registry_adapter *a;
	struct loader_fail fail;
	enum oc_err err = describe(runner, file, &said, reterr);

	if (err != OC_OK)
		return err;
	r->adapters = mem_grow(r->adapters, r->adapters_count + 1, sizeof(*r->adapters));
	a = &r->adapters[r->adapters_count++];
	*a = (struct registry_adapter){ .file = mem_strdup(file) };
	if (take(r, a, said, &fail) != LOADER_TAKEN)
		a->refusal = mem_strdup(fail.text);
	return OC_OK;
}

/* ---- the whole folder */

static int so_only(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 3 && e->d_name[0] != '.' && strcmp(e->d_name + n - 3, ".so") == 0;
}

struct pair {
	struct operation op;
	struct json_schema *schema;
};

static int pair_by_name(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->op.name, ((const struct pair *)b)->op.name);
}

static void sort_together(struct registry *r)
{
	size_t n = r->operations.count;
	struct pair *p = mem_array(n, sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = (struct pair){ r->operations.item[i], r->schemas[i] };
	if (n)
		qsort(p, n, sizeof(*p), pair_by_name);
	for (size_t i = 0; i < n; i++) {
		r->operations.item[i] = p[i].op;
		r->schemas[i] = p[i].schema;
	}
	free(p);
}

enum oc_err registry_open(const struct registry_config *config, struct registry **ret, struct oc_fail *reterr)
{
	AUTO(registry) struct registry *r = mem_alloc(sizeof(*r));
	AUTO(str) char *runner = NULL;
	AUTO(str) char *dir = realpath(config->dir, NULL);
	struct dirent **names = NULL;
	enum oc_err err = spawn_find_runner(config->runner_path, &runner, reterr);
	int n;

	if (err != OC_OK)
		return err;
	n = dir ? scandir(dir, &names, so_only, alphasort) : -1;
	if (n < 0)
		return oc_fail(reterr, OC_NOT_FOUND, "the folder of adapters %s cannot be read: %s",
			       config->dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		AUTO(str) char *file = mem_printf("%s/%s", dir, names[i]->d_name);

		if (err == OC_OK && (unsigned)i < FILES_MAX)
			err = add_file(r, runner, file, reterr);
		free(names[i]);
	}
	free(names);
	if (err != OC_OK)
		return err;
	sort_together(r);
	for (size_t i = 0; i < r->adapters_count; i++) {
		if (r->adapters[i].refusal)
			log_warn("adapter refused file=%s: %s", r->adapters[i].file, r->adapters[i].refusal);
	}
	*ret = TAKE(r);
	return OC_OK;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->operations.count; i++)
		json_schema_free(r->schemas[i]);
	free(r->schemas);
	for (size_t i = 0; i < r->adapters_count; i++)
		adapter_done(&r->adapters[i]);
	free(r->adapters);
	operation_list_done(&r->operations);
	free(r);
}

const struct operation_list *registry_operations(const struct registry *r)
{
	return &r->operations;
}
size_t registry_adapter_count(const struct registry *r)
{
	return r->adapters_count;
}
const struct registry_adapter *registry_adapter_at(const struct registry *r, size_t i)
{
	return i < r->adapters_count ? &r->adapters[i] : NULL;
}

const struct registry_adapter *registry_adapter_find(const struct registry *r, const char *name)
{
	for (size_t i = 0; i < r->adapters_count; i++) {
		if (!r->adapters[i].refusal && str_eq(r->adapters[i].name, name))
			return &r->adapters[i];
	}
	return NULL;
}

enum oc_err registry_check_params(const struct registry *r, const char *operation, const char *params_text,
				  struct schema_findings *ret, struct oc_fail *reterr)
{
	const struct operation *op = operation_find(&r->operations, operation);

	if (!op)
		return oc_fail(reterr, OC_NOT_FOUND, "no loaded adapter offers '%s'",
			       operation ? operation : "");
	return json_schema_check(r->schemas[op - r->operations.item], params_text, ret, reterr);
}

enum oc_err registry_check_file(const char *runner_path, const char *file, struct oc_fail *reterr)
{
	AUTO(registry) struct registry *r = mem_alloc(sizeof(*r));
	AUTO(str) char *runner = NULL;
	enum oc_err err = spawn_find_runner(runner_path, &runner, reterr);

	if (err == OC_OK)
		err = add_file(r, runner, file, reterr);
	if (err == OC_OK && r->adapters[0].refusal)
		return oc_fail(reterr, OC_INVALID, "%s: %s", file, r->adapters[0].refusal);
	return err;
}
