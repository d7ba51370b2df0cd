#include "plan.h"

#include "object.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static bool plan_stop(struct plan *plan, enum opscase_outcome outcome,
							    const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(plan->why, sizeof plan->why, format, args);
	va_end(args);
	plan->outcome = outcome;
	return false;
}

static struct work *plan_add(struct plan *plan, enum work_how how, bool canary)
{
	struct work *work = &plan->works[plan->n++];

	*work = (struct work){ .how = how, .canary = canary, .replicas = -1 };
	return work;
}

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		struct work *w = &plan->works[i];

		json_decref(w->images);
		json_decref(w->restarted);
		json_decref(w->template);
		json_decref(w->annotations);
		json_decref(w->body);
	}
	plan->n = 0;
}

/* --- the writes of each action */

static bool knows_container(const struct params *p, const json_t *object, struct plan *plan)
{
	char list[400] = "";
	json_t *images;
	const char *name;
	json_t *image;

	if (template_container_list(object_template(object), p->container))
		return true;
	images = template_images(object_template(object));
	json_object_foreach(images, name, image)
	{
		size_t n = strlen(list);

		snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", name);
	}
	json_decref(images);
	return plan_stop(plan, OPSCASE_NOT_APPLIED, "%s has no container '%s'; it has %s",
			 object_name(object), p->container, list);
}

static bool is_running(const struct params *p, const json_t *object, struct plan *plan)
{
	if (!json_is_true(object_at(object, "spec", "paused", NULL)))
		return true;
	return plan_stop(plan, OPSCASE_NOT_APPLIED,
			 "%s %s is paused: nothing would roll out (resume it first)", kind_word(p->kind),
			 object_name(object));
}

static const json_t *history_pick(const struct params *p, const struct world *w, struct plan *plan)
{
	size_t n = json_array_size(w->history);
	const json_t *item;
	size_t i;

	if (p->to_revision == 0) {
		if (n >= 2)
			return json_array_get(w->history, n - 2);
		plan_stop(plan, OPSCASE_NOT_APPLIED,
			  "no rollout history found for %s %s: there is nothing to go back to",
			  kind_word(p->kind), p->name);
		return NULL;
	}
	json_array_foreach(w->history, i, item) if (object_number(json_object_get(item, "revision"), 0) ==
						    p->to_revision) return item;
	plan_stop(plan, OPSCASE_NOT_APPLIED, "unable to find specified revision %lld in history",
		  (long long)p->to_revision);
	return NULL;
}

static json_t *canary_body(const struct params *p, const struct world *w, const json_t *images,
			   int64_t replicas, int64_t stable_replicas, const char *key, struct plan *plan)
{
	json_t *spec = json_deep_copy(object_at(w->stable, "spec", NULL));
	json_t *template = json_object_get(spec, "template");
	json_t *labels = json_object_get(json_object_get(template, "metadata"), "labels");
	json_t *match = json_object_get(json_object_get(spec, "selector"), "matchLabels");
	const json_t *rule;
	const char *container;
	json_t *image, *body, *own, *notes;
	size_t i;

	json_array_foreach((json_t *)object_at(spec, "selector", "matchExpressions", NULL), i, rule)
	{
		const char *label = json_string_value(json_object_get(rule, "key"));

		if (label && strcmp(label, "track") == 0) {
			json_decref(spec);
			plan_stop(
				plan, OPSCASE_NOT_APPLIED,
				"the selector of %s has an expression about the label 'track': no canary beside it",
				p->name);
			return NULL;
		}
	}
	if (!json_is_object(labels)) {
		json_decref(spec);
		plan_stop(plan, OPSCASE_NOT_APPLIED, "the pod template of %s has no labels", p->name);
		return NULL;
	}
	if (!json_is_object(match)) {
		match = json_object();
		json_object_set_new(json_object_get(spec, "selector"), "matchLabels", match);
	}
	json_object_set_new(labels, "track", json_string("canary"));
	json_object_set_new(match, "track", json_string("canary"));
	json_object_set_new(spec, "replicas", json_integer(replicas));
	json_object_del(spec, "paused");
	json_object_foreach((json_t *)images, container, image)
	{
		const char *list = template_container_list(template, container);
		json_t *c;

		json_array_foreach((json_t *)object_at(template, "spec", list ? list : "-", NULL), i, c)
		{
			const char *name = json_string_value(json_object_get(c, "name"));

			if (name && strcmp(name, container) == 0)
				json_object_set(c, "image", image);
		}
	}
	/* Only what selects the pods: labels of the stable object would let a tool that owns it take the canary for its own. */
	own = json_deep_copy(match);
	notes = json_pack("{s:s, s:o}", OBJECT_CANARY_OF, p->name, OBJECT_STABLE_REPLICAS,
			  json_sprintf("%lld", (long long)stable_replicas));
	if (key)
		json_object_set_new(notes, OBJECT_MARK, json_string(key));
	body = json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:o}", "apiVersion", "apps/v1", "kind",
			 "Deployment", "metadata", "name", p->canary_name, "namespace", p->namespace_name,
			 "labels", own, "annotations", notes, "spec", spec);
	if (!body)
		plan_stop(plan, OPSCASE_NOT_APPLIED, "the canary's manifest could not be put together");
	return body;
}

