/* The k8s adapter's judgement of health against recorded objects whose health is known ($OPSCASE_DATA/k8s_health). */
#include "rollout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include <cmocka.h>

/* --- YAML as the API server would have said it in JSON (enough for the recorded objects;
 * the reader of wire/yaml refuses the duplicate key that one of them has) */

static json_t *scalar_json(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	char *end;
	long long n;

	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return json_string(text);
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return json_boolean(text[0] == 't');
	if (!*text || strcmp(text, "null") == 0 || strcmp(text, "~") == 0)
		return json_null();
	n = strtoll(text, &end, 10);
	return *end ? json_string(text) : json_integer(n);
}

static json_t *node_json(yaml_document_t *doc, int id)
{
	yaml_node_t *node = yaml_document_get_node(doc, id);
	json_t *out;

	if (node->type == YAML_SEQUENCE_NODE) {
		out = json_array();
		for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
		     i++)
			json_array_append_new(out, node_json(doc, *i));
		return out;
	}
	if (node->type == YAML_MAPPING_NODE) {
		out = json_object();
		for (yaml_node_pair_t *i = node->data.mapping.pairs.start; i < node->data.mapping.pairs.top;
		     i++)
			json_object_set_new(
				out, (const char *)yaml_document_get_node(doc, i->key)->data.scalar.value,
				node_json(doc, i->value));
		return out;
	}
	return scalar_json(node);
}

static json_t *load_yaml(const char *path)
{
	yaml_parser_t parser;
	yaml_document_t doc;
	json_t *out = NULL;
	FILE *from = fopen(path, "r");

	if (!from)
		return NULL;
	yaml_parser_initialize(&parser);
	yaml_parser_set_input_file(&parser, from);
	if (yaml_parser_load(&parser, &doc)) {
		if (yaml_document_get_root_node(&doc))
			out = node_json(&doc, 1);
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
	fclose(from);
	return out;
}

static void recorded_objects_are_judged_as_recorded(void **state)
{
	const char *data = getenv("OPSCASE_DATA");
	char folder[512], path[1024];
	json_t *expected, *value;
	const char *file;
	int wrong = 0;

	(void)state;
	snprintf(folder, sizeof folder, "%s/k8s_health", data ? data : OPSCASE_SOURCE_DIR "/../shared/data");
	snprintf(path, sizeof path, "%s/expected.json", folder);
	expected = json_load_file(path, 0, NULL);
	if (!expected) {
		print_message("skipped: no recorded objects ($OPSCASE_DATA/k8s_health)\n");
		skip();
	}
	assert_true(json_object_size(expected) > 10);
	json_object_foreach(expected, file, value)
	{
		struct health_view view;
		json_t *object;

		snprintf(path, sizeof path, "%s/%s", folder, file);
		object = load_yaml(path);
		assert_non_null(object);
		health_judge(object, &view);
		if (strcmp(health_name(view.health), json_string_value(value)) != 0) {
			print_message("%s: %s, wanted %s (%s)\n", file, health_name(view.health),
				      json_string_value(value), view.why);
			wrong++;
		}
		json_decref(object);
	}
	json_decref(expected);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(recorded_objects_are_judged_as_recorded) };

	return cmocka_run_group_tests_name("health of recorded objects", tests, NULL, NULL);
}
