/* The gRPC server, by Debian's own client and by bytes that no client sends. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/mem.h"
#include "wire/grpc/server.h"

static void answer(void *ctx, const struct grpc_call *call, struct grpc_answer *a)
{
	(void)ctx;
	if (strcmp(call->path, "/test.Echo/Say") == 0) {
		text_add_n(&a->message, call->message, call->len);
	} else if (strcmp(call->path, "/test.Echo/Who") == 0) {
		text_addf(&a->message, "%s %s %s", call->authorization ? call->authorization : "-",
			  call->tenant ? call->tenant : "-", call->encoding ? call->encoding : "-");
	} else if (strcmp(call->path, "/test.Echo/Slow") == 0) {
		usleep(20000); /* long enough to be cancelled in between */
	} else if (strcmp(call->path, "/test.Echo/Later") == 0) {
		a->status = GRPC_UNAVAILABLE;
		a->retry_s = 7;
		snprintf(a->why, sizeof(a->why), "not now");
	} else {
		a->status = GRPC_UNIMPLEMENTED;
		snprintf(a->why, sizeof(a->why), "100 %% nothing \xc3\xbc");
	}
}

static struct grpc_server *server_new(unsigned arrive_ms)
{
	struct grpc_config config = { .workers = 3, .arrive_ms = arrive_ms, .call = answer };
	struct grpc_server *s = NULL;
	struct oc_fail why = { 0 };

	if (grpc_server_start(&config, &s, &why) != OC_OK)
		fail_msg("%s", why.text);
	return s;
}

static void client(const char *what)
{
	struct grpc_server *s = server_new(0);
	AUTO(str)
	char *command = mem_printf("timeout 120 python3 %s/tests/unit/wire/grpc/client.py %u %s",
				   OPSCASE_SOURCE_DIR, grpc_server_port(s), what);
	int rc = system(command); /* NOLINT: our own words */

	grpc_server_stop(s, 5000);
	if (WIFEXITED(rc) && WEXITSTATUS(rc) == 77) {
		print_message("no python3-grpcio here\n");
		skip();
	}
	assert_int_equal(rc, 0);
}

static void what_a_client_sends_comes_back(void **state)
{
	(void)state;
	client("echo");
}
static void a_packed_message_says_how(void **state)
{
	(void)state;
	client("gzip");
}
static void errors_have_a_code_a_sentence_and_a_time(void **state)
{
	(void)state;
	client("errors");
}
static void many_calls_share_a_connection(void **state)
{
	(void)state;
	client("many");
}
static void a_call_that_was_cancelled_hurts_nobody(void **state)
{
	(void)state;
	client("cancel");
}

/* ---- by hand */

static int dial(unsigned port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval wait = { .tv_sec = 30 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return fd;
}

/* True if the other end closes within the socket's patience. */
static bool is_closed(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

static void what_is_no_http2_is_hung_up_on(void **state)
{
	static const char nonsense[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct grpc_server *s = server_new(0);
	int fd = dial(grpc_server_port(s));

	(void)state;
	assert_int_equal(send(fd, nonsense, sizeof(nonsense) - 1, MSG_NOSIGNAL), sizeof(nonsense) - 1);
	assert_true(is_closed(fd));
	close(fd);
	grpc_server_stop(s, 0);
}

#define MAGIC    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\0\x04\0\0\0\0\0"
/* Literals without indexing: POST (3), http (6), :path (4), content-type (31), :authority (1), and one that nobody knows. */
#define HEADERS                      \
	"\0\0\x35\x01\x04\0\0\0\x01" \
	"\x83\x86\x04\x0e"           \
	"/test.Echo/Say"             \
	"\x01\x02"                   \
	"me"                         \
	"\x0f\x10\x10"               \
	"application/grpc"           \
	"\0\x01"                     \
	"a\x08"                      \
	"bbbbbbbb"

static void a_call_that_does_not_arrive_ends(void **state)
{
	static const char start[] = MAGIC SETTINGS HEADERS "\0\0\x09\0\0\0\0\0\x01\0\0\0\0\x05";
	struct grpc_server *s = server_new(200);
	int fd = dial(grpc_server_port(s));

	(void)state;
	assert_int_equal(send(fd, start, sizeof(start) - 1, MSG_NOSIGNAL), sizeof(start) - 1);
	assert_true(is_closed(fd));
	close(fd);
	grpc_server_stop(s, 0);
}

static void an_address_that_strangers_reach_is_refused(void **state)
{
	struct grpc_config config = { .address = "0.0.0.0", .call = answer };
	struct grpc_server *s = NULL;
	struct oc_fail why = { 0 };

	(void)state;
	assert_int_equal(grpc_server_start(&config, &s, &why), OC_INVALID);
	assert_string_equal(why.field, "address");
	assert_null(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_client_sends_comes_back),
		cmocka_unit_test(a_packed_message_says_how),
		cmocka_unit_test(errors_have_a_code_a_sentence_and_a_time),
		cmocka_unit_test(many_calls_share_a_connection),
		cmocka_unit_test(a_call_that_was_cancelled_hurts_nobody),
		cmocka_unit_test(what_is_no_http2_is_hung_up_on),
		cmocka_unit_test(a_call_that_does_not_arrive_ends),
		cmocka_unit_test(an_address_that_strangers_reach_is_refused),
	};

	return cmocka_run_group_tests_name("grpc", tests, NULL, NULL);
}
