/* marks.h - what has run under which idempotency key, on disk and surviving a crash.
 *
 * Two files per key: a start mark before the program is started, a done mark after it has ended with an
 * expected exit code, both with fsync of file and folder. One thread. */
#ifndef ADAPTERS_SCRIPT_MARKS_H
#define ADAPTERS_SCRIPT_MARKS_H

#include <jansson.h>
#include <stdbool.h>

enum marks_state { MARKS_OFF, MARKS_NONE, MARKS_STARTED, MARKS_DONE, MARKS_BROKEN };

/* `ret_info` (may be NULL) is what the done mark holds, yours. MARKS_OFF: there is no folder or no key. */
enum marks_state marks_look(const char *dir, const char *key, json_t **ret_info);
bool marks_start(const char *dir, const char *key);
bool marks_finish(const char *dir, const char *key, const json_t *info);
/* It certainly did not run, or was taken back. */
bool marks_clear(const char *dir, const char *key);

#endif