static void set_replicas(struct plan *plan, bool canary, const json_t *object, int64_t replicas)
{
	struct work *work;

	if (object_replicas(object) == replicas)
		return;
	work = plan_add(plan, WORK_PATCH, canary);
	work->replicas = replicas;
	work->mark = true;
}

static bool make_canary(const struct params *p, const struct world *w, const char *key, struct plan *plan)
{
	int64_t replicas = p->replicas > 0 ? p->replicas : 1;
	json_t *images;
	struct work *work;

	if (!knows_container(p, w->stable, plan) || !is_running(p, w->stable, plan))
		return false;
	images = json_pack("{s:s}", p->container, p->image);
	if (w->canary) {
		work = plan_add(plan, WORK_PATCH, true);
		work->images = images;
		work->replicas = replicas;
		work->mark = true;
		return knows_container(p, w->canary, plan);
	}
	work = plan_add(plan, WORK_CREATE, true);
	work->images = images;
	work->body = canary_body(p, w, images, replicas, object_replicas(w->stable), key, plan);
	return work->body != NULL;
}

static bool make_weight(const struct params *p, const struct world *w, struct plan *plan)
{
	int64_t total = weight_total(p, w), canary, stable;

	if (!weight_share(total, p->weight, &canary, &stable))
		return plan_stop(plan, OPSCASE_NOT_APPLIED, "%lld pods cannot be shared out with weight %lld",
				 (long long)total, (long long)p->weight);
	/* What grows goes first, so that there are never too few pods. */
	if (canary >= object_replicas(w->canary)) {
		set_replicas(plan, true, w->canary, canary);
		set_replicas(plan, false, w->stable, stable);
	} else {
		set_replicas(plan, false, w->stable, stable);
		set_replicas(plan, true, w->canary, canary);
	}
	return true;
}

static bool make_promote(const struct params *p, const struct world *w, struct plan *plan)
{
	int64_t replicas = noted_replicas(w->canary);
	struct work *work;

	if (!knows_container(p, w->stable, plan) || !is_running(p, w->stable, plan))
		return false;
	if (!runs_image(w->canary, p->container, p->image)) {
		json_t *images = template_images(object_template(w->canary));
		const char *now = json_string_value(json_object_get(images, p->container));

		plan_stop(plan, OPSCASE_WORLD_CHANGED, "the canary runs %.200s in '%s', not %.200s",
			  now ? now : "nothing", p->container, p->image);
		json_decref(images);
		return false;
	}
	if (!runs_image(w->stable, p->container, p->image) ||
	    (replicas >= 0 && object_replicas(w->stable) != replicas)) {
		work = plan_add(plan, WORK_PATCH, false);
		work->images = json_pack("{s:s}", p->container, p->image);
		work->replicas = replicas;
		work->mark = true;
	}
	plan_add(plan, WORK_DELETE, true);
	return true;
}

