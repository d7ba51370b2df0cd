/* Terraform and Pulumi, also against the states that others published ($OPSCASE_DATA). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ingest/topology/pulumi.h"
#include "ingest/topology/terraform.h"

static json_t *parse(const char *text)
{
	json_t *v = NULL;
	struct oc_fail why = { 0 };

	if (json_read_own(text, &v, &why) != OC_OK)
		fail_msg("%s", why.text);
	return v;
}

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

static char *data_path(const char *below)
{
	const char *dir = getenv("OPSCASE_DATA");

	return dir ? mem_printf("%s/%s", dir, below)
		   : mem_printf("%s/../shared/data/%s", OPSCASE_SOURCE_DIR, below);
}

static void read_text(const char *text, const struct terraform_ask *ask, struct topo *t)
{
	AUTO(json) json_t *doc = parse(text);
	struct oc_fail why = { 0 };

	assert_true(terraform_knows(doc));
	if (terraform_read(doc, ask, t, &why) != OC_OK)
		fail_msg("%s", why.text);
}

static const struct topo_resource *by_address(const struct topo *t, const char *address)
{
	for (size_t i = 0; i < t->resource_count; i++)
		if (str_eq(t->resource[i].address, address))
			return &t->resource[i];
	return NULL;
}

static bool has_edge(const struct topo *t, const char *src, const char *dst, const char *relation)
{
	for (size_t i = 0; i < t->edge_count; i++)
		if (str_eq(t->resource[t->edge[i].src].address, src) &&
		    str_eq(t->resource[t->edge[i].dst].address, dst) && str_eq(t->edge[i].relation, relation))
			return true;
	return false;
}

static void a_module_is_everything_in_it(void **state)
{
	AUTO(topo) struct topo t = { 0 };

	(void)state;
	read_text(
		"{\"version\":4,\"terraform_version\":\"1.5.0\",\"lineage\":\"l\",\"resources\":["
		"{\"mode\":\"managed\",\"type\":\"a_x\",\"name\":\"top\",\"instances\":[{\"attributes\":{\"id\":\"top-id-1\"},"
		"\"dependencies\":[\"module.net\"]}]},"
		"{\"module\":\"module.net[\\\"eu.1\\\"]\",\"mode\":\"managed\",\"type\":\"a_y\",\"name\":\"n\",\"instances\":["
		"{\"index_key\":\"a.b\",\"attributes\":{}},{\"index_key\":1,\"attributes\":{}}]},"
		"{\"mode\":\"data\",\"type\":\"a_z\",\"name\":\"read\",\"instances\":[{\"attributes\":{}}]}]}",
		&(struct terraform_ask){ .stack = "shop" }, &t);
	assert_int_equal(t.resource_count, 3);
	assert_true(has_edge(&t, "a_x.top", "module.net[\"eu.1\"].a_y.n[\"a.b\"]", "DEPENDS_ON"));
	assert_true(has_edge(&t, "a_x.top", "module.net[\"eu.1\"].a_y.n[1]", "DEPENDS_ON"));
	assert_string_equal(by_address(&t, "a_x.top")->urn, "urn:tf:a_x:shop/a_x.top");
}

static void ids_held_in_attributes_are_dependencies_and_clusters_carry(void **state)
{
	AUTO(topo) struct topo t = { 0 };

	(void)state;
	read_text(
		"{\"version\":4,\"terraform_version\":\"1.5.0\",\"lineage\":\"l\",\"resources\":["
		"{\"mode\":\"managed\",\"type\":\"aws_ecs_service\",\"name\":\"web\",\"instances\":[{\"attributes\":{\"id\":"
		"\"arn:svc/web\",\"cluster\":\"arn:cluster/main\",\"network\":[{\"groups\":[\"sg-12345\"]}],\"password\":\"hunter2\","
		"\"desired\":3}}]},"
		"{\"mode\":\"managed\",\"type\":\"aws_ecs_cluster\",\"name\":\"main\",\"instances\":[{\"attributes\":{\"id\":"
		"\"arn:cluster/main\",\"arn\":\"arn:cluster/main\"}}]},"
		"{\"mode\":\"managed\",\"type\":\"aws_security_group\",\"name\":\"sg\",\"instances\":[{\"attributes\":{\"id\":\"sg-12345\"}"
		"}]}]}",
		&(struct terraform_ask){ 0 }, &t);
	assert_true(has_edge(&t, "aws_ecs_service.web", "aws_ecs_cluster.main", "RUNS_ON"));
	assert_true(has_edge(&t, "aws_ecs_service.web", "aws_security_group.sg", "DEPENDS_ON"));
	assert_int_equal(t.edge_count, 2);
	assert_null(json_object_get(by_address(&t, "aws_ecs_service.web")->labels, "password"));
}

static void what_telemetry_knows_by_name_keeps_that_name(void **state)
{
	AUTO(topo) struct topo t = { 0 };
	const struct topo_resource *r;

	(void)state;
	read_text(
		"{\"version\":4,\"terraform_version\":\"1.5.0\",\"lineage\":\"l\",\"resources\":["
		"{\"mode\":\"managed\",\"type\":\"kubernetes_deployment\",\"name\":\"cart\",\"instances\":[{\"attributes\":{\"metadata\":"
		"[{\"name\":\"cart\",\"namespace\":\"shop\"}],\"spec\":[{\"template\":[{\"spec\":[{\"container\":[{\"name\":\"a\",\"image\":"
		"\"cart:1.2\"},{\"name\":\"b\",\"image\":\"envoy:1\"}]}]}]}]}}]},"
		"{\"mode\":\"managed\",\"type\":\"aws_db_instance\",\"name\":\"main\",\"instances\":[{\"attributes\":{\"engine\":\"postgres\","
		"\"engine_version\":\"15.3\",\"identifier\":\"shop-main\"}}]}]}",
		&(struct terraform_ask){ 0 }, &t);
	r = by_address(&t, "kubernetes_deployment.cart");
	assert_string_equal(r->urn, "urn:k8s:deploy:shop/cart");
	assert_int_equal(json_object_size(r->versions), 2);
	assert_string_equal(json_str(r->versions, "spec/template/spec/container/0/image"), "cart:1.2");
	r = by_address(&t, "aws_db_instance.main");
	assert_string_equal(r->urn, "urn:db:postgres:shop-main");
	assert_string_equal(json_str(r->versions, "engine_version"), "15.3");
}

static const char plan[] =
	"{\"format_version\":\"1.2\",\"terraform_version\":\"1.5.0\",\"planned_values\":{\"root_module\":{\"resources\":[{\"address\":"
	"\"a_app.web\",\"mode\":\"managed\",\"type\":\"a_app\",\"name\":\"web\",\"values\":{\"image\":\"web:2\"}}],\"child_modules\":[{"
	"\"address\":\"module.db\",\"resources\":[{\"address\":\"module.db.a_db.main\",\"mode\":\"managed\",\"type\":\"a_db\",\"name\":"
	"\"main\",\"values\":{}},{\"address\":\"module.db.a_disk.d[0]\",\"index\":0,\"mode\":\"managed\",\"type\":\"a_disk\",\"name\":\"d\","
	"\"values\":{}}]}]}},\"resource_changes\":[{\"address\":\"a_app.web\",\"mode\":\"managed\",\"type\":\"a_app\",\"name\":\"web\","
	"\"change\":{\"actions\":[\"update\"],\"before\":{\"image\":\"web:1\"},\"after\":{\"image\":\"web:2\"}}},{\"address\":"
	"\"module.db.a_db.main\",\"mode\":\"managed\",\"type\":\"a_db\",\"name\":\"main\",\"change\":{\"actions\":[\"no-op\"]}},{\"address\":"
	"\"a_app.old\",\"mode\":\"managed\",\"type\":\"a_app\",\"name\":\"old\",\"change\":{\"actions\":[\"delete\"],\"before\":{},\"after\":"
	"null}}],\"prior_state\":{\"format_version\":\"1.0\",\"values\":{\"root_module\":{\"resources\":[{\"address\":\"a_app.web\",\"mode\":"
	"\"managed\",\"type\":\"a_app\",\"name\":\"web\",\"values\":{\"image\":\"web:1\"}},{\"address\":\"a_app.old\",\"mode\":\"managed\","
	"\"type\":\"a_app\",\"name\":\"old\",\"values\":{},\"depends_on\":[\"a_app.web\"]}]}}},\"configuration\":{\"root_module\":{"
	"\"resources\":[{\"address\":\"a_app.web\",\"mode\":\"managed\",\"type\":\"a_app\",\"name\":\"web\",\"expressions\":{\"db\":{"
	"\"references\":[\"module.db.host\",\"module.db\"]}}}],\"module_calls\":{\"db\":{\"source\":\"./db\",\"expressions\":{\"app\":{"
	"\"references\":[\"a_app.web.name\",\"a_app.web\"]}},\"module\":{\"outputs\":{\"host\":{\"expression\":{\"references\":["
	"\"a_db.main.host\",\"a_db.main\"]}}},\"resources\":[{\"address\":\"a_db.main\",\"mode\":\"managed\",\"type\":\"a_db\",\"name\":"
	"\"main\",\"expressions\":{}},{\"address\":\"a_disk.d\",\"mode\":\"managed\",\"type\":\"a_disk\",\"name\":\"d\",\"expressions\":{"
	"\"block\":[{\"x\":{\"references\":[\"var.app\"]}}]}}]}}}}}}";

static void a_plan_that_was_applied_has_changed_what_it_says(void **state)
{
	AUTO(topo) struct topo before = { 0 };
	AUTO(topo) struct topo after = { 0 };

	(void)state;
	read_text(plan, &(struct terraform_ask){ .applied = false }, &before);
	assert_int_equal(before.resource_count, 2);
	assert_string_equal(json_str(by_address(&before, "a_app.web")->versions, "image"), "web:1");
	assert_true(has_edge(&before, "a_app.old", "a_app.web", "DEPENDS_ON"));

	read_text(plan, &(struct terraform_ask){ .applied = true }, &after);
	assert_int_equal(after.resource_count, 3);
	assert_null(by_address(&after, "a_app.old"));
	/* an output of a module stands for what it refers to; an argument of a module for what the caller hands in */
	assert_true(has_edge(&after, "a_app.web", "module.db.a_db.main", "DEPENDS_ON"));
	assert_true(has_edge(&after, "module.db.a_disk.d[0]", "a_app.web", "DEPENDS_ON"));
	assert_int_equal(after.change_count, 2);
	assert_string_equal(after.change[0].action, "update");
	assert_string_equal(json_str(after.change[0].was, "image"), "web:1");
	assert_string_equal(json_str(after.change[0].is, "image"), "web:2");
	assert_string_equal(after.change[1].action, "delete");
}

