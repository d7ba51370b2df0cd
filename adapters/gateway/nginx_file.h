/* nginx_file.h - the upstream file: read, written anew beside itself, exchanged, put back.
 *
 * Whoever changes it holds the lock of its folder. Sentences about what went wrong end up in ng->why. */
#ifndef ADAPTERS_GATEWAY_NGINX_FILE_H
#define ADAPTERS_GATEWAY_NGINX_FILE_H

#include "nginx_proc.h"
#include "upstream.h"

#include <limits.h>
#include <sys/stat.h>

struct nginx {
	struct gateway_call *call;
	const char *binary, *conf, *prefix, *pid_file, *name;
	int64_t reload_wait_ms;
	char path[PATH_MAX]; /* of the upstream file, symlinks followed */
	char side[PATH_MAX]; /* where the candidate, then the old file, lies */

	char *text; /* the file as it was read */
	struct stat st;
	struct upstream up;
	json_t *found, *wanted; /* servers, sorted */
	json_t *to;             /* wanted, in the order of the step */

	struct nginx_master master;
	bool running;
	char why[PATH_MAX + 256];
};

/* Reads the file and finds the block; forgets what was read before. */
bool nginx_file_load(struct nginx *ng);
/* Writes `text` beside the file, with its owner and mode, down to the disk. */
bool nginx_file_write_beside(struct nginx *ng, const char *text);
/* The file and the one beside it change places. False with errno. */
bool nginx_file_exchange(struct nginx *ng);
/* After an exchange: is what was swapped out what had been read, or did somebody write in between? */
bool nginx_file_is_what_was_read(const struct nginx *ng);
/* The one beside becomes the file again, with the time that it had. */
bool nginx_file_put_back(struct nginx *ng);
void nginx_file_sync(const struct nginx *ng);
/* The time that a new file gets, for utimensat: two clock ticks ahead. */
void nginx_file_time(struct timespec times[2]);

#endif
