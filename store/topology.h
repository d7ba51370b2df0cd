/* topology.h - who needs whom over time: dim_resource, topo_resource, topo_edge_time, topo_discovery.
 *
 * One reading of one description (source and stack) is compared with what is open of it: what is new opens at the
 * time of the reading, what is gone closes there. An edge that two descriptions hold stays until neither does. For
 * opscase_worker, except topology_edges_read(). */
#pragma once
#include <stdint.h>
#include "wire/json/json.h"
#include "wire/pg/pg.h"

struct topology_reading {
	long long tenant_id;
	const char *source, *stack; /* "iac", "shop" */
	int64_t at_us;              /* 0: now */
	/* [{"urn","type","name","region","zone","address","labels":{},"versions":{}}] */
	const json_t *resources;
	/* [{"src","dst","relation","via"}], by urn */
	const json_t *edges;
	/* [{"urn","name","action","was","is"}]: what was carried out, as the description itself says; or NULL */
	const json_t *changes;
	const char *document_hash; /* the same document's changes are told once */
	/* Closes nothing when more than this share of the open edges, or of the resources, would go. 1: always closes. */
	double shrink_max;
	bool events; /* changed versions become deployments; false for the first reading of a description */
};

struct topology_report {
	char status[16]; /* "applied", "shrunk" */
	long long resources, edges, opened, closed, kept, changes;
	char sentence[300];
};

/* In a transaction of its own. OC_CONFLICT: the last reading of this source is younger. */
MUST_CHECK enum oc_err topology_apply(struct pg *pg, const struct topology_reading *r,
				      struct topology_report *ret, struct oc_fail *reterr);
/* A reading that failed closes nothing; it is written down with its reason. */
MUST_CHECK enum oc_err topology_failed(struct pg *pg, long long tenant_id, const char *source,
				       const char *stack, const char *why, struct oc_fail *reterr);

struct topology_filter {
	int64_t at_us;                       /* 0: now */
	const char *source, *relation, *urn; /* NULL: all; urn: edges that begin or end there */
	int limit;
	long long after_src, after_dst; /* keyset: what the last page ended with */
	const char *after_rest;         /* "relation source" */
};
/* Edges as of then, in a transaction with a tenant: [{"src","dst","relation","source","since","until","props"}] and
 * where the next page begins (ret_rest stays empty when there is none). */
MUST_CHECK enum oc_err topology_edges_read(struct pg *pg, long long tenant_id,
					   const struct topology_filter *f, json_t **ret, long long *ret_src,
					   long long *ret_dst, char ret_rest[64], struct oc_fail *reterr);
/* The newest readings, newest first. */
MUST_CHECK enum oc_err topology_discoveries_read(struct pg *pg, long long tenant_id, int limit, json_t **ret,
						 struct oc_fail *reterr);
