/* gateway.h - what the files of this adapter share: one call under way, and how it waits.
 *
 * A call belongs to the thread that runs it. `cancel` comes from another one and only sets a flag and
 * pokes an eventfd, which every wait here listens to. */
#ifndef ADAPTERS_GATEWAY_H
#define ADAPTERS_GATEWAY_H

#include <common/answer.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct gateway_ctx {
	json_t *gateways; /* name -> settings */
	int cancel_fd;
	atomic_bool cancelled;
};

struct gateway_call {
	struct gateway_ctx *ctx;
	const struct opscase_action *act;
	struct opscase_reply *reply;
	json_t *params;
	json_t *before;   /* undo: what probe said; NULL if nothing */
	json_t *expected; /* the expected binding; NULL if nothing is expected */
	const json_t *gateway_ref;
	const char *gateway_name;
	int64_t deadline_at_ms; /* on the monotonic clock */
	bool deaf;              /* past the point where a cancel would change anything */
};

enum gateway_wait { WAIT_READY, WAIT_TIME_OUT, WAIT_CANCELLED };

/* Waits for `fd` (or for nothing, if negative) at most `timeout_ms`, and never past the deadline. */
enum gateway_wait gateway_wait(struct gateway_call *call, int fd, short events, int64_t timeout_ms);
int64_t gateway_left_ms(const struct gateway_call *call);
bool gateway_cancelled(const struct gateway_call *call);
void gateway_progress(struct gateway_call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One text field of a JSON object, `fallback` if it is missing or no text. */
const char *gateway_text(const json_t *object, const char *name, const char *fallback);
int64_t gateway_number(const json_t *object, const char *name, int64_t fallback);

/* WORLD_CHANGED with both bindings. */
int gateway_world_changed(struct gateway_call *call, const json_t *expected, const json_t *found);

/* Locks the folder that holds `path` against other flips. Returns the lock's fd, or -1 with a sentence. */
int gateway_lock(struct gateway_call *call, const char *path, char *why, size_t why_size);

typedef int gateway_entry(struct gateway_call *call);
gateway_entry nginx_validate, nginx_dry_run, nginx_run, nginx_probe, nginx_undo;
gateway_entry haproxy_validate, haproxy_dry_run, haproxy_run, haproxy_probe, haproxy_undo;

#endif
