/* topology.c - descriptions of installations, and who needs whom. */
#include <string.h>
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/mem.h"
#include "ingest/discovery.h"

static struct topology_ask how(const struct cli *cli)
{
	return (struct topology_ask){ .stack = cli_option(cli, "stack"),
				      .inventory = cli_option(cli, "inventory"),
				      .applied = cli_flag(cli, "applied") };
}

static void add_edges(const struct cli *cli, const json_t *list, const char *since, struct text *out)
{
	AUTO(out_table) struct out_table table;
	const json_t *e;
	size_t i;

	out_table_init(&table, since ? "FROM|NEEDS|RELATION|SOURCE|SINCE" : "FROM|NEEDS|RELATION|SAYS");
	json_array_foreach(list, i, e)
	{
		out_table_add(&table, OUT_PLAIN, json_str(e, "src"));
		out_table_add(&table, OUT_PLAIN, json_str(e, "dst"));
		out_table_add(&table, OUT_BOLD, json_str(e, "relation"));
		if (since) {
			out_table_add(&table, OUT_PLAIN, json_str(e, "source"));
			out_table_add(&table, OUT_DIM, json_str(e, since));
		} else {
			out_table_add(&table, OUT_DIM, json_str_or(e, "via", ""));
		}
	}
	out_table_print(&table, cli->width, cli->colour, out);
}

enum oc_err cli_topology_show(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(topo) struct topo t = { 0 };
	AUTO(json) json_t *doc = NULL;
	AUTO(text) struct text out = { 0 };
	struct topology_ask ask = how(cli);
	struct topo_file *files = NULL;
	const json_t *note;
	size_t count = 0, i;
	enum oc_err err = discovery_load(cli_arg(cli, 0), &files, &count, reterr);

	if (err != OC_OK)
		return err;
	err = topology_read(files, count, &ask, &t, reterr);
	discovery_files_free(files, count);
	if (err != OC_OK)
		return err;
	doc = topo_json(&t);
	if (cli->json)
		return show_json(doc);
	text_addf(&out, "%s '%s': %zu resources, %zu edges, %lld dependencies on what is not described\n",
		  t.format, t.stack, t.resource_count, t.edge_count, json_int_or(doc, "dangling", 0));
	add_edges(cli, json_object_get(doc, "edges"), NULL, &out);
	json_array_foreach(t.notes, i, note) text_addf(&out, "note: %s\n", json_string_value(note));
	fputs(text_str(&out), stdout);
	return OC_OK;
}

static void add_query(struct text *path, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	text_addf(path, "%s%s=", strchr(path->s, '?') ? "&" : "?", name);
	url_add(path, value);
}

enum oc_err cli_topology_import(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(text) struct text path = { 0 };
	AUTO(json) json_t *body = json_object();
	json_t *list = json_array();
	struct topo_file *files = NULL;
	size_t count = 0;
	enum oc_err err = discovery_load(cli_arg(cli, 0), &files, &count, reterr);

	json_object_set_new(body, "files", list);
	if (err != OC_OK)
		return err;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list,
				      json_pack("{s:s,s:s}", "path", files[i].path, "text", files[i].text));
	discovery_files_free(files, count);
	text_add(&path, "/topology/import");
	add_query(&path, "stack", cli_option(cli, "stack"));
	add_query(&path, "inventory", cli_option(cli, "inventory"));
	add_query(&path, "at", cli_option(cli, "at"));
	add_query(&path, "applied", cli_flag(cli, "applied") ? "true" : NULL);
	add_query(&path, "force", cli_flag(cli, "force") ? "true" : NULL);
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){ .method = "POST",
							 .path = text_str(&path),
							 .body = body,
							 .wait_s = -1 },
				  &a, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	printf("%s '%s', %s: %lld resources, %lld edges; %lld opened, %lld closed, %lld deployments\n",
	       json_str_or(a.data, "format", "?"), json_str_or(a.data, "stack", "?"),
	       json_str_or(a.data, "status", "?"), json_int_or(a.data, "resources", 0),
	       json_int_or(a.data, "edges", 0), json_int_or(a.data, "opened", 0),
	       json_int_or(a.data, "closed", 0), json_int_or(a.data, "deployments", 0));
	if (json_str(a.data, "sentence"))
		printf("%s\n", json_str(a.data, "sentence"));
	return OC_OK;
}

enum oc_err cli_topology_list(struct cli *cli, struct oc_fail *reterr)
{
	static const char *const names[] = { "at", "source", "relation", "resource", "limit" };
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer a = { 0 };
	AUTO(text) struct text path = { 0 }, out = { 0 };
	enum oc_err err = remote_open(cli, &r, reterr);

	if (err != OC_OK)
		return err;
	text_add(&path, "/topology");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		add_query(&path, names[i], cli_option(cli, names[i]));
	err = remote_get(r, &a, reterr, "%s", text_str(&path));
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(a.data);
	add_edges(cli, a.data, "since", &out);
	fputs(text_str(&out), stdout);
	if (json_str(a.doc, "next_cursor"))
		fprintf(stderr, "opscase: there are more; --limit shows up to 1000\n");
	return OC_OK;
}