bool plan_make(const struct params *p, const struct world *w, const char *key, const char *now,
	       struct plan *ret_plan)
{
	struct plan *plan = ret_plan;
	const json_t *item;
	struct work *work;

	*plan = (struct plan){ 0 };
	if (!w->stable)
		return plan_stop(plan, OPSCASE_NOT_APPLIED, "there is no %s %s in namespace %s",
				 kind_word(p->kind), p->name, p->namespace_name);
	if (json_is_string(object_at(w->stable, "metadata", "deletionTimestamp", NULL)))
		return plan_stop(plan, OPSCASE_NOT_APPLIED, "%s %s is being deleted", kind_word(p->kind),
				 p->name);
	if (w->canary && !canary_is_ours(w->canary, p->name))
		return plan_stop(plan, OPSCASE_NOT_APPLIED,
				 "there is a deployment %s that is no canary of ours; it is left alone",
				 p->canary_name);
	if ((p->action == ACTION_WEIGHT || (p->action == ACTION_PROMOTE && !world_has(p, w, key))) &&
	    !w->canary)
		return plan_stop(plan, OPSCASE_NOT_APPLIED, "there is no canary %s: make one first",
				 p->canary_name);
	if (world_has(p, w, key))
		return true;
	switch (p->action) {
	case ACTION_STATUS:
		return true;
	case ACTION_RESTART:
		if (!is_running(p, w->stable, plan))
			return false;
		work = plan_add(plan, WORK_PATCH, false);
		work->restarted = json_string(now);
		work->mark = true;
		return true;
	case ACTION_SET_IMAGE:
		if (!knows_container(p, w->stable, plan) || !is_running(p, w->stable, plan))
			return false;
		work = plan_add(plan, WORK_PATCH, false);
		work->images = json_pack("{s:s}", p->container, p->image);
		work->mark = true;
		return true;
	case ACTION_SCALE:
		set_replicas(plan, false, w->stable, p->replicas);
		return true;
	case ACTION_UNDO:
		item = history_pick(p, w, plan);
		if (!item || !is_running(p, w->stable, plan))
			return false;
		if (same_template(json_object_get(item, "template"), object_template(w->stable)))
			return true; /* as kubectl: the current template already matches */
		work = plan_add(plan, WORK_PATCH, false);
		work->template = json_incref(json_object_get(item, "template"));
		work->mark = true;
		if (json_is_string(json_object_get(item, "change_cause")))
			work->annotations = json_pack("{s:O}", OBJECT_CHANGE_CAUSE,
						      json_object_get(item, "change_cause"));
		return true;
	case ACTION_CANARY:
		return make_canary(p, w, key, plan);
	case ACTION_WEIGHT:
		return make_weight(p, w, plan);
	case ACTION_PROMOTE:
		return make_promote(p, w, plan);
	}
	return plan_stop(plan, OPSCASE_NOT_APPLIED, "unknown action");
}

/* --- back again */

/* The mark as it was, where it is another now. */
static void undo_mark(struct work *work, const json_t *object, const json_t *before)
{
	const char *was = json_string_value(json_object_get(before, "mark")),
		   *now = object_annotation(object, OBJECT_MARK);

	if ((was == NULL) == (now == NULL) && (!was || strcmp(was, now) == 0))
		return;
	work->annotations = json_object();
	json_object_set_new(work->annotations, OBJECT_MARK, was ? json_string(was) : json_null());
}

static bool work_empty(const struct work *work)
{
	return !work->images && work->replicas < 0 && !work->restarted && !work->template &&
	       !work->annotations;
}

