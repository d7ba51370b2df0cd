/* script - runs a program or a script body on this host, in a jail, and keeps a mark of what has run. */
#include "child.h"
#include "common/answer.h"
#include "marks.h"
#include "script_manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS_MAX 260
#define ENV_MAX  80
#define TEXT_MAX 4096

struct script {
	json_t *config;
	atomic_bool stop;
	uid_t uid;
	gid_t gid;
};

/* One program as it will be started: everything that child_run points at. */
struct job {
	struct child child;
	char *argv[ARGS_MAX];
	char *env[ENV_MAX];
	size_t env_count;
	char body_path[PATH_MAX];
	char resolved[JAIL_PATHS][PATH_MAX];
	char why[512];
};

static const char *text_of(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

static long long number_of(const json_t *obj, const char *key, long long otherwise)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

/* ---- set-up */

static void script_close(void *ctx)
{
	struct script *s = ctx;

	if (s)
		json_decref(s->config);
	free(s);
}

static int script_open(void **ret_ctx, const char *config, struct opscase_reply *reply)
{
	struct script *s = calloc(1, sizeof(*s));
	const char *user;
	struct passwd *pw;

	if (!s || !(s->config = answer_object(config))) {
		script_close(s);
		return answer_error(reply, OPSCASE_REFUSED,
				    "the settings of the script adapter are not a JSON object");
	}
	atomic_init(&s->stop, false);
	s->uid = (uid_t)-1;
	user = text_of(s->config, "user");
	if (user) {
		pw = getpwnam(user);
		if (!pw || (geteuid() != 0 && pw->pw_uid != geteuid())) {
			script_close(s);
			return answer_error(reply, OPSCASE_REFUSED,
					    pw ? "only a service that runs as root can run programs as '%s'"
					       : "there is no user '%s'",
					    user);
		}
		if (pw->pw_uid != geteuid()) {
			s->uid = pw->pw_uid;
			s->gid = pw->pw_gid;
		}
	}
	*ret_ctx = s;
	return reply->send(reply, OPSCASE_VALID, "{}");
}

static void script_cancel(void *ctx)
{
	struct script *s = ctx;

	atomic_store(&s->stop, true);
}

/* ---- what the schema cannot say */

static bool has_dots(const char *path)
{
	for (const char *p = strstr(path, "/.."); p; p = strstr(p + 1, "/..")) {
		if (p[3] == '/' || p[3] == 0)
			return true;
	}
	return false;
}

static bool below(const char *path, const char *root)
{
	size_t n = strlen(root);

	while (n > 1 && root[n - 1] == '/')
		n--;
	return strncmp(path, root, n) == 0 && (path[n] == 0 || path[n] == '/' || n == 1);
}

static bool allowed_by_settings(const struct script *s, const char *path)
{
	const json_t *roots = json_object_get(s->config, "write_paths");

	for (size_t i = 0; i < json_array_size(roots); i++) {
		const char *root = json_string_value(json_array_get(roots, i));

		if (root && !has_dots(path) && below(path, root))
			return true;
	}
	return false;
}

static bool argv_good(const json_t *argv)
{
	size_t n = json_array_size(argv);

	if (n < 1 || n > ARGS_MAX - 4)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *a = json_array_get(argv, i);

		/* jansson refuses NUL inside, so the text is what the program gets. */
		if (!json_is_string(a) || (i == 0 && !*json_string_value(a)))
			return false;
	}
	return true;
}

static bool part_good(const json_t *part)
{
	const json_t *argv = json_object_get(part, "argv");
	const char *body = text_of(part, "script");

	return argv ? !body && argv_good(argv) : body && *body;
}

/* NULL, or what is wrong. `room` is for a sentence with a path in it. */
static const char *wrong_with(const struct script *s, const json_t *params, char *room, size_t size)
{
	const json_t *undo = json_object_get(params, "undo"), *check = json_object_get(params, "check");
	const json_t *paths = json_object_get(params, "write_paths");

	if (!params || !part_good(params))
		return "there must be either `argv` with a program, or `script` with a body";
	if (undo && !part_good(undo))
		return "`undo` needs either `argv` with a program, or `script` with a body";
	if (check && !argv_good(json_object_get(check, "argv")))
		return "`check` needs `argv` with a program";
	for (size_t i = 0; i < json_array_size(paths); i++) {
		const char *path = json_string_value(json_array_get(paths, i));

		if (!path || *path != '/' || !allowed_by_settings(s, path)) {
			snprintf(room, size,
				 "`%.300s` in write_paths is not below a folder that the settings allow",
				 path ? path : "?");
			return room;
		}
	}
	return NULL;
}

