/* registry.h - the closed list of what the loaded adapters can do.
 *
 * Made from the manifests of every .so in a folder. The service never loads a stranger's code to
 * learn it: `opscase-runner --describe FILE` is asked in a jailed child. A file that is refused is
 * kept with its sentence, and does not stop the others. Read-only once opened; any thread may read. */
#pragma once
#include "domain/operation.h"
#include "wire/json/schema.h"

struct registry;

struct registry_config {
	const char *runner_path; /* opscase-runner; NULL: beside this program, else in PATH */
	const char *dir;         /* folder of the .so files */
};

/* One per .so file, also the refused ones. */
struct registry_adapter {
	char *file; /* absolute path */
	char *name, *version, *summary;
	char *refusal;            /* one sentence, or NULL: it was taken */
	char *config_schema_text; /* of the adapter's own settings; "{}" allows anything */
	enum operation_isolation isolation;
	bool network;         /* some operation of it may open connections */
	bool scratch_only;    /* it is held to its scratch folder */
	bool wants_state_dir; /* its settings know `state_dir` */
	char **secrets;
	size_t secrets_count;
};

/* Fails only when the folder cannot be read or the runner cannot be started. */
MUST_CHECK enum oc_err registry_open(const struct registry_config *config, struct registry **ret,
				     struct oc_fail *reterr);
void registry_free(struct registry *registry);
DEFINE_AUTO(registry, struct registry *, registry_free);

const struct operation_list *registry_operations(const struct registry *registry);
size_t registry_adapter_count(const struct registry *registry);
const struct registry_adapter *registry_adapter_at(const struct registry *registry, size_t i);
const struct registry_adapter *registry_adapter_find(const struct registry *registry, const char *name);

/* OC_NOT_FOUND: no such operation. OC_INVALID: the params do not fit its schema; field is the pointer. */
MUST_CHECK enum oc_err registry_check_params(const struct registry *registry, const char *operation,
					     const char *params_text, struct schema_findings *ret,
					     struct oc_fail *reterr);
/* One file, for `opscase adapter check FILE`; OC_INVALID with the refusal's sentence. */
MUST_CHECK enum oc_err registry_check_file(const char *runner_path, const char *file, struct oc_fail *reterr);
