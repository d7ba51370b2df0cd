/* token.h - bearer tokens: who is asking, in which role, for which tenant.
 *
 * A token is "oct_" and 43 characters of base64url (32 random bytes). Only its SHA-256 is stored; the
 * text is shown once. For connections as opscase_worker or opscase_owner, except token_find(). */
#pragma once
#include <stdint.h>
#include "base/uuid.h"
#include "wire/json/json.h"
#include "wire/pg/pg.h"

#define TOKEN_TEXT 48 /* "oct_", 43 characters, and the 0 */

enum token_role { ROLE_VIEWER, ROLE_OPERATOR, ROLE_APPROVER, ROLE_ADMIN, ROLE_SERVICE, ROLE_COUNT };
const char *token_role_name(enum token_role role);
enum token_role token_role_parse(const char *name); /* ROLE_COUNT if there is none */

struct token_new {
	long long tenant_id; /* 0: of the installation; then only admin and service */
	const char *name;    /* the principal; unique among the living of its tenant */
	enum token_role role;
	long long expires_s; /* from now; 0: never */
};
/* OC_CONFLICT when the name is taken, OC_INVALID. */
MUST_CHECK enum oc_err token_create(struct pg *pg, const struct token_new *t, char ret_token[TOKEN_TEXT],
				    char ret_id[UUID_TEXT], struct oc_fail *reterr);
/* tenant_id 0: any tenant's. OC_NOT_FOUND; revoking twice is fine. */
MUST_CHECK enum oc_err token_revoke(struct pg *pg, long long tenant_id, const char *id,
				    struct oc_fail *reterr);
/* Without the hashes; tenant_id 0: everything. */
MUST_CHECK enum oc_err token_list(struct pg *pg, long long tenant_id, json_t **ret, struct oc_fail *reterr);

/* The one sentence for every refusal: whether a token ever existed is nobody's business. */
#define TOKEN_REFUSED "the bearer token is unknown, revoked or expired"

struct token {
	char id[UUID_TEXT], tenant[64], name[128];
	long long tenant_id; /* 0: of the installation */
	enum token_role role;
	int64_t expires_us; /* 0: never */
};
/* By the SHA-256 of the token's text; one statement by opscase_token_lookup(), so opscase_api may ask as well.
 * OC_UNAUTHENTICATED for unknown, revoked, expired and of a disabled tenant alike. */
MUST_CHECK enum oc_err token_find(struct pg *pg, const unsigned char hash[HASH_LEN], struct token *ret,
				  struct oc_fail *reterr);
