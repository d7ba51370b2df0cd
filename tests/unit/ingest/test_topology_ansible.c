/* Ansible projects: inventories and plays, also as ansible-core itself sees those that others published. */
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ingest/topology/playbook.h"
#include "ingest/topology/topology.h"

#define FILE_OF(p, t) { .path = (p), .text = (t), .len = sizeof(t) - 1 }

static struct inventory *read_inventory(const struct topo_file *files, size_t n)
{
	struct inventory *inv = NULL;
	struct oc_fail why = { 0 };

	if (inventory_read(files, n, NULL, &inv, &why) != OC_OK)
		fail_msg("%s", why.text);
	return inv;
}

static char *match(const struct inventory *inv, const char *pattern)
{
	AUTO(json) json_t *list = inventory_match(inv, pattern);
	AUTO(text) struct text t = { 0 };
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) text_addf(&t, "%s%s", i ? " " : "", json_string_value(v));
	return text_take(&t);
}

static void check_match(const struct inventory *inv, const char *pattern, const char *want)
{
	AUTO(str) char *got = match(inv, pattern);

	assert_string_equal(got, want);
}

static const char ini[] =
	"lone ansible_host=10.0.0.9\n"
	"[web]\nweb[01:03].example.org:2222 http_port=80 name='two words' # why\n"
	"; a comment\n[db]\ndb-[a:b] on=True weight=1.5 list=\"['x', 2]\" text=0755\n"
	"[prod:children]\nweb\ndb\n[prod:vars]\ntier = gold and more\nhttp_port=8080\n[old]\ndb-b\n";

static void an_ini_inventory_has_ranges_children_and_typed_values(void **state)
{
	const struct topo_file files[] = { FILE_OF("hosts", ini) };
	AUTO(inventory) struct inventory *inv = read_inventory(files, 1);
	const json_t *v;

	(void)state;
	assert_int_equal(inventory_host_count(inv), 6);
	v = inventory_vars(inv, "web02.example.org");
	assert_int_equal(json_int_or(v, "ansible_port", 0), 2222);
	assert_int_equal(json_int_or(v, "http_port", 0), 80); /* the host's own beats the group's */
	assert_string_equal(json_str(v, "name"), "two words");
	assert_string_equal(json_str(v, "tier"), "gold and more");
	v = inventory_vars(inv, "db-a");
	assert_true(json_is_true(json_object_get(v, "on")));
	assert_true(json_num_or(v, "weight", 0) == 1.5);
	assert_int_equal(json_array_size(json_object_get(v, "list")), 2);
	assert_string_equal(json_str(v, "text"), "0755");
	assert_int_equal(json_int_or(v, "http_port", 0), 8080);
	check_match(inv, "prod:!old", "web01.example.org web02.example.org web03.example.org db-a");
	check_match(inv, "prod:&old", "db-b");
	check_match(inv, "web[0],web[-1]", "web01.example.org web03.example.org");
	check_match(inv, "web[0:1]", "web01.example.org web02.example.org");
	check_match(inv, "~^db-[ab]$", "db-a db-b");
	check_match(inv, "ungrouped", "lone");
	check_match(inv, "nothing", "");
}

static void variables_come_from_outer_to_inner_and_files_after_the_inventory(void **state)
{
	const struct topo_file files[] = {
		FILE_OF("inventory/hosts.yml",
			"all:\n  vars: {a: 1, b: 1, c: 1, d: 1}\n  children:\n    outer:\n      vars: {b: 2, c: 2}\n"
			"      children:\n        inner:\n          vars: &v {c: 3}\n          hosts:\n            h1: {own: yes}\n"
			"            h2:\n"),
		FILE_OF("inventory/group_vars/all.yml", "a: file\nsecret: !vault |\n  $ANSIBLE_VAULT;1.1\n"),
		FILE_OF("inventory/group_vars/inner/one.yaml", "c: inner file\n"),
		FILE_OF("inventory/host_vars/h1.yml", "d: host file\nmode: 0644\n"),
		FILE_OF("inventory/group_vars/outer", "$ANSIBLE_VAULT;1.1;AES256\n3031\n"),
	};
	AUTO(inventory) struct inventory *inv = read_inventory(files, ARRAY_LEN(files));
	const json_t *v = inventory_vars(inv, "h1");

	(void)state;
	assert_string_equal(json_str(v, "a"), "file");
	assert_int_equal(json_int_or(v, "b", 0), 2);
	assert_string_equal(json_str(v, "c"), "inner file");
	assert_string_equal(json_str(v, "d"), "host file");
	assert_int_equal(json_int_or(v, "mode", 0), 0644);
	assert_true(json_is_true(json_object_get(v, "own")));
	assert_int_equal(json_int_or(inventory_vars(inv, "h2"), "d", 0), 1);
	assert_int_equal(json_array_size(inventory_notes(inv)), 1); /* the encrypted file */
}

