// schema.cc - the only C++ in the house, because the JSON Schema library is. Alone in its file: the
// library is headers, and this one file takes most of a minute to compile. No exception leaves it.

// gcc 14 with sanitizers believes that std::regex reads what it has not written; it does not.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <pthread.h>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>

#include <jsoncons/json.hpp>
#include <jsoncons_ext/jsonschema/jsonschema.hpp>

// In C++ a function with a struct's name hides its constructor; in C that is how the house is named.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "wire/json/schema.h"
}
#pragma GCC diagnostic pop

namespace js = jsoncons::jsonschema;
using jsoncons::json;

struct json_schema {
	js::json_schema<json> compiled;
	bool patterns; // some string will meet std::regex
};

namespace
{

// std::regex needs some hundred bytes of stack per character (more under a sanitizer); a usual
// thread's stack has room for this many characters without a thought.
const size_t SHORT_STRING = 1024;
const size_t STACK_PER_CHAR = 4096;
const int DEPTH_MAX = 128;

jsoncons::json_options parse_options()
{
	jsoncons::json_options o;

	o.max_nesting_depth(DEPTH_MAX);
	return o;
}

bool has_patterns(const json &v)
{
	if (v.is_object()) {
		for (const auto &m : v.object_range())
			if (m.key() == "pattern" || m.key() == "patternProperties" ||
			    m.key() == "$dynamicRef" || has_patterns(m.value()))
				return true;
	} else if (v.is_array()) {
		for (const auto &m : v.array_range())
			if (has_patterns(m))
				return true;
	}
	return false;
}

// The pointer of the longest string, or of the object whose key it is.
void longest_string(const json &v, const jsoncons::jsonpointer::json_pointer &at, size_t *len,
		    std::string *where)
{
	if (v.is_string()) {
		size_t n = v.as_string_view().size();

		if (n > *len) {
			*len = n;
			*where = at.string();
		}
	} else if (v.is_object()) {
		for (const auto &m : v.object_range()) {
			if (m.key().size() > *len) {
				*len = m.key().size();
				*where = at.string();
			}
			longest_string(m.value(), at / m.key(), len, where);
		}
	} else if (v.is_array()) {
		size_t i = 0;

		for (const auto &m : v.array_range())
			longest_string(m, at / i++, len, where);
	}
}

// The library asks "is it whole?" by casting to 64 bits, which for a number beyond them means nothing.
bool beyond_long(const json &v, std::string *where)
{
	if (v.is_double())
		return !(std::fabs(v.as<double>()) < 9223372036854775808.0);
	if (v.is_object()) {
		for (const auto &m : v.object_range())
			if (beyond_long(m.value(), where)) {
				*where = "/" + jsoncons::jsonpointer::escape(jsoncons::string_view(m.key())) + *where;
				return true;
			}
	} else if (v.is_array()) {
		size_t i = 0;

		for (const auto &m : v.array_range()) {
			if (beyond_long(m, where)) {
				*where = "/" + std::to_string(i) + *where;
				return true;
			}
			i++;
		}
	}
	return false;
}

void put(char *out, size_t size, const std::string &s)
{
	size_t n = s.size() < size - 1 ? s.size() : size - 1;

	// a cut in the middle of a character would make the finding no UTF-8
	if (n < s.size())
		while (n && (static_cast<unsigned char>(s[n]) & 0xc0) == 0x80)
			n--;
	memcpy(out, s.data(), n);
	out[n] = '\0';
}

void add(struct schema_findings *f, const std::string &pointer, const std::string &keyword,
	 const std::string &text)
{
	if (f->count < SCHEMA_FINDINGS_MAX) {
		struct schema_finding *i = &f->item[f->count];

		put(i->pointer, sizeof(i->pointer), pointer);
		put(i->keyword, sizeof(i->keyword), keyword);
		put(i->text, sizeof(i->text), text);
	}
	f->count++;
}

void add_message(struct schema_findings *f, const js::validation_message &m, int depth)
{
	bool choice = m.keyword() == "oneOf" || m.keyword() == "anyOf" || m.keyword() == "contains";

	// "oneOf failed" helps nobody; what each branch said does. Where there is no choice only the
	// innermost message says anything.
	if (choice || m.details().empty() || depth == 4)
		add(f, m.instance_location().string(), m.keyword(), m.message());
	if (depth < 4)
		for (const auto &d : m.details())
			add_message(f, d, depth + 1);
}

struct check {
	const struct json_schema *schema;
	const json *doc;
	struct schema_findings *f;
	std::string broken; // why it could not be checked at all
};

void *check_run(void *arg) noexcept
{
	check *c = static_cast<check *>(arg);

	try {
		c->schema->compiled.validate(*c->doc,
					     [c](const js::validation_message &m) -> js::walk_result {
						     add_message(c->f, m, 0);
						     return js::walk_result::advance;
					     });
	} catch (const std::exception &e) {
		c->broken = e.what();
	}
	return nullptr;
}

// A stack that fits the longest string. The memory is only mapped, and used as far as it is needed.
bool check_on_big_stack(check *c, size_t longest)
{
	pthread_attr_t attr;
	pthread_t t;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
	ok = pthread_attr_setstacksize(&attr, (size_t(8) << 20) + longest * STACK_PER_CHAR) == 0 &&
	     pthread_create(&t, &attr, check_run, c) == 0;
	pthread_attr_destroy(&attr);
	if (ok)
		pthread_join(t, nullptr);
	return ok;
}

} // namespace