static int script_validate(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	json_t *params = answer_object(act->params);
	char room[512];
	const char *wrong = wrong_with(ctx, params, room, sizeof(room));

	json_decref(params);
	if (wrong)
		return answer_error(reply, OPSCASE_REFUSED, "%s", wrong);
	return reply->send(reply, OPSCASE_VALID, "{}");
}

/* ---- putting a program together */

static bool add_env(struct job *j, const char *name, const char *value)
{
	char *text = NULL;

	if (j->env_count + 1 >= ENV_MAX || asprintf(&text, "%s=%s", name, value) < 0)
		return false;
	j->env[j->env_count++] = text;
	return true;
}

static void job_done(struct job *j)
{
	for (size_t i = 0; i < j->env_count; i++)
		free(j->env[i]);
	free(j);
}

static bool fill_env(struct job *j, const struct opscase_action *act, const json_t *params)
{
	json_t *env = json_object_get(params, "env"), *value;
	const char *name;
	bool good = add_env(j, "PATH", CHILD_PATH) && add_env(j, "LANG", "C.UTF-8") &&
		    add_env(j, "HOME", act->scratch_dir) && add_env(j, "TMPDIR", act->scratch_dir) &&
		    add_env(j, "OPSCASE_KEY", act->idempotency_key) &&
		    add_env(j, "OPSCASE_TARGET", act->target);

	/* execve takes the first of two, so what a step says must replace ours. */
	json_object_foreach(env, name, value)
	{
		size_t n = strlen(name), i = 0;

		while (i < j->env_count && !(strncmp(j->env[i], name, n) == 0 && j->env[i][n] == '='))
			i++;
		if (i < j->env_count) {
			free(j->env[i]);
			j->env[i] = j->env[--j->env_count];
		}
		good = good && json_is_string(value) && add_env(j, name, json_string_value(value));
	}
	j->env[j->env_count] = NULL;
	return good;
}

static bool write_body(struct job *j, const struct script *s, const char *dir, const char *body)
{
	size_t n = strlen(body);
	bool good;
	int fd;

	snprintf(j->body_path, sizeof(j->body_path), "%s/.script-XXXXXX", dir);
	fd = mkostemp(j->body_path, O_CLOEXEC);
	if (fd < 0)
		return false;
	good = write(fd, body, n) == (ssize_t)n && (s->uid == (uid_t)-1 || fchown(fd, s->uid, s->gid) == 0);
	close(fd);
	return good;
}

static bool add_paths(struct job *j, const json_t *list, const char **out, size_t *count, size_t *used)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *path = json_string_value(json_array_get(list, i));

		if (!path || *used >= JAIL_PATHS || *count >= JAIL_PATHS ||
		    !realpath(path, j->resolved[*used])) {
			snprintf(j->why, sizeof(j->why), "the path '%.300s' cannot be opened: %s",
				 path ? path : "?", strerror(errno));
			return false;
		}
		out[(*count)++] = j->resolved[(*used)++];
	}
	return true;
}

/* A link may lead out of what the settings allow. */
static bool still_allowed(struct job *j, const struct script *s)
{
	const json_t *roots = json_object_get(s->config, "write_paths");

	for (size_t i = 0; i < j->child.jail.write_count; i++) {
		bool good = false;

		for (size_t k = 0; k < json_array_size(roots) && !good; k++) {
			char root[PATH_MAX];
			const char *r = json_string_value(json_array_get(roots, k));

			good = r && realpath(r, root) && below(j->child.jail.write_paths[i], root);
		}
		if (!good) {
			snprintf(j->why, sizeof(j->why),
				 "'%.300s' is not below a folder that the settings allow",
				 j->child.jail.write_paths[i]);
			return false;
		}
	}
	return true;
}

