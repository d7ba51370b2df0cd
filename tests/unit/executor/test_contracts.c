/* The contract suite: what every adapter promises, tried through the host on the real .so with the real
 * peer that its fixture starts. Without arguments it takes every adapter of the tree that has a
 * contract.json; with "FILE.so FOLDER" that one, which is how an adapter from elsewhere is tried. */
#include "with_host.h"
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include "base/hash.h"
#include "base/text.h"
#include "wire/json/json.h"

#define TESTS_MAX 256

/* One adapter with its folder of contract.json. */
struct subject {
	char *name, *so, *folder;
	json_t *contract;
};

/* What a test needs: the peer, started afresh, and a host over this one adapter. */
struct world {
	const struct subject *subject_ref;
	char *dir, *peer, *scratch, *state, *settings;
	json_t *vars, *secrets;
	bool has_fixture;
	struct registry *registry;
	struct host *host;
	char key[HASH_HEX];
};

static char *with_vars(const json_t *vars, const char *text)
{
	struct text t = { 0 };

	while (*text) {
		const char *at = strstr(text, "${"), *end = at ? strchr(at, '}') : NULL;
		AUTO(str) char *name = NULL;
		const json_t *v;

		if (!end) {
			text_add(&t, text);
			break;
		}
		text_add_n(&t, text, (size_t)(at - text));
		name = mem_strndup(at + 2, (size_t)(end - at - 2));
		v = json_object_get(vars, name);
		if (json_is_string(v))
			text_add(&t, json_string_value(v));
		else if (json_is_integer(v))
			text_addf(&t, "%lld", (long long)json_integer_value(v));
		else
			text_add_n(&t, at, (size_t)(end + 1 - at));
		text = end + 1;
	}
	return text_take(&t);
}

static char *filled(const struct world *w, const json_t *v)
{
	AUTO(str) char *text = json_text(v);

	return with_vars(w->vars, text);
}

/* ---- the fixture */

static char *fixture(const struct world *w, const char *verb, bool first_line)
{
	const char *script = json_str(w->subject_ref->contract, "fixture");
	AUTO(str)
	char *command = mem_printf("exec bash '%s/%s' %s '%s' 9>&- 2>>'%s/fixture.log'",
				   w->subject_ref->folder, script, verb, w->peer, w->dir);
	struct text t = { 0 };
	char buf[4096];
	FILE *f = popen(command, "re");

	while (f && fgets(buf, sizeof(buf), f)) {
		text_add(&t, buf);
		if (first_line && strchr(buf, '\n'))
			break;
	}
	if (!f || pclose(f) != 0) {
		AUTO(str) char *log = mem_printf("cat '%s/fixture.log' >&2", w->dir);

		if (system(log) != 0)
			print_message("no log\n");
		fail_msg("%s: the fixture's '%s' failed", w->subject_ref->name, verb);
	}
	return text_take(&t);
}

static char *state_of(const struct world *w)
{
	return w->has_fixture ? fixture(w, "state", false) : mem_strdup("");
}

static long effects_of(const struct world *w)
{
	AUTO(str) char *text = w->has_fixture ? fixture(w, "effects", false) : mem_strdup("0");

	return strtol(text, NULL, 10);
}

static enum oc_err secret_of(void *arg, const struct host_call *call, const char *adapter, const char *name,
			     char **ret_value, struct oc_fail *reterr)
{
	const struct world *w = arg;
	const char *value = json_str(w->secrets, name);

	(void)call, (void)adapter, (void)reterr;
	if (!value)
		return OC_NOT_FOUND;
	*ret_value = mem_strdup(value);
	return OC_OK;
}

static void world_done(struct world *w)
{
	host_free(w->host);
	registry_free(w->registry);
	if (w->has_fixture)
		free(fixture(w, "stop", false));
	scratch_remove(w->dir);
	free(w->dir);
	free(w->peer);
	free(w->scratch);
	free(w->state);
	free(w->settings);
	json_decref(w->vars);
	json_decref(w->secrets);
}

static void start_peer(struct world *w)
{
	AUTO(str) char *line = NULL;
	AUTO(json) json_t *said = NULL;
	AUTO(json) json_t *settings = json_object();
	json_error_t e;

	w->has_fixture = json_str(w->subject_ref->contract, "fixture") != NULL;
	if (w->has_fixture) {
		line = fixture(w, "start", true);
		said = json_loads(line, 0, &e);
		if (!said)
			fail_msg("%s: the fixture said '%s'", w->subject_ref->name, line);
	}
	w->vars = json_incref(json_object_get(said, "vars"));
	w->secrets = json_incref(json_object_get(said, "secrets"));
	if (json_object_get(said, "config"))
		json_object_set(settings, w->subject_ref->name, json_object_get(said, "config"));
	w->settings = json_text(settings);
}

