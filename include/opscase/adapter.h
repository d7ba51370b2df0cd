/* opscase/adapter.h - all that an adapter sees of opscase.
 *
 * An adapter is a shared object with one exported constant, `opscase_adapter`. It is loaded by
 * opscase-runner, a disposable child process, never by the service itself. Text goes both ways as
 * UTF-8 JSON; answers leave through the host's reply, so that no heap crosses the border.
 *
 * The host reads `abi` and `size` first. It refuses another major or a newer minor with a sentence,
 * and copies min(size, its own) into a zeroed view, so an older adapter keeps loading. Entries are
 * only ever added at the end, with a higher minor.
 *
 * Threads: one call at a time, except `cancel`, which may come from another thread while `run` or
 * `undo` is under way. Plain C11; no third-party type may appear here. */
#ifndef OPSCASE_ADAPTER_H
#define OPSCASE_ADAPTER_H

#include <stddef.h>
#include <stdint.h>

#define OPSCASE_ABI_MAJOR 1u
#define OPSCASE_ABI_MINOR 0u
#define OPSCASE_ABI       ((OPSCASE_ABI_MAJOR << 16) | OPSCASE_ABI_MINOR)

#if defined(__GNUC__)
#define OPSCASE_EXPORT __attribute__((visibility("default")))
#else
#define OPSCASE_EXPORT
#endif

/* What an entry answers. The number is part of the ABI. */
enum opscase_outcome {
	OPSCASE_VALID = 0,         /* validate: the params make sense                              */
	OPSCASE_REFUSED = 1,       /* the params are wrong; nothing was or will be done            */
	OPSCASE_WOULD_DO = 2,      /* dry_run: {"changes":[{"what","from","to"}...],"diff":text}   */
	OPSCASE_DONE = 3,          /* run, undo: the effect is in place                            */
	OPSCASE_NOT_APPLIED = 4,   /* run: certainly nothing happened, a retry is safe;
				     * probe: the wanted state is certainly not in place            */
	OPSCASE_APPLIED = 5,       /* probe: the wanted state (or this very action) is in place    */
	OPSCASE_FAILED = 6,        /* run: it was tried and failed; something may have changed     */
	OPSCASE_UNCLEAR = 7,       /* run, probe: nobody can say; the case will be parked          */
	OPSCASE_WORLD_CHANGED = 8, /* run: `expected_binding` no longer holds; nothing was done    */
	OPSCASE_CANCELLED = 9,     /* run: stopped by cancel before anything was applied           */
};

/* One step of a plan, lent for the call. Texts are never NULL unless it says so. */
struct opscase_action {
	uint32_t size;                /* of this struct, as the host knows it                     */
	const char *operation;        /* "k8s.rollout"; one of the manifest's operations          */
	const char *params;           /* JSON object; has passed the operation's schema           */
	const char *target;           /* JSON object {"urn": ..., ...} or "{}"                    */
	const char *idempotency_key;  /* the same for every try of this step; 64 hex digits       */
	const char *tenant;           /* tenant code                                              */
	const char *case_id;          /* UUID                                                     */
	const char *decision_id;      /* the gate decision that allows this, "" for a dry run     */
	const char *plan_hash;        /* SHA-256 of the canonical plan, hex                       */
	const char *expected_binding; /* JSON object from probe as the approver saw it, or NULL:
					 * run compares and sets where the target can               */
	const char *before;           /* what probe's `info` said before the step ran, or NULL:
					 * undo restores from it                                    */
	const char *secrets;          /* JSON object name -> value, "{}" where none were wanted   */
	const char *scratch_dir;      /* private directory of this call, removed afterwards       */
	int64_t deadline_ms;          /* milliseconds left when the call began                    */
};

/* The way back. `send` is called exactly once, with a JSON object; its return value is what the
 * entry returns. Longer answers than `limit` bytes are cut by the host and marked as cut. */
struct opscase_reply {
	uint32_t size;
	size_t limit;
	int (*send)(struct opscase_reply *reply, enum opscase_outcome outcome, const char *json);
	int (*progress)(struct opscase_reply *reply, const char *sentence); /* shown to people  */
};

struct opscase_adapter {
	uint32_t abi;         /* OPSCASE_ABI                                              */
	uint32_t size;        /* sizeof(struct opscase_adapter)                           */
	const char *name;     /* "k8s"                                                    */
	const char *version;  /* the adapter's own                                        */
	const char *manifest; /* JSON, see docs/adapters.md and contracts/manifest.schema.json */

	/* Optional: set up and tear down what calls share. `config` is the adapter's own object
	 * from the service's settings, "{}" if there is none. */
	int (*open)(void **ret_ctx, const char *config, struct opscase_reply *reply);
	/* Optional: what the schema cannot say. Answers VALID or REFUSED. No I/O. */
	int (*validate)(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);
	/* Optional: what `run` would do. Changes nothing. Absent means "no preview". */
	int (*dry_run)(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);
	/* Required. DONE, NOT_APPLIED, FAILED, UNCLEAR, WORLD_CHANGED or CANCELLED. */
	int (*run)(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);
	/* Optional: APPLIED, NOT_APPLIED or UNCLEAR with {"binding": {...}, "info": {...}}.
	 * `binding` is the state of the world a decision is bound to; `info` is for people and undo. */
	int (*probe)(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);
	/* Optional: bring back what `before` says. Outcomes as for run. */
	int (*undo)(void *ctx, const struct opscase_action *act, struct opscase_reply *reply);
	/* Optional: ask a running `run` or `undo` to stop. Returns at once. */
	void (*cancel)(void *ctx);
	void (*close)(void *ctx);
};

/* Every adapter defines exactly this symbol. */
extern OPSCASE_EXPORT const struct opscase_adapter opscase_adapter;

#endif