static void groups_in_a_ring_and_huge_ranges_are_refused(void **state)
{
	static const struct {
		const char *text;
		enum oc_err err;
	} rows[] = {
		{ "[a:children]\nb\n[b:children]\na\n", OC_INVALID   },
		{ "h[1:9999999]\n",                     OC_TOO_LARGE },
		{ "h[1:100][1:100][1:100]\n",           OC_TOO_LARGE },
		{ "[a:nonsense]\n",                     OC_INVALID   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct topo_file f = { .path = "hosts", .text = rows[i].text, .len = strlen(rows[i].text) };
		struct inventory *inv = NULL;
		struct oc_fail why = { 0 };

		assert_int_equal(inventory_read(&f, 1, NULL, &inv, &why), rows[i].err);
		assert_true(why.text[0]);
	}
}

static void aliases_cannot_blow_a_file_up(void **state)
{
	AUTO(text) struct text t = { 0 };
	struct topo_file f = { .path = "hosts.yml" };
	struct inventory *inv = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	text_add(&t, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 12; i++)
		text_addf(&t, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
			  i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	f.text = text_str(&t);
	f.len = t.len;
	assert_int_equal(inventory_read(&f, 1, NULL, &inv, &why), OC_BAD_REQUEST);
	assert_non_null(strstr(why.text, "aliases"));
}

static const struct topo_file project[] = {
	FILE_OF("hosts", "[web]\nweb1\nweb2\n[db]\ndb1 ansible_host=10.0.0.5\n[cache]\nredis1\n"),
	FILE_OF("site.yml",
		"- import_playbook: web.yml\n- hosts: db\n  tags: data\n  roles:\n    - {role: mysql, tags: [x]}\n"),
	FILE_OF("web.yml",
		"- name: the shop\n  hosts: web\n  pre_tasks:\n    - debug: msg=hi\n  roles: [shop]\n  tasks:\n    - block:\n"
		"        - name: in a block\n          command: x\n      rescue:\n        - name: never listed\n"
		"          command: y\n    - meta: flush_handlers\n  post_tasks:\n    - name: last\n      command: z\n"),
	FILE_OF("roles/shop/meta/main.yml", "dependencies:\n  - role: base\n  - base\n"),
	FILE_OF("roles/base/tasks/main.yml", "- name: base task\n  command: x\n"),
	FILE_OF("roles/shop/tasks/main.yml",
		"- import_tasks: more.yml\n  tags: [imported]\n- include_tasks: \"{{ os }}.yml\"\n  name: by system\n"),
	FILE_OF("roles/shop/tasks/more.yml", "- name: pull {{ shop_version }}\n  command: pull\n"),
	FILE_OF("roles/shop/templates/app.conf.j2",
		"{% for h in groups['cache'] %}{{ h }}{% endfor %}\nurl=postgresql://u:secret@db1:5432/orders?x=1\n"),
	FILE_OF("roles/mysql/tasks/main.yml", "- name: install\n  yum: name=mysql\n"),
	FILE_OF("group_vars/web.yml",
		"shop_version: 1.4.2\nupstream: \"http://10.0.0.5:8080/\"\npassword: hunter2\n"),
};

static const struct topo_resource *find(const struct topo *t, const char *urn)
{
	const json_t *i = json_object_get(t->by_urn, urn);

	return i ? &t->resource[json_integer_value(i)] : NULL;
}

static bool has_edge(const struct topo *t, const char *src, const char *dst, const char *relation)
{
	for (size_t i = 0; i < t->edge_count; i++)
		if (str_eq(t->resource[t->edge[i].src].urn, src) &&
		    str_eq(t->resource[t->edge[i].dst].urn, dst) && str_eq(t->edge[i].relation, relation))
			return true;
	return false;
}

static void a_project_tells_what_runs_where_and_needs_whom(void **state)
{
	AUTO(topo) struct topo t = { 0 };
	AUTO(json) json_t *doc = NULL;
	AUTO(str) char *printed = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	if (topology_read(project, ARRAY_LEN(project), &(struct topology_ask){ .stack = "s" }, &t, &why) !=
	    OC_OK)
		fail_msg("%s", why.text);
	assert_string_equal(t.source, "ansible");
	assert_true(has_edge(&t, "urn:ansible:role:s/shop", "urn:host:web1", "RUNS_ON"));
	assert_true(has_edge(&t, "urn:ansible:role:s/shop", "urn:host:web2", "RUNS_ON"));
	assert_true(has_edge(&t, "urn:ansible:role:s/mysql", "urn:host:db1", "RUNS_ON"));
	assert_true(has_edge(&t, "urn:ansible:role:s/shop", "urn:ansible:role:s/base", "DEPENDS_ON"));
	assert_true(has_edge(&t, "urn:ansible:role:s/shop", "urn:host:redis1",
			     "DEPENDS_ON")); /* groups['cache'] */
	assert_true(has_edge(&t, "urn:ansible:role:s/shop", "urn:db:postgres:db1/orders", "DEPENDS_ON"));
	assert_true(has_edge(&t, "urn:db:postgres:db1/orders", "urn:host:db1", "RUNS_ON"));
	assert_true(has_edge(&t, "urn:host:web1", "urn:host:db1", "DEPENDS_ON")); /* by its address */
	assert_false(has_edge(&t, "urn:host:db1", "urn:host:db1", "DEPENDS_ON"));
	assert_string_equal(json_str(find(&t, "urn:ansible:role:s/shop")->versions, "shop_version"), "1.4.2");
	assert_int_equal(json_object_size(find(&t, "urn:ansible:role:s/mysql")->versions), 0);
	doc = topo_json(&t);
	printed = json_text(doc);
	assert_null(strstr(printed, "hunter2"));
	assert_null(strstr(printed, "secret"));
}

static void plays_list_their_tasks_in_the_order_they_run(void **state)
{
	AUTO(inventory) struct inventory *inv = read_inventory(project, ARRAY_LEN(project));
	AUTO(json) json_t *plays = NULL;
	AUTO(json) json_t *notes = json_array();
	AUTO(json) json_t *want = NULL;
	struct oc_fail why = { 0 };
	json_t *play = NULL, *p;
	size_t i;

	(void)state;
	assert_int_equal(playbook_read(project, ARRAY_LEN(project), inv, notes, &plays, &why), OC_OK);
	assert_int_equal(
		json_read_own(
			"[{\"role\":null,\"name\":\"debug\",\"tags\":[]},{\"role\":\"base\",\"name\":\"base task\",\"tags\":[]},"
			"{\"role\":\"shop\",\"name\":\"pull {{ shop_version }}\",\"tags\":[\"imported\"]},"
			"{\"role\":\"shop\",\"name\":\"by system\",\"tags\":[]},"
			"{\"role\":null,\"name\":\"in a block\",\"tags\":[]},{\"role\":null,\"name\":\"last\",\"tags\":[]}]",
			&want, NULL),
		OC_OK);
	json_array_foreach(plays, i, p) if (str_eq(json_str(p, "playbook"), "site.yml") && !play) play = p;
	if (!json_equal(json_object_get(play, "tasks"), want)) {
		AUTO(str) char *got = json_pretty(json_object_get(play, "tasks"));

		fail_msg("%s", got);
	}
	assert_string_equal(json_str(play, "name"), "the shop");
}

static void what_is_no_description_is_refused(void **state)
{
	const struct topo_file one[] = { FILE_OF("a.json", "{\"what\": 1}") };
	const struct topo_file text[] = { FILE_OF("readme.md", "hello") };
	struct topo t;
	struct oc_fail why = { 0 };

	(void)state;
	assert_int_equal(topology_read(one, 1, &(struct topology_ask){ 0 }, &t, &why), OC_INVALID);
	assert_non_null(strstr(why.text, "a.json"));
	assert_int_equal(topology_read(text, 1, &(struct topology_ask){ 0 }, &t, &why), OC_INVALID);
	assert_int_equal(topology_read(NULL, 0, &(struct topology_ask){ 0 }, &t, &why), OC_INVALID);
}

/* ---- what others published, as ansible-core sees it ---- */

static struct topo_file *tree;
static size_t tree_count, tree_root;

static char *file_text(const char *path)
{
	AUTO(file) FILE *f = fopen(path, "re");
	struct text t = { 0 };
	char buf[8192];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	return text_take(&t);
}

static int take_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	char *text;

	(void)st, (void)at;
	if (kind != FTW_F)
		return 0;
	text = file_text(path);
	tree = mem_grow(tree, tree_count + 1, sizeof(*tree));
	tree[tree_count++] =
		(struct topo_file){ .path = mem_strdup(path + tree_root), .text = text, .len = strlen(text) };
	return 0;
}

static void load_tree(const char *dir)
{
	tree = NULL;
	tree_count = 0;
	tree_root = strlen(dir) + 1;
	nftw(dir, take_file, 16, FTW_PHYS);
}

static void drop_tree(void)
{
	for (size_t i = 0; i < tree_count; i++) {
		free((char *)tree[i].path);
		free((char *)tree[i].text);
	}
	free(tree);
}

static bool same_set(const json_t *a, const json_t *b)
{
	const json_t *x, *y;
	size_t i, k;

	if (json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, x)
	{
		bool found = false;

		json_array_foreach(b, k, y) found = found || json_equal((json_t *)x, (json_t *)y);
		if (!found)
			return false;
	}
	return true;
}

static void check_inventory(const char *project_name, const char *inventory, const json_t *want)
{
	struct inventory *inv = NULL;
	struct oc_fail why = { 0 };
	AUTO(json) json_t *got = NULL;
	json_t *group;
	const char *name;

	if (inventory_read(tree, tree_count, inventory, &inv, &why) != OC_OK)
		fail_msg("%s: %s", project_name, why.text);
	got = inventory_json(inv);
	inventory_free(inv);
	assert_int_equal(json_object_size(got), json_object_size(want));
	json_object_foreach((json_t *)want, name, group)
	{
		const json_t *ours = json_object_get(got, name);

		if (str_eq(name, "_meta")
			    ? !json_equal(json_object_get(got, name), group)
			    : !same_set(json_object_get(ours, "hosts"), json_object_get(group, "hosts")) ||
				      !same_set(json_object_get(ours, "children"),
						json_object_get(group, "children"))) {
			AUTO(str) char *text = json_pretty(ours);

			fail_msg("%s: the group %s is %s", project_name, name, text);
		}
	}
}

/* The text of --list-hosts --list-tasks, from our plays. */
static char *listing(const json_t *plays, const char *playbook)
{
	AUTO(text) struct text t = { 0 };
	const json_t *play, *v;
	size_t i, k, n = 0;

	text_addf(&t, "\nplaybook: %s\n", playbook);
	json_array_foreach(plays, i, play)
	{
		if (!str_eq(json_str(play, "playbook"), playbook))
			continue;
		{
			AUTO(text) struct text pattern = { 0 };

			json_array_foreach(json_object_get(play, "pattern"), k, v)
				text_addf(&pattern, "%s%s", k ? "," : "", json_string_value(v));
			text_addf(&t,
				  "\n  play #%zu (%s): %s\tTAGS: []\n    pattern: ['%s']\n    hosts (%zu):\n",
				  ++n, text_str(&pattern), json_str(play, "name"), text_str(&pattern),
				  json_array_size(json_object_get(play, "hosts")));
		}
		json_array_foreach(json_object_get(play, "hosts"), k, v)
			text_addf(&t, "      %s\n", json_string_value(v));
		text_add(&t, "    tasks:\n");
		json_array_foreach(json_object_get(play, "tasks"), k, v)
		{
			const json_t *tag;
			size_t j;

			text_addf(&t, "      %s%s%s\tTAGS: [", json_str_or(v, "role", ""),
				  json_str(v, "role") ? " : " : "", json_str(v, "name"));
			json_array_foreach(json_object_get(v, "tags"), j, tag)
				text_addf(&t, "%s%s", j ? ", " : "", json_string_value(tag));
			text_add(&t, "]\n");
		}
	}
	return text_take(&t);
}

/* The order of hosts is not promised by either: lines of hosts are compared as a set by sorting all lines. */
static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted_lines(const char *text)
{
	AUTO(str) char *copy = mem_strdup(text);
	AUTO(text) struct text out = { 0 };
	char **line = NULL, *save = NULL;
	size_t n = 0;

	for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		line = mem_grow(line, n + 1, sizeof(*line));
		line[n++] = l;
	}
	qsort(line, n, sizeof(*line), by_text);
	for (size_t i = 0; i < n; i++)
		text_addf(&out, "%s\n", line[i]);
	free(line);
	return text_take(&out);
}

