#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "llm/redact.h"
#include "llm/suspect.h"
#include "llm/wire.h"

static const struct wire_turn turn = { .text = "what now?" };

static json_t *request(enum wire_kind kind, enum wire_structured how)
{
	AUTO(json) json_t *schema = json_pack("{s:s}", "type", "object");

	return wire_request(kind, how,
			    &(struct wire_ask){ .model = "m",
						.system = "rules",
						.turns = &turn,
						.count = 1,
						.name = "doc",
						.schema = schema,
						.max_tokens = 10 });
}

static void each_kind_asks_for_a_document_in_its_own_way(void **state)
{
	AUTO(json)
	json_t *a = request(WIRE_OPENAI, WIRE_SCHEMA), *b = request(WIRE_OPENAI, WIRE_TOOL),
	       *c = request(WIRE_ANTHROPIC, WIRE_SCHEMA), *d = request(WIRE_OPENAI, WIRE_TEXT);

	(void)state;
	assert_string_equal(json_string_value(json_at(a, "/response_format/type")), "json_schema");
	assert_string_equal(json_string_value(json_at(a, "/messages/0/role")), "system");
	assert_string_equal(json_string_value(json_at(b, "/tool_choice/function/name")), "doc");
	assert_string_equal(json_string_value(json_at(c, "/tool_choice/name")), "doc");
	assert_string_equal(json_str(c, "system"), "rules");
	assert_int_equal(json_array_size(json_object_get(c, "messages")), 1);
	assert_null(json_object_get(d, "response_format"));
}

static void tools_their_calls_and_their_results_go_out_as_each_protocol_has_them(void **state)
{
	AUTO(json)
	json_t *tools = json_pack("[{s:s, s:s, s:{s:s}}]", "name", "look", "description", "reads", "schema",
				  "type", "object");
	AUTO(json)
	json_t *calls = json_pack("[{s:s, s:s, s:{s:s}}, {s:s, s:s, s:{}}]", "id", "a", "name", "look",
				  "input", "at", "x", "id", "b", "name", "look", "input");
	const struct wire_turn turns[] = {
		{ .text = "go" },
		{ .assistant = true, .calls = calls },
		{ .text = "seen 1", .answers = "a" },
		{ .text = "seen 2", .answers = "b" },
	};
	const struct wire_ask ask = {
		.model = "m", .system = "rules", .turns = turns, .count = 4, .tools = tools, .max_tokens = 10
	};
	AUTO(json) json_t *o = wire_request(WIRE_OPENAI, WIRE_TOOL, &ask);
	AUTO(json) json_t *a = wire_request(WIRE_ANTHROPIC, WIRE_TOOL, &ask);
	AUTO(json) json_t *s = wire_request(WIRE_OPENAI, WIRE_SCHEMA, &ask);

	(void)state;
	assert_string_equal(json_str(o, "tool_choice"), "required");
	assert_string_equal(json_string_value(json_at(o, "/tools/0/function/name")), "look");
	assert_string_equal(json_string_value(json_at(o, "/messages/2/tool_calls/0/function/arguments")),
			    "{\"at\":\"x\"}");
	assert_string_equal(json_string_value(json_at(o, "/messages/3/role")), "tool");
	assert_string_equal(json_string_value(json_at(o, "/messages/4/tool_call_id")), "b");
	/* Anthropic wants all results of one answer in one message */
	assert_string_equal(json_string_value(json_at(a, "/tool_choice/type")), "any");
	assert_int_equal(json_array_size(json_object_get(a, "messages")), 3);
	assert_string_equal(json_string_value(json_at(a, "/messages/1/content/0/type")), "tool_use");
	assert_string_equal(json_string_value(json_at(a, "/messages/2/content/1/tool_use_id")), "b");
	/* who has no tools gets them as one schema */
	assert_string_equal(json_string_value(json_at(
				    s, "/response_format/json_schema/schema/anyOf/0/properties/tool/const")),
			    "look");
}

