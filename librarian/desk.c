#include "librarian/desk.h"
#include "base/clock.h"
#include "base/mem.h"

static enum oc_err put(struct library *lib, struct pg *pg, long long tenant_id, const json_t *args,
		       json_t **ret, struct oc_fail *reterr)
{
	const json_t *list = json_object_get(args, "pages"), *keep = json_object_get(args, "keep"), *one;
	const char *source = json_str_or(args, "source", "");
	size_t count = json_array_size(list), i;
	AUTO(free) void *mem = mem_array(count ? count : 1, sizeof(struct library_page));
	struct library_page *pages = mem;
	struct library_sum sum = { 0 };
	unsigned retired = 0;
	long long doc = 0;
	enum oc_err err = OC_OK;

	json_array_foreach(list, i, one) pages[i] = (struct library_page){
		.url = json_str(one, "url"),
		.text = json_str(one, "text"),
		.source = source,
		.kind = json_str(one, "kind"),
		.service = json_str(one, "service"),
		.valid_from = json_str(one, "valid_from"),
		.valid_to = json_str(one, "valid_to"),
	};
	if (!count && !json_is_array(keep))
		return oc_fail_field(reterr, OC_INVALID, "/pages", "no pages were given");
	if (count)
		err = library_put(lib, pg, tenant_id, pages, count, &sum, &doc, reterr);
	if (err == OC_OK && json_is_array(keep)) {
		size_t n = json_array_size(keep);
		AUTO(free) void *urls_mem = mem_array(n ? n : 1, sizeof(char *));
		const char **urls = urls_mem;

		json_array_foreach(keep, i, one)
		{
			urls[i] = json_string_value(one);
			if (!urls[i])
				return oc_fail_field(reterr, OC_INVALID, "/keep", "addresses are texts");
		}
		if (!*source)
			return oc_fail_field(reterr, OC_INVALID, "/source",
					     "whose pages stay? keep needs a source");
		err = library_keep_only(lib, pg, tenant_id, source, urls, n, &retired, reterr);
	}
	if (err != OC_OK)
		return err;
	*ret = json_pack("{s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "doc_id", (json_int_t)doc, "changed",
			 (int)sum.pages, "same", (int)sum.same, "chunks_added", (int)sum.added, "chunks_kept",
			 (int)sum.kept, "chunks_dropped", (int)sum.dropped, "chunks_bare", (int)sum.bare,
			 "retired", (int)retired);
	return OC_OK;
}

static enum oc_err search(struct library *lib, struct pg *pg, long long tenant_id, const json_t *args,
			  json_t **ret, struct oc_fail *reterr)
{
	const char *how = json_str_or(args, "how", "fused"), *at = json_str(args, "at");
	struct library_question q = {
		.text = json_str(args, "q"),
		.service = json_str(args, "service"),
		.kind = json_str(args, "kind"),
		.limit = (unsigned)json_int_or(args, "limit", 10),
		.how = str_eq(how, "words")    ? LIBRARY_WORDS
		       : str_eq(how, "vector") ? LIBRARY_VECTOR
					       : LIBRARY_FUSED,
	};
	AUTO(str) char *note = NULL;
	json_t *hits = NULL;
	enum oc_err err;

	if (q.how == LIBRARY_FUSED && !str_eq(how, "fused"))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "how", "fused, words or vector");
	if (at && clock_parse(at, &q.at_us) != 0)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "at", "a time like 2026-01-02T03:04:05Z");
	err = library_ask(lib, pg, tenant_id, &q, &hits, &note, reterr);
	if (err != OC_OK)
		return err;
	*ret = json_pack("{s:o, s:s?}", "hits", hits, "note", note);
	return OC_OK;
}

enum oc_err desk_ask(struct library *lib, struct pg *pg, long long tenant_id, const char *what,
		     const json_t *args, const char *who, json_t **ret, struct oc_fail *reterr)
{
	enum oc_err err;

	if (str_eq(what, "put"))
		return put(lib, pg, tenant_id, args, ret, reterr);
	if (str_eq(what, "search"))
		return search(lib, pg, tenant_id, args, ret, reterr);
	if (str_eq(what, "list"))
		return library_list(pg, tenant_id, json_str(args, "state"),
				    (int)json_int_or(args, "limit", 100), ret, reterr);
	if (str_eq(what, "decide")) {
		err = library_decide(lib, pg, tenant_id, json_int_or(args, "doc_id", 0),
				     json_str_or(args, "state", ""), json_int_or(args, "by", 0), who, reterr);
		if (err == OC_OK)
			*ret = json_pack("{s:I, s:s}", "doc_id", (json_int_t)json_int_or(args, "doc_id", 0),
					 "state", json_str_or(args, "state", ""));
		return err;
	}
	if (str_eq(what, "embed")) {
		unsigned n = 0;

		err = library_embed(lib, pg, tenant_id, str_eq(json_str(args, "anew"), "yes"), NULL, &n,
				    reterr);
		if (err == OC_OK)
			*ret = json_pack("{s:i}", "chunks", (int)n);
		return err;
	}
	return oc_fail(reterr, OC_BUG, "the librarian does not know how to %s", what);
}
