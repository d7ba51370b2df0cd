/* The small readers of the house, which see what clients, files and peers wrote: what they take they give back as
 * it was, and what they do not take they leave alone.
 *
 * Input: two texts, the second behind the first newline. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "base/uuid.h"
#include "domain/sketch.h"
#include "wire/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void times(const char *text)
{
	int64_t at = 0, again = 0;
	char out[40];

	if (clock_parse(text, &at) != 0)
		return;
	clock_format(at, out, sizeof(out));
	if (clock_parse(out, &again) != 0 || again != at)
		abort();
}

static void numbers(const char *text)
{
	long long n = 0;
	AUTO(str) char *printed = NULL;

	if (!str_to_long(text, -1000000, 1000000, &n))
		return;
	printed = mem_printf("%lld", n);
	if (n < -1000000 || n > 1000000 ||
	    (text[0] != '+' && text[0] != '0' && text[0] != '-' && !str_eq(printed, text)))
		abort();
}

static void sketches(const char *text)
{
	AUTO(sketch) struct sketch *s = sketch_unhex(text);
	AUTO(str) char *again = NULL;

	if (!s)
		return;
	again = sketch_hex(s);
	if (!str_eq(text, again)) {
		AUTO(sketch) struct sketch *second = sketch_unhex(again);

		if (!second || sketch_count(second) != sketch_count(s))
			abort();
	}
	for (int i = 0; i <= 4; i++)
		(void)sketch_quantile(s, i / 4.0);
	sketch_merge(s, s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	AUTO(str) char *text = NULL;
	AUTO(json) json_t *doc = NULL;
	char *second;
	unsigned char raw[16];
	char hex[33];

	if (size > 8192)
		return 0;
	text = mem_strndup((const char *)bytes, size);
	second = text + strcspn(text, "\n");
	second += *second ? (*second = '\0', 1) : 0;
	times(text);
	numbers(text);
	sketches(text);
	if (uuid_ok(text) && (strlen(text) != 36 || strspn(text, "0123456789abcdefABCDEF-") != 36))
		abort();
	if (str_unhex(text, raw, sizeof(raw))) {
		str_hex(raw, sizeof(raw), hex);
		if (strcasecmp(hex, text) != 0)
			abort();
	}
	if (str_distance(text, second) != str_distance(second, text))
		abort();
	if (!str_glob("*", text) || (!strpbrk(text, "*?") && str_glob(text, second) != str_eq(text, second)))
		abort();
	if (json_read(second, strlen(second), NULL, &doc, NULL) == OC_OK) {
		if (json_at(doc, "") != doc)
			abort();
		(void)json_at(doc, text);
	}
	return 0;
}
