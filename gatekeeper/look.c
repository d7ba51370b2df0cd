#include "gatekeeper/look.h"
#include <pthread.h>
#include "base/clock.h"
#include "base/mem.h"

#define THREADS_MAX 8

/* ---- asking, in parallel ---- */

struct errand {
	struct gate_call call;
	struct gate_reply *reply;
};

struct fan {
	const struct gate_world *world;
	struct errand *errands;
	size_t count;
	atomic_size_t next;
	int64_t until_us; /* no errand begins after this: a plan of many slow steps must not outlive the lease */
};

static void *run_errands(void *arg)
{
	struct fan *fan = arg;

	for (;;) {
		size_t i = atomic_fetch_add(&fan->next, 1);

		if (i >= fan->count)
			return NULL;
		if (clock_mono_us() > fan->until_us) {
			fan->errands[i].reply->said = GATE_NO_ANSWER;
			snprintf(fan->errands[i].reply->sentence, sizeof(fan->errands[i].reply->sentence),
				 "no time was left to ask the adapter");
			continue;
		}
		fan->world->call(fan->world->ctx, &fan->errands[i].call, fan->errands[i].reply);
	}
}

/* This thread works too, so one errand needs no thread, and a thread that cannot be made is not missed. */
static void run_all(struct fan *fan)
{
	pthread_t threads[THREADS_MAX];
	size_t n = 0;

	while (n < THREADS_MAX && n + 1 < fan->count)
		if (pthread_create(&threads[n], NULL, run_errands, fan) == 0)
			n++;
		else
			break;
	run_errands(fan);
	while (n)
		pthread_join(threads[--n], NULL);
}

/* ---- what a step is, before anybody is asked ---- */

static bool asked_for(const json_t *params, const char *pointer)
{
	const json_t *v = pointer ? json_at(params, pointer) : NULL;

	return v && !json_is_false(v) && !json_is_null(v);
}

static void add_need(struct step_look *s, const char *name)
{
	size_t have = strlen(s->needs), n = strlen(name);
	const char *at = s->needs;

	while ((at = strstr(at, name))) {
		if ((at == s->needs || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return;
		at += n;
	}
	if (have + n + 2 > sizeof(s->needs))
		return;
	snprintf(s->needs + have, sizeof(s->needs) - have, "%s%s", have ? " " : "", name);
}

static void begin_step(const struct look_ask *ask, const struct plan_step *step, struct step_look *s)
{
	AUTO(json) json_t *params = NULL;

	*s = (struct step_look){ .step_ref = step };
	s->op = ask->world_ref->operation ? ask->world_ref->operation(ask->world_ref->ctx, step->action)
					  : NULL;
	s->target_key = plan_target_key(step);
	s->dry.said = s->probe.said = GATE_NO_ENTRY;
	if (!s->op || json_read_own(step->params, &params, NULL) != OC_OK)
		return;
	s->reversible = s->op->reversible &&
			(!s->op->reversible_pointer || asked_for(params, s->op->reversible_pointer));
	for (size_t i = 0; i < s->op->needs_count; i++)
		if (!s->op->needs[i].pointer || asked_for(params, s->op->needs[i].pointer))
			add_need(s, s->op->needs[i].name);
}

/* ---- what was said ---- */

static void read_step(struct step_look *s)
{
	json_t *v = NULL;

	if (s->dry.said == GATE_WOULD_DO && s->dry.json && json_read_own(s->dry.json, &v, NULL) == OC_OK) {
		s->preview = v;
		v = NULL;
	}
	if ((s->probe.said != GATE_APPLIED && s->probe.said != GATE_NOT_APPLIED) || !s->probe.json ||
	    json_read_own(s->probe.json, &v, NULL) != OC_OK)
		return;
	s->applied = s->probe.said == GATE_APPLIED;
	if (json_is_object(json_object_get(v, "binding")) &&
	    json_object_size(json_object_get(v, "binding")) > 0)
		s->binding = json_copy(json_object_get(v, "binding"));
	if (json_object_get(v, "info"))
		s->info = json_incref(json_object_get(v, "info"));
	json_decref(v);
}

/* Two steps whose targets are certainly different do not touch each other's state. Without urns nobody can tell. */
static bool apart(const struct plan_step *a, const struct plan_step *b)
{
	return a->target_urn && b->target_urn && strcmp(a->target_urn, b->target_urn) != 0;
}

/* Each step binds the state before the plan: what an earlier step writes will be different by then, and is no
 * reason to stop. */
static void forget_own_writes(struct plan_look *look)
{
	for (size_t i = 1; i < look->count; i++) {
		struct step_look *s = &look->step[i];

		for (size_t j = 0; j < i && s->binding; j++) {
			const struct operation *before = look->step[j].op;

			if (!before || !s->op || !str_eq(before->adapter, s->op->adapter) ||
			    apart(look->step[j].step_ref, s->step_ref))
				continue;
			for (size_t w = 0; w < before->writes_count; w++)
				json_object_del(s->binding, before->writes[w]);
		}
		if (s->binding && json_object_size(s->binding) == 0) {
			json_decref(s->binding);
			s->binding = json_object(); /* seen, and nothing of it is left to hold on to */
		}
	}
}

static void hash_world(struct plan_look *look)
{
	AUTO(json) json_t *bindings = json_array();
	bool any = false;

	look->world = json_array();
	for (size_t i = 0; i < look->count; i++) {
		struct step_look *s = &look->step[i];

		if (!s->binding) {
			json_array_append_new(look->world, json_null());
			json_array_append_new(bindings, json_null());
			continue;
		}
		any = true;
		json_array_append_new(look->world,
				      json_pack("{s:O,s:O?}", "binding", s->binding, "info", s->info));
		json_array_append(bindings, s->binding);
	}
	look->world_hash[0] = '\0';
	if (any)
		json_hash(bindings, look->world_hash);
}

char *plan_target_key(const struct plan_step *step)
{
	char hash[HASH_HEX];

	if (step->target_urn)
		return mem_strdup(step->target_urn);
	hash_sha256_hex(step->params, strlen(step->params), hash);
	return mem_printf("%s#%.16s", step->action, hash);
}

void plan_args_hash(const struct plan *plan, char out[HASH_HEX])
{
	AUTO(json) json_t *list = json_array();

	for (size_t i = 0; i < plan->step_count; i++) {
		const struct plan_step *s = &plan->step[i];

		json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "action", s->action, "target",
						      s->target, "params", s->params));
	}
	json_hash(list, out);
}

