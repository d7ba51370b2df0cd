#include "world.h"

#include "object.h"
#include "rollout.h"

#include <stdlib.h>
#include <string.h>

bool runs_image(const json_t *object, const char *container, const char *image)
{
	json_t *images = template_images(object_template(object));
	const char *now = json_string_value(json_object_get(images, container));
	bool same = now && strcmp(now, image) == 0;

	json_decref(images);
	return same;
}

bool same_template(const json_t *a, const json_t *b)
{
	char ha[65], hb[65];

	template_hash(a, ha);
	template_hash(b, hb);
	return strcmp(ha, hb) == 0;
}

bool canary_is_ours(const json_t *canary, const char *stable_name)
{
	const char *of = object_annotation(canary, OBJECT_CANARY_OF);

	return of && strcmp(of, stable_name) == 0;
}

int64_t noted_replicas(const json_t *canary)
{
	const char *text = object_annotation(canary, OBJECT_STABLE_REPLICAS);
	char *end;
	long long n = text ? strtoll(text, &end, 10) : -1;

	return text && *text && !*end && n >= 0 && n <= 1000000 ? n : -1;
}

int64_t weight_total(const struct params *p, const struct world *w)
{
	int64_t noted;

	if (p->replicas > 0)
		return p->replicas;
	noted = noted_replicas(w->canary);
	return noted >= 0 ? noted : object_replicas(w->stable) + object_replicas(w->canary);
}

bool world_marked(const struct world *w, const char *key)
{
	return mark_has(w->stable, key) || mark_has(w->canary, key);
}

bool world_has(const struct params *p, const struct world *w, const char *key)
{
	int64_t canary, stable;

	if (!w->stable)
		return false;
	switch (p->action) {
	case ACTION_RESTART:
		return mark_has(w->stable, key);
	case ACTION_UNDO: {
		const char *revision = object_annotation(w->stable, OBJECT_REVISION);

		return mark_has(w->stable, key) ||
		       (p->to_revision > 0 && p->kind == KIND_DEPLOYMENT && revision &&
			strtoll(revision, NULL, 10) == p->to_revision);
	}
	case ACTION_SET_IMAGE:
		return runs_image(w->stable, p->container, p->image);
	case ACTION_SCALE:
		return object_replicas(w->stable) == p->replicas;
	case ACTION_STATUS: {
		struct rollout_view view;

		rollout_judge(w->stable, &view);
		return view.state == ROLLOUT_COMPLETE;
	}
	case ACTION_CANARY:
		return w->canary && canary_is_ours(w->canary, p->name) &&
		       runs_image(w->canary, p->container, p->image) &&
		       object_replicas(w->canary) == (p->replicas > 0 ? p->replicas : 1);
	case ACTION_WEIGHT:
		return w->canary && canary_is_ours(w->canary, p->name) &&
		       weight_share(weight_total(p, w), p->weight, &canary, &stable) &&
		       object_replicas(w->canary) == canary && object_replicas(w->stable) == stable;
	case ACTION_PROMOTE:
		return !w->canary && runs_image(w->stable, p->container, p->image);
	}
	return false;
}

/* --- what a decision is bound to */

static json_t *hash_json(const json_t *object)
{
	char hash[65];

	template_hash(object_template(object), hash);
	return json_string(hash);
}

static bool binds_replicas(enum work_action action)
{
	return action == ACTION_SCALE || action_has_canary(action);
}

json_t *world_binding(const struct params *p, const struct world *w)
{
	json_t *binding;

	if (!w->stable)
		return json_pack("{s:n}", "uid");
	binding = json_pack("{s:s, s:o, s:o}", "uid", object_uid(w->stable), "template_hash",
			    hash_json(w->stable), "images", template_images(object_template(w->stable)));
	/* An autoscaler may move replicas between the approval and a restart; that is no reason to ask again. */
	if (binds_replicas(p->action))
		json_object_set_new(binding, "replicas", json_integer(object_replicas(w->stable)));
	if (action_has_canary(p->action))
		json_object_set_new(binding, "canary",
				    w->canary ? json_pack("{s:s, s:o, s:I}", "uid", object_uid(w->canary),
							  "template_hash", hash_json(w->canary), "replicas",
							  (json_int_t)object_replicas(w->canary))
					      : json_null());
	return binding;
}

static void put_text(json_t *info, const char *name, const char *text)
{
	json_object_set_new(info, name, text ? json_string(text) : json_null());
}

