#include "analyst/silence.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/detector.h"
#include "store/signal.h"

#define AT_ONCE       500
#define USUAL_AFTER_S 86400

static uint64_t hash_of(const char *urn)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *urn; urn++)
		h = (h ^ (unsigned char)*urn) * UINT64_C(0x100000001b3);
	return h ? h : 1;
}

static void print_of(enum silence what, long long series_id, const char *urn, char out[129])
{
	if (what == SILENCE_TENANT)
		snprintf(out, 129, "silent:*");
	else if (what == SILENCE_RESOURCE)
		snprintf(out, 129, "silent:%.121s", urn);
	else
		snprintf(out, 129, "silent-series:%016llx", (unsigned long long)series_id);
}

static enum oc_err raise_silence(struct pg *pg, enum silence what, const struct pg_result *r, unsigned i,
				 int64_t closed_us, int debounce_s, struct oc_fail *reterr)
{
	const char *urn = pg_text(r, i, SL_URN), *metric = pg_text(r, i, SL_METRIC);
	char print[129], at[32];
	AUTO(str) char *title = NULL, *note = NULL;
	AUTO(json) json_t *labels = NULL, *links = NULL;

	print_of(what, pg_int(r, i, SL_SERIES), urn, print);
	clock_format(pg_int(r, i, SL_LAST_US), at, sizeof(at));
	if (what == SILENCE_TENANT)
		title = mem_printf("No telemetry any more, from any resource");
	else if (what == SILENCE_RESOURCE)
		title = mem_printf("Nothing is heard of %s any more", urn);
	else
		title = mem_printf("%s of %s is not sent any more", metric, urn);
	note = mem_printf("%s of %s was last seen at %s, for longer than it ever was away", metric, urn, at);
	labels = json_pack("{s:s, s:s}", "look", "gap", "metric", metric);
	if (what != SILENCE_TENANT)
		json_object_set_new(labels, "resource", json_string(urn));
	links = json_pack("[{s:s, s:{s:s, s:{s:s, s:I, s:s, s:s}}, s:s}]", "dim", "metric", "ref_pg", "table",
			  "metric_1m", "keys", "bucket", at, "series_id", (json_int_t)pg_int(r, i, SL_SERIES),
			  "resource", urn, "metric", metric, "note", note);
	return signal_raise(pg, pg_int(r, i, SL_TENANT),
			    &(struct signal_new){ .fingerprint = print,
						  .source = "analyst",
						  .kind = "anomaly",
						  .title = title,
						  .summary = note,
						  .resource = what == SILENCE_TENANT ? NULL : urn,
						  .severity = what == SILENCE_SERIES ? "WARN" : "ERROR",
						  .labels = labels,
						  .links = links,
						  .confidence = what == SILENCE_SERIES ? .3 : .8,
						  .at_us = closed_us,
						  .debounce_s = debounce_s },
			    NULL, reterr);
}

struct batch {
	struct watched *of[AT_ONCE];
	size_t n;
};
DEFINE_AUTO(batch, struct batch *, free);

static struct watched *in_batch(const struct batch *b, long long tenant_id, long long series_id)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->of[i]->series_id == series_id && b->of[i]->tenant_id == tenant_id)
			return b->of[i];
	return NULL;
}

static enum oc_err say(struct batch *b, struct pg *pg, int64_t closed_us, int debounce_s,
		       unsigned *ret_raised, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	AUTO(text) struct text tenants = { 0 }, series = { 0 }, last = { 0 };
	char closed[24], said[129] = "";
	long long said_tenant = 0;
	enum oc_err err;

	snprintf(closed, sizeof(closed), "%lld", (long long)closed_us);
	for (size_t i = 0; i < b->n; i++) {
		pg_array_addf(&tenants, "%lld", b->of[i]->tenant_id);
		pg_array_addf(&series, "%lld", b->of[i]->series_id);
		pg_array_addf(&last, "%lld", (long long)b->of[i]->upto_us);
	}
	err = pg_query(pg, SQL_SILENT,
		       PG_ARGS(pg_array_end(&tenants), pg_array_end(&series), pg_array_end(&last), closed),
		       &r, reterr);
	for (unsigned i = 0; err == OC_OK && i < pg_rows(r); i++) {
		struct watched *s = in_batch(b, pg_int(r, i, SL_TENANT), pg_int(r, i, SL_SERIES));
		enum silence what = !pg_bool(r, i, SL_TENANT_HEARD)     ? SILENCE_TENANT
				    : !pg_bool(r, i, SL_RESOURCE_HEARD) ? SILENCE_RESOURCE
									: SILENCE_SERIES;
		char print[129];

		if (!s)
			continue;
		print_of(what, s->series_id, pg_text(r, i, SL_URN), print);
		if (s->tenant_id != said_tenant || !str_eq(print, said)) {
			err = raise_silence(pg, what, r, i, closed_us, debounce_s, reterr);
			(*ret_raised)++;
		}
		if (err != OC_OK)
			break;
		snprintf(said, sizeof(said), "%s", print);
		said_tenant = s->tenant_id;
		s->kept.silent = (uint8_t)what;
		s->where = hash_of(pg_text(r, i, SL_URN));
	}
	/* What has no row (calls between services, rows that were pruned) is not held to come regularly. */
	for (size_t i = 0; err == OC_OK && i < b->n; i++) {
		if (b->of[i]->kept.silent == SILENCE_NONE)
			b->of[i]->kept.silent = SILENCE_USUAL;
		b->of[i]->dirty = true;
	}
	b->n = 0;
	return err;
}

