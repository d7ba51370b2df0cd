/* world.h - the adapters as the other rooms see them: rooms do not know each other, so the calls meet here. */
#pragma once
#include "executor/host.h"
#include "executor/role.h"
#include "gatekeeper/role.h"
#include "verifier/role.h"

struct world {
	struct host *host;
	const struct operation_list *operations;
	struct gate *gate;
	struct verifier *verifier;
};

struct gate_world world_for_gate(struct world *w);
struct verify_world world_for_verifier(struct world *w);
/* For struct executor_config; ctx is the world. */
enum oc_err world_may_begin(void *ctx, struct pg *pg, const struct exec_permit *ask, struct exec_leave *ret,
			    struct oc_fail *reterr);
enum oc_err world_hold(void *ctx, const struct exec_hold *ask, char ret_verdict[32], char ret_sentence[512],
		       struct oc_fail *reterr);
