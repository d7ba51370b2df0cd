/* peer.h - the API server of the tests, and the adapter as the host sees it: loaded with dlopen. */
#ifndef K8S_TESTS_PEER_H
#define K8S_TESTS_PEER_H

#include <opscase/adapter.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
	pid_t pid;
	int life; /* it ends when this closes */
	char dir[64], server[128], ca_file[256], token[128];
	json_t *started;
};

/* What an entry answered. */
struct said {
	struct opscase_reply reply; /* first: `send` finds the rest through it */
	enum opscase_outcome outcome;
	json_t *body;
	int answers, sentences;
	int64_t took_ms;
};

struct rig {
	struct peer peer;
	void *so;
	const struct opscase_adapter *a;
	void *ctx;
	struct said said; /* of the last call */
	/* of the next call; kept until changed */
	const char *key, *token;
	json_t *expected, *before;
	int64_t deadline_ms;
};

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KEY_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

enum entry { VALIDATE, DRY_RUN, RUN, PROBE, UNDO };

/* False where the machine has no node or openssl: the test skips itself. */
bool rig_start(struct rig *rig);
void rig_stop(struct rig *rig);
/* Opens the adapter anew with other settings; NULL: the usual ones. Answers what open said. */
enum opscase_outcome rig_open(struct rig *rig, const char *config);

/* `params` is JSON with ' for ". The answer stays in rig->said. */
enum opscase_outcome rig_call(struct rig *rig, enum entry entry, const char *params);
/* The same in another thread, cancelled after `after_ms`. */
enum opscase_outcome rig_call_and_cancel(struct rig *rig, enum entry entry, const char *params, int after_ms);
/* What a probe says, kept as `before` for undo and returned (lent). */
const json_t *rig_remember(struct rig *rig, const char *params);

/* "error" of the last answer, or "". */
const char *rig_error(const struct rig *rig);
/* A value of the last answer at a path like "rollout/state"; NULL if there is none. */
const json_t *rig_value(const struct rig *rig, const char *path);
const char *rig_text(const struct rig *rig, const char *path);

/* --- the world behind the API server */
void peer_fault(struct rig *rig, const char *fault);                      /* JSON with ' for "  */
void peer_change(struct rig *rig, const char *change);                    /* somebody else      */
char *peer_state(struct rig *rig);                                        /* free() it          */
int64_t peer_effects(struct rig *rig);                                    /* writes by clients  */
json_t *peer_get(struct rig *rig, const char *path);                      /* NULL on 404        */
json_t *peer_object(struct rig *rig, const char *kind, const char *name); /* in namespace shop */
/* Waits until `kind/name` has rolled out (for the start of a test). */
void peer_settle(struct rig *rig, const char *kind, const char *name);

#endif
