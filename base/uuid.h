/* uuid.h - UUIDv7 (RFC 9562): time-ordered ids, as text. */
#pragma once
#include <stdbool.h>

#define UUID_TEXT 37

void uuid_new(char out[UUID_TEXT]); /* v7; later calls in a process sort later */
bool uuid_ok(const char *text);     /* 8-4-4-4-12 hex digits, any version */
