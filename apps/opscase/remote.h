/* remote.h - a command's way to the service: where it is, who is asking, what it answered.
 *
 * Finds URL and token (remote_open), sends JSON, and turns problem documents into errors with everything that
 * helps: the fields at fault and the events that are legal now. A write carries an Idempotency-Key of its own,
 * so that it is tried again when nobody knows whether the first try arrived. */
#pragma once
#include "apps/opscase/cli.h"
#include "wire/http/client.h"

struct remote;
MUST_CHECK enum oc_err remote_open(const struct cli *cli, struct remote **ret, struct oc_fail *reterr);
void remote_close(struct remote *r);
DEFINE_AUTO(remote, struct remote *, remote_close);
const char *remote_url(const struct remote *r);
/* The tenant named, else "default" for an embedded installation; "" when the token says it. */
const char *remote_tenant(const struct remote *r);

struct remote_answer {
	int status;
	json_t *doc;  /* the whole document; NULL for none (304) */
	json_t *data; /* doc.data; lent from doc */
	char etag[64];
	unsigned retry_after_s;
};
void remote_answer_done(struct remote_answer *a);
static inline void oc_auto_remote_answer(struct remote_answer *a)
{
	remote_answer_done(a);
}

/* Body NULL: none. More than 399 is an error. etag (may be NULL) goes as If-None-Match. wait_s < 0: the service's
 * own (30 s). */
struct remote_call {
	const char *method, *path;
	const json_t *body;
	const char *etag;
	int wait_s;
	bool any_tenant; /* do not name a tenant that was not asked for */
	const char *key; /* Idempotency-Key; NULL: a new one */
};
MUST_CHECK enum oc_err remote_send(struct remote *r, const struct remote_call *call,
				   struct remote_answer *ret, struct oc_fail *reterr);
MUST_CHECK enum oc_err remote_get(struct remote *r, struct remote_answer *ret, struct oc_fail *reterr,
				  const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Bytes of any type, for the ways in; a service that is busy is asked again when it says so, for a minute. */
MUST_CHECK enum oc_err remote_post(struct remote *r, const char *path, const char *content_type,
				   const void *body, size_t len, struct http_answer *ret,
				   struct oc_fail *reterr);

/* A case as it was typed: an id, or `last`, the newest one. Fills 37 bytes. */
MUST_CHECK enum oc_err remote_case_id(struct remote *r, const char *typed, char ret_id[40],
				      struct oc_fail *reterr);
/* For query strings. */
void url_add(struct text *t, const char *value);