static bool fill_jail(struct job *j, const struct script *s, const struct opscase_action *act,
		      const json_t *params, bool looks_only)
{
	const json_t *limits = json_object_get(params, "limits"),
		     *reads = json_object_get(s->config, "read_paths");
	struct jail *jail = &j->child.jail;
	size_t used = 0;

	*jail = (struct jail){ .cpu_s = number_of(limits, "cpu_s", 3600),
			       .memory_mb = number_of(limits, "memory_mb", 2048),
			       .files = number_of(limits, "files", 1024),
			       .processes = number_of(limits, "processes", 1024),
			       .file_mb = number_of(limits, "file_mb", 1024),
			       .scratch = act->scratch_dir,
			       .read_closed = reads != NULL,
			       .signals = !looks_only && json_is_true(json_object_get(params, "signals")),
			       .uid = s->uid,
			       .gid = s->gid };
	if (s->uid != (uid_t)-1 && chown(act->scratch_dir, s->uid, s->gid) != 0) {
		snprintf(j->why, sizeof(j->why), "the scratch folder: %s", strerror(errno));
		return false;
	}
	if (!looks_only && !add_paths(j, json_object_get(params, "write_paths"), jail->write_paths,
				      &jail->write_count, &used))
		return false;
	return add_paths(j, reads, jail->read_paths, &jail->read_count, &used) && still_allowed(j, s);
}

/* `part` is the params themselves, their `check` or their `undo`. */
static bool job_fill(struct job *j, struct script *s, const struct opscase_action *act, const json_t *params,
		     const json_t *part, bool looks_only, int64_t until_ms)
{
	const json_t *argv = json_object_get(part, "argv");
	const char *body = text_of(part, "script"), *interpreter = text_of(params, "interpreter");
	const char *cwd = text_of(params, "cwd");
	size_t n = 0;

	for (; n < json_array_size(argv); n++)
		j->argv[n] = (char *)json_string_value(json_array_get(argv, n));
	if (!argv) {
		if (!write_body(j, s, act->scratch_dir, body)) {
			snprintf(j->why, sizeof(j->why), "the script cannot be written to %s: %s",
				 act->scratch_dir, strerror(errno));
			return false;
		}
		j->argv[n++] = (char *)(interpreter ? interpreter : "/bin/sh");
		j->argv[n++] = j->body_path;
	}
	j->argv[n] = NULL;
	j->child = (struct child){ .argv = j->argv,
				   .env = j->env,
				   .cwd = cwd ? cwd : act->scratch_dir,
				   .input = looks_only ? NULL : text_of(params, "stdin"),
				   .quiet = looks_only,
				   .until_ms = until_ms,
				   .stop_ref = &s->stop };
	if (!fill_env(j, act, params)) {
		snprintf(j->why, sizeof(j->why), "the environment is too large");
		return false;
	}
	return fill_jail(j, s, act, params, looks_only);
}

static struct child_result start_part(struct script *s, const struct opscase_action *act,
				      const json_t *params, const json_t *part, bool looks_only,
				      int64_t until_ms)
{
	struct child_result r = { .end = CHILD_NOT_STARTED };
	struct job *j = calloc(1, sizeof(*j));

	if (!j) {
		snprintf(r.why, sizeof(r.why), "no memory");
		return r;
	}
	if (job_fill(j, s, act, params, part, looks_only, until_ms))
		r = child_run(&j->child);
	else
		snprintf(r.why, sizeof(r.why), "%s", j->why);
	job_done(j);
	return r;
}

/* ---- the state of the world */

static json_t *identity(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return json_pack("{s:s,s:b}", "path", path, "there", 0);
	return json_pack("{s:s,s:I,s:I,s:I,s:I}", "path", path, "size", (json_int_t)st.st_size, "inode",
			 (json_int_t)st.st_ino, "mtime_s", (json_int_t)st.st_mtim.tv_sec, "mtime_ns",
			 (json_int_t)st.st_mtim.tv_nsec);
}

/* Which files will be run: an approved program that is replaced before it runs is another program. */
static json_t *programs(const json_t *params)
{
	const json_t *argv = json_object_get(params, "argv");
	const char *first = json_string_value(json_array_get(argv, 0)),
		   *second = json_string_value(json_array_get(argv, 1));
	const char *interpreter = text_of(params, "interpreter");
	json_t *list = json_array();
	char path[PATH_MAX];
	struct stat st;

	if (!argv)
		first = interpreter ? interpreter : "/bin/sh";
	json_array_append_new(list, identity(first && child_find(first, path, sizeof(path)) ? path
					     : first                                        ? first
											    : ""));
	/* "bash /opt/mend.sh": the file that matters is the second. */
	if (second && *second == '/' && stat(second, &st) == 0 && S_ISREG(st.st_mode))
		json_array_append_new(list, identity(second));
	return list;
}

