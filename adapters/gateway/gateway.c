/* gateway.c - the entries: finds the named gateway and hands the call to its kind. */
#include "gateway.h"

#include <gateway_manifest.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

static const struct gateway_kind {
	const char *name;
	gateway_entry *validate, *dry_run, *run, *probe, *undo;
} kinds[] = {
	{ "nginx",   nginx_validate,   nginx_dry_run,   nginx_run,   nginx_probe,   nginx_undo   },
	{ "haproxy", haproxy_validate, haproxy_dry_run, haproxy_run, haproxy_probe, haproxy_undo },
};

int64_t gateway_left_ms(const struct gateway_call *call)
{
	int64_t left = call->deadline_at_ms - answer_clock_ms();

	return left > 0 ? left : 0;
}

bool gateway_cancelled(const struct gateway_call *call)
{
	return !call->deaf && atomic_load(&call->ctx->cancelled);
}

enum gateway_wait gateway_wait(struct gateway_call *call, int fd, short events, int64_t timeout_ms)
{
	int64_t until = answer_clock_ms() + timeout_ms;

	if (until > call->deadline_at_ms)
		until = call->deadline_at_ms;
	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = call->ctx->cancel_fd, .events = POLLIN },
                        { .fd = fd,                   .events = events }
		};
		int64_t left = until - answer_clock_ms();
		int n;

		if (gateway_cancelled(call))
			return WAIT_CANCELLED;
		if (left < 0)
			return WAIT_TIME_OUT;
		if (call->deaf)
			fds[0].fd = -1;
		n = poll(fds, 2, left > INT_MAX ? INT_MAX : (int)left);
		if (gateway_cancelled(call))
			return WAIT_CANCELLED;
		if (n > 0 && fds[1].revents)
			return WAIT_READY;
		if (n == 0)
			return WAIT_TIME_OUT;
	}
}

void gateway_progress(struct gateway_call *call, const char *format, ...)
{
	char sentence[512];
	va_list args;

	if (!call->reply->progress)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	call->reply->progress(call->reply, sentence);
}

const char *gateway_text(const json_t *object, const char *name, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : fallback;
}

int64_t gateway_number(const json_t *object, const char *name, int64_t fallback)
{
	const json_t *value = json_object_get(object, name);

	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

int gateway_world_changed(struct gateway_call *call, const json_t *expected, const json_t *found)
{
	return answer(call->reply, OPSCASE_WORLD_CHANGED,
		      json_pack("{s:s, s:{s:O?}, s:{s:O?}}", "error",
				"the servers are not what they were when this was decided; nothing was done",
				"expected", "servers", expected, "found", "servers", found));
}

int gateway_lock(struct gateway_call *call, const char *path, char *why, size_t why_size)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(dir, sizeof dir, "%.*s", slash && slash != path ? (int)(slash - path) : 1,
		 slash ? path : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, why_size, "cannot open the folder '%s': %s", dir, strerror(errno));
		return -1;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		const char *what = errno != EWOULDBLOCK && errno != EINTR ? strerror(errno) : NULL;
		enum gateway_wait w = what ? WAIT_READY : gateway_wait(call, -1, 0, 20);

		if (what || w == WAIT_CANCELLED || gateway_left_ms(call) == 0) {
			snprintf(why, why_size, "cannot lock the folder '%s': %s", dir,
				 what                  ? what
				 : w == WAIT_CANCELLED ? "cancelled while another flip held it"
						       : "another flip holds it");
			close(fd);
			return -1;
		}
	}
	return fd;
}

/* "edge, lb", for the sentence that says which names there are. */
static void name_list(const json_t *gateways, char *list, size_t size)
{
	const char *name;
	json_t *value;
	size_t used = 0;

	list[0] = '\0';
	json_object_foreach((json_t *)gateways, name, value)
	{
		int n = snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);

		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
}

enum entry { ENTRY_VALIDATE, ENTRY_DRY_RUN, ENTRY_RUN, ENTRY_PROBE, ENTRY_UNDO };

