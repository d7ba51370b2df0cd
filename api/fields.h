/* fields.h - what request bodies hold: one table checks them and prints their schema. */
#pragma once
#include "wire/json/json.h"

enum field_type { F_TEXT, F_CODE, F_UUID, F_ENUM, F_INT, F_OBJECT, F_ARRAY };

struct field {
	const char *name;
	enum field_type type;
	bool required;
	long long max;
	const char *values, *help;
};

struct field_table {
	const char *name, *help;
	const struct field *field; /* ends with a NULL name */
};

#define FIELDS(table, help) extern const struct field_table fields_##table;
#define FIELD(...)
#define FIELDS_END
#include "api/fields.def"
#undef FIELDS
#undef FIELD
#undef FIELDS_END

extern const struct field_table *const field_tables[]; /* all, NULL-ended */

/* Appends {"pointer","text"} for each fault; true when there was none. */
bool fields_check(const struct field_table *t, const json_t *body, json_t *errors);
json_t *fields_schema(const struct field_table *t); /* JSON Schema; yours */
