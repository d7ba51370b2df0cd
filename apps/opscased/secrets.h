/* secrets.h - references become values: DIR/<tenant>/<adapter>/<name>, files that only this user can read. */
#pragma once
#include "executor/host.h"

/* For struct host_config; arg is the directory. OC_NOT_FOUND: there is none. OC_FORBIDDEN: others could read it. */
enum oc_err secret_from_dir(void *arg, const struct host_call *call, const char *adapter, const char *name,
			    char **ret_value, struct oc_fail *reterr);
