/* discovery.h - a description of an installation, read and compared with what is known of it.
 *
 * The shell round ingest/topology: what cannot be read is written down as failed and closes nothing. */
#pragma once
#include "ingest/topology/topology.h"
#include "wire/pg/pg.h"

struct discovery_ask {
	long long tenant_id;
	struct topology_ask how;
	int64_t at_us;     /* 0: now */
	double shrink_max; /* share of edges or resources that may go at once; 0: a half */
	bool force;        /* close whatever is gone */
	bool dry_run;      /* only say what is in it */
};

/* ret_answer: {"source","format","stack","status",...} or, for a dry run, the whole reading; yours. */
MUST_CHECK enum oc_err discovery_run(struct pg_pool *pool, const struct topo_file *files, size_t count,
				     const struct discovery_ask *ask, json_t **ret_answer,
				     struct oc_fail *reterr);
/* The body of a request: {"files":[{"path","text"}]}, or one document as it is. Files point into *ret_doc or `body`. */
MUST_CHECK enum oc_err discovery_files(const char *body, size_t len, json_t **ret_doc, struct topo_file **ret,
				       size_t *ret_count, struct oc_fail *reterr);
/* Reads a file, or the small texts of a folder; binary files and what begins with a dot are passed over. Yours:
 * discovery_files_free(). */
MUST_CHECK enum oc_err discovery_load(const char *path, struct topo_file **ret, size_t *ret_count,
				      struct oc_fail *reterr);
void discovery_files_free(struct topo_file *files, size_t count);
