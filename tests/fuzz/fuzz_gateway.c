/* What nginx files and HAProxy's runtime socket may say to the gateway adapter: read within bounds; an upstream
 * block that is written anew reads back as what was asked for, and nothing else of the file is touched.
 *
 * Input: with a '#' first, the answer to `show servers state`, or with "# p" to `show stat`; else an nginx file. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "adapters/gateway/haproxy_socket.h"
#include "adapters/gateway/upstream.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* HAProxy is the input: its socket, piece by piece. */
static const uint8_t *said;
static size_t said_len, said_piece;

static ssize_t hear(void *to, size_t size)
{
	size_t n = said_len < said_piece ? said_len : said_piece;

	n = n < size ? n : size;
	memcpy(to, said, n);
	said += n;
	said_len -= n;
	return (ssize_t)n;
}

static int no_socket(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

#define socket(domain, type, protocol) no_socket()
#define connect(fd, address, len)      0
#define send(fd, bytes, len, flags)    ((ssize_t)(len))
#define recv(fd, bytes, len, flags)    hear(bytes, len)
#include "adapters/gateway/haproxy_socket.c"

enum gateway_wait gateway_wait(struct gateway_call *call, int fd, short events, int64_t timeout_ms)
{
	(void)call, (void)fd, (void)events, (void)timeout_ms;
	return WAIT_READY;
}

bool gateway_cancelled(const struct gateway_call *call)
{
	(void)call;
	return false;
}

const char *gateway_text(const json_t *object, const char *name, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : fallback;
}

static void ask_haproxy(const uint8_t *bytes, size_t size, bool sessions)
{
	struct haproxy ha = { .socket = "/run/haproxy.sock", .backend = "app" };
	char status[16];
	bool good = false;

	said = bytes;
	said_len = size;
	said_piece = 1 + size % 97;
	if (sessions) {
		if (haproxy_sessions(&ha, "green", status, sizeof(status)) < -1 ||
		    strlen(status) >= sizeof(status))
			return; /* a negative number of sessions is HAProxy's nonsense, not ours */
	} else if (haproxy_look(&ha, &good) == SAID && good) {
		if (json_array_size(ha.servers) == 0)
			abort();
		for (size_t i = 0; i < json_array_size(ha.servers); i++) {
			const json_t *s = json_array_get(ha.servers, i);

			if (!json_is_string(json_object_get(s, "name")) ||
			    !json_is_integer(json_object_get(s, "weight")))
				abort();
			if (!haproxy_server_named(ha.servers, json_string_value(json_object_get(s, "name"))))
				abort();
		}
	} else if (!good && !ha.why[0]) {
		abort();
	}
	json_decref(ha.servers);
}

/* The same servers written anew say the same, with the mark; around the braces every byte stays. */
static void write_anew(const struct upstream *up, const char *text, size_t len)
{
	static const char mark[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	char *body = upstream_render(up, up->servers, mark), *whole = upstream_splice(up, body), *diff;
	struct upstream again = { 0 };

	if (!upstream_parse(whole, strlen(whole), "app", &again) || !json_equal(again.servers, up->servers) ||
	    strcmp(again.mark, mark) != 0)
		abort();
	if (strncmp(whole, text, up->body) != 0 ||
	    strcmp(whole + strlen(whole) - (len - up->body_end), text + up->body_end) != 0)
		abort();
	diff = upstream_diff("f", text, whole);
	free(diff);
	upstream_done(&again);
	free(whole);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct upstream up = { 0 };
	char *text;

	if (size > 0 && bytes[0] == '#') {
		ask_haproxy(bytes, size, size > 2 && bytes[2] == 'p');
		return 0;
	}
	text = strndup((const char *)bytes, size);
	if (upstream_parse(text, strlen(text), "app", &up)) {
		write_anew(&up, text, strlen(text));
		upstream_done(&up);
	}
	free(text);
	return 0;
}
