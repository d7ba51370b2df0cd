/* sweep.h - what the detail store does in its own time: once in a while, by one process (the janitor's leader).
 *
 *  - objects that no oo_locator row knows, older than `grace_us`, go: left by crashes, or their row was pruned by age;
 *  - objects in the folder that belong into the bucket are taken there;
 *  - where the folder is fuller than nine tenths of its quota, the oldest that nothing holds go, until eight.
 *
 * What evidence cites, and what is pinned, is never removed here. */
#pragma once
#include <stdint.h>
#include "detail/store.h"
#include "wire/pg/pg.h"

struct detail_swept {
	long long objects, bytes;         /* in the folder */
	long long unknown, moved, forced; /* removed as unknown; taken to the bucket; removed for the quota */
};

/* grace_us: longer than any transaction lives between writing an object and committing its row; an hour is right. */
MUST_CHECK enum oc_err detail_sweep(struct detail_store *s, struct pg *pg, int64_t now_us, int64_t grace_us,
				    struct detail_swept *ret, struct oc_fail *reterr);
