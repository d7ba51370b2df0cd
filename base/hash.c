#include "base/hash.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/random.h>
#include "base/mem.h"
#include "base/text.h"

void hash_sha256(const void *data, size_t n, unsigned char out[HASH_LEN])
{
	SHA256(data, n, out);
}

void hash_sha256_2(const void *a, size_t an, const void *b, size_t bn, unsigned char out[HASH_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) || !EVP_DigestUpdate(ctx, a, an) ||
	    !EVP_DigestUpdate(ctx, b, bn) || !EVP_DigestFinal_ex(ctx, out, NULL))
		abort();
	EVP_MD_CTX_free(ctx);
}

void hash_sha256_hex(const void *data, size_t n, char out[HASH_HEX])
{
	unsigned char h[HASH_LEN];

	hash_sha256(data, n, h);
	str_hex(h, HASH_LEN, out);
}

char *hash_base64(const void *data, size_t n)
{
	char *out = mem_alloc((n + 2) / 3 * 4 + 1);

	EVP_EncodeBlock((unsigned char *)out, data, (int)n);
	return out;
}

void hash_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
		      unsigned char out[HASH_LEN])
{
	unsigned len = HASH_LEN;

	if (!HMAC(EVP_sha256(), key, (int)key_len, data, n, out, &len))
		abort();
}

void hash_random(void *out, size_t n)
{
	unsigned char *p = out;

	while (n) {
		ssize_t got = getrandom(p, n, 0);

		if (got <= 0)
			abort();
		p += got;
		n -= (size_t)got;
	}
}