extern "C" enum oc_err json_schema_compile_with(const char *schema_text, json_schema_lookup_fn *lookup,
						void *ctx, struct json_schema **ret, struct oc_fail *reterr)
{
	try {
		json schema = json::parse(std::string(schema_text ? schema_text : ""), parse_options());
		bool patterns = lookup || has_patterns(schema);
		// format is not asserted: that is the draft's own default, said aloud
		auto options = js::evaluation_options{}
				       .default_version(js::schema_version::draft202012())
				       .require_format_validation(false);

		auto resolve = [lookup, ctx](const jsoncons::uri &uri) -> json {
			const char *text = lookup ? lookup(ctx, uri.string().c_str()) : nullptr;

			if (text)
				return json::parse(std::string(text), parse_options());
			throw js::schema_error("'" + uri.string() +
					       "' is outside of this schema and is not fetched");
		};
		*ret = new json_schema{ js::make_json_schema(std::move(schema), resolve, options), patterns };
		return OC_OK;
	} catch (const std::exception &e) {
		return oc_fail(reterr, OC_INVALID, "not a usable JSON Schema: %s", e.what());
	}
}

extern "C" enum oc_err json_schema_compile(const char *schema_text, struct json_schema **ret,
					   struct oc_fail *reterr)
{
	return json_schema_compile_with(schema_text, nullptr, nullptr, ret, reterr);
}

extern "C" void json_schema_free(struct json_schema *schema)
{
	delete schema;
}

extern "C" enum oc_err json_schema_check(const struct json_schema *schema, const char *doc_text,
					 struct schema_findings *ret, struct oc_fail *reterr)
{
	struct schema_findings findings;

	findings.count = 0;
	try {
		json doc = json::parse(std::string(doc_text ? doc_text : ""), parse_options());
		check c = { schema, &doc, &findings, "" };
		size_t longest = 0;
		std::string where;

		if (schema->patterns)
			longest_string(doc, jsoncons::jsonpointer::json_pointer(), &longest, &where);
		if (longest <= SCHEMA_STRING_MAX)
			where.clear();
		if (longest > SCHEMA_STRING_MAX)
			add(&findings, where, "maxLength",
			    "the text has " + std::to_string(longest) + " bytes; at most " +
				    std::to_string(SCHEMA_STRING_MAX) + " are taken here");
		else if (beyond_long(doc, &where))
			add(&findings, where, "maximum",
			    "the number is beyond 9.2e18, which is all that is taken here");
		else if (longest <= SHORT_STRING)
			check_run(&c);
		else if (!check_on_big_stack(&c, longest))
			c.broken = "no stack for a text of " + std::to_string(longest) + " bytes";
		if (!c.broken.empty())
			add(&findings, "", "", "could not be checked: " + c.broken);
	} catch (const std::exception &e) {
		add(&findings, "", "", std::string("not valid JSON: ") + e.what());
	}

	if (ret)
		*ret = findings;
	if (findings.count == 0)
		return OC_OK;
	return oc_fail_field(reterr, OC_INVALID, findings.item[0].pointer, "%s", findings.item[0].text);
}