static bool undo_image(const struct params *p, const json_t *object, const json_t *before, struct work *work,
		       struct plan *plan)
{
	const char *was = json_string_value(json_object_get(json_object_get(before, "images"), p->container));

	if (!was)
		return plan_stop(plan, OPSCASE_NOT_APPLIED,
				 "what was recorded before the step does not say which image '%s' had",
				 p->container);
	if (!knows_container(p, object, plan))
		return false;
	if (!runs_image(object, p->container, was))
		work->images = json_pack("{s:s}", p->container, was);
	return true;
}

static bool undo_stable(const struct params *p, const struct world *w, const json_t *before,
			struct plan *plan)
{
	struct work *work = plan_add(plan, WORK_PATCH, false);
	const json_t *restarted = json_object_get(before, "restarted_at");
	const char *now = template_restarted(object_template(w->stable)), *was = json_string_value(restarted);
	const char *hash = json_string_value(json_object_get(before, "template_hash"));
	int64_t replicas = object_number(json_object_get(before, "replicas"), -1);
	const json_t *item;
	char found[65];
	size_t i;

	if (p->action == ACTION_RESTART && ((now == NULL) != (was == NULL) || (now && strcmp(now, was) != 0)))
		work->restarted = was ? json_string(was) : json_null();
	if ((p->action == ACTION_SET_IMAGE || p->action == ACTION_PROMOTE) &&
	    !undo_image(p, w->stable, before, work, plan))
		return false;
	if (p->action == ACTION_SCALE || p->action == ACTION_WEIGHT || p->action == ACTION_PROMOTE) {
		if (replicas < 0)
			return plan_stop(
				plan, OPSCASE_NOT_APPLIED,
				"what was recorded before the step does not say how many replicas there were");
		if (object_replicas(w->stable) != replicas)
			work->replicas = replicas;
	}
	if (p->action == ACTION_UNDO) {
		template_hash(object_template(w->stable), found);
		if (!hash)
			return plan_stop(
				plan, OPSCASE_NOT_APPLIED,
				"what was recorded before the step does not say which template there was");
		if (strcmp(found, hash) != 0) {
			json_array_foreach(w->history, i, item)
			{
				template_hash(json_object_get(item, "template"), found);
				if (strcmp(found, hash) == 0)
					work->template = json_incref(json_object_get(item, "template"));
				if (work->template)
					break;
			}
			if (!work->template)
				return plan_stop(
					plan, OPSCASE_NOT_APPLIED,
					"the template from before the step is no longer in the history");
		}
	}
	undo_mark(work, w->stable, before);
	if (work_empty(work))
		plan->n--;
	return true;
}

static bool undo_canary(const struct params *p, const struct world *w, const json_t *before,
			struct plan *plan)
{
	const json_t *was = json_object_get(before, "canary");
	int64_t replicas = object_number(json_object_get(was, "replicas"), 1);
	int64_t noted = object_number(json_object_get(was, "stable_replicas"),
				      object_number(json_object_get(before, "replicas"), 1));
	json_t *images = json_object_get(was, "images");
	struct work *work;

	if (!json_is_object(was)) {
		if (!w->canary)
			return true;
		/* The canary takes its pods with it: what a weight step took from the stable Deployment comes back first. */
		if (noted_replicas(w->canary) > object_replicas(w->stable) && p->action == ACTION_CANARY) {
			work = plan_add(plan, WORK_PATCH, false);
			work->replicas = noted_replicas(w->canary);
		}
		plan_add(plan, WORK_DELETE, true);
		return true;
	}
	if (!w->canary) {
		work = plan_add(plan, WORK_CREATE, true);
		work->images = json_incref(images);
		work->body = canary_body(p, w, images, replicas, noted,
					 json_string_value(json_object_get(was, "mark")), plan);
		return work->body != NULL;
	}
	work = plan_add(plan, WORK_PATCH, true);
	if (p->action == ACTION_CANARY && !undo_image(p, w->canary, was, work, plan))
		return false;
	if (object_replicas(w->canary) != replicas)
		work->replicas = replicas;
	undo_mark(work, w->canary, was);
	if (work_empty(work))
		plan->n--;
	return true;
}

