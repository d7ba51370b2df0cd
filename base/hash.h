/* hash.h - SHA-256, base64 and random bytes, by libcrypto. */
#pragma once
#include <stddef.h>

#define HASH_LEN 32
#define HASH_HEX 65 /* 64 digits and the 0 */

void hash_sha256(const void *data, size_t n, unsigned char out[HASH_LEN]);
void hash_sha256_2(const void *a, size_t an, const void *b, size_t bn, unsigned char out[HASH_LEN]);
void hash_sha256_hex(const void *data, size_t n, char out[HASH_HEX]);
char *hash_base64(const void *data, size_t n);        /* with padding, on one line; to be freed */
char *hash_unbase64(const char *text, size_t *ret_n); /* yours, ended by a 0; NULL: it is none */
void hash_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
		      unsigned char out[HASH_LEN]);
void hash_random(void *out, size_t n); /* aborts if the system has none */
