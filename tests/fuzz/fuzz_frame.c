/* The messages between host and runner, cut anywhere: each comes out whole and ended by a 0, nonsense is refused,
 * and what frame_quote writes reads back as UTF-8 JSON.
 *
 * Input: a byte for the size of the pieces and one for the limit; the rest comes over the line. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/mem.h"
#include "executor/frame.h"
#include "wire/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_quote(const char *text, size_t len)
{
	AUTO(text) struct text quoted = { 0 };
	AUTO(text) struct text clean = { 0 };
	AUTO(json) json_t *value = NULL;

	text_add(&quoted, "[");
	frame_quote(&quoted, text, len);
	text_add(&quoted, "]");
	frame_clean(&clean, text, len);
	if (json_read_own(quoted.s, &value, NULL) != OC_OK ||
	    !str_eq(json_string_value(json_array_get(value, 0)), text_str(&clean)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct frame_in in = { 0 };
	size_t piece, max, sent = 0;
	int line[2], r = 0;

	if (size < 2 || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0)
		return 0;
	piece = 1 + bytes[0] * 16u;
	max = 1 + bytes[1] * 64u;
	bytes += 2;
	size -= 2;
	check_quote((const char *)bytes, size < 4096 ? size : 4096);
	while (sent < size && r >= 0) {
		size_t n = size - sent < piece ? size - sent : piece, len;
		char *text;

		if (send(line[1], bytes + sent, n, MSG_DONTWAIT) != (ssize_t)n)
			abort();
		sent += n;
		if (frame_read(&in, line[0], false) != FRAME_BYTES)
			abort();
		while ((r = frame_next(&in, max, &text, &len)) == 1) {
			if (len > max || text[len] != '\0')
				abort();
			free(text);
		}
	}
	frame_done(&in);
	close(line[0]);
	close(line[1]);
	return 0;
}
