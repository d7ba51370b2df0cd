#include "api/fields.h"
#include "base/mem.h"
#include "base/uuid.h"

#define FIELDS(table, help)                            static const struct field rows_##table[] = {
#define FIELD(name, type, required, max, values, help) { name, type, required, max, values, help },
#define FIELDS_END { 0 } } \
	;
#include "api/fields.def"
#undef FIELDS
#undef FIELD
#undef FIELDS_END

#define FIELDS(table, help) const struct field_table fields_##table = { #table, help, rows_##table };
#define FIELD(...)
#define FIELDS_END
#include "api/fields.def"
#undef FIELDS

#define FIELDS(table, help) &fields_##table,
const struct field_table *const field_tables[] = {
#include "api/fields.def"
	NULL,
};
#undef FIELDS
#undef FIELD
#undef FIELDS_END

#define ERRORS_MAX 32 /* a body of a thousand wrong names gets an answer, not a book */

static void fault(json_t *errors, const char *name, const char *text)
{
	AUTO(text) struct text pointer = { 0 };

	if (json_array_size(errors) >= ERRORS_MAX)
		return;
	text_add(&pointer, name ? "/" : "");
	for (size_t n = 0; name && *name && n < 100; name++, n++) {
		if (*name == '~')
			text_add(&pointer, "~0");
		else if (*name == '/')
			text_add(&pointer, "~1");
		else
			text_add_n(&pointer, name, 1);
	}
	/* Cut inside a character, the pointer would not be UTF-8 any more. */
	while (pointer.len > 0 && !str_utf8_ok(pointer.s, pointer.len))
		pointer.s[--pointer.len] = '\0';
	json_array_append_new(errors, json_pack("{s:s, s:s}", "pointer", text_str(&pointer), "text", text));
}

static bool one_of(const char *values, const char *s)
{
	size_t n = strlen(s);

	while (*values) {
		size_t len = strcspn(values, "|");

		if (len == n && strncmp(values, s, n) == 0)
			return true;
		values += len + (values[len] == '|');
	}
	return false;
}

static bool text_clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' && *s != '\n' && *s != '\t' && *s != '\r')
			return false;
	return true;
}

/* NULL when the value is right. *own is freed by the caller when the sentence had to be made. */
static const char *wrong(const struct field *f, const json_t *v, char **own)
{
	const char *s = json_string_value(v);

	switch (f->type) {
	case F_TEXT:
	case F_CODE:
		if (!s)
			return "must be a string";
		if (*s == '\0' && f->required)
			return "must not be empty";
		if ((long long)json_string_length(v) > f->max)
			return *own = mem_printf("has more than %lld bytes", f->max);
		if (!text_clean(s))
			return "has control characters";
		if (f->type == F_CODE &&
		    (strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(s) || !*s))
			return "must be made of a-z 0-9 _ -";
		return NULL;
	case F_UUID:
		return s && uuid_ok(s) ? NULL : "must be a UUID";
	case F_ENUM:
		return s && one_of(f->values, s) ? NULL : (*own = mem_printf("must be one of %s", f->values));
	case F_INT:
		if (!json_is_integer(v))
			return "must be an integer";
		if (json_integer_value(v) < 0 || json_integer_value(v) > f->max)
			return *own = mem_printf("must be from 0 to %lld", f->max);
		return NULL;
	case F_OBJECT:
		if (!json_is_object(v))
			return "must be an object";
		return (long long)json_object_size(v) > f->max
			       ? (*own = mem_printf("has more than %lld members", f->max))
			       : NULL;
	case F_ARRAY:
		if (!json_is_array(v))
			return "must be an array";
		return (long long)json_array_size(v) > f->max
			       ? (*own = mem_printf("has more than %lld items", f->max))
			       : NULL;
	}
	return NULL;
}

bool fields_check(const struct field_table *t, const json_t *body, json_t *errors)
{
	size_t before = json_array_size(errors);
	const char *name;
	json_t *v;

	for (const struct field *f = t->field; f->name; f++) {
		const json_t *value = json_object_get(body, f->name);
		AUTO(str) char *own = NULL;
		const char *text;

		if (!value) {
			if (f->required)
				fault(errors, f->name, "is missing");
			continue;
		}
		if (json_is_null(value) && !f->required)
			continue;
		text = wrong(f, value, &own);
		if (text)
			fault(errors, f->name, text);
	}
	json_object_foreach((json_t *)body, name, v)
	{
		const struct field *f = t->field;

		while (f->name && strcmp(f->name, name) != 0)
			f++;
		if (!f->name)
			fault(errors, name, "is not known here");
	}
	return json_array_size(errors) == before;
}

static json_t *field_schema(const struct field *f)
{
	json_t *s = json_object();

	switch (f->type) {
	case F_TEXT:
	case F_CODE:
		json_put(s, "type", "string");
		if (f->required)
			json_object_set_new(s, "minLength", json_integer(1));
		json_object_set_new(s, "maxLength", json_integer(f->max));
		if (f->type == F_CODE)
			json_put(s, "pattern", "^[a-z0-9][a-z0-9_-]*$");
		break;
	case F_UUID:
		json_put(s, "type", "string");
		json_put(s, "format", "uuid");
		break;
	case F_ENUM: {
		json_t *list = json_array();

		json_put(s, "type", "string");
		for (const char *v = f->values; *v;) {
			size_t n = strcspn(v, "|");

			json_array_append_new(list, json_stringn(v, n));
			v += n + (v[n] == '|');
		}
		json_object_set_new(s, "enum", list);
		break;
	}
	case F_INT:
		json_put(s, "type", "integer");
		json_object_set_new(s, "minimum", json_integer(0));
		json_object_set_new(s, "maximum", json_integer(f->max));
		break;
	case F_OBJECT:
		json_put(s, "type", "object");
		json_object_set_new(s, "maxProperties", json_integer(f->max));
		break;
	case F_ARRAY:
		json_put(s, "type", "array");
		json_object_set_new(s, "maxItems", json_integer(f->max));
		break;
	}
	if (!str_empty(f->help))
		json_put(s, "description", f->help);
	return s;
}

json_t *fields_schema(const struct field_table *t)
{
	json_t *s = json_object(), *props = json_object(), *required = json_array();

	json_put(s, "type", "object");
	json_put(s, "description", t->help);
	for (const struct field *f = t->field; f->name; f++) {
		json_object_set_new(props, f->name, field_schema(f));
		if (f->required)
			json_array_append_new(required, json_string(f->name));
	}
	json_object_set_new(s, "properties", props);
	if (json_array_size(required))
		json_object_set(s, "required", required);
	json_decref(required);
	json_object_set_new(s, "additionalProperties", json_false());
	return s;
}