/* Ends what `s` had raised. */
static enum oc_err end(const struct watched *s, struct pg *pg, const char *urn, int64_t at_us,
		       unsigned *ret_cleared, struct oc_fail *reterr)
{
	char print[129];
	bool was_open = false;
	enum oc_err err;

	print_of(s->kept.silent, s->series_id, urn, print);
	err = signal_clear(pg, s->tenant_id, print, at_us, &was_open, reterr);
	*ret_cleared += was_open;
	return err;
}

static enum oc_err grown_usual(struct watched *s, struct pg *pg, int64_t closed_us, struct oc_fail *reterr)
{
	AUTO(pg_result) struct pg_result *r = NULL;
	char tenant[24], series[24], at[24];
	unsigned cleared = 0;
	enum oc_err err;

	snprintf(tenant, sizeof(tenant), "{%lld}", s->tenant_id);
	snprintf(series, sizeof(series), "{%lld}", s->series_id);
	snprintf(at, sizeof(at), "{%lld}", (long long)s->upto_us);
	err = pg_query(pg, SQL_SILENT, PG_ARGS(tenant, series, at, "0"), &r, reterr);
	if (err == OC_OK && pg_rows(r))
		err = end(s, pg, pg_text(r, 0, SL_URN), closed_us, &cleared, reterr);
	if (err == OC_OK && s->kept.open) {
		char print[64];

		/* What it had said of its last samples nobody can take back any more. */
		snprintf(print, sizeof(print), "series:%016llx", (unsigned long long)s->series_id);
		err = signal_clear(pg, s->tenant_id, print, closed_us, NULL, reterr);
		s->kept.open = err != OC_OK;
	}
	if (err == OC_OK) {
		s->kept.silent = SILENCE_USUAL;
		s->dirty = true;
	}
	return err;
}

enum oc_err silence_pass(struct watched *table, size_t size, struct pg *pg, int64_t closed_us, int debounce_s,
			 unsigned *ret_raised, struct oc_fail *reterr)
{
	AUTO(batch) struct batch *b = mem_alloc(sizeof(*b));
	enum oc_err err = OC_OK;

	for (size_t i = 0; err == OC_OK && i < size; i++) {
		struct watched *s = &table[i];
		int64_t away_s = (closed_us - s->upto_us) / 1000000;

		if (!s->used || s->kept.silent == SILENCE_USUAL)
			continue;
		if (s->kept.silent != SILENCE_NONE) {
			if (away_s > USUAL_AFTER_S)
				err = grown_usual(s, pg, closed_us, reterr);
			continue;
		}
		if (!detector_gap(&s->kept.d, closed_us / 1000000))
			continue;
		/* Found dead long after, by whoever starts to lead. */
		if (away_s > USUAL_AFTER_S) {
			s->kept.silent = SILENCE_USUAL;
			s->dirty = true;
			continue;
		}
		b->of[b->n++] = s;
		if (b->n == AT_ONCE)
			err = say(b, pg, closed_us, debounce_s, ret_raised, reterr);
	}
	return err == OC_OK && b->n ? say(b, pg, closed_us, debounce_s, ret_raised, reterr) : err;
}

enum oc_err silence_over(struct watched *table, size_t size, struct watched *s, struct pg *pg,
			 const char *urn, int64_t at_us, unsigned *ret_cleared, struct oc_fail *reterr)
{
	enum silence what = s->kept.silent;
	enum oc_err err = OC_OK;

	if (what == SILENCE_NONE)
		return OC_OK;
	if (what != SILENCE_USUAL)
		err = end(s, pg, urn, at_us, ret_cleared, reterr);
	if (err != OC_OK)
		return err;
	s->kept.silent = SILENCE_NONE;
	/* The others that were silent with it are looked at anew: now they may be silent by themselves. */
	for (size_t i = 0; i < size && (what == SILENCE_TENANT || what == SILENCE_RESOURCE); i++)
		if (table[i].used && table[i].tenant_id == s->tenant_id && table[i].kept.silent == what &&
		    (what == SILENCE_TENANT || table[i].where == hash_of(urn)))
			table[i].kept.silent = SILENCE_NONE;
	return OC_OK;
}
