/* topo.h - what a description of an installation says there is: resources by URN, and who needs whom.
 *
 * Pure values that the readers beside this file fill: no clock, no database, no files. An edge says that
 * src needs dst. Bounded: what is too much is an error, never a part that looks like the whole. */
#pragma once
#include "wire/json/json.h"

#define TOPO_RESOURCES_MAX 50000
#define TOPO_EDGES_MAX     400000
#define TOPO_NOTES_MAX     50
#define TOPO_BYTES_MAX     ((size_t)32 << 20)
#define TOPO_FILES_MAX     5000

#define TOPO_DEPENDS_ON "DEPENDS_ON"
#define TOPO_RUNS_ON    "RUNS_ON"

struct topo_resource {
	char *urn, *type, *name; /* "urn:tf:aws_instance:shop/web[0]", "tf:aws_instance", "shop/web[0]" */
	char *address;           /* as the description calls it; the URN where it has no other name */
	char *region, *zone;     /* or NULL */
	json_t *labels;          /* object of short texts; never a secret: only known names are taken */
	json_t *versions; /* object: what says which build of it runs: image, ami, engine_version, ... */
};

struct topo_edge {
	size_t src, dst;      /* indexes of resources */
	const char *relation; /* TOPO_DEPENDS_ON, TOPO_RUNS_ON */
	char *via;            /* what said so: "depends_on", an attribute's or a variable's name */
};

/* A dependency as the description words it, also one whose other end it does not hold. */
struct topo_ref {
	size_t src;
	char *to;
	bool found;
};

/* Something that a plan did, or would do. */
struct topo_change {
	char *urn, *name;
	char *action;     /* create, update, delete, replace */
	json_t *was, *is; /* versions before and after; objects */
};

struct topo {
	const char *source, *format; /* "iac", "ansible"; "terraform state 4", "pulumi", ... */
	char *stack;
	struct topo_resource *resource;
	size_t resource_count;
	struct topo_edge *edge;
	size_t edge_count;
	struct topo_ref *ref;
	size_t ref_count;
	struct topo_change *change;
	size_t change_count;
	json_t *notes;  /* array of texts: what was passed over, and why */
	json_t *detail; /* what else the format tells: inventory and plays; or NULL */
	json_t *by_urn; /* urn -> index */
	json_t *edges;  /* what has an edge already */
};

void topo_init(struct topo *t, const char *source, const char *format, const char *stack);
void topo_done(struct topo *t);
static inline void oc_auto_topo(struct topo *t)
{
	topo_done(t);
}

/* The resource of this URN, made where it is new; URN: "urn:" type ":" name, what may not stand in one is
 * percent-encoded. OC_TOO_LARGE. */
MUST_CHECK enum oc_err topo_add(struct topo *t, const char *type, const char *name, const char *address,
				size_t *ret, struct oc_fail *reterr);
/* The same edge again, and one from a resource to itself, are passed over. */
MUST_CHECK enum oc_err topo_link(struct topo *t, size_t src, size_t dst, const char *relation,
				 const char *via, struct oc_fail *reterr);
MUST_CHECK enum oc_err topo_refer(struct topo *t, size_t src, const char *to, bool found,
				  struct oc_fail *reterr);
void topo_changed(struct topo *t, const char *urn, const char *name, const char *action, json_t *take_was,
		  json_t *take_is);
void topo_note(struct topo *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Yours. */
char *topo_urn(const char *type, const char *name);
void topo_label(struct topo_resource *r, const char *key, const char *value); /* NULL, empty: nothing */
/* {"source","format","stack","resources":[..],"edges":[..],"dangling":n,"changes":[..],"notes":[..],"detail":..}: yours */
json_t *topo_json(const struct topo *t);
