/* inventory_impl.h - for inventory.c and its readers alone. */
#pragma once
#include "ingest/topology/inventory.h"

struct group {
	char *name;
	json_t *hosts;    /* name -> true, in order */
	json_t *children; /* name -> true, in order */
	json_t *parents;  /* name -> true */
	json_t *vars;     /* from the inventory */
	json_t *more;     /* from group_vars */
	int depth;
};

struct inventory {
	json_t *hosts;       /* name -> {vars of the inventory} */
	json_t *host_more;   /* name -> {vars of host_vars} */
	json_t *group_index; /* name -> index */
	struct group *group;
	size_t group_count;
	json_t *merged; /* name -> all vars */
	json_t *notes;
	struct oc_fail *reterr; /* while reading */
};

MUST_CHECK enum oc_err inventory_group_add(struct inventory *inv, const char *name, size_t *ret);
MUST_CHECK enum oc_err inventory_host_add(struct inventory *inv, const char *name, size_t group);
MUST_CHECK enum oc_err inventory_child_add(struct inventory *inv, size_t parent, const char *child);
/* "web[01:20].example.org" becomes its names; those without a range stay. Yours, an array. */
MUST_CHECK enum oc_err inventory_expand(const char *pattern, json_t **ret, struct oc_fail *reterr);
/* A value of an INI file as Python reads a literal: 1, 1.5, True, None, 'text', [..], {..}; else the text. Yours. */
json_t *inventory_literal(const char *s, size_t n);
MUST_CHECK enum oc_err inventory_read_ini(struct inventory *inv, const struct topo_file *file);
MUST_CHECK enum oc_err inventory_read_yaml(struct inventory *inv, const struct topo_file *file);