static void world_init(struct world *w, const struct subject *s, void (*change)(struct host_config *))
{
	char dir[] = "/tmp/opscase-contract-XXXXXX", random[32];
	struct host_config config = { .grace_ms = 3000, .term_ms = 500 };
	struct oc_fail fail;
	AUTO(str) char *link = NULL;

	*w = (struct world){ .subject_ref = s };
	assert_non_null(mkdtemp(dir));
	w->dir = mem_strdup(dir);
	w->peer = mem_printf("%s/peer", dir);
	w->scratch = mem_printf("%s/scratch", dir);
	w->state = mem_printf("%s/state", dir);
	mkdir(w->peer, 0700);
	mkdir(w->scratch, 0700);
	mkdir(w->state, 0700);
	link = mem_printf("%s/%s.so", dir, s->name);
	assert_int_equal(symlink(s->so, link), 0);
	hash_random(random, sizeof(random));
	hash_sha256_hex(random, sizeof(random), w->key);
	start_peer(w);
	if (registry_open(&(struct registry_config){ .runner_path = RUNNER, .dir = dir }, &w->registry,
			  &fail) != OC_OK)
		fail_msg("%s", fail.text);
	if (registry_adapter_at(w->registry, 0)->refusal)
		fail_msg("%s", registry_adapter_at(w->registry, 0)->refusal);
	config.runner_path = RUNNER;
	config.registry_ref = w->registry;
	config.settings = w->settings;
	config.scratch_dir = w->scratch;
	config.state_dir = w->state;
	config.secret = secret_of;
	config.secret_arg = w;
	if (change)
		change(&config);
	if (host_new(&config, &w->host, &fail) != OC_OK)
		fail_msg("%s", fail.text);
	if (host_problem(w->host, s->name))
		fail_msg("%s", host_problem(w->host, s->name));
}

/* ---- one call */

struct step {
	const struct operation *op;
	char *params, *target;
};

static struct step step_of(const struct world *w, const json_t *c)
{
	struct step s = { .op = operation_find(registry_operations(w->registry), json_str(c, "operation")) };

	if (!s.op)
		fail_msg("%s does not offer %s", w->subject_ref->name, json_str(c, "operation"));
	s.params = filled(w, json_object_get(c, "params"));
	s.target = json_object_get(c, "target") ? filled(w, json_object_get(c, "target")) : mem_strdup("{}");
	return s;
}

static void step_done(struct step *s)
{
	free(s->params);
	free(s->target);
}

static struct host_call call_of(const struct world *w, const struct step *s, enum host_entry entry)
{
	return (struct host_call){ .entry = entry,
				   .operation = s->op->name,
				   .params = s->params,
				   .target = s->target,
				   .idempotency_key = w->key,
				   .tenant = "contract",
				   .case_id = "01890000-0000-7000-8000-000000000000",
				   .decision_id = "decision",
				   .plan_hash = w->key };
}

static struct host_answer answer_of(const struct world *w, const struct host_call *call)
{
	struct host_answer a;
	struct oc_fail fail = { 0 };

	if (host_call(w->host, call, &a, &fail) != OC_OK)
		fail_msg("%s %s: %s", call->operation, host_entry_name(call->entry), fail.text);
	if (!a.everything_gone)
		fail_msg("%s %s: something is left", call->operation, host_entry_name(call->entry));
	return a;
}

/* The answer's body; `allowed` is a mask of outcomes. */
static json_t *expect(const struct world *w, const struct host_call *call, unsigned allowed, const char *when)
{
	struct host_answer a = answer_of(w, call);
	json_t *body = NULL;

	if (!(allowed & (1u << a.outcome)))
		fail_msg("%s %s, %s: %s %s\n%s%s", call->operation, host_entry_name(call->entry), when,
			 host_outcome_name(a.outcome), a.json, a.out, a.err);
	assert_int_equal(json_read_own(a.json, &body, NULL), OC_OK);
	host_answer_done(&a);
	return body;
}

#define ONLY(o) (1u << (o))

