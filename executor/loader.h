/* loader.h - takes an adapter's .so, or refuses it with one sentence.
 *
 * Runs in opscase-runner only: loading runs the file's constructors. The service learns what an
 * adapter offers from the runner's description and reads the manifest again itself. */
#pragma once
#include <opscase/adapter.h>
#include "domain/operation.h"

enum loader_refusal {
#define REFUSAL(id, key, sentence) id,
#include "executor/refusal.def"
#undef REFUSAL
	LOADER_REFUSALS
};

struct loader_fail {
	enum loader_refusal why;
	char text[768]; /* the sentence, with the detail in brackets */
};

const char *loader_key(enum loader_refusal why); /* "other_major" */
/* Fills `fail` and returns `why`; a NULL detail leaves the brackets out. */
enum loader_refusal loader_refuse(struct loader_fail *fail, enum loader_refusal why, const char *detail, ...)
	PRINTF_LIKE(3, 4);

/* What the manifest says, as values. */
struct manifest {
	char *name, *version, *summary;
	enum operation_isolation isolation;
	bool scratch_only;    /* "files": "scratch": it writes nowhere else, and is held to that */
	bool wants_state_dir; /* its settings know `state_dir` */
	char *config_schema_text;
	char **secrets;
	size_t secrets_count;
	struct operation_list operations; /* has_* are not set here: they are the struct's to say */
};

/* What is wrong with a manifest, or LOADER_TAKEN. Schemas are not compiled here. */
MUST_CHECK enum loader_refusal manifest_read(const char *text, struct manifest *ret,
					     struct loader_fail *reterr);
void manifest_done(struct manifest *manifest);

/* The struct as we know it: min(its size, ours) copied over zeroes. `symbol_size` is how long the
 * file says that the symbol is, 0 if unknown. Pure. */
MUST_CHECK enum loader_refusal loader_view(const void *symbol, size_t symbol_size,
					   struct opscase_adapter *ret, struct loader_fail *reterr);

struct loaded {
	void *dl; /* stays open for the life of the process */
	struct opscase_adapter view;
	struct manifest manifest;
};

MUST_CHECK enum loader_refusal loader_load(const char *file, struct loaded *ret, struct loader_fail *reterr);
