/* object.h - reading API objects: fields, images, marks, and what a decision is bound to. Pure. */
#ifndef K8S_OBJECT_H
#define K8S_OBJECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBJECT_MARK            "opscase.io/key"             /* keys of the last steps, newest first */
#define OBJECT_CANARY_OF       "opscase.io/canary-of"       /* on a canary: its stable Deployment    */
#define OBJECT_STABLE_REPLICAS "opscase.io/stable-replicas" /* on a canary: what stable had before  */
#define OBJECT_RESTARTED       "kubectl.kubernetes.io/restartedAt"
#define OBJECT_REVISION        "deployment.kubernetes.io/revision"
#define OBJECT_CHANGE_CAUSE    "kubernetes.io/change-cause"
#define OBJECT_TEMPLATE_HASH   "pod-template-hash"

enum { OBJECT_MARKS_MAX = 8 };

/* The value at a path of member names that ends with NULL; NULL where something is missing. */
const json_t *object_at(const json_t *object, ...) __attribute__((sentinel));
const char *object_name(const json_t *object);
const char *object_uid(const json_t *object);
const char *object_annotation(const json_t *object, const char *name); /* NULL if it has none */
const json_t *object_template(const json_t *object);
int64_t object_number(const json_t *value, int64_t otherwise);
int64_t object_replicas(const json_t *object); /* of the spec; 1 if unset, as the API says */
bool object_owned_by(const json_t *object, const char *uid);

/* {container: image} of a pod template, init containers included. New reference. */
json_t *template_images(const json_t *template);
/* "containers" or "initContainers", or NULL when the template has no such container. */
const char *template_container_list(const json_t *template, const char *container);
const char *template_restarted(const json_t *template); /* NULL if never restarted */
/* SHA-256 of the template without pod-template-hash: the same in a Deployment and its ReplicaSets. */
void template_hash(const json_t *template, char ret_hex[65]);

/* Was this key one of the last steps that changed the object? */
bool mark_has(const json_t *object, const char *key);
/* The mark with `key` put in front. New reference. */
json_t *mark_add(const json_t *object, const char *key);

#endif
