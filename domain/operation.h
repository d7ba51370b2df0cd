/* operation.h - what may be done: one value per operation that a loaded adapter offers.
 *
 * The list is closed: plans, templates, the model's schema, lint, policy and docs are all made from
 * it, and an action that is not in it does not exist. It is filled by the executor's registry from
 * the adapters' manifests, is never changed afterwards and may be read from any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

enum operation_blast { BLAST_NONE, BLAST_SERVICE, BLAST_HOST, BLAST_CLUSTER };
enum operation_isolation { ISOLATION_PROCESS, ISOLATION_SHARED };

/* Something that policy must allow on top of the operation itself. It is asked for when the params
 * have a value at `pointer` that is neither false nor null; a NULL pointer asks always. */
struct operation_need {
	char *name;    /* "script_body" */
	char *pointer; /* RFC 6901 into the params: "/script" */
};

struct operation {
	char *name;    /* "k8s.rollout"; what a plan's `action` says */
	char *adapter; /* "k8s" */
	char *adapter_version;
	char *summary;            /* one sentence for people and the model */
	char *params_schema_text; /* JSON Schema 2020-12 of the step's params */
	double risk;              /* 0..1, before anything is known about the target */
	bool reversible;          /* undo brings back what was ... */
	char *reversible_pointer; /* ... provided the params have a value here; NULL: always */
	bool repeatable;          /* running it twice does no harm */
	bool dedup;               /* the target itself knows the idempotency key */
	enum operation_blast blast;
	enum operation_isolation isolation;
	bool network;          /* may open connections, always ... */
	char *network_pointer; /* ... or where this boolean of the params says so; NULL: no such one */
	bool has_validate, has_dry_run, has_probe, has_undo;
	unsigned timeout_default_s, timeout_max_s;
	char **binding; /* fields of probe's binding that a decision is bound to */
	size_t binding_count;
	char **writes; /* those of them that the operation changes itself */
	size_t writes_count;
	char **secrets; /* names of the secrets that it may be given */
	size_t secrets_count;
	struct operation_need *needs;
	size_t needs_count;
};

struct operation_list {
	struct operation *item; /* sorted by name */
	size_t count;
};

/* NULL if no loaded adapter offers it. Lent. */
const struct operation *operation_find(const struct operation_list *list, const char *name);
const char *operation_blast_name(enum operation_blast blast);       /* "service" */
const char *operation_isolation_name(enum operation_isolation iso); /* "shared" */

/* A fresh, empty item at the end; the list is sorted by operation_list_sort when it is full. */
struct operation *operation_list_add(struct operation_list *list);
void operation_list_sort(struct operation_list *list);
void operation_list_done(struct operation_list *list);
