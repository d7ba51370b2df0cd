/* scratch.h - private folders of calls, and their removal whatever was left in them.
 *
 * Follows no link, leaves no file system. Any thread. */
#pragma once
#include "base/err.h"

/* A new folder (0700) below dir, "call-<pid>-xxxxxx". Yours. */
MUST_CHECK enum oc_err scratch_make(const char *dir, char **ret_path, struct oc_fail *reterr);
void scratch_wipe(const char *path);   /* empties it; cheap when it is empty */
void scratch_remove(const char *path); /* NULL is fine */
/* Folders of processes that are gone: a service that was killed could not remove its own. */
void scratch_sweep(const char *dir);
