/* cgroup.h - a control group (v2) around one call, where the kernel has one and we may make it.
 *
 * It is an extra: cgroup.kill ends a whole family at once, whatever it does. Without it the keeper's
 * walk over its children does the same. A path of "" means that there is none. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define CGROUP_PATH 512

/* The folder in which groups may be made, or "". Tries it out. */
void cgroup_base(char *out, size_t size);
bool cgroup_make(const char *path);
bool cgroup_enter(const char *path); /* this process */
void cgroup_kill(const char *path);
bool cgroup_empty(const char *path); /* proven: no process in it, nor below it */
void cgroup_remove(const char *path);
