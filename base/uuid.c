#include "base/uuid.h"
#include <ctype.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"

void uuid_new(char out[UUID_TEXT])
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t last; /* ms << 12 | 12 bits that grow inside one ms */
	unsigned char b[16];
	uint64_t now, stamp;
	char hex[33];

	hash_random(b, sizeof(b));
	now = (uint64_t)clock_wall_us();
	stamp = now / 1000 << 12 | (now % 1000) << 2;
	pthread_mutex_lock(&lock);
	if (stamp <= last)
		stamp = last + 1;
	last = stamp;
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(stamp >> (52 - 8 * i));
	b[6] = (unsigned char)(0x70 | (stamp >> 8 & 0x0F));
	b[7] = (unsigned char)stamp;
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3F));
	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", b[i]);
	snprintf(out, UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

bool uuid_ok(const char *text)
{
	if (!text || strlen(text) != UUID_TEXT - 1)
		return false;
	for (int i = 0; i < UUID_TEXT - 1; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
		} else if (!isxdigit((unsigned char)text[i])) {
			return false;
		}
	}
	return true;
}
