#include "ingest/topology/topo.h"
#include <stdarg.h>
#include <stdio.h>
#include "base/mem.h"

#define URN_MAX   512
#define LABEL_MAX 255

void topo_init(struct topo *t, const char *source, const char *format, const char *stack)
{
	*t = (struct topo){ .source = source, .format = format };
	t->stack = mem_strdup(str_empty(stack) ? "default" : stack);
	t->notes = json_array();
	t->by_urn = json_object();
	t->edges = json_object();
}

void topo_done(struct topo *t)
{
	for (size_t i = 0; i < t->resource_count; i++) {
		struct topo_resource *r = &t->resource[i];

		free(r->urn);
		free(r->type);
		free(r->name);
		free(r->address);
		free(r->region);
		free(r->zone);
		json_decref(r->labels);
		json_decref(r->versions);
	}
	for (size_t i = 0; i < t->edge_count; i++)
		free(t->edge[i].via);
	for (size_t i = 0; i < t->ref_count; i++)
		free(t->ref[i].to);
	for (size_t i = 0; i < t->change_count; i++) {
		free(t->change[i].urn);
		free(t->change[i].name);
		free(t->change[i].action);
		json_decref(t->change[i].was);
		json_decref(t->change[i].is);
	}
	free(t->resource);
	free(t->edge);
	free(t->ref);
	free(t->change);
	free(t->stack);
	json_decref(t->notes);
	json_decref(t->detail);
	json_decref(t->by_urn);
	json_decref(t->edges);
	*t = (struct topo){ 0 };
}

#define GROW(list, count)                                                                      \
	do {                                                                                   \
		if (((count) & ((count) - 1)) == 0)                                            \
			(list) = mem_grow((list), (count) ? (count) * 2 : 1, sizeof(*(list))); \
	} while (0)

/* A long name keeps its head, and its hash instead of the tail: two of them never become one. */
static void cut_urn(struct text *t, const char *whole)
{
	char hash[HASH_HEX];
	size_t n = URN_MAX - 20;

	if (t->len <= URN_MAX)
		return;
	hash_sha256_hex(whole, strlen(whole), hash);
	while (n && ((unsigned char)t->s[n] & 0xc0) == 0x80)
		n--;
	t->s[n] = '\0';
	t->len = n;
	text_addf(t, "~%.16s", hash);
}

static void add_part(struct text *t, const char *s, bool colons)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= ' ' || c == 0x7f || c == '%' || (c == ':' && !colons))
			text_addf(t, "%%%02X", c);
		else
			text_add_n(t, s, 1);
	}
}

char *topo_urn(const char *type, const char *name)
{
	AUTO(text) struct text t = { 0 };

	text_add(&t, "urn:");
	add_part(&t, type, true);
	text_add(&t, ":");
	add_part(&t, name, str_starts(type, "pulumi"));
	cut_urn(&t, name);
	return text_take(&t);
}

enum oc_err topo_add(struct topo *t, const char *type, const char *name, const char *address, size_t *ret,
		     struct oc_fail *reterr)
{
	AUTO(str) char *urn = topo_urn(type, name);
	json_t *known = json_object_get(t->by_urn, urn);
	struct topo_resource *r;

	if (known) {
		*ret = (size_t)json_integer_value(known);
		return OC_OK;
	}
	if (t->resource_count >= TOPO_RESOURCES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %d resources", TOPO_RESOURCES_MAX);
	GROW(t->resource, t->resource_count);
	r = &t->resource[t->resource_count];
	*r = (struct topo_resource){ .type = mem_strdup(type),
				     .name = mem_strdup(name),
				     .address = mem_strdup(address ? address : urn),
				     .labels = json_object(),
				     .versions = json_object() };
	json_object_set_new(t->by_urn, urn, json_integer((json_int_t)t->resource_count));
	r->urn = TAKE(urn);
	*ret = t->resource_count++;
	return OC_OK;
}

enum oc_err topo_link(struct topo *t, size_t src, size_t dst, const char *relation, const char *via,
		      struct oc_fail *reterr)
{
	char key[64];