static void an_old_state_knows_its_modules_and_counts(void **state)
{
	AUTO(topo) struct topo t = { 0 };

	(void)state;
	read_text(
		"{\"version\":3,\"terraform_version\":\"0.11.14\",\"modules\":[{\"path\":[\"root\"],\"resources\":{\"a_x.w.0\":{\"type\":"
		"\"a_x\",\"primary\":{\"id\":\"i-000001\",\"attributes\":{\"id\":\"i-000001\",\"sg.77\":\"sg-000009\"}}},\"a_x.w.1\":{\"type\":"
		"\"a_x\",\"primary\":{\"attributes\":{}}}}},{\"path\":[\"root\",\"m\"],\"resources\":{\"a_lb.l\":{\"type\":\"a_lb\","
		"\"depends_on\":[\"a_sg.s\",\"a_gone.g\"],\"primary\":{\"attributes\":{}}},\"a_sg.s\":{\"type\":\"a_sg\",\"primary\":{"
		"\"attributes\":{\"id\":\"sg-000009\"}}},\"data.a_d.x\":{\"type\":\"a_d\",\"primary\":{\"attributes\":{}}}}}]}",
		&(struct terraform_ask){ 0 }, &t);
	assert_int_equal(t.resource_count, 4);
	assert_non_null(by_address(&t, "a_x.w[1]"));
	assert_true(has_edge(&t, "module.m.a_lb.l", "module.m.a_sg.s", "DEPENDS_ON"));
	assert_true(has_edge(&t, "a_x.w[0]", "module.m.a_sg.s", "DEPENDS_ON"));
	assert_int_equal(t.ref_count, 2);
	assert_false(t.ref[1].found);
}

