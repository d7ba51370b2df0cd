#include "plan.h"

#include "object.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct telling {
	json_t *changes;
	char text[16384];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void tell_line(struct telling *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->text + t->len, sizeof t->text - t->len, format, args);
	va_end(args);
	if (n > 0)
		t->len = t->len + (size_t)n < sizeof t->text ? t->len + (size_t)n : sizeof t->text - 1;
}

static void tell(struct telling *t, const char *object, const char *what, const char *from, const char *to)
{
	json_t *change = json_pack("{s:o, s:o, s:o}", "what", json_sprintf("%s %s", object, what), "from",
				   from ? json_string(from) : json_null(), "to",
				   to ? json_string(to) : json_null());

	if (change)
		json_array_append_new(t->changes, change);
	if (from)
		tell_line(t, "- %s: %s\n", what, from);
	if (to)
		tell_line(t, "+ %s: %s\n", what, to);
}

static void tell_images(struct telling *t, const char *name, const json_t *now, const json_t *then)
{
	const char *container;
	json_t *image;

	json_object_foreach((json_t *)then, container, image)
	{
		const char *from = json_string_value(json_object_get(now, container)),
			   *to = json_string_value(image);
		char what[128];

		if (from && to && strcmp(from, to) == 0)
			continue;
		snprintf(what, sizeof what, "image of %s", container);
		tell(t, name, what, from, to);
	}
	json_object_foreach((json_t *)now, container,
			    image) if (!json_object_get(then, container) && json_object_size(then) > 1)
	{
		char what[128];

		snprintf(what, sizeof what, "image of %s", container);
		tell(t, name, what, json_string_value(image), NULL);
	}
}

static void tell_patch(struct telling *t, const char *name, const struct work *work, const json_t *object)
{
	json_t *now = template_images(object_template(object));
	char from[65], to[65];

	if (work->images)
		tell_images(t, name, now, work->images);
	if (work->template) {
		json_t *then = template_images(work->template);

		tell_images(t, name, now, then);
		json_decref(then);
		template_hash(object_template(object), from);
		template_hash(work->template, to);
		tell(t, name, "pod template (hash)", from, to);
	}
	if (work->restarted)
		tell(t, name, "pods restarted at", template_restarted(object_template(object)),
		     json_string_value(work->restarted));
	if (work->replicas >= 0 && work->replicas != object_replicas(object)) {
		snprintf(from, sizeof from, "%lld", (long long)object_replicas(object));
		snprintf(to, sizeof to, "%lld", (long long)work->replicas);
		tell(t, name, "replicas", from, to);
	}
	json_decref(now);
}

void plan_changes(const struct params *p, const struct world *w, const struct plan *plan,
		  json_t **ret_changes, json_t **ret_diff)
{
	struct telling t = { .changes = json_array() };

	for (size_t i = 0; i < plan->n; i++) {
		const struct work *work = &plan->works[i];
		char name[360], number[24];

		snprintf(name, sizeof name, "%s %s/%s", kind_word(p->kind), p->namespace_name,
			 work->canary ? p->canary_name : p->name);
		tell_line(&t, "%s%s\n", name,
			  work->how == WORK_CREATE   ? " (new)"
			  : work->how == WORK_DELETE ? " (deleted)"
						     : "");
		if (work->how == WORK_PATCH) {
			tell_patch(&t, name, work, work->canary ? w->canary : w->stable);
		} else if (work->how == WORK_CREATE) {
			json_t *images = template_images(object_template(work->body));

			snprintf(number, sizeof number, "%lld", (long long)object_replicas(work->body));
			tell_images(&t, name, NULL, images);
			tell(&t, name, "replicas", NULL, number);
			json_decref(images);
		} else {
			snprintf(number, sizeof number, "%lld", (long long)object_replicas(w->canary));
			tell(&t, name, "replicas", number, NULL);
		}
	}
	if (plan->n == 0)
		tell_line(&t, "%s %s/%s: nothing to change\n", kind_word(p->kind), p->namespace_name,
			  p->name);
	*ret_changes = t.changes;
	*ret_diff = json_stringn(t.text, t.len);
	if (!*ret_diff) /* cut in the middle of a character */
		*ret_diff = json_string("(too long to show)");
}