static void calls_come_back_with_id_name_and_input(void **state)
{
	static const char body[] =
		"{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"look\",\"arguments\":"
		"\"{\\\"at\\\":1}\"}},{\"id\":\"b\",\"function\":{\"name\":\"look\",\"arguments\":\"{oops\"}}]},"
		"\"finish_reason\":\"tool_calls\"}]}";
	struct wire_said said = { 0 };

	(void)state;
	assert_int_equal(wire_read(WIRE_OPENAI, "application/json", body, strlen(body), &said, NULL), OC_OK);
	assert_int_equal(json_array_size(said.calls), 2);
	assert_int_equal(json_integer_value(json_at(said.calls, "/0/input/at")), 1);
	assert_string_equal(json_string_value(json_at(said.calls, "/1/id")), "b");
	assert_true(json_is_null(json_at(said.calls, "/1/input")));
	wire_said_done(&said);
}

static enum oc_err read_text(enum wire_kind kind, const char *type, const char *body, struct wire_said *ret)
{
	return wire_read(kind, type, body, strlen(body), ret, NULL);
}

static void whole_answers_are_read(void **state)
{
	struct wire_said said = { 0 };

	(void)state;
	assert_int_equal(
		read_text(WIRE_OPENAI, "application/json",
			  "{\"choices\":[{\"message\":{\"content\":\"{}\"},\"finish_reason\":\"stop\"}],"
			  "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
			  &said),
		OC_OK);
	assert_string_equal(said.text, "{}");
	assert_int_equal(said.tokens_in, 3);
	wire_said_done(&said);
	assert_int_equal(
		read_text(
			WIRE_ANTHROPIC, "application/json",
			"{\"content\":[{\"type\":\"tool_use\",\"input\":{\"a\":1}}],\"stop_reason\":\"tool_use\","
			"\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}",
			&said),
		OC_OK);
	assert_string_equal(said.text, "{\"a\":1}");
	assert_int_equal(said.tokens_in, 4);
	wire_said_done(&said);
	assert_int_equal(
		read_text(WIRE_OPENAI, "application/json",
			  "{\"choices\":[{\"message\":{\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}",
			  &said),
		OC_OK);
	assert_true(said.refused);
	wire_said_done(&said);
}

static void streams_are_put_together_and_a_cut_one_is_none(void **state)
{
	static const char whole[] =
		"data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"a\\\":\"}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"content\":\"1}\"},\"finish_reason\":\"stop\"}]}\n\n"
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
	static const char claude[] =
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9}}}\n\n"
		"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"b\\\"\"}}\n\n"
		"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\":2}\"}}\n\n"
		"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":6}}\n\n";
	struct wire_said said = { 0 };
	AUTO(str) char *cut = mem_strndup(whole, 70);

	(void)state;
	assert_int_equal(read_text(WIRE_OPENAI, "text/event-stream", whole, &said), OC_OK);
	assert_string_equal(said.text, "{\"a\":1}");
	assert_int_equal(said.tokens_out, 5);
	wire_said_done(&said);
	assert_int_equal(read_text(WIRE_ANTHROPIC, "text/event-stream; charset=utf-8", claude, &said), OC_OK);
	assert_string_equal(said.text, "{\"b\":2}");
	assert_int_equal(said.tokens_in, 9);
	assert_int_equal(said.tokens_out, 6);
	wire_said_done(&said);
	assert_int_equal(read_text(WIRE_OPENAI, "text/event-stream", cut, &said), OC_INVALID);
	assert_int_equal(read_text(WIRE_OPENAI, "text/event-stream", "", &said), OC_INVALID);
}

static void the_document_in_a_text_is_found(void **state)
{
	AUTO(json)
	json_t *a = wire_extract("Sure! ```json\n{\"a\": \"}\"}\n``` done"),
	       *b = wire_extract("{broken {\"b\":2}");

	(void)state;
	assert_string_equal(json_str(a, "a"), "}");
	assert_int_equal(json_int_or(b, "b", 0), 2);
	assert_null(wire_extract("nothing here"));
}

static void vectors_are_taken_only_whole(void **state)
{
	float v[4];

	(void)state;
#define READ(text) wire_embed_read(text, strlen(text), 2, 2, v, NULL, NULL)
	assert_int_equal(
		READ("{\"data\":[{\"index\":1,\"embedding\":[3,4]},{\"index\":0,\"embedding\":[1,2]}]}"),
		OC_OK);
	assert_float_equal(v[2], 3, 0);
	assert_int_equal(READ("{\"data\":[{\"index\":0,\"embedding\":[1,2]}]}"), OC_INVALID);
	assert_int_equal(
		READ("{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":0,\"embedding\":[1,2]}]}"),
		OC_INVALID);
	assert_int_equal(
		READ("{\"data\":[{\"index\":0,\"embedding\":[1,2,3]},{\"index\":1,\"embedding\":[1,2]}]}"),
		OC_INVALID);
	assert_int_equal(
		READ("{\"data\":[{\"index\":0,\"embedding\":[1,null]},{\"index\":1,\"embedding\":[1,2]}]}"),
		OC_INVALID);
}

