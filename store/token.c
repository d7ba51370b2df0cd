#include "store/token.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"

static const char *const role_names[] = { "viewer", "operator", "approver", "admin", "service" };

#define TS(col) "to_char(" col " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const char sql_create[] =
	"INSERT INTO api_token (id, tenant_id, name, role, token_hash, expires_at)"
	" VALUES ($1::uuid, $2::bigint, $3, $4, decode($5, 'hex'),"
	" CASE WHEN $6::bigint > 0 THEN now() + make_interval(secs => $6::bigint) END)"
	" ON CONFLICT DO NOTHING RETURNING id";
static const char sql_revoke[] =
	"UPDATE api_token SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1::uuid"
	" AND ($2::bigint = 0 OR tenant_id = $2::bigint) RETURNING id";
static const char sql_list[] =
	"SELECT coalesce(json_agg(json_build_object('id', a.id, 'tenant', t.code, 'name', a.name, 'role', a.role,"
	" 'created_at', " TS("a.created_at") ", 'expires_at', " TS("a.expires_at") ", 'revoked_at', " TS(
		"a.revoked_at") ", 'last_used_at', " TS("a.last_used_at") ") ORDER BY a.created_at, a.id), '[]')::text"
									  " FROM api_token a LEFT JOIN dim_tenant t USING (tenant_id)"
									  " WHERE $1::bigint = 0 OR a.tenant_id = $1::bigint";
static const char sql_find[] =
	"SELECT id, tenant_id, tenant, name, role, (extract(epoch FROM expires_at) * 1000000)::bigint,"
	" revoked_at IS NULL AND tenant_disabled_at IS NULL AND (expires_at IS NULL OR expires_at > now()),"
	" last_used_at IS NULL OR last_used_at < now() - interval '1 minute'"
	" FROM opscase_token_lookup(decode($1, 'hex'))";
static const char sql_used[] = "SELECT opscase_token_used($1::uuid)";

const char *token_role_name(enum token_role role)
{
	return role < ROLE_COUNT ? role_names[role] : "";
}

enum token_role token_role_parse(const char *name)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (str_eq(role_names[i], name))
			return i;
	return ROLE_COUNT;
}

/* base64url without padding. */
static void encode(const unsigned char *in, size_t n, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | in[i];
		for (have += 8; have >= 6; have -= 6)
			*out++ = digits[bits >> (have - 6) & 63];
	}
	if (have)
		*out++ = digits[bits << (6 - have) & 63];
	*out = '\0';
}

static bool name_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n < 1 || n > 100)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-", s[i]))
			return false;
	return true;
}

enum oc_err token_create(struct pg *pg, const struct token_new *t, char ret_token[TOKEN_TEXT],
			 char ret_id[UUID_TEXT], struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	unsigned char secret[32], hash[HASH_LEN];
	char token[TOKEN_TEXT] = "oct_", hex[HASH_HEX], id[UUID_TEXT], tenant[24], expires[24];
	enum oc_err err;

	if (!name_ok(t->name))
		return oc_fail_field(reterr, OC_INVALID, "/name",
				     "a name has 1 to 100 of a-z A-Z 0-9 . _ @ + -");
	if (t->role >= ROLE_COUNT)
		return oc_fail_field(reterr, OC_INVALID, "/role",
				     "a role is viewer, operator, approver, admin or service");
	/* A viewer or approver of everything would have no tenant whose rows it could see. */
	if (!t->tenant_id && t->role != ROLE_ADMIN && t->role != ROLE_SERVICE)
		return oc_fail_field(reterr, OC_INVALID, "/role",
				     "a token of the installation is admin or service; name a tenant for '%s'",
				     token_role_name(t->role));
	if (t->expires_s < 0 || t->expires_s > 100LL * 366 * 86400)
		return oc_fail_field(reterr, OC_INVALID, "/expires_s", "expires_s is from 0 to 100 years");
	hash_random(secret, sizeof(secret));
	encode(secret, sizeof(secret), token + 4);
	explicit_bzero(secret, sizeof(secret));
	hash_sha256(token, strlen(token), hash);
	str_hex(hash, HASH_LEN, hex);
	uuid_new(id);
	snprintf(tenant, sizeof(tenant), "%lld", t->tenant_id);
	snprintf(expires, sizeof(expires), "%lld", t->expires_s);
	err = pg_query(pg, sql_create,
		       PG_ARGS(id, t->tenant_id ? tenant : NULL, t->name, token_role_name(t->role), hex,
			       expires),
		       &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_CONFLICT, "/name",
				     "there is a token '%s' already; revoke it first", t->name);
	memcpy(ret_token, token, sizeof(token));
	memcpy(ret_id, id, sizeof(id));
	explicit_bzero(token, sizeof(token));
	return OC_OK;
}

enum oc_err token_revoke(struct pg *pg, long long tenant_id, const char *id, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, sql_revoke, PG_ARGS(id, tenant), &r, reterr);
	if (err == OC_OK && pg_rows(r) == 0)
		return oc_fail_field(reterr, OC_NOT_FOUND, "id", "no token '%s'", id);
	return err;
}

enum oc_err token_list(struct pg *pg, long long tenant_id, json_t **ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	err = pg_query(pg, sql_list, PG_ARGS(tenant), &r, reterr);
	return err == OC_OK ? json_read_own(pg_text(r, 0, 0), ret, reterr) : err;
}

enum oc_err token_find(struct pg *pg, const unsigned char hash[HASH_LEN], struct token *ret,
		       struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char hex[HASH_HEX];
	enum oc_err err;

	str_hex(hash, HASH_LEN, hex);
	err = pg_query(pg, sql_find, PG_ARGS(hex), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0 || !pg_bool(r, 0, 6))
		return oc_fail(reterr, OC_UNAUTHENTICATED, "%s", TOKEN_REFUSED);
	*ret = (struct token){ .tenant_id = pg_int(r, 0, 1),
			       .role = token_role_parse(pg_text(r, 0, 4)),
			       .expires_us = pg_int(r, 0, 5) };
	snprintf(ret->id, sizeof(ret->id), "%s", pg_text_or(r, 0, 0, ""));
	snprintf(ret->tenant, sizeof(ret->tenant), "%s", pg_text_or(r, 0, 2, ""));
	snprintf(ret->name, sizeof(ret->name), "%s", pg_text_or(r, 0, 3, ""));
	if (pg_bool(r, 0, 7)) {
		struct oc_fail ignored;

		/* Housekeeping for `opscase token list`: a replica that cannot write still lets people read. */
		(void)!pg_query(pg, sql_used, PG_ARGS(ret->id), NULL, &ignored);
	}
	return OC_OK;
}