static int dispatch(struct gateway_call *call, enum entry entry)
{
	const char *wants = gateway_text(call->params, "kind", NULL);
	const char *is;

	call->gateway_name = gateway_text(call->params, "gateway", "");
	call->gateway_ref = json_object_get(call->ctx->gateways, call->gateway_name);
	if (!json_is_object(call->gateway_ref)) {
		char list[512];

		name_list(call->ctx->gateways, list, sizeof list);
		return answer_error(call->reply, OPSCASE_REFUSED,
				    "no gateway is named '%s'; the settings of the gateway adapter have: %s",
				    call->gateway_name, list[0] ? list : "none");
	}
	is = gateway_text(call->gateway_ref, "kind", "");
	if (wants && strcmp(wants, is) != 0)
		return answer_error(call->reply, OPSCASE_REFUSED,
				    "gateway '%s' is of kind %s, but the step takes it for %s",
				    call->gateway_name, is, wants);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct gateway_kind *k = &kinds[i];
		gateway_entry *does[] = { k->validate, k->dry_run, k->run, k->probe, k->undo };

		if (strcmp(k->name, is) == 0)
			return does[entry](call);
	}
	return answer_error(call->reply, OPSCASE_REFUSED, "gateway '%s' is of a kind that is not known: '%s'",
			    call->gateway_name, is);
}

static int enter(void *ctx, const struct opscase_action *act, struct opscase_reply *reply, enum entry entry)
{
	struct gateway_ctx *gw = ctx;
	struct gateway_call call = { .ctx = gw, .act = act, .reply = reply };
	uint64_t drop;
	int r;

	atomic_store(&gw->cancelled, false);
	if (read(gw->cancel_fd, &drop, sizeof drop) < 0 && errno != EAGAIN)
		return answer_error(reply, OPSCASE_NOT_APPLIED, "eventfd: %s", strerror(errno));
	call.deadline_at_ms = answer_clock_ms() + (act->deadline_ms > 0 ? act->deadline_ms : 0);
	call.params = answer_object(act->params);
	call.before = answer_object(act->before);
	call.expected = answer_object(act->expected_binding);
	if (!call.params || strcmp(act->operation, "gateway.flip") != 0)
		r = answer_error(reply, OPSCASE_REFUSED,
				 "this adapter does gateway.flip, with an object of params");
	else if (act->expected_binding && !call.expected)
		r = answer_error(reply, OPSCASE_REFUSED, "the expected binding is not a JSON object");
	else
		r = dispatch(&call, entry);
	json_decref(call.params);
	json_decref(call.before);
	json_decref(call.expected);
	return r;
}

static void gateway_close(void *ctx)
{
	struct gateway_ctx *gw = ctx;

	if (!gw)
		return;
	json_decref(gw->gateways);
	if (gw->cancel_fd >= 0)
		close(gw->cancel_fd);
	free(gw);
}

static int gateway_open(void **ret_ctx, const char *config, struct opscase_reply *reply)
{
	json_t *settings = answer_object(config && *config ? config : "{}");
	struct gateway_ctx *gw = calloc(1, sizeof *gw);

	if (!settings || !gw) {
		json_decref(settings);
		free(gw);
		return answer_error(reply, OPSCASE_REFUSED,
				    "the settings of the gateway adapter are not a JSON object");
	}
	gw->gateways = json_incref(json_object_get(settings, "gateways"));
	json_decref(settings);
	gw->cancel_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (gw->cancel_fd < 0) {
		gateway_close(gw);
		return answer_error(reply, OPSCASE_REFUSED, "eventfd: %s", strerror(errno));
	}
	*ret_ctx = gw;
	return reply->send(reply, OPSCASE_VALID, "{}");
}

static int gateway_validate(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_VALIDATE);
}

static int gateway_dry_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_DRY_RUN);
}

static int gateway_run(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_RUN);
}

static int gateway_probe(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_PROBE);
}

static int gateway_undo(void *ctx, const struct opscase_action *act, struct opscase_reply *reply)
{
	return enter(ctx, act, reply, ENTRY_UNDO);
}

static void gateway_cancel(void *ctx)
{
	struct gateway_ctx *gw = ctx;
	uint64_t one = 1;

	atomic_store(&gw->cancelled, true);
	if (write(gw->cancel_fd, &one, sizeof one) < 0)
		return; /* full means that it is readable already */
}

OPSCASE_EXPORT const struct opscase_adapter opscase_adapter = {
	.abi = OPSCASE_ABI,
	.size = sizeof(struct opscase_adapter),
	.name = "gateway",
	.version = "1",
	.manifest = gateway_manifest,
	.open = gateway_open,
	.validate = gateway_validate,
	.dry_run = gateway_dry_run,
	.run = gateway_run,
	.probe = gateway_probe,
	.undo = gateway_undo,
	.cancel = gateway_cancel,
	.close = gateway_close,
};
