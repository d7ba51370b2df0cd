#include "store/dead_letter.h"
#include "base/mem.h"

#define COLUMNS(record)                                                                              \
	"SELECT id, kind, source, reason, " record ", ref_id, "                                      \
	"to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "              \
	"to_char(replayed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), replayed_by " \
	"FROM dead_letter WHERE tenant_id = $1::bigint "

static const char SQL_LIST[] = COLUMNS(
	"left(body, 200)") "AND ($2::text IS NULL OR kind = $2) AND ($3::bool OR replayed_at IS NULL) AND ($4::bigint = 0 OR id < $4)"
			   " ORDER BY id DESC LIMIT $5::int";
static const char SQL_READ[] = COLUMNS("body") "AND id = $2::bigint";

static const char SQL_CLAIM[] =
	"UPDATE dead_letter SET replayed_at = now(), replayed_by = $3 WHERE tenant_id = $1::bigint AND id = $2::bigint"
	" AND replayed_at IS NULL RETURNING kind, source, body, ref_id";

/* Errands and events only: what a state asked for is asked for again by the case's own events, which are gated. */
static const char SQL_REOPEN[] =
	"UPDATE outbox SET done_at = NULL, attempts = 0, not_before = NULL, lease_token = NULL, lease_until = NULL,"
	" published_at = NULL WHERE id = $2::bigint AND tenant_id = $1::bigint AND done_at IS NOT NULL"
	" AND (kind = 'e' OR kind = 'c' AND topic IN ('cmd.notify', 'cmd.learn')) RETURNING id";

static json_t *row_json(const struct pg_result *r, unsigned i)
{
	static const char *const names[] = { "kind", "source", "reason", "record" };
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(pg_int(r, i, 0)));
	for (unsigned c = 0; c < ARRAY_LEN(names); c++)
		json_put(o, names[c], pg_text(r, i, 1 + c));
	if (pg_text(r, i, 5))
		json_object_set_new(o, "message_id", json_integer(pg_int(r, i, 5)));
	json_put(o, "created_at", pg_text(r, i, 6));
	json_put(o, "replayed_at", pg_text(r, i, 7));
	json_put(o, "replayed_by", pg_text(r, i, 8));
	return o;
}

enum oc_err dead_list(struct pg *pg, long long tenant_id, const struct dead_filter *f, json_t **ret,
		      long long *ret_more, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], before[24], limit[16];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(before, sizeof(before), "%lld", f->before);
	snprintf(limit, sizeof(limit), "%d", f->limit + 1);
	err = pg_query(pg, SQL_LIST, PG_ARGS(tenant, f->kind, f->replayed ? "t" : "f", before, limit), &r,
		       reterr);
	if (err != OC_OK)
		return err;
	*ret = json_array();
	*ret_more = 0;
	for (unsigned i = 0; i < pg_rows(r) && i < (unsigned)f->limit; i++)
		json_array_append_new(*ret, row_json(r, i));
	if (pg_rows(r) > (unsigned)f->limit)
		*ret_more = pg_int(r, (unsigned)f->limit - 1, 0);
	return OC_OK;
}

static enum oc_err no_such(long long id, struct oc_fail *reterr)
{
	return oc_fail_field(reterr, OC_NOT_FOUND, "id", "no dead letter %lld in this tenant", id);
}

enum oc_err dead_read(struct pg *pg, long long tenant_id, long long id, json_t **ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], text[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(text, sizeof(text), "%lld", id);
	err = pg_query(pg, SQL_READ, PG_ARGS(tenant, text), &r, reterr);
	if (err != OC_OK)
		return err;
	if (pg_rows(r) == 0)
		return no_such(id, reterr);
	*ret = row_json(r, 0);
	return OC_OK;
}

void dead_letter_done(struct dead_letter *d)
{
	free(d->kind);
	free(d->source);
	free(d->body);
	*d = (struct dead_letter){ 0 };
}

enum oc_err dead_claim(struct pg *pg, long long tenant_id, long long id, const char *who,
		       struct dead_letter *ret, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(json) json_t *seen = NULL;
	char tenant[24], text[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(text, sizeof(text), "%lld", id);
	err = pg_query(pg, SQL_CLAIM, PG_ARGS(tenant, text, who), &r, reterr);
	if (err == OC_OK && pg_rows(r) == 0) {
		err = dead_read(pg, tenant_id, id, &seen, reterr);
		if (err == OC_OK)
			err = oc_fail(reterr, OC_CONFLICT,
				      "dead letter %lld was sent again already, at %s by %s", id,
				      json_str_or(seen, "replayed_at", "?"),
				      json_str_or(seen, "replayed_by", "somebody"));
	}
	if (err != OC_OK)
		return err;
	*ret = (struct dead_letter){ .kind = mem_strdup(pg_text_or(r, 0, 0, "")),
				     .source = mem_strdup(pg_text_or(r, 0, 1, "")),
				     .body = mem_strdup(pg_text_or(r, 0, 2, "")),
				     .ref_id = pg_int(r, 0, 3) };
	return OC_OK;
}

enum oc_err dead_reopen(struct pg *pg, long long tenant_id, const struct dead_letter *d,
			struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], ref[24];
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	snprintf(ref, sizeof(ref), "%lld", d->ref_id);
	err = pg_query(pg, SQL_REOPEN, PG_ARGS(tenant, ref), &r, reterr);
	if (err != OC_OK || pg_rows(r) > 0)
		return err;
	if (str_eq(d->kind, "command") && !str_eq(d->source, "cmd.notify") && !str_eq(d->source, "cmd.learn"))
		return oc_fail(
			reterr, OC_CONFLICT,
			"%s is what a state of the case asked for; the case says how it goes on: opscase case show",
			d->source);
	return oc_fail(reterr, OC_CONFLICT, "the message behind it is gone, or open");
}
