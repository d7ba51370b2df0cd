/* clock.h - the only place that asks the machine for the time. Deciding code gets time handed in. */
#pragma once
#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_us(void); /* for intervals */
int64_t clock_mono_ms(void);
int64_t clock_wall_us(void); /* since 1970, UTC */
/* "2026-01-02T03:04:05.678901Z" into at least 32 bytes. */
void clock_format(int64_t wall_us, char *out, size_t size);
/* RFC 3339 (offset or Z, optional fraction; a blank or T between). Returns 0 or -1. */
int clock_parse(const char *text, int64_t *ret_wall_us);