/* 0: in place, 1: not in place, -1: nobody can say; `ret_why` then says why. */
static int look(struct script *s, const struct opscase_action *act, const json_t *params, int64_t until_ms,
		char *why, size_t size)
{
	struct child_result r = start_part(s, act, params, json_object_get(params, "check"), true, until_ms);

	if (r.end == CHILD_EXITED && (r.number == 0 || r.number == 1))
		return r.number;
	if (r.end == CHILD_NOT_STARTED)
		snprintf(why, size, "the check did not start: %s", r.why);
	else if (r.end == CHILD_STOPPED)
		snprintf(why, size, "the check did not end in time");
	else
		snprintf(why, size, "the check ended with %s %d",
			 r.end == CHILD_EXITED ? "exit code" : "signal", r.number);
	return -1;
}

static json_t *binding_of(const json_t *params, int check)
{
	json_t *b = json_pack("{s:o}", "program", programs(params));

	if (json_object_get(params, "check"))
		json_object_set_new(b, "check",
				    check < 0 ? json_string("unclear")
					      : json_string(check == 0 ? "in place" : "not in place"));
	return b;
}

static int script_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	static const char *const words[] = { "no marks are kept", "has not run",
					     "has begun, and no end is recorded", "has run",
					     "the marks cannot be read" };
	static const enum opscase_outcome by_marks[] = { OPSCASE_UNCLEAR, OPSCASE_NOT_APPLIED,
							 OPSCASE_UNCLEAR, OPSCASE_APPLIED, OPSCASE_UNCLEAR };
	struct script *s = ctx;
	json_t *params = answer_object(act->params), *done = NULL, *info, *body;
	enum marks_state marks = marks_look(text_of(s->config, "state_dir"), act->idempotency_key, &done);
	bool has_check = json_object_get(params, "check") != NULL;
	enum opscase_outcome outcome = by_marks[marks];
	char why[640] = "";
	int check = -1;

	atomic_store(&s->stop, false);
	if (has_check) {
		check = look(s, act, params, answer_clock_ms() + act->deadline_ms, why, sizeof(why));
		outcome = check == 0 ? OPSCASE_APPLIED : check == 1 ? OPSCASE_NOT_APPLIED : OPSCASE_UNCLEAR;
	}
	info = json_pack("{s:s}", "mark", words[marks]);
	if (done)
		json_object_set_new(info, "run", done);
	body = json_pack("{s:o,s:o}", "binding", binding_of(params, check), "info", info);
	if (*why)
		json_object_set_new(body, "error", answer_text(why, strlen(why), sizeof(why)));
	json_decref(params);
	return answer(reply, outcome, body);
}

/* True: the world is not the one that was approved, and that has been answered. Only what is expected is
 * compared: the caller leaves out what earlier steps of the plan write. */
static bool world_changed(struct script *s, const struct opscase_action *act, const json_t *params,
			  struct opscase_reply *reply)
{
	json_t *expected = act->expected_binding ? answer_object(act->expected_binding) : NULL, *found,
	       *value;
	bool changed = false;
	char why[640];
	const char *name;

	if (!expected)
		return false;
	found = binding_of(params, json_object_get(expected, "check") && json_object_get(params, "check")
					   ? look(s, act, params, answer_clock_ms() + act->deadline_ms, why,
						  sizeof(why))
					   : -1);
	json_object_foreach(expected, name, value)
	{
		changed = changed || !json_equal(value, json_object_get(found, name));
	}
	if (changed)
		answer(reply, OPSCASE_WORLD_CHANGED,
		       json_pack("{s:O,s:O}", "expected", expected, "found", found));
	json_decref(found);
	json_decref(expected);
	return changed;
}

/* ---- run and undo */

static bool expected_exit(const json_t *params, int code)
{
	const json_t *list = json_object_get(params, "expect_exit");

	for (size_t i = 0; i < json_array_size(list); i++) {
		if (json_integer_value(json_array_get(list, i)) == code)
			return true;
	}
	return !list && code == 0;
}