bool plan_undo(const struct params *p, const struct world *w, const json_t *before, struct plan *ret_plan)
{
	struct plan *plan = ret_plan;
	const char *uid = json_string_value(json_object_get(before, "uid"));
	bool stable_first = true;

	*plan = (struct plan){ 0 };
	if (p->action == ACTION_STATUS)
		return true;
	if (!uid)
		return plan_stop(plan, OPSCASE_NOT_APPLIED,
				 "nothing was recorded before the step: it cannot be undone by itself");
	if (!w->stable)
		return plan_stop(plan, OPSCASE_NOT_APPLIED, "there is no %s %s in namespace %s",
				 kind_word(p->kind), p->name, p->namespace_name);
	if (strcmp(uid, object_uid(w->stable)) != 0)
		return plan_stop(plan, OPSCASE_WORLD_CHANGED,
				 "%s %s was deleted and made anew since the step", kind_word(p->kind),
				 p->name);
	if (w->canary && !canary_is_ours(w->canary, p->name))
		return plan_stop(plan, OPSCASE_NOT_APPLIED,
				 "there is a deployment %s that is no canary of ours; it is left alone",
				 p->canary_name);
	if (p->action == ACTION_CANARY)
		return undo_canary(p, w, before, plan);
	if (p->action == ACTION_WEIGHT) /* what grows goes first */
		stable_first = object_number(json_object_get(before, "replicas"), 0) >=
			       object_replicas(w->stable);
	if (!stable_first && !undo_canary(p, w, before, plan))
		return false;
	if (!undo_stable(p, w, before, plan))
		return false;
	return !stable_first || !action_has_canary(p->action) || undo_canary(p, w, before, plan);
}

/* --- patches and words */

json_t *work_patch(const struct work *work, const json_t *object, const char *key)
{
	json_t *patch = json_pack("{s:{s:O, s:O}}", "metadata", "uid",
				  object_at(object, "metadata", "uid", NULL), "resourceVersion",
				  object_at(object, "metadata", "resourceVersion", NULL));
	json_t *notes = work->annotations ? json_copy(work->annotations) : json_object();
	json_t *spec = json_object(), *template = json_object(), *lists = json_object();
	const char *container;
	json_t *image;

	if (work->mark)
		json_object_set_new(notes, OBJECT_MARK, mark_add(object, key));
	if (json_object_size(notes) > 0)
		json_object_set(json_object_get(patch, "metadata"), "annotations", notes);
	json_decref(notes);
	if (work->replicas >= 0)
		json_object_set_new(spec, "replicas", json_integer(work->replicas));
	json_object_foreach(work->images, container, image)
	{
		const char *list = template_container_list(object_template(object), container);

		if (!list)
			continue;
		if (!json_object_get(lists, list))
			json_object_set_new(lists, list, json_array());
		json_array_append_new(json_object_get(lists, list),
				      json_pack("{s:s, s:O}", "name", container, "image", image));
	}
	if (json_object_size(lists) > 0)
		json_object_set(template, "spec", lists);
	json_decref(lists);
	if (work->restarted)
		json_object_set_new(template, "metadata",
				    json_pack("{s:{s:O}}", "annotations", OBJECT_RESTARTED, work->restarted));
	if (work->template) {
		json_decref(template);
		template = json_deep_copy(work->template);
		json_object_set_new(template, "$patch", json_string("replace"));
	}
	if (json_object_size(template) > 0)
		json_object_set(spec, "template", template);
	json_decref(template);
	if (json_object_size(spec) > 0)
		json_object_set(patch, "spec", spec);
	json_decref(spec);
	return patch;
}
