/* Descriptions of installations as anybody may write them: Terraform, Pulumi, inventories, plays. What is handed on is
 * whole: edges point at resources, URNs are fit for the table, and it can be written down.
 *
 * A file as it is, or several: each begins with a line "== path". */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "ingest/topology/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define FILES 16

static void look_at(const struct topo *t)
{
	AUTO(json) json_t *doc = topo_json(t);

	if (!doc)
		abort();
	for (size_t i = 0; i < t->resource_count; i++)
		if (strncmp(t->resource[i].urn, "urn:", 4) != 0 || strlen(t->resource[i].urn) > 512 ||
		    !json_is_object(t->resource[i].labels) || !json_is_object(t->resource[i].versions))
			abort();
	for (size_t i = 0; i < t->edge_count; i++)
		if (t->edge[i].src >= t->resource_count || t->edge[i].dst >= t->resource_count ||
		    t->edge[i].src == t->edge[i].dst)
			abort();
	for (size_t i = 0; i < t->ref_count; i++)
		if (t->ref[i].src >= t->resource_count)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(str) char *text = mem_strndup((const char *)bytes, size);
	struct topo_file files[FILES];
	struct topo t;
	struct oc_fail fail = { 0 };
	size_t n = 0;
	char *at = text;

	while (at && n < FILES && strncmp(at, "== ", 3) == 0 && strchr(at, '\n')) {
		char *end = strchr(at, '\n'), *next = strstr(end, "\n== ");

		*end = '\0';
		if (next)
			*next++ = '\0';
		files[n] = (struct topo_file){ .path = at + 3, .text = next == end + 1 ? "" : end + 1 };
		files[n].len = strlen(files[n].text);
		n++;
		at = next;
	}
	if (n == 0) {
		files[0] = (struct topo_file){ .path = "hosts", .text = text, .len = strlen(text) };
		n = 1;
	}
	if (topology_read(files, n, &(struct topology_ask){ .applied = size % 2 == 0 }, &t, &fail) != OC_OK) {
		if (!fail.text[0])
			abort();
		return 0;
	}
	look_at(&t);
	topo_done(&t);
	return 0;
}