static int tell_end(struct opscase_reply *reply, const struct child_result *r, bool good, bool marked)
{
	switch (r->end) {
	case CHILD_NOT_STARTED:
		return answer_error(reply, OPSCASE_NOT_APPLIED, "nothing was run: %s", r->why);
	case CHILD_STOPPED:
		return answer_error(reply, OPSCASE_UNCLEAR, "the program was running when %s, and was killed",
				    r->out_of_time ? "its time was up" : "it was cancelled");
	case CHILD_SIGNALLED:
		return answer(reply, OPSCASE_FAILED,
			      json_pack("{s:s,s:i}", "error", "the program was ended by a signal", "signal",
					r->number));
	case CHILD_EXITED:
		break;
	}
	if (!good)
		return answer(reply, OPSCASE_FAILED,
			      json_pack("{s:s,s:i}", "error",
					"the program ended with an exit code that means failure", "exit",
					r->number));
	return answer(reply, OPSCASE_DONE,
		      json_pack("{s:i,s:i,s:b}", "changed", 1, "exit", r->number, "marked", marked));
}

/* Runs `part` at most once under `key`. */
static int run_once(struct script *s, const struct opscase_action *act, const json_t *params,
		    const json_t *part, const char *key, struct opscase_reply *reply)
{
	const char *dir = text_of(s->config, "state_dir");
	struct child_result r;
	bool good, marks = dir != NULL, marked = false;
	json_t *info;

	if (marks && !marks_start(dir, key))
		return answer_error(reply, OPSCASE_NOT_APPLIED,
				    "nothing was run: the mark cannot be written to %s", dir);
	r = start_part(s, act, params, part, false, answer_clock_ms() + act->deadline_ms);
	good = r.end == CHILD_EXITED && (part == params ? expected_exit(params, r.number) : r.number == 0);
	if (marks && r.end == CHILD_NOT_STARTED)
		marks_clear(dir, key);
	if (marks && good) {
		info = json_pack("{s:i}", "exit", r.number);
		marked = marks_finish(dir, key, info);
		json_decref(info);
	}
	return tell_end(reply, &r, good, marked);
}

/* An earlier try with this key may have run. True: that has been answered. */
static bool ran_before(struct script *s, const struct opscase_action *act, const json_t *params,
		       struct opscase_reply *reply)
{
	const char *dir = text_of(s->config, "state_dir");
	json_t *info = NULL;
	enum marks_state marks = marks_look(dir, act->idempotency_key, &info);
	char why[640] = "no check says what became of it";
	int check = -1;

	if (marks == MARKS_DONE) {
		answer(reply, OPSCASE_DONE,
		       json_pack("{s:i,s:b,s:o}", "changed", 0, "already", 1, "run", info));
		return true;
	}
	if (marks == MARKS_BROKEN) {
		answer_error(reply, OPSCASE_NOT_APPLIED, "nothing was run: the marks in %s cannot be read",
			     dir);
		return true;
	}
	if (marks != MARKS_STARTED)
		return false;
	if (json_object_get(params, "check"))
		check = look(s, act, params, answer_clock_ms() + act->deadline_ms, why, sizeof(why));
	if (check == 1)
		return false;
	if (check == 0) {
		info = json_pack("{s:s}", "by", "check");
		marks_finish(dir, act->idempotency_key, info);
		answer(reply, OPSCASE_DONE,
		       json_pack("{s:i,s:b,s:o}", "changed", 0, "already", 1, "run", info));
		return true;
	}
	answer_error(reply, OPSCASE_UNCLEAR,
		     "an earlier try of this step began and no end of it is recorded; %s", why);
	return true;
}

static int script_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct script *s = ctx;
	json_t *params = answer_object(act->params);
	char room[512], undo_key[160];
	const char *wrong = wrong_with(s, params, room, sizeof(room)), *dir = text_of(s->config, "state_dir");
	int r = 0;

	atomic_store(&s->stop, false);
	snprintf(undo_key, sizeof(undo_key), "%.128s-undo", act->idempotency_key);
	if (wrong) {
		r = answer_error(reply, OPSCASE_REFUSED, "%s", wrong);
	} else if (!ran_before(s, act, params, reply) && !world_changed(s, act, params, reply)) {
		if (dir)
			marks_clear(dir, undo_key);
		r = run_once(s, act, params, params, act->idempotency_key, reply);
	}
	json_decref(params);
	return r;
}

static int undo_with(struct script *s, const struct opscase_action *act, const json_t *params,
		     struct opscase_reply *reply)
{
	const char *dir = text_of(s->config, "state_dir");
	const json_t *undo = json_object_get(params, "undo");
	enum marks_state marks;
	char key[160];
	int r;