static void same_state(const struct world *w, const char *before, const char *when)
{
	AUTO(str) char *now = state_of(w);

	if (strcmp(before, now) != 0)
		fail_msg("%s: the world has changed %s, from\n%s\nto\n%s", w->subject_ref->name, when, before,
			 now);
}

/* ---- the promises */

static void bad_params_are_refused(const struct world *w, const json_t *c, const struct step *s)
{
	const json_t *bad = json_object_get(c, "bad_params"), *refused = json_object_get(c, "refused_params");
	struct host_call call = call_of(w, s, HOST_RUN);

	for (size_t i = 0; i < json_array_size(bad); i++) {
		AUTO(str) char *params = filled(w, json_array_get(bad, i));
		struct host_answer a;
		struct oc_fail fail = { 0 };
		enum oc_err err;

		call.params = params;
		err = host_call(w->host, &call, &a, &fail);
		if (err == OC_OK && a.outcome != OPSCASE_REFUSED)
			fail_msg("bad params %s: %s %s", params, host_outcome_name(a.outcome), a.json);
		if (err != OC_OK && err != OC_INVALID)
			fail_msg("bad params %s: %s", params, fail.text);
		host_answer_done(&a);
	}
	for (size_t i = 0; i < json_array_size(refused); i++) {
		AUTO(str) char *params = filled(w, json_array_get(refused, i));

		call.params = params;
		json_decref(expect(w, &call, ONLY(OPSCASE_REFUSED), params));
	}
}

static void dry_run_changes_nothing(const struct world *w, const struct step *s, const char *before)
{
	struct host_call call = call_of(w, s, HOST_DRY_RUN);
	AUTO(json) json_t *body = NULL;

	if (!s->op->has_dry_run)
		return;
	body = expect(w, &call, ONLY(OPSCASE_WOULD_DO), "before the run");
	assert_true(json_is_array(json_object_get(body, "changes")));
	assert_true(json_is_string(json_object_get(body, "diff")));
	same_state(w, before, "by a dry run");
	assert_int_equal(effects_of(w), 0);
}

/* A binding that certainly is not the world's. */
static char *other_binding(const json_t *binding)
{
	AUTO(json) json_t *other = json_object();
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)binding, name, value)
	{
		json_object_set_new(other, name, json_string("certainly something else"));
	}
	return json_text(other);
}

static void another_world_is_left_alone(const struct world *w, const struct step *s, const json_t *binding,
					const char *before)
{
	AUTO(str) char *other = other_binding(binding);
	struct host_call call = call_of(w, s, HOST_RUN);

	if (json_object_size(binding) == 0)
		return;
	call.idempotency_key = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
	call.expected_binding = other;
	json_decref(expect(w, &call, ONLY(OPSCASE_WORLD_CHANGED), "with another binding"));
	same_state(w, before, "by a run that was bound to another world");
	assert_int_equal(effects_of(w), 0);
}

static void a_case_keeps_its_promises(const struct world *w, const json_t *c)
{
	struct step s = step_of(w, c);
	AUTO(str) char *untouched = state_of(w);
	AUTO(json) json_t *seen = NULL;
	AUTO(str) char *binding = NULL;
	AUTO(str) char *info = NULL;
	AUTO(str) char *after = NULL;
	struct host_call call = call_of(w, &s, HOST_VALIDATE);
	bool is_state = json_bool_or(c, "is_state", false);
	long effects;

	if (s.op->has_validate)
		json_decref(expect(w, &call, ONLY(OPSCASE_VALID), "good params"));
	bad_params_are_refused(w, c, &s);
	same_state(w, untouched, "by bad params");
	dry_run_changes_nothing(w, &s, untouched);
	call.entry = HOST_PROBE;
	if (s.op->has_probe) {
		bool unclear = json_bool_or(c, "unclear_before", false);

		seen = expect(w, &call,
			      is_state  ? ONLY(OPSCASE_APPLIED)
			      : unclear ? ONLY(OPSCASE_UNCLEAR)
					: ONLY(OPSCASE_NOT_APPLIED),
			      "before the run");
		binding = json_text(json_object_get(seen, "binding"));
		info = json_text(json_object_get(seen, "info"));
		same_state(w, untouched, "by a probe");
		another_world_is_left_alone(w, &s, json_object_get(seen, "binding"), untouched);
	}
	call.entry = HOST_RUN;
	call.expected_binding = binding;
	json_decref(expect(w, &call, ONLY(OPSCASE_DONE), "the first time"));
	effects = effects_of(w);
	after = state_of(w);
	json_decref(expect(w, &call, ONLY(OPSCASE_DONE), "the same key again"));
	assert_int_equal(effects_of(w), effects);
	same_state(w, after, "by the same key again");
	call.entry = HOST_PROBE;
	call.expected_binding = NULL;
	if (s.op->has_probe)
		json_decref(expect(w, &call, ONLY(OPSCASE_APPLIED), "after the run"));
	if (json_bool_or(c, "undo", false)) {
		call.entry = HOST_UNDO;
		call.before = info;
		json_decref(expect(w, &call, ONLY(OPSCASE_DONE), "after the run"));
		same_state(w, untouched, "for good: undo did not bring it back");
	}
	step_done(&s);
}

