/* hello - the worked example of docs/adapters.md: writes one line into a named file of one folder.
 *
 * Its operation wants a state ("the file says this line"), so every question is the same one: what does the
 * file say now? That makes the idempotency key's promise free: running twice finds the line already there. */
#define _POSIX_C_SOURCE 200809L
#include <opscase/adapter.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

struct hello {
	int dir;
	atomic_bool stop;
};

static const char manifest[] =
#include "manifest.inc"
	;

/* Every answer is a JSON object; send() copies it. */
static int answer(struct opscase_reply *reply, enum opscase_outcome outcome, json_t *take_body)
{
	char *text = json_dumps(take_body, JSON_COMPACT);
	int r = reply->send(reply, outcome, text ? text : "{\"error\":\"no memory\"}");

	free(text);
	json_decref(take_body);
	return r;
}

static int problem(struct opscase_reply *reply, enum opscase_outcome outcome, const char *doing)
{
	return answer(reply, outcome, json_pack("{s:s++}", "error", doing, ": ", strerror(errno)));
}

/* What the file says, a JSON string; JSON null if there is no file; NULL with errno if nobody can say. */
static json_t *line_now(const struct hello *h, const char *name)
{
	char text[LINE_MAX_BYTES + 1];
	int fd = openat(h->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	json_t *line = NULL;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? json_null() : NULL;
	n = read(fd, text, sizeof(text));
	if (n == (ssize_t)sizeof(text))
		errno = EFBIG;
	else if (n >= 0 && !(line = json_stringn(text, (size_t)(n > 0 && text[n - 1] == '\n' ? n - 1 : n))))
		errno = EILSEQ; /* not UTF-8: not a line of ours */
	close(fd);
	return line;
}

/* Atomically: whoever reads sees the old line or the new one, also after a power cut. 0, or -1 with errno. */
static int put(const struct hello *h, const char *name, const json_t *line)
{
	const char *text = json_string_value(line);
	int fd, bad;

	if (!text)
		return (unlinkat(h->dir, name, 0) == 0 || errno == ENOENT) && fsync(h->dir) == 0 ? 0 : -1;
	fd = openat(h->dir, ".hello-new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -1;
	bad = dprintf(fd, "%s\n", text) < 0 || fsync(fd) != 0;
	if (close(fd) != 0 || bad || renameat(h->dir, ".hello-new", h->dir, name) != 0)
		return -1;
	return fsync(h->dir);
}

static int hello_open(void **ret_ctx, const char *config, struct opscase_reply *reply)
{
	static struct hello h;
	json_t *settings = json_loads(config, 0, NULL);
	const char *dir = json_string_value(json_object_get(settings, "dir"));

	if (!dir) /* what the service gives an adapter that knows it and is not told otherwise */
		dir = json_string_value(json_object_get(settings, "state_dir"));
	h.dir = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	json_decref(settings);
	if (h.dir < 0)
		return problem(reply, OPSCASE_REFUSED, "the folder of the settings cannot be opened");
	*ret_ctx = &h;
	return answer(reply, OPSCASE_VALID, json_object());
}

/* What the schema cannot say. run asks again: nobody has to call validate before it. */
static bool sensible(const json_t *params)
{
	const char *line = json_string_value(json_object_get(params, "line"));

	return line && line[strspn(line, " ")] != '\0';
}

static int refuse(struct opscase_reply *reply)
{
	return answer(reply, OPSCASE_REFUSED, json_pack("{s:s}", "error", "`line` is all blanks"));
}

static int hello_validate(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	json_t *params = json_loads(act->params, 0, NULL);
	bool good = sensible(params);

	(void)ctx;
	json_decref(params);
	return good ? answer(reply, OPSCASE_VALID, json_object()) : refuse(reply);
}

static int hello_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	json_t *params = json_loads(act->params, 0, NULL);
	json_t *now = line_now(ctx, json_string_value(json_object_get(params, "name")));
	bool there = now && json_equal(now, json_object_get(params, "line"));

	json_decref(params);
	if (!now)
		return problem(reply, OPSCASE_UNCLEAR, "the file cannot be read");
	return answer(reply, there ? OPSCASE_APPLIED : OPSCASE_NOT_APPLIED,
		      json_pack("{s:{s:O},s:{s:o}}", "binding", "line", now, "info", "line", now));
}

static int hello_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	json_t *params = json_loads(act->params, 0, NULL);
	const char *name = json_string_value(json_object_get(params, "name"));
	json_t *line = json_object_get(params, "line"), *now = line_now(ctx, name);
	json_t *diff = json_sprintf("%s: %s\n", name, json_string_value(line));
	int r;

	if (!now) /* there is no preview of a world that cannot be seen, and a lie is worse than none */
		r = problem(reply, OPSCASE_UNCLEAR, "the file cannot be read");
	else
		r = answer(reply, OPSCASE_WOULD_DO,
			   json_pack("{s:[{s:s,s:O,s:O}],s:O}", "changes", "what", name, "from", now, "to",
				     line, "diff", diff));
	json_decref(now);
	json_decref(diff);
	json_decref(params);
	return r;
}

