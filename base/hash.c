#include "base/hash.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
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

char *hash_unbase64(const char *text, size_t *ret_n)
{
	size_t n = strlen(text), padding = 0;
	char *out;

	if (n == 0 || n % 4 || n > INT_MAX ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != n)
		return NULL;
	while (padding < 2 && text[n - 1 - padding] == '=')
		padding++;
	if (strcspn(text, "=") != n - padding)
		return NULL;
	out = mem_alloc(n / 4 * 3 + 1);
	if (EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n) < 0) {
		free(out);
		return NULL;
	}
	*ret_n = n / 4 * 3 - padding;
	out[*ret_n] = '\0';
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