	if (!undo || !part_good(undo))
		return answer_error(reply, OPSCASE_REFUSED,
				    "the step says no `undo`, so there is nothing that takes it back");
	snprintf(key, sizeof(key), "%.128s-undo", act->idempotency_key);
	marks = marks_look(dir, key, NULL);
	if (marks == MARKS_DONE)
		return answer(reply, OPSCASE_DONE, json_pack("{s:i,s:b}", "changed", 0, "already", 1));
	if (marks == MARKS_STARTED || marks == MARKS_BROKEN)
		return answer_error(reply, OPSCASE_UNCLEAR,
				    "an earlier undo of this step began and no end of it is recorded");
	r = run_once(s, act, params, undo, key, reply);
	if (marks_look(dir, key, NULL) == MARKS_DONE)
		marks_clear(dir, act->idempotency_key);
	return r;
}

static int script_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct script *s = ctx;
	json_t *params = answer_object(act->params);
	int r;

	atomic_store(&s->stop, false);
	r = undo_with(s, act, params, reply);
	json_decref(params);
	return r;
}

/* ---- dry run: words for the approver */

struct words {
	char *s;
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *w, const char *format, ...)
{
	char *more = NULL, *all;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&more, format, args);
	va_end(args);
	if (n < 0)
		return;
	all = realloc(w->s, w->len + (size_t)n + 1);
	if (all) {
		w->s = all;
		memcpy(w->s + w->len, more, (size_t)n + 1);
		w->len += (size_t)n;
	}
	free(more);
}

static void say_argv(struct words *w, const json_t *argv)
{
	for (size_t i = 0; i < json_array_size(argv); i++) {
		const char *a = json_string_value(json_array_get(argv, i));
		bool plain =
			a && *a &&
			strspn(a,
			       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") ==
				strlen(a);

		if (plain) {
			say(w, "%s%s", i ? " " : "", a);
			continue;
		}
		say(w, "%s'", i ? " " : "");
		for (; a && *a; a++)
			say(w, *a == '\'' ? "'\\''" : "%c", *a);
		say(w, "'");
	}
}

static void say_part(struct words *w, const json_t *params, const json_t *part)
{
	const json_t *argv = json_object_get(part, "argv");
	const char *body = text_of(part, "script"), *interpreter = text_of(params, "interpreter");

	if (argv) {
		say(w, "+ ");
		say_argv(w, argv);
		say(w, "\n");
		return;
	}
	say(w, "+ %s <<script\n", interpreter ? interpreter : "/bin/sh");
	while (body && *body) {
		size_t n = strcspn(body, "\n");

		say(w, "+ %.*s\n", (int)n, body);
		body += n + (body[n] == '\n');
	}
}

static int script_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	json_t *params = answer_object(act->params), *check = json_object_get(params, "check"),
	       *undo = json_object_get(params, "undo");
	const json_t *paths = json_object_get(params, "write_paths");
	struct words w = { NULL, 0 };
	char room[512];
	const char *wrong = wrong_with(ctx, params, room, sizeof(room));
	json_t *body;

	if (wrong) {
		json_decref(params);
		return answer_error(reply, OPSCASE_REFUSED, "%s", wrong);
	}
	say_part(&w, params, params);
	say(&w, "  network: %s; signals to others: %s; writes:",
	    json_is_true(json_object_get(params, "network")) ? "yes" : "no",
	    json_is_true(json_object_get(params, "signals")) ? "yes" : "no");
	for (size_t i = 0; i < json_array_size(paths); i++)
		say(&w, " %s", json_string_value(json_array_get(paths, i)));
	say(&w, "%s\n", json_array_size(paths) ? "" : " only its scratch folder");
	if (check) {
		say(&w, "checked by\n");
		say_part(&w, params, check);
	}
	if (undo) {
		say(&w, "taken back by\n");
		say_part(&w, params, undo);
	}
	body = json_pack("{s:[{s:s,s:s,s:s}],s:o}", "changes", "what",
			 text_of(params, "script") ? "a script runs on the host of the service"
						   : "a program runs on the host of the service",
			 "from", "not run", "to", "run once", "diff",
			 answer_text(w.s ? w.s : "", w.len, 65536));
	free(w.s);
	json_decref(params);
	return answer(reply, OPSCASE_WOULD_DO, body);
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = "script",
	.version = "1",
	.manifest = script_manifest,
	.open = script_open,
	.validate = script_validate,
	.dry_run = script_dry_run,
	.run = script_run,
	.probe = script_probe,
	.undo = script_undo,
	.cancel = script_cancel,
	.close = script_close,
};
