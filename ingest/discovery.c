#define LOG_ROOM "topology"
#include "ingest/discovery.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/log.h"
#include "base/mem.h"
#include "store/topology.h"

#define SHRINK_DEFAULT 0.5
#define FILE_MAX       ((size_t)1 << 20) /* of a folder's files: what is larger is no description */

static json_t *resources_json(const struct topo *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->resource_count; i++) {
		const struct topo_resource *r = &t->resource[i];

		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s?,s:s?,s:s,s:O,s:O}", "urn", r->urn,
						      "type", r->type, "name", r->name, "region", r->region,
						      "zone", r->zone, "address", r->address, "labels",
						      r->labels, "versions", r->versions));
	}
	return list;
}

static json_t *edges_json(const struct topo *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->edge_count; i++)
		json_array_append_new(list,
				      json_pack("{s:s,s:s,s:s,s:s?}", "src", t->resource[t->edge[i].src].urn,
						"dst", t->resource[t->edge[i].dst].urn, "relation",
						t->edge[i].relation, "via", t->edge[i].via));
	return list;
}

static json_t *changes_json(const struct topo *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->change_count; i++)
		json_array_append_new(list,
				      json_pack("{s:s,s:s,s:s,s:O?,s:O?}", "urn", t->change[i].urn, "name",
						t->change[i].name, "action", t->change[i].action, "was",
						t->change[i].was, "is", t->change[i].is));
	return list;
}

static enum oc_err store_it(struct pg *pg, const struct topo *t, const char *hash,
			    const struct discovery_ask *ask, json_t **ret_answer, struct oc_fail *reterr)
{
	AUTO(json) json_t *resources = resources_json(t);
	AUTO(json) json_t *edges = edges_json(t);
	/* what a plan would do has not happened */
	AUTO(json) json_t *changes = ask->how.applied ? changes_json(t) : json_array();
	struct topology_report report;
	enum oc_err err = topology_apply(pg,
					 &(struct topology_reading){ .tenant_id = ask->tenant_id,
								     .source = t->source,
								     .stack = t->stack,
								     .at_us = ask->at_us,
								     .resources = resources,
								     .edges = edges,
								     .changes = changes,
								     .document_hash = hash,
								     .shrink_max = ask->force ? 1
										   : ask->shrink_max > 0
											   ? ask->shrink_max
											   : SHRINK_DEFAULT,
								     .events = true },
					 &report, reterr);

	if (err != OC_OK)
		return err;
	if (report.sentence[0])
		log_warn("%s '%s': %s", t->source, t->stack, report.sentence);
	*ret_answer = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s?,s:O}", "source", t->source,
				"format", t->format, "stack", t->stack, "status", report.status, "resources",
				(json_int_t)report.resources, "edges", (json_int_t)report.edges, "opened",
				(json_int_t)report.opened, "closed", (json_int_t)report.closed, "kept",
				(json_int_t)report.kept, "deployments", (json_int_t)report.changes,
				"sentence", report.sentence[0] ? report.sentence : NULL, "notes", t->notes);
	return OC_OK;
}

static void write_failure(struct pg *pg, const struct topo_file *files, size_t count,
			  const struct discovery_ask *ask, const struct oc_fail *why)
{
	bool json = count == 1 && files[0].text[strspn(files[0].text, " \t\r\n")] == '{';
	struct oc_fail fail;

	if (topology_failed(pg, ask->tenant_id, json ? "iac" : "ansible",
			    ask->how.stack ? ask->how.stack : "default", why->text, &fail) != OC_OK)
		log_warn("%s", fail.text);
}

enum oc_err discovery_run(struct pg_pool *pool, const struct topo_file *files, size_t count,
			  const struct discovery_ask *ask, json_t **ret_answer, struct oc_fail *reterr)
{
	AUTO(topo) struct topo t = { 0 };
	struct pg *pg = NULL;
	struct oc_fail why = { 0 };
	char hash[HASH_HEX] = "";
	enum oc_err read = topology_read(files, count, &ask->how, &t, &why), err;

	if (read == OC_OK && ask->dry_run) {
		*ret_answer = topo_json(&t);
		return OC_OK;
	}
	if (count == 1)
		hash_sha256_hex(files[0].text, files[0].len, hash);
	err = read == OC_OK || !ask->dry_run ? pg_pool_take(pool, 2000, &pg, reterr) : OC_OK;
	if (err == OC_OK && read == OC_OK)
		err = store_it(pg, &t, hash, ask, ret_answer, reterr);
	else if (err == OC_OK && pg)
		write_failure(pg, files, count, ask, &why);
	if (pg)
		pg_pool_give(pool, pg);
	if (read != OC_OK) {
		if (reterr)
			*reterr = why;
		return read;
	}
	return err;
}