static void check_plays(const char *project_name, const char *playbook, const char *want)
{
	struct inventory *inv = NULL;
	struct oc_fail why = { 0 };
	AUTO(json) json_t *plays = NULL;
	AUTO(json) json_t *notes = json_array();
	AUTO(str) char *got = NULL;
	AUTO(str) char *a = NULL;
	AUTO(str) char *b = NULL;

	assert_int_equal(inventory_read(tree, tree_count, NULL, &inv, &why), OC_OK);
	if (playbook_read(tree, tree_count, inv, notes, &plays, &why) != OC_OK)
		fail_msg("%s: %s", project_name, why.text);
	inventory_free(inv);
	got = listing(plays, playbook);
	a = sorted_lines(got);
	b = sorted_lines(want);
	if (!str_eq(a, b))
		fail_msg("%s %s\n--- ours\n%s\n--- theirs\n%s", project_name, playbook, got, want);
}

static void published_projects_look_as_ansible_core_sees_them(void **state)
{
	const char *root = getenv("OPSCASE_DATA");
	AUTO(str)
	char *base = root ? mem_printf("%s/ansible_examples", root)
			  : mem_printf("%s/../shared/data/ansible_examples", OPSCASE_SOURCE_DIR);
	AUTO(str) char *expected = mem_printf("%s/_expected", base);
	DIR *dir = opendir(expected);
	struct dirent *e;
	size_t checked = 0;

	(void)state;
	if (!dir) {
		print_message("no %s: set OPSCASE_DATA\n", expected);
		skip();
	}
	while ((e = readdir(dir))) {
		AUTO(str) char *copy = mem_strdup(e->d_name);
		AUTO(str) char *path = mem_printf("%s/%s", expected, e->d_name);
		AUTO(str) char *text = NULL;
		char *file = strstr(copy, "__"), *end;
		AUTO(str) char *folder = NULL;

		if (!file)
			continue;
		*file = '\0';
		file += 2;
		text = file_text(path);
		folder = mem_printf("%s/%s", base, copy);
		load_tree(folder);
		if ((end = strstr(file, ".inventory.json"))) {
			AUTO(json) json_t *want = NULL;

			*end = '\0';
			assert_int_equal(json_read_own(text, &want, NULL), OC_OK);
			check_inventory(copy, file, want);
			checked++;
		} else if ((end = strstr(file, ".list.txt"))) {
			*end = '\0';
			check_plays(copy, file, text);
			checked++;
		}
		drop_tree();
	}
	closedir(dir);
	assert_true(checked > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ini_inventory_has_ranges_children_and_typed_values),
		cmocka_unit_test(variables_come_from_outer_to_inner_and_files_after_the_inventory),
		cmocka_unit_test(groups_in_a_ring_and_huge_ranges_are_refused),
		cmocka_unit_test(aliases_cannot_blow_a_file_up),
		cmocka_unit_test(a_project_tells_what_runs_where_and_needs_whom),
		cmocka_unit_test(plays_list_their_tasks_in_the_order_they_run),
		cmocka_unit_test(what_is_no_description_is_refused),
		cmocka_unit_test(published_projects_look_as_ansible_core_sees_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
