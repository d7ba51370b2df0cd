#include "object.h"

#include "digest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const json_t *object_at(const json_t *object, ...)
{
	va_list path;
	const char *name;

	va_start(path, object);
	while (object && (name = va_arg(path, const char *)))
		object = json_object_get(object, name); /* NULL for what is no object */
	va_end(path);
	return object;
}

const char *object_name(const json_t *object)
{
	const char *s = json_string_value(object_at(object, "metadata", "name", NULL));

	return s ? s : "";
}

const char *object_uid(const json_t *object)
{
	const char *s = json_string_value(object_at(object, "metadata", "uid", NULL));

	return s ? s : "";
}

const char *object_annotation(const json_t *object, const char *name)
{
	return json_string_value(object_at(object, "metadata", "annotations", name, NULL));
}

const json_t *object_template(const json_t *object)
{
	return object_at(object, "spec", "template", NULL);
}

int64_t object_number(const json_t *value, int64_t otherwise)
{
	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

int64_t object_replicas(const json_t *object)
{
	return object_number(object_at(object, "spec", "replicas", NULL), 1);
}

bool object_owned_by(const json_t *object, const char *uid)
{
	const json_t *ref;
	size_t i;

	json_array_foreach((json_t *)object_at(object, "metadata", "ownerReferences", NULL), i, ref)
	{
		const char *s = json_string_value(json_object_get(ref, "uid"));

		if (s && json_is_true(json_object_get(ref, "controller")) && strcmp(s, uid) == 0)
			return true;
	}
	return false;
}

static const char *const container_lists[] = { "containers", "initContainers" };

json_t *template_images(const json_t *template)
{
	json_t *images = json_object();

	for (size_t l = 0; l < 2; l++) {
		const json_t *c;
		size_t i;

		json_array_foreach((json_t *)object_at(template, "spec", container_lists[l], NULL), i, c)
		{
			const char *name = json_string_value(json_object_get(c, "name"));

			if (name)
				json_object_set(images, name, json_object_get(c, "image"));
		}
	}
	return images;
}

const char *template_container_list(const json_t *template, const char *container)
{
	for (size_t l = 0; l < 2; l++) {
		const json_t *c;
		size_t i;

		json_array_foreach((json_t *)object_at(template, "spec", container_lists[l], NULL), i, c)
		{
			const char *name = json_string_value(json_object_get(c, "name"));

			if (name && strcmp(name, container) == 0)
				return container_lists[l];
		}
	}
	return NULL;
}

const char *template_restarted(const json_t *template)
{
	return object_annotation(template, OBJECT_RESTARTED);
}

void template_hash(const json_t *template, char ret_hex[65])
{
	json_t *bare = json_deep_copy(template);
	json_t *labels = (json_t *)object_at(bare, "metadata", "labels", NULL);
	char *text;

	json_object_del(labels, OBJECT_TEMPLATE_HASH);
	text = bare ? json_dumps(bare, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	digest_hex(text ? text : "", text ? strlen(text) : 0, ret_hex);
	free(text);
	json_decref(bare);
}

bool mark_has(const json_t *object, const char *key)
{
	const char *mark = object_annotation(object, OBJECT_MARK);
	size_t len = strlen(key);

	if (len == 0)
		return false;
	while (mark && *mark) {
		size_t n = strcspn(mark, ",");

		if (n == len && strncmp(mark, key, n) == 0)
			return true;
		mark += n + (mark[n] == ',');
	}
	return false;
}

json_t *mark_add(const json_t *object, const char *key)
{
	const char *mark = object_annotation(object, OBJECT_MARK);
	const char *end = mark;
	size_t keep = 0;

	if (!mark || !*mark)
		return json_string(key);
	for (int n = 0; *end && n < OBJECT_MARKS_MAX - 1; n++) { /* old ones fall off the end */
		end += strcspn(end, ",");
		keep = (size_t)(end - mark);
		end += *end == ',';
	}
	return json_sprintf("%s,%.*s", key, (int)(keep < 4096 ? keep : 4096), mark);
}