static void what_is_no_state_is_refused_with_the_field(void **state)
{
	static const struct {
		const char *text, *field;
	} rows[] = {
		{ "{\"version\":9,\"lineage\":\"x\"}",						       "/version" },
		{ "{\"version\":4,\"lineage\":\"x\",\"resources\":[{\"mode\":\"managed\",\"name\":\"n\"}]}",
                 "/resources"											   },
		{ "{\"version\":3,\"terraform_version\":\"0\",\"modules\":[{\"resources\":{\"a.b\":{}}}]}",
                 "/modules"											     },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(json) json_t *doc = parse(rows[i].text);
		struct topo t;
		struct oc_fail why = { 0 };

		assert_int_equal(terraform_read(doc, &(struct terraform_ask){ 0 }, &t, &why), OC_INVALID);
		assert_string_equal(why.field, rows[i].field);
	}
}

static void a_pulumi_stack_keeps_its_urns(void **state)
{
	AUTO(topo) struct topo t = { 0 };
	AUTO(json)
	json_t *doc = parse(
		"{\"version\":3,\"deployment\":{\"manifest\":{},\"resources\":[{\"urn\":\"urn:pulumi:prod::shop::pulumi:pulumi:Stack::shop-prod\","
		"\"type\":\"pulumi:pulumi:Stack\"},{\"urn\":\"urn:pulumi:prod::shop::pulumi:providers:aws::default\",\"type\":"
		"\"pulumi:providers:aws\",\"id\":\"x\"},{\"urn\":\"urn:pulumi:prod::shop::aws:ec2/securityGroup:SecurityGroup::sg\",\"type\":"
		"\"aws:ec2/securityGroup:SecurityGroup\",\"id\":\"sg-000123\",\"outputs\":{\"id\":\"sg-000123\"}},{\"urn\":"
		"\"urn:pulumi:prod::shop::aws:ec2/instance:Instance::web\",\"type\":\"aws:ec2/instance:Instance\",\"id\":\"i-00aa\",\"inputs\":{"
		"\"ami\":\"ami-1\"},\"dependencies\":[\"urn:pulumi:prod::shop::aws:ec2/securityGroup:SecurityGroup::sg\","
		"\"urn:pulumi:prod::shop::x:y:Z::gone\"]},{\"urn\":\"urn:pulumi:prod::shop::x:y:Z::dying\",\"type\":\"x:y:Z\",\"delete\":true}]}}");
	struct oc_fail why = { 0 };

	(void)state;
	assert_true(pulumi_knows(doc));
	if (pulumi_read(doc, NULL, &t, &why) != OC_OK)
		fail_msg("%s", why.text);
	assert_string_equal(t.stack, "prod");
	assert_int_equal(t.resource_count, 2);
	assert_string_equal(t.resource[1].urn, "urn:pulumi:prod::shop::aws:ec2/instance:Instance::web");
	assert_string_equal(json_str(t.resource[1].versions, "ami"), "ami-1");
	assert_int_equal(t.edge_count, 1);
	assert_int_equal(t.ref_count, 2);
	assert_false(t.ref[1].found);
}