/* Brings `line` into the file, whoever asks: run with the step's line, undo with the one of before. */
static int bring(struct hello *h, const struct opscase_action *act, const char *name, const json_t *line,
		 struct opscase_reply *reply)
{
	json_t *bound = act->expected_binding ? json_loads(act->expected_binding, 0, NULL) : NULL;
	json_t *expected = json_object_get(bound, "line"), *now = line_now(h, name);
	int r;

	if (!now)
		r = problem(reply, OPSCASE_NOT_APPLIED, "the file cannot be read"); /* nothing was written */
	else if (json_equal(now, line))
		r = answer(reply, OPSCASE_DONE, json_pack("{s:b,s:i}", "already", 1, "changed", 0));
	else if (expected && !json_equal(expected, now))
		r = answer(reply, OPSCASE_WORLD_CHANGED, json_pack("{s:{s:O}}", "found", "line", now));
	else if (put(h, name, line) != 0)
		r = problem(reply, OPSCASE_UNCLEAR, "writing"); /* the rename may have gone through */
	else
		r = answer(reply, OPSCASE_DONE, json_pack("{s:i}", "changed", 1));
	json_decref(now);
	json_decref(bound);
	return r;
}

static int hello_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	struct hello *h = ctx;
	json_t *params = json_loads(act->params, 0, NULL);
	json_int_t wait_ms = 1000 * json_integer_value(json_object_get(params, "wait_s"));
	bool good = sensible(params);
	int r;

	for (; good && wait_ms > 0 && !atomic_load(&h->stop); wait_ms -= 20)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	if (!good)
		r = refuse(reply);
	else if (atomic_load(&h->stop))
		r = answer(reply, OPSCASE_CANCELLED, json_pack("{s:s}", "error", "stopped before it wrote"));
	else
		r = bring(h, act, json_string_value(json_object_get(params, "name")),
			  json_object_get(params, "line"), reply);
	json_decref(params);
	return r;
}

static int hello_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	json_t *params = json_loads(act->params, 0, NULL),
	       *before = json_loads(act->before ? act->before : "", 0, NULL);
	json_t *line = json_object_get(before, "line");
	int r;

	if (line)
		r = bring(ctx, act, json_string_value(json_object_get(params, "name")), line, reply);
	else
		r = answer(reply, OPSCASE_REFUSED,
			   json_pack("{s:s}", "error", "nobody looked before the step ran"));
	json_decref(before);
	json_decref(params);
	return r;
}

/* From another thread. */
static void hello_cancel(void *ctx)
{
	atomic_store(&((struct hello *)ctx)->stop, true);
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = "hello",
	.version = "1",
	.manifest = manifest,
	.open = hello_open,
	.validate = hello_validate,
	.dry_run = hello_dry_run,
	.run = hello_run,
	.probe = hello_probe,
	.undo = hello_undo,
	.cancel = hello_cancel,
};
