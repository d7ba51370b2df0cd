/* policy_reader.h - the pieces that read one policy file: where we are in it, small values, conditions, windows.
 *
 * Inside of the loader only (policy_load.c). A reader keeps a JSON pointer of what it reads, so that every
 * mistake is said with file and line. */
#pragma once
#include "gatekeeper/policy_impl.h"
#include "wire/yaml/yaml.h"

#define DAY_S         86400
#define EXPIRES_MAX_S (90 * DAY_S)

struct loader {
	struct policy *p;
	const struct yaml_doc *doc;
	char at[512]; /* JSON pointer of what is being read */
	struct oc_fail *reterr;
	size_t rules_cap, conds_cap, lists_cap;
	json_t *ids;      /* rule id -> number */
	json_t *set_once; /* key -> file that said it */
};

/* OC_INVALID with file:line of where we are. */
enum oc_err load_wrong(struct loader *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One level down; load_leave() with the answer comes back up. */
size_t load_enter(struct loader *l, const char *key);
size_t load_enter_at(struct loader *l, size_t i);
void load_leave(struct loader *l, size_t was);
enum oc_err load_only_keys(struct loader *l, const json_t *obj, const char *const *keys, size_t n,
			   const char *what);
enum oc_err load_seconds(struct loader *l, const json_t *v, int64_t max, int64_t *ret);
enum oc_err load_text(struct loader *l, const json_t *v, size_t max, const char **ret);
enum oc_err load_globs(struct loader *l, const json_t *v, const json_t **ret);
enum oc_err load_roles(struct loader *l, const json_t *v, unsigned *ret);
enum oc_err load_answer(struct loader *l, const json_t *v, enum policy_answer *ret);
enum oc_err load_approvers(struct loader *l, const json_t *v, unsigned *roles, unsigned *count);
/* A rule's `when`, appended to the compiled conditions. */
enum oc_err load_when(struct loader *l, const json_t *v, unsigned depth);
enum oc_err load_freeze(struct loader *l, const json_t *v);
enum oc_err load_budget(struct loader *l, const json_t *v);

#define ONLY_KEYS(l, obj, what, ...)                                 \
	load_only_keys(l, obj, (const char *const[]){ __VA_ARGS__ }, \
		       ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })), what)
