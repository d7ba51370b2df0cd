/* sender.h - hands OTLP bodies to a collector, on a thread of its own.
 *
 * A body that was not taken is sent again until it is, or until the collector says that it never will (4xx but 408 and 429);
 * meanwhile the caller keeps counting and hands over nothing new. So an outage loses nothing but detail of time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct sender_config {
	const char *endpoint; /* "http://127.0.0.1:8080"; /v1/metrics and /v1/traces are added */
	const char *token;    /* bearer, or NULL */
	const char *ca_file;  /* or NULL */
};

struct sender;
struct sender *sender_new(const struct sender_config *config);
/* Tries once more to get rid of what is waiting, for at most so long. */
void sender_free(struct sender *s, unsigned last_ms);

bool sender_ready(struct sender *s); /* nothing is waiting */
/* Both from malloc, taken over; `path` is "/v1/metrics". */
void sender_give(struct sender *s, const char *path, char *take_body);
uint64_t sender_refused(struct sender *s); /* bodies that the collector will never take */
uint64_t sender_failures(struct sender *s);
