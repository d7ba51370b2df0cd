/* Replays a corpus through a fuzz target, then mutations of it: what libFuzzer found stays found also where
 * there is no libFuzzer. The seed is fixed; OPSCASE_FUZZ_SEED and OPSCASE_FUZZ_RUNS change seed and number. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

#define INPUTS_MAX 512
#define BYTES_MAX  (64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct input {
	uint8_t *bytes;
	size_t len;
} input[INPUTS_MAX];
static size_t inputs;
static uint64_t seed;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static void load(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	while (d && (e = readdir(d)) && inputs < INPUTS_MAX) {
		AUTO(str) char *path = mem_printf("%s/%s", folder, e->d_name);
		AUTO(file) FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");

		if (!f)
			continue;
		input[inputs].bytes = mem_alloc(BYTES_MAX);
		input[inputs].len = fread(input[inputs].bytes, 1, BYTES_MAX, f);
		inputs++;
	}
	if (d)
		closedir(d);
}

static size_t mutate(uint8_t *bytes, size_t len)
{
	static const char tokens[] = "{}[]\",:\\0\xff%;'$`\n/?&=.-";

	for (uint32_t n = 1 + next_random() % 6; n > 0 && len > 1; n--) {
		size_t at = next_random() % len;

		switch (next_random() % 5) {
		case 0:
			bytes[at] ^= (uint8_t)(1u << (next_random() % 8));
			break;
		case 1:
			bytes[at] = (uint8_t)tokens[next_random() % (sizeof(tokens) - 1)];
			break;
		case 2:
			memmove(bytes + at, bytes + at + 1, len - at - 1);
			len--;
			break;
		case 3:
			if (len + 1 < BYTES_MAX) {
				memmove(bytes + at + 1, bytes + at, len - at);
				bytes[at] = (uint8_t)next_random();
				len++;
			}
			break;
		default: {
			size_t part = next_random() % (len - at);

			if (len + part < BYTES_MAX) {
				memmove(bytes + at + part, bytes + at, len - at);
				len += part;
			}
		}
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	const char *seed_text = getenv("OPSCASE_FUZZ_SEED"), *runs_text = getenv("OPSCASE_FUZZ_RUNS");
	long runs = runs_text ? atol(runs_text) : 5000;
	uint8_t *bytes = mem_alloc(BYTES_MAX);

	seed = seed_text ? strtoull(seed_text, NULL, 0) | 1 : 0x0c5ca5e0c5ca5e1ULL;
	for (int i = 1; i < argc; i++)
		load(argv[i]);
	if (inputs == 0) {
		fprintf(stderr, "no corpus in %s\n", argc > 1 ? argv[1] : "(nothing given)");
		return 1;
	}
	for (size_t i = 0; i < inputs; i++)
		LLVMFuzzerTestOneInput(input[i].bytes, input[i].len);
	for (long i = 0; i < runs; i++) {
		const struct input *from = &input[next_random() % inputs];

		memcpy(bytes, from->bytes, from->len);
		LLVMFuzzerTestOneInput(bytes, mutate(bytes, from->len));
	}
	printf("%zu inputs and %ld mutations, nothing broke\n", inputs, runs);
	for (size_t i = 0; i < inputs; i++)
		free(input[i].bytes);
	free(bytes);
	return 0;
}