	if (src == dst)
		return OC_OK;
	snprintf(key, sizeof(key), "%zx %zx %.1s", src, dst, relation);
	if (json_object_get(t->edges, key))
		return OC_OK;
	if (t->edge_count >= TOPO_EDGES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %d edges", TOPO_EDGES_MAX);
	json_object_set_new(t->edges, key, json_true());
	GROW(t->edge, t->edge_count);
	t->edge[t->edge_count++] =
		(struct topo_edge){ .src = src, .dst = dst, .relation = relation, .via = mem_strdup(via) };
	return OC_OK;
}

enum oc_err topo_refer(struct topo *t, size_t src, const char *to, bool found, struct oc_fail *reterr)
{
	if (t->ref_count >= TOPO_EDGES_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "more than %d dependencies", TOPO_EDGES_MAX);
	GROW(t->ref, t->ref_count);
	t->ref[t->ref_count++] = (struct topo_ref){ .src = src, .to = mem_strdup(to), .found = found };
	return OC_OK;
}

void topo_changed(struct topo *t, const char *urn, const char *name, const char *action, json_t *take_was,
		  json_t *take_is)
{
	GROW(t->change, t->change_count);
	t->change[t->change_count++] = (struct topo_change){ .urn = mem_strdup(urn),
							     .name = mem_strdup(name),
							     .action = mem_strdup(action),
							     .was = take_was,
							     .is = take_is };
}

void topo_note(struct topo *t, const char *fmt, ...)
{
	char text[400];
	size_t n;
	va_list ap;

	if (json_array_size(t->notes) >= TOPO_NOTES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = strlen(text);
	while (n && !str_utf8_ok(text, n))
		n--;
	json_array_append_new(t->notes, json_stringn(text, n));
}

void topo_label(struct topo_resource *r, const char *key, const char *value)
{
	size_t n;

	if (str_empty(value))
		return;
	n = strlen(value) > LABEL_MAX ? LABEL_MAX : strlen(value);
	while (n && !str_utf8_ok(value, n))
		n--;
	json_object_set_new(r->labels, key, json_stringn(value, n));
}

json_t *topo_json(const struct topo *t)
{
	json_t *resources = json_array(), *edges = json_array(), *changes = json_array(), *doc;
	size_t dangling = 0;

	for (size_t i = 0; i < t->resource_count; i++) {
		const struct topo_resource *r = &t->resource[i];

		json_array_append_new(resources, json_pack("{s:s,s:s,s:s,s:s,s:O,s:O}", "urn", r->urn, "type",
							   r->type, "name", r->name, "address", r->address,
							   "labels", r->labels, "versions", r->versions));
	}
	for (size_t i = 0; i < t->edge_count; i++)
		json_array_append_new(edges,
				      json_pack("{s:s,s:s,s:s,s:s?}", "src", t->resource[t->edge[i].src].urn,
						"dst", t->resource[t->edge[i].dst].urn, "relation",
						t->edge[i].relation, "via", t->edge[i].via));
	for (size_t i = 0; i < t->change_count; i++)
		json_array_append_new(changes,
				      json_pack("{s:s,s:s,s:s,s:O?,s:O?}", "urn", t->change[i].urn, "name",
						t->change[i].name, "action", t->change[i].action, "was",
						t->change[i].was, "is", t->change[i].is));
	for (size_t i = 0; i < t->ref_count; i++)
		dangling += !t->ref[i].found;
	doc = json_pack("{s:s,s:s,s:s,s:o,s:o,s:I,s:o,s:O}", "source", t->source, "format", t->format,
			"stack", t->stack, "resources", resources, "edges", edges, "dangling",
			(json_int_t)dangling, "changes", changes, "notes", t->notes);
	if (t->detail)
		json_object_set(doc, "detail", t->detail);
	return doc;
}
