#define LOG_ROOM "api"
#include "api/auth.h"
#include <pthread.h>
#include <strings.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define SLOTS   256
#define KEEP_US 1000000

struct slot {
	unsigned char hash[HASH_LEN];
	struct token token;
	int64_t until_us;
};

struct auth {
	struct pg_pool *pool_ref;
	pthread_mutex_t lock;
	unsigned long generation; /* grows when all is forgotten: a lookup under way must not bring it back */
	struct slot slot[SLOTS];
};

struct auth *auth_new(struct pg_pool *pool_ref)
{
	struct auth *a = mem_alloc(sizeof(*a));

	a->pool_ref = pool_ref;
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void auth_forget(struct auth *a)
{
	pthread_mutex_lock(&a->lock);
	a->generation++;
	for (size_t i = 0; i < SLOTS; i++)
		a->slot[i].until_us = 0;
	pthread_mutex_unlock(&a->lock);
}

static enum oc_err ask(struct auth *a, const unsigned char hash[HASH_LEN], struct token *ret,
		       struct oc_fail *reterr)
{
	struct pg *pg = NULL;
	enum oc_err err = pg_pool_take(a->pool_ref, 2000, &pg, reterr);

	if (err != OC_OK) {
		log_warn("no connection: %s", reterr->text);
		return oc_fail(reterr, OC_UNAVAILABLE, "the database does not answer now, or is busy");
	}
	err = token_find(pg, hash, ret, reterr);
	pg_pool_give(a->pool_ref, pg);
	return err;
}

enum oc_err auth_check(struct auth *a, const char *header, struct token *ret, struct oc_fail *reterr)
{
	const char *token = header;
	unsigned char hash[HASH_LEN];
	struct slot *slot;
	unsigned long generation;
	int64_t now = clock_mono_us();
	bool found = false;
	enum oc_err err;

	if (!header || strncasecmp(header, "Bearer ", 7) != 0)
		return oc_fail(reterr, OC_UNAUTHENTICATED, "send `Authorization: Bearer oct_...`");
	for (token += 7; *token == ' '; token++)
		;
	/* What cannot be a token is not worth a look into the database. The answer is the same. */
	if (strlen(token) != TOKEN_TEXT - 1 || !str_starts(token, "oct_"))
		return oc_fail(reterr, OC_UNAUTHENTICATED, "%s", TOKEN_REFUSED);
	hash_sha256(token, strlen(token), hash);
	slot = &a->slot[hash[0] % SLOTS];
	pthread_mutex_lock(&a->lock);
	generation = a->generation;
	if (slot->until_us > now && memcmp(slot->hash, hash, HASH_LEN) == 0) {
		*ret = slot->token;
		found = true;
	}
	pthread_mutex_unlock(&a->lock);
	if (found && (!ret->expires_us || ret->expires_us > clock_wall_us()))
		return OC_OK;

	err = ask(a, hash, ret, reterr);
	if (err != OC_OK)
		return err;
	pthread_mutex_lock(&a->lock);
	if (a->generation == generation) {
		memcpy(slot->hash, hash, HASH_LEN);
		slot->token = *ret;
		slot->until_us = now + KEEP_US;
	}
	pthread_mutex_unlock(&a->lock);
	return OC_OK;
}
