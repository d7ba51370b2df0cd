/* runbook.h - how a runbook is kept, shared by the files of this room that read, fill and print it. */
#pragma once
#include <regex.h>
#include "planner/template.h"

enum param_type {
	PARAM_STRING,
	PARAM_INT,
	PARAM_NUMBER,
	PARAM_BOOL,
	PARAM_ENUM,
	PARAM_URN,
	PARAM_TYPE_COUNT
};

struct runbook_param {
	const char *name; /* lent from the document, as is all below */
	enum param_type type;
	bool required;
	const json_t *fallback, *example, *values, *from; /* or NULL */
	bool has_min, has_max;
	double min, max;
	bool has_pattern;
	regex_t pattern;
	const char *help;
};

struct runbook {
	struct yaml_doc *doc;
	const char *name, *title;
	struct runbook_param *param;
	size_t param_count;
	const json_t *match, *plan;
};

struct runbook_set {
	struct runbook **item; /* by name */
	size_t count;
};

const char *param_type_name(enum param_type type);
enum param_type param_type_parse(const char *name);
const struct runbook_param *runbook_param(const struct runbook *rb, const char *name, size_t len);
/* A value for it, turned into its type: "3" is taken for an int. OC_INVALID says what is wrong with it. */
enum oc_err param_value(const struct runbook_param *p, const json_t *value, json_t **ret,
			struct oc_fail *reterr);

/* Finds the next ${name} in s at or after *at. True: *at is where it begins, *name_len its length; the
 * name starts at *at + 2. Skips $${. An unclosed one has name_len 0. */
bool placeholder_next(const char *s, size_t *at, size_t *name_len);
/* The whole text is one placeholder. */
bool placeholder_whole(const char *s, size_t *name_len);