void plan_look(const struct look_ask *ask, const struct plan *plan, struct plan_look *ret)
{
	struct fan fan = { .world = ask->world_ref,
			   .until_us = clock_mono_us() + (int64_t)ask->timeout_ms * 2000 };
	char(*keys)[HASH_HEX] = mem_array(plan->step_count + 1, sizeof(*keys));

	*ret = (struct plan_look){ .count = plan->step_count };
	ret->step = mem_array(plan->step_count + 1, sizeof(*ret->step));
	fan.errands = mem_array(plan->step_count * 2 + 1, sizeof(*fan.errands));
	for (size_t i = 0; i < plan->step_count; i++) {
		struct step_look *s = &ret->step[i];
		AUTO(str) char *key = mem_printf("gate:%s:%s:%zu", ask->case_id, ask->plan_hash, i);
		struct gate_call call = { .operation = plan->step[i].action,
					  .params = plan->step[i].params,
					  .target = plan->step[i].target,
					  .tenant = ask->tenant,
					  .case_id = ask->case_id,
					  .plan_hash = ask->plan_hash,
					  .idempotency_key = keys[i],
					  .timeout_ms = ask->timeout_ms };

		hash_sha256_hex(key, strlen(key), keys[i]);
		begin_step(ask, &plan->step[i], s);
		if (!s->op)
			continue;
		if (s->op->has_probe) {
			call.entry = GATE_PROBE;
			fan.errands[fan.count++] = (struct errand){ call, &s->probe };
		}
		/* what the way back would do is told by the step it takes back, not by its own dry run */
		if (ask->dry_run && s->op->has_dry_run && !plan->step[i].undo) {
			call.entry = GATE_DRY_RUN;
			fan.errands[fan.count++] = (struct errand){ call, &s->dry };
		}
	}
	run_all(&fan);
	for (size_t i = 0; i < ret->count; i++)
		read_step(&ret->step[i]);
	forget_own_writes(ret);
	hash_world(ret);
	plan_args_hash(plan, ret->args_hash);
	free(fan.errands);
	free(keys);
}

void plan_look_done(struct plan_look *look)
{
	for (size_t i = 0; i < look->count && look->step; i++) {
		struct step_look *s = &look->step[i];

		free(s->target_key);
		free(s->dry.json);
		free(s->probe.json);
		json_decref(s->preview);
		json_decref(s->binding);
		json_decref(s->info);
	}
	free(look->step);
	json_decref(look->world);
	*look = (struct plan_look){ 0 };
}

/* ---- what changed ---- */

static void add_change(json_t **list, struct text *sentence, size_t step, const char *field, json_t *was,
		       json_t *is)
{
	AUTO(str) char *a = was ? json_text(was) : mem_strdup("nothing");
	AUTO(str) char *b = is ? json_text(is) : mem_strdup("nothing");

	if (!*list)
		*list = json_array();
	json_array_append_new(*list, json_pack("{s:I,s:s,s:O?,s:O?}", "step", (json_int_t)step, "field",
					       field, "was", was, "is", is));
	if (json_array_size(*list) <= 5)
		text_addf(sentence, "%sstep %zu: %s was %.200s and is %.200s", sentence->len ? "; " : "",
			  step + 1, field, a, b);
	else if (json_array_size(*list) == 6)
		text_add(sentence, "; and more");
}

json_t *world_difference(const json_t *was, const json_t *is, struct text *sentence)
{
	json_t *list = NULL, *v;
	const char *key;
	size_t i;

	for (i = 0; i < json_array_size(was); i++) {
		json_t *a = json_object_get(json_array_get(was, i), "binding");
		json_t *b = json_object_get(json_array_get(is, i), "binding");

		if (!a)
			continue;
		if (!b) {
			add_change(&list, sentence, i, "state", a, NULL);
			continue;
		}
		json_object_foreach(a, key, v) if (!json_equal(v, json_object_get(b, key)))
			add_change(&list, sentence, i, key, v, json_object_get(b, key));
		json_object_foreach(b, key, v) if (!json_object_get(a, key))
			add_change(&list, sentence, i, key, NULL, v);
	}
	return list ? json_pack("{s:o}", "steps", list) : NULL;
}