enum oc_err discovery_files(const char *body, size_t len, json_t **ret_doc, struct topo_file **ret,
			    size_t *ret_count, struct oc_fail *reterr)
{
	const struct json_limits limits = { .bytes = TOPO_BYTES_MAX, .depth = 64 };
	AUTO(json) json_t *doc = NULL;
	const json_t *list, *one;
	struct topo_file *files;
	size_t i;

	if (strlen(body) == len && body[strspn(body, " \t\r\n")] == '{' &&
	    json_read(body, len, &limits, &doc, NULL) == OC_OK &&
	    json_is_array(json_object_get(doc, "files"))) {
		list = json_object_get(doc, "files");
		if (json_array_size(list) > TOPO_FILES_MAX)
			return oc_fail_field(reterr, OC_TOO_LARGE, "/files", "more than %d files",
					     TOPO_FILES_MAX);
		json_array_foreach(list, i, one)
		{
			if (str_empty(json_str(one, "path")) || !json_str(one, "text") ||
			    strlen(json_str(one, "path")) > 1000)
				return oc_fail_field(reterr, OC_INVALID, "/files",
						     "/files/%zu is {\"path\": .., \"text\": ..}", i);
		}
		files = mem_array(json_array_size(list) + 1, sizeof(*files));
		json_array_foreach(list, i, one)
			files[i] = (struct topo_file){ .path = json_str(one, "path"),
						       .text = json_str(one, "text"),
						       .len = strlen(json_str(one, "text")) };
		*ret_count = json_array_size(list);
		*ret = files;
		*ret_doc = TAKE(doc);
		return OC_OK;
	}
	if (strlen(body) != len)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "body", "the body has a NUL in it");
	files = mem_array(1, sizeof(*files));
	files[0] = (struct topo_file){ .path = "document", .text = body, .len = len };
	*ret = files;
	*ret_count = 1;
	*ret_doc = NULL;
	return OC_OK;
}

/* ---- from the disk ---- */

/* nftw() has no argument for its caller. */
static __thread struct loading {
	struct topo_file *files;
	size_t count, bytes, root;
} *loading;

static char *file_text(const char *path, size_t max, size_t *ret_len)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(text) struct text t = { 0 };
	char buf[16384];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
		if (t.len + n > max)
			return NULL;
		text_add_n(&t, buf, n);
	}
	if (ferror(f) || memchr(text_str(&t), 0, t.len) || !str_utf8_ok(text_str(&t), t.len))
		return NULL;
	*ret_len = t.len;
	return text_take(&t);
}

static int take_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	struct loading *l = loading;
	char *text;
	size_t len = 0;

	if (path[at->base] == '.' && at->level > 0)
		return kind == FTW_D ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
	if (kind != FTW_F || !S_ISREG(st->st_mode) || (size_t)st->st_size > FILE_MAX)
		return FTW_CONTINUE;
	if (l->count >= TOPO_FILES_MAX || l->bytes > TOPO_BYTES_MAX)
		return FTW_STOP;
	text = file_text(path, FILE_MAX, &len);
	if (!text)
		return FTW_CONTINUE;
	if ((l->count & (l->count - 1)) == 0)
		l->files = mem_grow(l->files, l->count ? l->count * 2 : 1, sizeof(*l->files));
	l->files[l->count++] =
		(struct topo_file){ .path = mem_strdup(path + l->root), .text = text, .len = len };
	l->bytes += len;
	return FTW_CONTINUE;
}

enum oc_err discovery_load(const char *path, struct topo_file **ret, size_t *ret_count,
			   struct oc_fail *reterr)
{
	struct loading l = { 0 };
	struct stat st;
	int rc;

	if (stat(path, &st) != 0)
		return oc_fail(reterr, OC_NOT_FOUND, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode)) {
		const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
		size_t len = 0;
		char *text = file_text(path, TOPO_BYTES_MAX, &len);

		if (!text)
			return oc_fail(reterr, OC_BAD_REQUEST,
				       "%s is unreadable, no text, or larger than %zu bytes", path,
				       TOPO_BYTES_MAX);
		*ret = mem_array(1, sizeof(**ret));
		**ret = (struct topo_file){ .path = mem_strdup(base), .text = text, .len = len };
		*ret_count = 1;
		return OC_OK;
	}
	l.root = strlen(path);
	while (l.root && path[l.root - 1] == '/')
		l.root--;
	l.root++;
	loading = &l;
	{
		AUTO(str) char *clean = mem_strndup(path, l.root - 1);

		rc = nftw(clean, take_file, 16, FTW_PHYS | FTW_ACTIONRETVAL);
	}
	loading = NULL;
	*ret = l.files;
	*ret_count = l.count;
	if (rc != 0) {
		discovery_files_free(l.files, l.count);
		*ret = NULL;
		return rc == FTW_STOP ? oc_fail(reterr, OC_TOO_LARGE, "%s: more than %d files or %zu bytes",
						path, TOPO_FILES_MAX, TOPO_BYTES_MAX)
				      : oc_fail(reterr, OC_BAD_REQUEST, "%s: %s", path, strerror(errno));
	}
	return OC_OK;
}

void discovery_files_free(struct topo_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((char *)files[i].path);
		free((char *)files[i].text);
	}
	free(files);
}