json_t *world_info(const struct params *p, const struct world *w, const char *key)
{
	struct rollout_view rollout;
	struct health_view health;
	json_t *info;

	if (!w->stable)
		return json_pack("{s:b, s:s, s:s, s:s}", "found", 0, "kind", kind_word(p->kind), "namespace",
				 p->namespace_name, "name", p->name);
	rollout_judge(w->stable, &rollout);
	health_judge(w->stable, &health);
	info = json_pack("{s:b, s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "found", 1, "kind", kind_word(p->kind),
			 "namespace", p->namespace_name, "name", p->name, "uid", object_uid(w->stable),
			 "template_hash", hash_json(w->stable), "images",
			 template_images(object_template(w->stable)), "marked", world_marked(w, key));
	json_object_set_new(info, "rollout",
			    json_pack("{s:s, s:s}", "state", rollout_state_name(rollout.state), "sentence",
				      rollout.sentence));
	json_object_set_new(info, "health",
			    json_pack("{s:s, s:s}", "status", health_name(health.health), "why", health.why));
	if (p->kind != KIND_DAEMONSET)
		json_object_set_new(info, "replicas", json_integer(object_replicas(w->stable)));
	put_text(info, "restarted_at", template_restarted(object_template(w->stable)));
	put_text(info, "revision", object_annotation(w->stable, OBJECT_REVISION));
	put_text(info, "mark", object_annotation(w->stable, OBJECT_MARK));
	if (action_has_canary(p->action)) {
		json_t *canary = json_null();

		if (w->canary) {
			canary = json_pack("{s:s, s:o, s:I, s:b}", "uid", object_uid(w->canary), "images",
					   template_images(object_template(w->canary)), "replicas",
					   (json_int_t)object_replicas(w->canary), "ours",
					   canary_is_ours(w->canary, p->name));
			put_text(canary, "mark", object_annotation(w->canary, OBJECT_MARK));
			if (noted_replicas(w->canary) >= 0)
				json_object_set_new(canary, "stable_replicas",
						    json_integer(noted_replicas(w->canary)));
			rollout_judge(w->canary, &rollout);
			json_object_set_new(canary, "rollout",
					    json_pack("{s:s, s:s}", "state",
						      rollout_state_name(rollout.state), "sentence",
						      rollout.sentence));
		}
		json_object_set_new(info, "canary", canary);
	}
	return info;
}

json_t *binding_differs(const json_t *expected, const json_t *found)
{
	json_t *names = NULL;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)expected, name, value)
	{
		const json_t *now = json_object_get(found, name);

		if (now ? json_equal(value, now) : json_is_null(value))
			continue;
		if (!names)
			names = json_array();
		json_array_append_new(names, json_string(name));
	}
	return names;
}

bool object_unchanged(const struct params *p, const json_t *seen, const json_t *now)
{
	return strcmp(object_uid(seen), object_uid(now)) == 0 &&
	       same_template(object_template(seen), object_template(now)) &&
	       (!binds_replicas(p->action) || object_replicas(seen) == object_replicas(now));
}

static int by_revision(const void *a, const void *b)
{
	int64_t x = object_number(json_object_get(*(json_t *const *)a, "revision"), 0);
	int64_t y = object_number(json_object_get(*(json_t *const *)b, "revision"), 0);

	return (x > y) - (x < y);
}

json_t *history_of(const json_t *list, const char *owner_uid)
{
	const json_t *items = json_object_get(list, "items");
	size_t n = json_array_size(items), used = 0;
	json_t **rows = calloc(n + 1, sizeof *rows), *history = json_array();
	const json_t *o;
	size_t i;

	json_array_foreach((json_t *)items, i, o)
	{
		/* a ControllerRevision has `data` and a number, a ReplicaSet a template and an annotation */
		const json_t *data = object_at(o, "data", "spec", "template", NULL);
		const char *text = object_annotation(o, OBJECT_REVISION),
			   *cause = object_annotation(o, OBJECT_CHANGE_CAUSE);
		int64_t revision = data   ? object_number(json_object_get(o, "revision"), 0)
				   : text ? strtoll(text, NULL, 10)
					  : 0;
		json_t *template = json_deep_copy(data ? data : object_template(o));

		if (!rows || !object_owned_by(o, owner_uid) || revision <= 0 || !json_is_object(template)) {
			json_decref(template);
			continue;
		}
		json_object_del(template, "$patch");
		json_object_del((json_t *)object_at(template, "metadata", "labels", NULL),
				OBJECT_TEMPLATE_HASH);
		rows[used] = json_pack("{s:I, s:o}", "revision", (json_int_t)revision, "template", template);
		if (rows[used] && cause)
			json_object_set_new(rows[used], "change_cause", json_string(cause));
		used += rows[used] != NULL;
	}
	if (rows)
		qsort(rows, used, sizeof(json_t *), by_revision);
	for (i = 0; i < used; i++)
		json_array_append_new(history, rows[i]);
	free(rows);
	return history;
}
