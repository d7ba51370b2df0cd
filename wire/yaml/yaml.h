/* yaml.h - YAML files that people write, as JSON values that remember their lines.
 *
 * One document per file; anchors and aliases are refused (a policy must read as it is written, and a
 * nest of aliases is a bomb), so are duplicate keys and tags other than the core ones. Plain scalars
 * follow the JSON schema of YAML 1.2: true/false/null/~, decimal numbers; everything else is text
 * ("yes", "no" and "on" stay text). */
#pragma once
#include "wire/json/json.h"

struct yaml_doc;

/* `name` is used in messages ("policies/a.yaml:12: ..."). OC_BAD_REQUEST with that position. */
MUST_CHECK enum oc_err yaml_read(const char *name, const char *text, size_t len, struct yaml_doc **ret,
				 struct oc_fail *reterr);
/* For files of others, which were not written for us: YAML 1.1 as people's tools write it. Anchors, aliases and merge
 * keys are followed (at most 100,000 values in all), tags are passed over (a value under a tag of its own, as !vault,
 * becomes its text), a key that stands twice counts the last time, yes/no/on/off are true and false, only the
 * first document is read, and an empty file is null. At most 4 MiB. */
MUST_CHECK enum oc_err yaml_read_loose(const char *name, const char *text, size_t len, json_t **ret,
				       struct oc_fail *reterr);
MUST_CHECK enum oc_err yaml_read_file(const char *path, struct yaml_doc **ret, struct oc_fail *reterr);
/* Not yaml_free: libyaml has one of its own, and the linker would give it ours. */
void yaml_close(struct yaml_doc *doc);
DEFINE_AUTO(yaml, struct yaml_doc *, yaml_close);

json_t *yaml_value(const struct yaml_doc *doc);                 /* lent */
int yaml_line(const struct yaml_doc *doc, const char *pointer); /* 0 if not known */
const char *yaml_name(const struct yaml_doc *doc);
