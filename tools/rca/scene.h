/* scene.h - a fault of a labelled set, in the form that analyst/cause.h takes. */
#pragma once
#include "analyst/cause.h"

struct scene {
	struct cause_scene cause;
	char **name; /* of the services */
	struct cause_series *series;
	char **metric; /* beside series */
	size_t series_cap, calls_cap, logs_cap, names_cap;
	struct cause_call *calls;
	struct cause_log *logs;
	char root[128]; /* the truth; "" on a quiet window */
	char label[160];
};

struct scene *scene_new(const char *label, const char *root, double onset);
void scene_free(struct scene *s);
uint32_t scene_service(struct scene *s, const char *name);    /* known or new */
uint32_t scene_find(const struct scene *s, const char *name); /* CAUSE_NONE: not there */
/* Copies both arrays. */
void scene_series(struct scene *s, uint32_t service, uint32_t caller, const char *metric, bool average,
		  const double *time, const double *value, size_t count);
void scene_call(struct scene *s, uint32_t from, uint32_t to);
/* Adds to what is counted for the pattern. */
void scene_log(struct scene *s, uint32_t service, uint64_t pattern, double before, double after, bool error);
/* Points cause at the lists, and shuffles them when seed is not 0: the answer must not depend on it. */
void scene_ready(struct scene *s, unsigned seed);