/* ---- cancel, crash, oversize */

struct pull {
	struct host_leash *leash;
	pid_t victim;
	bool kill;
};

/* The process that holds the adapter: below a keeper, or our own child. */
static pid_t find_worker(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (d && !found && (e = readdir(d)) != NULL) {
		char path[300], line[512] = "", *name, *end;
		int parent = 0, grand = 0;
		FILE *f;

		if (atoi(e->d_name) <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(line, sizeof(line), f) && (name = strchr(line, '(')) &&
		    (end = strrchr(line, ')'))) {
			sscanf(end + 1, " %*c %d", &parent);
			if (strncmp(name, "(opscase-worker)", 16) == 0) {
				FILE *p;

				snprintf(path, sizeof(path), "/proc/%d/stat", parent);
				p = fopen(path, "re");
				if (p && fgets(line, sizeof(line), p) && (end = strrchr(line, ')')))
					sscanf(end + 1, " %*c %d", &grand);
				if (p)
					fclose(p);
				if (grand == getpid())
					found = atoi(e->d_name);
			} else if (strncmp(name, "(opscase-shared)", 16) == 0 && parent == getpid()) {
				found = atoi(e->d_name);
			}
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return found;
}

static void *disturb(void *arg)
{
	struct pull *p = arg;

	for (int i = 0; i < 1000 && !(p->victim = find_worker()); i++)
		poll(NULL, 0, 10);
	poll(NULL, 0, 700);
	if (p->kill && p->victim)
		kill(p->victim, SIGKILL);
	else
		host_leash_cancel(p->leash);
	return NULL;
}

static struct host_answer slow_and_disturbed(const struct world *w, bool kill_it)
{
	AUTO(host_leash) struct host_leash *leash = host_leash_new();
	struct step s = step_of(w, json_object_get(w->subject_ref->contract, "slow"));
	struct host_call call = call_of(w, &s, HOST_RUN);
	struct pull p = { .leash = leash, .kill = kill_it };
	struct host_answer a;
	pthread_t thread;

	call.leash_ref = leash;
	call.timeout_ms = 60000;
	pthread_create(&thread, NULL, disturb, &p);
	a = answer_of(w, &call);
	pthread_join(thread, NULL);
	if (a.duration_us > 30000000)
		fail_msg("it took %lld ms", (long long)a.duration_us / 1000);
	for (size_t i = 0; i < a.pids_count; i++)
		assert_false(alive(a.pids[i]));
	step_done(&s);
	return a;
}

static void cancel_is_honoured(const struct world *w)
{
	struct host_answer a = slow_and_disturbed(w, false);

	assert_true(a.cancelled);
	if (a.outcome != OPSCASE_CANCELLED && a.outcome != OPSCASE_UNCLEAR && a.outcome != OPSCASE_FAILED)
		fail_msg("cancelled: %s %s", host_outcome_name(a.outcome), a.json);
	/* Its own words, not those that the host finds for one that had to be killed. */
	if (strstr(a.json, "was stopped; what it did is not known"))
		fail_msg("it did not hear cancel in time: %s", a.json);
	host_answer_done(&a);
}

static void a_crash_is_reported_as_unknown(const struct world *w)
{
	struct host_answer a = slow_and_disturbed(w, true);

	assert_int_equal(a.outcome, OPSCASE_UNCLEAR);
	assert_true(a.crashed);
	host_answer_done(&a);
}

static void small_replies(struct host_config *c)
{
	c->reply_max = 8;
}

static void an_oversize_reply_is_cut(const struct world *w, const json_t *c)
{
	struct step s = step_of(w, c);
	struct host_call call = call_of(w, &s, s.op->has_dry_run ? HOST_DRY_RUN : HOST_PROBE);
	struct host_answer a = answer_of(w, &call);
	AUTO(json) json_t *body = NULL;

	if (!a.json_cut)
		fail_msg("not cut: %s", a.json);
	assert_int_equal(json_read_own(a.json, &body, NULL), OC_OK);
	assert_int_equal(json_string_length(json_object_get(body, "text")), 8);
	host_answer_done(&a);
	step_done(&s);
}

/* ---- the list of tests */

enum promise { KEEPS_ALL, HEARS_CANCEL, CRASH_UNKNOWN, OVERSIZE_CUT };

struct trial {
	const struct subject *subject_ref;
	enum promise promise;
	const json_t *c;
};

static struct subject subjects[32];
static size_t subjects_count;
static struct trial trials[TESTS_MAX];
static struct CMUnitTest tests[TESTS_MAX];
static size_t tests_count;

static void try_it(void **state)
{
	const struct trial *t = *state;
	struct world w;

	world_init(&w, t->subject_ref, t->promise == OVERSIZE_CUT ? small_replies : NULL);
	switch (t->promise) {
	case KEEPS_ALL:
		a_case_keeps_its_promises(&w, t->c);
		break;
	case HEARS_CANCEL:
		cancel_is_honoured(&w);
		break;
	case CRASH_UNKNOWN:
		a_crash_is_reported_as_unknown(&w);
		break;
	case OVERSIZE_CUT:
		an_oversize_reply_is_cut(&w, t->c);
		break;
	}
	world_done(&w);
}

static void add_trial(const struct subject *s, enum promise promise, const json_t *c, char *name)
{
	assert_true(tests_count < TESTS_MAX);
	trials[tests_count] = (struct trial){ s, promise, c };
	tests[tests_count] = (struct CMUnitTest){ .name = name,
						  .test_func = try_it,
						  .initial_state = &trials[tests_count] };
	tests_count++;
}

static bool add_subject(const char *so, const char *folder)
{
	AUTO(str) char *file = mem_printf("%s/contract.json", folder);
	struct subject *s = &subjects[subjects_count];
	const char *base = strrchr(so, '/');
	const json_t *cases;
	json_error_t e;

	if (access(file, R_OK) != 0 || access(so, R_OK) != 0 || subjects_count == ARRAY_LEN(subjects))
		return false;
	base = base ? base + 1 : so;
	*s = (struct subject){ .name = mem_strndup(base, strlen(base) - 3),
			       .so = realpath(so, NULL),
			       .folder = realpath(folder, NULL) };
	s->contract = json_load_file(file, JSON_REJECT_DUPLICATES, &e);
	if (!s->contract) {
		fprintf(stderr, "%s: %s, line %d\n", file, e.text, e.line);
		exit(1);
	}
	subjects_count++;
	cases = json_object_get(s->contract, "cases");
	for (size_t i = 0; i < json_array_size(cases); i++) {
		const json_t *c = json_array_get(cases, i);

		add_trial(s, KEEPS_ALL, c, mem_printf("%s: %s", s->name, json_str_or(c, "name", "?")));
		if (i == 0)
			add_trial(s, OVERSIZE_CUT, c, mem_printf("%s: an oversize reply is cut", s->name));
	}
	if (json_object_get(s->contract, "slow")) {
		add_trial(s, HEARS_CANCEL, NULL, mem_printf("%s: cancel is honoured and proven", s->name));
		add_trial(s, CRASH_UNKNOWN, NULL, mem_printf("%s: a crash is reported as unknown", s->name));
	}
	return true;
}

/* Every folder below `root` whose .so was built into `built`. */
static void add_tree(const char *root, const char *built)
{
	struct dirent **names = NULL;
	int n = scandir(root, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		AUTO(str) char *folder = mem_printf("%s/%s", root, names[i]->d_name);
		AUTO(str) char *so = mem_printf("%s/%s.so", built, names[i]->d_name);

		if (names[i]->d_name[0] != '.')
			add_subject(so, folder);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	if (argc == 3) {
		if (!add_subject(argv[1], argv[2])) {
			fprintf(stderr, "usage: %s FILE.so FOLDER   (the folder holds contract.json)\n",
				argv[0]);
			return 64;
		}
	} else {
		add_tree(OPSCASE_SOURCE_DIR "/adapters", OPSCASE_BINARY_DIR "/lib/opscase/adapters");
		add_tree(OPSCASE_SOURCE_DIR "/tests/adapters", OPSCASE_BINARY_DIR "/tests/adapters");
	}
	return _cmocka_run_group_tests("contracts", tests, tests_count, NULL, NULL);
}