/* ---- what others published ---- */

static void states_of_others_give_their_instances_and_dependencies(void **state)
{
	AUTO(str) char *path = data_path("inframap_tf/state_truth.json");
	AUTO(str) char *truth_text = file_text(path);
	AUTO(json) json_t *truth = NULL;
	const char *name;
	json_t *want, *one;
	size_t files = 0;

	(void)state;
	if (!truth_text) {
		print_message("no %s: set OPSCASE_DATA\n", path);
		skip();
	}
	truth = parse(truth_text);
	json_object_foreach(truth, name, want)
	{
		AUTO(str) char *below = mem_printf("inframap_tf/testdata/%s", name);
		AUTO(str) char *file = data_path(below);
		AUTO(str) char *text = file_text(file);
		AUTO(topo) struct topo t = { 0 };
		size_t i;

		assert_non_null(text);
		read_text(text, &(struct terraform_ask){ 0 }, &t);
		assert_int_equal(t.resource_count, json_array_size(json_object_get(want, "instances")));
		json_array_foreach(json_object_get(want, "instances"), i,
				   one) if (!by_address(&t, json_string_value(one)))
			fail_msg("%s: %s is missing", name, json_string_value(one));
		assert_int_equal(t.ref_count,
				 json_array_size(json_object_get(want, "explicit_dependencies")));
		json_array_foreach(json_object_get(want, "explicit_dependencies"), i, one)
		{
			const char *src = json_string_value(json_array_get(one, 0));
			const char *to = json_string_value(json_array_get(one, 1));
			bool found = false;

			for (size_t k = 0; k < t.ref_count && !found; k++)
				found = str_eq(t.resource[t.ref[k].src].address, src) &&
					str_eq(t.ref[k].to, to);
			if (!found)
				fail_msg("%s: %s -> %s is missing", name, src, to);
		}
		files++;
	}
	assert_true(files > 0);
}

static const struct topo_resource *by_config(const struct topo *t, const char *config)
{
	size_t n = strlen(config);

	for (size_t i = 0; i < t->resource_count; i++)
		if (strncmp(t->resource[i].address, config, n) == 0 &&
		    (t->resource[i].address[n] == '\0' || t->resource[i].address[n] == '['))
			return &t->resource[i];
	return NULL;
}

/* Who reaches whom by whatever depends on either: another tool's graph leaves out what stands between. */
static bool connected(const struct topo *t, size_t a, size_t b)
{
	AUTO(str) char *seen = mem_alloc(t->resource_count + 1);
	bool more = true;

	seen[a] = 1;
	while (more) {
		more = false;
		for (size_t i = 0; i < t->edge_count; i++) {
			size_t s = t->edge[i].src, d = t->edge[i].dst;

			if (seen[s] != seen[d]) {
				seen[s] = seen[d] = 1;
				more = true;
			}
		}
	}
	return seen[b];
}

