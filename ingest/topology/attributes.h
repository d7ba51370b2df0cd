/* attributes.h - what the attributes of a provisioned resource tell: who it is, which build it runs, and which ids it
 * holds. For Terraform and Pulumi, whose providers share their attributes. Pure. */
#pragma once
#include "ingest/topology/topo.h"

/* The URN that telemetry, too, has for it: a Kubernetes service, a host by its name, a database by its cluster. False: it
 * has none, so that its address has to do. Both yours. */
bool attributes_identity(const char *kind, const json_t *attrs, char **ret_type, char **ret_name);
/* {"image": .., "engine_version": ..}: flat, short texts; yours. */
json_t *attributes_versions(const json_t *attrs);
void attributes_label(struct topo_resource *r, const json_t *attrs);

/* Finds resources by the id or arn that others hold. Values that two share say nothing. */
struct attribute_ids;
struct attribute_ids *attribute_ids_new(void);
void attribute_ids_free(struct attribute_ids *ids);
void attribute_ids_add(struct attribute_ids *ids, size_t resource, const json_t *attrs);
/* Links what `resource` holds in its attributes. Call after all were added. */
MUST_CHECK enum oc_err attribute_ids_link(const struct attribute_ids *ids, struct topo *t, size_t resource,
					  const json_t *attrs, struct oc_fail *reterr);