static void names_leave_as_placeholders_and_come_back(void **state)
{
	AUTO(redact) struct redact *r = redact_new();
	AUTO(str)
	char *out = redact_text(
		r, "web-1.shop.internal at 10.0.3.7:8080 told ann@example.com, then 10.0.3.7 again.");
	AUTO(str) char *back = redact_back(r, out);
	AUTO(json) json_t *map = redact_map(r);
	AUTO(redact) struct redact *again = redact_from_map(map);
	AUTO(str) char *back2 = redact_back(again, out);

	(void)state;
	assert_string_equal(out, "HOST_1 at IP_1:8080 told MAIL_1, then IP_1 again.");
	assert_string_equal(
		back, "web-1.shop.internal at 10.0.3.7:8080 told ann@example.com, then 10.0.3.7 again.");
	assert_string_equal(back2, back);
}

static void placeholders_are_not_mistaken_for_each_other(void **state)
{
	AUTO(redact) struct redact *r = redact_new();
	AUTO(text) struct text t = { 0 };

	(void)state;
	for (int i = 1; i <= 12; i++)
		text_addf(&t, "10.0.0.%d ", i);
	AUTO(str) char *out = redact_text(r, t.s);
	AUTO(str) char *back = redact_back(r, out);
	assert_string_equal(back, t.s);
}

static void tokens_go_for_good(void **state)
{
	static const char *const texts[] = {
		"Authorization: Bearer abcdef123",
		"password=hunter2",
		"api_key: 'k-1'",
		"ghp_abcdefghijklmnop1234",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
		"AKIAIOSFODNN7EXAMPLE",
		"key aB3dE5fG7hI9jK1lM3nO5pQ7r",
	};
	static const char *const secret[] = { "abcdef123", "hunter2", "k-1", "ghp_", "eyJ", "AKIA", "aB3dE5" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO(redact) struct redact *r = redact_new();
		AUTO(str) char *out = redact_text(r, texts[i]);
		AUTO(str) char *back = redact_back(r, out);

		if (strstr(out, secret[i]) || strstr(back, secret[i]))
			fail_msg("'%s' leaves as '%s'", texts[i], out);
	}
	/* what only looks like one stays */
	AUTO(redact) struct redact *r = redact_new();
	AUTO(str)
	char *out = redact_text(r, "the token bucket of urn:svc:shop; http.err_rate 0.25; v1.32.1; 12:34:56");
	assert_string_equal(out, "the token bucket of urn:svc:shop; http.err_rate 0.25; v1.32.1; 12:34:56");
}

static void what_happened_is_not_suspect(void **state)
{
	static const char *const texts[] = {
		"connection refused by 10.0.0.1:5432 after 3 tries",
		"Etcd member ignored previous heartbeat; leader election took 3.2s",
		"GET /api/v1/users?id=42&name=%E5%BC%A0 500 12ms",
		"OOMKilled: container exceeded its memory limit of 512Mi",
		"磁盘空间不足，数据库无法写入",
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"deployment approved the rollout of image registry/shop:1.2.3",
	};
	char sign[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (suspect_text(texts[i], sign, sizeof(sign)))
			fail_msg("'%s': %s", texts[i], sign);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_asks_for_a_document_in_its_own_way),
		cmocka_unit_test(tools_their_calls_and_their_results_go_out_as_each_protocol_has_them),
		cmocka_unit_test(calls_come_back_with_id_name_and_input),
		cmocka_unit_test(whole_answers_are_read),
		cmocka_unit_test(streams_are_put_together_and_a_cut_one_is_none),
		cmocka_unit_test(the_document_in_a_text_is_found),
		cmocka_unit_test(vectors_are_taken_only_whole),
		cmocka_unit_test(names_leave_as_placeholders_and_come_back),
		cmocka_unit_test(placeholders_are_not_mistaken_for_each_other),
		cmocka_unit_test(tokens_go_for_good),
		cmocka_unit_test(what_happened_is_not_suspect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
