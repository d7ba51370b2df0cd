#include "ingest/window.h"
#include <stdio.h>
#include "base/mem.h"
#include "base/text.h"
#include "store/metric.h"

void window_config_default(struct window_config *c)
{
	if (c->bucket_s <= 0)
		c->bucket_s = 60;
	if (c->delay_s < 0)
		c->delay_s = 0;
	if (c->max_age_s == 0)
		c->max_age_s = 86400;
	if (c->max_ahead_s <= 0)
		c->max_ahead_s = 600;
	if (c->join_s <= 0)
		c->join_s = 15;
}

enum window_fit window_fit(const struct window_config *c, int bucket_s, int64_t time_us, int64_t stored_us)
{
	int64_t s = 1000000, step = bucket_s * s;

	if (time_us > stored_us + c->max_ahead_s * s)
		return WINDOW_AHEAD;
	if (c->max_age_s > 0 && time_us < stored_us - c->max_age_s * s)
		return WINDOW_LATE;
	if (c->drop_late && time_us - time_us % step + step + c->delay_s * s < stored_us)
		return WINDOW_LATE;
	return WINDOW_FITS;
}

/* ---- names */

struct name {
	char *urn;
	struct text type, name, env, region, zone, labels;
	bool bare; /* only its URN is known: somebody else's word for it */
	long long id;
	uint32_t next; /* in its slot; 0: the end, else index + 1 */
};

struct window_names {
	struct name *name;
	uint32_t count, cap;
	uint32_t slot[1024];
};

struct window_names *window_names_new(void)
{
	return mem_alloc(sizeof(struct window_names));
}

void window_names_free(struct window_names *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < n->count; i++) {
		struct name *x = &n->name[i];

		free(x->urn);
		text_done(&x->type);
		text_done(&x->name);
		text_done(&x->env);
		text_done(&x->region);
		text_done(&x->zone);
		text_done(&x->labels);
	}
	free(n->name);
	free(n);
}

static struct name *find(struct window_names *n, const char *urn, size_t len, bool *ret_new, uint32_t *ret)
{
	uint32_t *slot = &n->slot[tel_hash(0, urn, len) % ARRAY_LEN(n->slot)];

	for (uint32_t i = *slot; i; i = n->name[i - 1].next)
		if (strlen(n->name[i - 1].urn) == len && memcmp(n->name[i - 1].urn, urn, len) == 0) {
			*ret_new = false;
			*ret = i - 1;
			return &n->name[i - 1];
		}
	if (n->count == n->cap) {
		n->cap = n->cap ? n->cap * 2 : 16;
		n->name = mem_grow(n->name, n->cap, sizeof(*n->name));
	}
	n->name[n->count] = (struct name){ .urn = mem_strndup(urn, len), .next = *slot };
	*ret = n->count++;
	*slot = n->count;
	*ret_new = true;
	return &n->name[*ret];
}

static void set(struct text *t, struct tel_str s)
{
	if (s.n && !t->len)
		text_add_n(t, s.s, s.n);
}

uint32_t window_name(struct window_names *n, const struct tel_resource *r)
{
	bool fresh;
	uint32_t i;
	struct name *x = find(n, r->urn.s, r->urn.n, &fresh, &i);

	if (fresh || x->bare) {
		text_done(&x->type);
		text_done(&x->name);
		text_done(&x->labels);
		set(&x->type, r->urn_type);
		set(&x->name, r->name);
		set(&x->env, r->env);
		set(&x->region, r->region);
		set(&x->zone, r->zone);
		tel_attrs_json(r->attr, r->attrs, &x->labels);
		x->bare = false;
	}
	return i;
}

uint32_t window_name_urn(struct window_names *n, const char *urn, size_t len)
{
	bool fresh;
	uint32_t i;
	struct name *x = find(n, urn, len, &fresh, &i);

	if (fresh) {
		const char *rest = x->urn + strlen("urn:"), *colon = strrchr(rest, ':');

		text_add_n(&x->type, colon ? rest : "thing", colon ? (size_t)(colon - rest) : 5);
		text_add(&x->name, colon ? colon + 1 : rest);
		text_add(&x->labels, "{}");
		x->bare = true;
	}
	return i;
}

static const char *or_null(const struct text *t)
{
	return t->len ? t->s : NULL;
}

enum oc_err window_names_find(struct window_names *n, struct pg *pg, long long tenant_id,
			      struct oc_fail *reterr)
{
	struct text col[7] = { 0 };
	AUTO(pg_result) struct pg_result *r = NULL;
	const char *args[8];
	char tenant[24];
	uint32_t want = 0;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "%lld", tenant_id);
	args[0] = tenant;
	for (uint32_t i = 0; i < n->count; i++) {
		const struct name *x = &n->name[i];
		const char *value[7] = { x->urn,
					 text_str(&x->type),
					 text_str(&x->name),
					 or_null(&x->env),
					 or_null(&x->region),
					 or_null(&x->zone),
					 text_str(&x->labels) };

		if (x->id)
			continue;
		want++;
		for (size_t k = 0; k < ARRAY_LEN(col); k++)
			pg_array_add(&col[k], value[k]);
	}
	if (!want)
		return OC_OK;
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		args[k + 1] = pg_array_end(&col[k]);
	err = pg_query(pg, SQL_RESOURCE_UPSERT, args, ARRAY_LEN(args), &r, reterr);
	for (size_t k = 0; k < ARRAY_LEN(col); k++)
		text_done(&col[k]);
	if (err != OC_OK)
		return err;
	for (unsigned k = 0; k < pg_rows(r); k++) {
		const char *urn = pg_text(r, k, 0);
		uint32_t i;
		bool fresh;

		find(n, urn, strlen(urn), &fresh, &i);
		n->name[i].id = pg_int(r, k, 1);
	}
	/* somebody made it between our two looks: the next try sees it */
	for (uint32_t i = 0; i < n->count; i++)
		if (!n->name[i].id)
			return oc_fail(reterr, OC_CONFLICT, "the resource %s was being made by somebody else",
				       n->name[i].urn);
	return OC_OK;
}

long long window_name_id(const struct window_names *n, uint32_t i)
{
	return n->name[i].id;
}