static void the_graph_of_another_tool_is_contained_in_ours(void **state)
{
	AUTO(str) char *path = data_path("inframap_tf/expected_graphs.json");
	AUTO(str) char *text = file_text(path);
	AUTO(json) json_t *graphs = NULL;
	json_t *graph, *one;
	size_t i, k, edges = 0;

	(void)state;
	if (!text) {
		print_message("no %s: set OPSCASE_DATA\n", path);
		skip();
	}
	graphs = parse(text);
	json_array_foreach(graphs, i, graph)
	{
		AUTO(str) char *below = mem_printf("inframap_tf/testdata/%s", json_str(graph, "file"));
		AUTO(str) char *file = data_path(below);
		AUTO(str) char *state_text = file_text(file);
		AUTO(topo) struct topo t = { 0 };

		if (!state_text || strstr(file, ".tf"))
			continue; /* the language itself is not read: show -json has it */
		read_text(state_text, &(struct terraform_ask){ 0 }, &t);
		json_array_foreach(json_object_get(graph, "nodes"), k,
				   one) if (!str_starts(json_str(one, "id"), "im_out.") &&
					    !by_config(&t, json_str(one, "id")))
			fail_msg("%s: %s is missing", file, json_str(one, "id"));
		json_array_foreach(json_object_get(graph, "edges"), k, one)
		{
			const struct topo_resource *from = by_config(&t, json_str(one, "from"));
			const struct topo_resource *to = by_config(&t, json_str(one, "to"));

			if (!from || !to)
				continue; /* the internet is no resource */
			edges++;
			if (!connected(&t, (size_t)(from - t.resource), (size_t)(to - t.resource)))
				fail_msg("%s: %s and %s do not meet", file, from->address, to->address);
		}
	}
	assert_true(edges > 0);
}

static void shown_plans_and_states_of_others_are_read(void **state)
{
	AUTO(str) char *path = data_path("terraform_json/has_changes_plan.json");
	AUTO(str) char *text = file_text(path);
	AUTO(str) char *deep_path = data_path("terraform_json/deep_module_plan.json");
	AUTO(str) char *deep_text = file_text(deep_path);
	AUTO(str) char *state_path = data_path("terraform_json/no_changes_state.json");
	AUTO(str) char *state_text = file_text(state_path);
	AUTO(topo) struct topo t = { 0 };
	AUTO(topo) struct topo deep = { 0 };
	AUTO(topo) struct topo shown = { 0 };

	(void)state;
	if (!text || !deep_text || !state_text) {
		print_message("no %s: set OPSCASE_DATA\n", path);
		skip();
	}
	read_text(text, &(struct terraform_ask){ .applied = true }, &t);
	assert_int_equal(t.resource_count, 6);
	assert_true(has_edge(&t, "null_resource.bar", "null_resource.foo", "DEPENDS_ON"));
	assert_true(has_edge(&t, "null_resource.baz[2]", "null_resource.foo", "DEPENDS_ON"));
	assert_false(has_edge(&t, "null_resource.bar", "module.foo.null_resource.foo", "DEPENDS_ON"));
	assert_int_equal(t.change_count, 0);
	read_text(deep_text, &(struct terraform_ask){ .applied = true }, &deep);
	assert_non_null(by_address(&deep, "module.foo.module.bar.null_resource.baz"));
	assert_int_equal(deep.change_count, 1);
	read_text(state_text, &(struct terraform_ask){ 0 }, &shown);
	assert_int_equal(shown.resource_count, 6);
	assert_non_null(by_address(&shown, "module.foo.null_resource.foo"));
	assert_non_null(by_address(&shown, "null_resource.baz[1]"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_module_is_everything_in_it),
		cmocka_unit_test(ids_held_in_attributes_are_dependencies_and_clusters_carry),
		cmocka_unit_test(what_telemetry_knows_by_name_keeps_that_name),
		cmocka_unit_test(a_plan_that_was_applied_has_changed_what_it_says),
		cmocka_unit_test(an_old_state_knows_its_modules_and_counts),
		cmocka_unit_test(what_is_no_state_is_refused_with_the_field),
		cmocka_unit_test(a_pulumi_stack_keeps_its_urns),
		cmocka_unit_test(states_of_others_give_their_instances_and_dependencies),
		cmocka_unit_test(the_graph_of_another_tool_is_contained_in_ours),
		cmocka_unit_test(shown_plans_and_states_of_others_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
