/* auth.h - who is asking: bearer token → principal, role, tenant.
 *
 * A token is looked up by its SHA-256 and kept for a second, so that a revocation is seen within about
 * that time, and at once in the process that made it (auth_forget). Thread-safe. */
#pragma once
#include "store/token.h"
#include "wire/pg/pg.h"

struct auth;
struct auth *auth_new(struct pg_pool *pool_ref);
void auth_free(struct auth *a);
/* `header` is the Authorization header or NULL. OC_UNAUTHENTICATED with one sentence for all reasons. */
MUST_CHECK enum oc_err auth_check(struct auth *a, const char *header, struct token *ret,
				  struct oc_fail *reterr);
void auth_forget(struct auth *a);
