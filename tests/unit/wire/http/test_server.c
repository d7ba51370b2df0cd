/* The HTTP server against real sockets: what strangers may do, and what it costs us. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include "base/clock.h"
#include "base/mem.h"
#include "wire/http/client.h"
#include "wire/http/message.h"

#define PATIENCE_MS 30000 /* for what must come: a busy machine may take its time */

static atomic_uint handled;
static atomic_bool released; /* those who are held by ?hold=1 may go on */
static struct http_server *server;
static char base_url[64];

static size_t body_max(void *ctx, const char *method, const char *path)
{
	(void)ctx, (void)path;
	return str_eq(method, "GET") ? 0 : 4096;
}

static void handle(void *ctx, const struct http_request *r, struct http_response *a)
{
	size_t len;
	const char *body = http_body(r, &len);
	char *answer;
	const char *sleep_ms = http_query(r, "sleep_ms");

	(void)ctx;
	atomic_fetch_add(&handled, 1);
	if (sleep_ms)
		usleep((useconds_t)atoi(sleep_ms) * 1000);
	for (int i = 0; http_query(r, "hold") && i < PATIENCE_MS && !atomic_load(&released); i++)
		usleep(1000);
	http_status(a, 200);
	http_content_type(a, "text/plain");
	http_answer_header(a, "ETag", "\"7\"");
	http_answer_header(a, "X-Evil", "a\r\nInjected: yes");
	(void)body;
	answer = mem_printf("%s %s [%s] %zu", http_method(r), http_path(r),
			    http_query(r, "q") ? http_query(r, "q") : "-", len);
	http_answer_body(a, answer, strlen(answer));
}

static int start_with(unsigned head_ms, unsigned body_ms)
{
	struct http_server_config config = { .body_max = body_max,
					     .handle = handle,
					     .head_ms = head_ms,
					     .body_ms = body_ms,
					     .handler_threads = 4,
					     .queue_max = 2,
					     .headers_max = 20 };
	struct oc_fail fail = { 0 };

	if (http_server_start(&config, &server, &fail) != OC_OK) {
		print_error("%s\n", fail.text);
		return -1;
	}
	snprintf(base_url, sizeof(base_url), "http://127.0.0.1:%u", http_server_port(server));
	atomic_store(&handled, 0);
	atomic_store(&released, false);
	return 0;
}

static int start(void **state)
{
	(void)state;
	return start_with(PATIENCE_MS, PATIENCE_MS);
}

/* For those who must be cut off: nobody else should be, however slow the machine. */
static int start_impatient(void **state)
{
	(void)state;
	return start_with(400, 400);
}

static int stop(void **state)
{
	(void)state;
	http_server_stop(server, 1000);
	server = NULL;
	return 0;
}

static int dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)http_server_port(server)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_true(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0);
}

/* Everything until the server closes or says no more for so long. */
static char *hear(int fd, int timeout_ms, bool *ret_closed)
{
	struct text got = { 0 };
	char buf[4096];

	*ret_closed = false;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, timeout_ms) <= 0)
			break;
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0) {
			*ret_closed = true;
			break;
		}
		text_add_n(&got, buf, (size_t)n);
	}
	return text_take(&got);
}

static char *exchange(const char *text, int timeout_ms, bool *ret_closed)
{
	int fd = dial();
	char *answer;

	say(fd, text);
	answer = hear(fd, timeout_ms, ret_closed);
	close(fd);
	return answer;
}

static void a_request_arrives_as_a_value_and_its_answer_leaves(void **state)
{
	AUTO(http_client)
	struct http_client *c = http_client_new(&(struct http_client_config){ .base_url = base_url });
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(http_client_call(c, "POST", "/case/create?q=a%20b+c", NULL, "{}", &a, &fail), OC_OK);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "POST /case/create [a b c] 2");
	assert_string_equal(a.etag, "\"7\"");
	http_answer_done(&a);
	/* the second call uses the same connection */
	assert_int_equal(http_client_call(c, "GET", "/x", NULL, NULL, &a, &fail), OC_OK);
	assert_string_equal(a.body, "GET /x [-] 0");
	http_answer_done(&a);
}

static void an_announced_100_mb_body_is_refused_before_it_is_read(void **state)
{
	bool closed;
	AUTO(str)
	char *answer = exchange("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 104857600\r\n\r\n",
				PATIENCE_MS, &closed);

	(void)state;
	assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
	assert_true(closed);
	assert_int_equal(atomic_load(&handled), 0);
}

/* What went wrong: the 413 was there, but the server had closed on a client that was still sending, and he saw
 * "broken pipe" instead. Without the lines in server.c that throw such a body away the send below fails. */
static void a_client_that_sends_all_before_it_listens_still_hears_413(void **state)
{
	const size_t over = 4 << 20, piece = 64 << 10;
	AUTO(text) struct text zeros = { 0 };
	AUTO(text) struct text chunk = { 0 };

	(void)state;
	for (size_t i = 0; i < piece; i++)
		text_add(&zeros, "a");
	text_add(&chunk, "10000\r\n");
	text_add_n(&chunk, zeros.s, piece);
	text_add(&chunk, "\r\n");
	for (int chunked = 0; chunked < 2; chunked++) {
		const struct text *part = chunked ? &chunk : &zeros;
		AUTO(str) char *answer = NULL;
		bool closed;
		int fd = dial();

		if (chunked) {
			say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
		} else {
			AUTO(str)
			char *head = mem_printf("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
						over);

			say(fd, head);
		}
		for (size_t n = 0; n < over; n += piece)
			assert_int_equal(send(fd, part->s, part->len, MSG_NOSIGNAL), part->len);
		if (chunked)
			say(fd, "0\r\n\r\n");
		answer = hear(fd, PATIENCE_MS, &closed);
		close(fd);
		assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
		assert_true(closed);
	}
	assert_int_equal(atomic_load(&handled), 0);
}

static void a_body_far_beyond_the_limit_is_not_read_to_its_end(void **state)
{
	const size_t piece = 64 << 10;
	AUTO(text) struct text chunk = { 0 };
	size_t sent = 0;
	int fd = dial();

	(void)state;
	text_add(&chunk, "10000\r\n");
	for (size_t i = 0; i < piece; i++)
		text_add(&chunk, "a");
	text_add(&chunk, "\r\n");
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	while (sent < 100 << 20 && send(fd, chunk.s, chunk.len, MSG_NOSIGNAL) > 0)
		sent += piece;
	close(fd);
	/* 8 MiB, and what fits into the buffers of two sockets */
	assert_true(sent < 32 << 20);
	assert_int_equal(atomic_load(&handled), 0);
}

static void a_body_that_grows_past_the_limit_unannounced_ends_with_413(void **state)
{
	struct text chunk = { 0 };
	bool closed;
	int fd = dial();
	AUTO(str) char *answer = NULL;

	(void)state;
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	text_add(&chunk, "2000\r\n");
	for (int i = 0; i < 0x2000; i++)
		text_add(&chunk, "a");
	text_add(&chunk, "\r\n");
	say(fd, text_str(&chunk));
	answer = hear(fd, PATIENCE_MS, &closed);
	close(fd);
	text_done(&chunk);
	assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
	assert_non_null(strstr(answer, "\"status\":413"));
	assert_true(closed);
	assert_int_equal(atomic_load(&handled), 0);
}

static void the_late_413_says_its_true_length(void **state)
{
	struct text big = { 0 };
	bool closed;
	AUTO(str) char *answer = NULL;
	const char *body;

	(void)state;
	text_add(&big, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n");
	for (int i = 0; i < 0x2000; i++)
		text_add(&big, "a");
	answer = exchange(text_str(&big), PATIENCE_MS, &closed);
	text_done(&big);
	body = strstr(answer, "\r\n\r\n");
	assert_non_null(body);
	assert_int_equal(strlen(body + 4), atoi(strstr(answer, "Content-Length: ") + 16));
}

static void a_get_takes_no_body(void **state)
{
	bool closed;
	AUTO(str)
	char *answer = exchange("GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", PATIENCE_MS,
				&closed);

	(void)state;
	assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
}

static void too_many_headers_are_431(void **state)
{
	struct text t = { 0 };
	bool closed;
	AUTO(str) char *answer = NULL;

	(void)state;
	text_add(&t, "GET /x HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 40; i++)
		text_addf(&t, "X-%d: y\r\n", i);
	text_add(&t, "\r\n");
	answer = exchange(text_str(&t), PATIENCE_MS, &closed);
	text_done(&t);
	assert_int_equal(strncmp(answer, "HTTP/1.1 431 ", 13), 0);
	assert_int_equal(atomic_load(&handled), 0);
}

static void a_megabyte_of_headers_is_refused(void **state)
{
	struct text t = { 0 };
	bool closed;
	AUTO(str) char *answer = NULL;
	int fd = dial();

	(void)state;
	text_add(&t, "GET /x HTTP/1.1\r\nHost: h\r\nX-Big: ");
	for (int i = 0; i < 1 << 20; i++)
		text_add(&t, "a");
	text_add(&t, "\r\n\r\n");
	(void)!send(fd, t.s, t.len, MSG_NOSIGNAL);
	answer = hear(fd, PATIENCE_MS, &closed);
	close(fd);
	text_done(&t);
	assert_true(str_empty(answer) || strncmp(answer, "HTTP/1.1 4", 10) == 0);
	assert_true(closed);
	assert_int_equal(atomic_load(&handled), 0);
}

static void escapes_that_are_no_text_are_400(void **state)
{
	static const char *const targets[] = { "/case/%00", "/case/%ff%fe", "/case/%zz",
					       "/case/%4",  "/x?q=%00",     "/x?q=%c0%af" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		AUTO(str) char *text = mem_printf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", targets[i]);
		bool closed;
		AUTO(str) char *answer = exchange(text, PATIENCE_MS, &closed);

		if (strncmp(answer, "HTTP/1.1 400 ", 13) != 0)
			fail_msg("%s: %s", targets[i], answer);
	}
	assert_int_equal(atomic_load(&handled), 0);
}

static void a_header_that_is_not_utf8_is_400(void **state)
{
	bool closed;
	AUTO(str)
	char *answer = exchange("GET /x HTTP/1.1\r\nHost: h\r\nX-A: \xff\xfe\r\n\r\n", PATIENCE_MS, &closed);

	(void)state;
	assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
}

static void a_header_value_of_ours_cannot_begin_another_header(void **state)
{
	bool closed;
	AUTO(str)
	char *answer =
		exchange("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", PATIENCE_MS, &closed);

	(void)state;
	assert_non_null(strstr(answer, "X-Evil: aInjected: yes\r\n"));
}

static void one_who_sends_a_byte_at_a_time_is_cut_off(void **state)
{
	int fd = dial();
	int64_t from = clock_mono_ms();
	bool cut = false;

	(void)state;
	say(fd, "GET /x HTTP/1.1\r\nHost: h\r\nX-Slow: ");
	while (!cut && clock_mono_ms() - from < PATIENCE_MS) {
		struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };

		if (send(fd, "a", 1, MSG_NOSIGNAL) < 0)
			cut = true;
		if (poll(&p, 1, 50) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)))
			cut = true;
	}
	close(fd);
	assert_true(cut);
	assert_int_equal(atomic_load(&handled), 0);
}

static void a_body_that_never_ends_is_cut_off(void **state)
{
	bool closed;
	AUTO(str)
	char *answer = exchange("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc", PATIENCE_MS,
				&closed);

	(void)state;
	assert_true(closed);
	assert_string_equal(answer, "");
	assert_int_equal(atomic_load(&handled), 0);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	bool closed;
	AUTO(str)
	char *answer = exchange(
		"GET /a?sleep_ms=100 HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		PATIENCE_MS, &closed);
	const char *a = strstr(answer, "GET /a"), *b = strstr(answer, "GET /b");

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_true(a < b);
	assert_int_equal(atomic_load(&handled), 2);
}

static void two_lengths_that_disagree_are_refused(void **state)
{
	bool closed;
	AUTO(str)
	char *answer = exchange(
		"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		1000, &closed);

	(void)state;
	assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
	assert_true(closed);
}

static void garbage_is_no_request(void **state)
{
	bool closed;
	AUTO(str) char *answer = exchange("\x16\x03\x01\x02\r\n\r\n\r\n", PATIENCE_MS, &closed);

	(void)state;
	assert_true(closed || str_starts(answer, "HTTP/1.1 4"));
	assert_int_equal(atomic_load(&handled), 0);
}

static void head_has_the_headers_and_no_body(void **state)
{
	bool closed;
	AUTO(str)
	char *answer =
		exchange("HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", PATIENCE_MS, &closed);
	const char *end = strstr(answer, "\r\n\r\n");

	(void)state;
	assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
	assert_non_null(end);
	assert_string_equal(end, "\r\n\r\n");
}

struct many {
	atomic_uint ok, refused, other;
};

static void *one_of_many(void *arg)
{
	struct many *m = arg;
	AUTO(http_client)
	struct http_client *c = http_client_new(
		&(struct http_client_config){ .base_url = base_url, .timeout_ms = 2 * PATIENCE_MS });
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };

	if (http_client_call(c, "GET", "/x?hold=1", NULL, NULL, &a, &fail) != OC_OK)
		atomic_fetch_add(&m->other, 1);
	else if (a.status == 200)
		atomic_fetch_add(&m->ok, 1);
	else if (a.status == 503 && a.retry_after_s > 0)
		atomic_fetch_add(&m->refused, 1);
	else
		atomic_fetch_add(&m->other, 1);
	http_answer_done(&a);
	return NULL;
}

static void wait_until(atomic_uint *n, unsigned at_least)
{
	for (int i = 0; i < PATIENCE_MS && atomic_load(n) < at_least; i++)
		usleep(1000);
}

static void more_than_the_threads_and_the_queue_hold_are_503_with_retry_after(void **state)
{
	struct many m = { 0 };
	pthread_t t[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, one_of_many, &m), 0);
	/* four are held in the handler and two wait for a thread, until the others have got their answer */
	wait_until(&m.refused, 10);
	atomic_store(&released, true);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&m.other), 0);
	assert_int_equal(atomic_load(&m.ok), 6);
	assert_int_equal(atomic_load(&m.refused), 10);
	assert_int_equal(atomic_load(&handled), 6);
}

static void stopping_lets_a_running_request_finish(void **state)
{
	struct many m = { 0 };
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, one_of_many, &m), 0);
	wait_until(&handled, 1);
	atomic_store(&released, true);
	stop(state);
	pthread_join(t, NULL);
	assert_int_equal(atomic_load(&m.ok), 1);
	assert_int_equal(start(state), 0);
}

static void the_port_can_be_had_again_right_after_an_end_with_open_connections(void **state)
{
	struct http_server_config config = { .handle = handle, .port = http_server_port(server) };
	struct oc_fail fail = { 0 };
	struct http_server *second = NULL;
	bool closed;
	int fd = dial();

	(void)state;
	assert_int_equal(http_server_start(&config, &second, &fail), OC_UNAVAILABLE);
	assert_non_null(strstr(fail.text, "in use"));
	say(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
	free(hear(fd, 100, &closed));
	/* The server closes first: the kernel remembers the connection for a minute. */
	http_server_stop(server, 1000);
	server = NULL;
	close(fd);
	if (http_server_start(&config, &server, &fail) != OC_OK)
		fail_msg("%s", fail.text);
}

static void beyond_loopback_it_wants_tls(void **state)
{
	struct http_server *other = NULL;
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(http_server_start(&(struct http_server_config){ .address = "0.0.0.0",
									 .handle = handle },
					   &other, &fail),
			 OC_INVALID);
	assert_non_null(strstr(fail.text, "TLS"));
	assert_int_equal(http_server_start(&(struct http_server_config){ .address = "::", .handle = handle },
					   &other, &fail),
			 OC_INVALID);
}

static char *bio_text(BIO *bio)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);
	char *out = mem_alloc((size_t)n + 1);

	memcpy(out, data, (size_t)n);

	BIO_free(bio);
	return out;
}

/* A certificate of our own for 127.0.0.1. */
static void make_certificate(char **ret_cert, char **ret_key)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
	BIO *out;

	assert_non_null(key);
	assert_non_null(alt);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"opscase test", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_set_pubkey(cert, key);
	X509_add_ext(cert, alt, -1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	out = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(out, cert);
	*ret_cert = bio_text(out);
	out = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	*ret_key = bio_text(out);
	X509_EXTENSION_free(alt);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void with_a_certificate_it_speaks_tls_and_nothing_else(void **state)
{
	AUTO(str) char *cert = NULL;
	AUTO(str) char *key = NULL;
	char ca[] = "/tmp/opscase-test-ca-XXXXXX";
	AUTO(str) char *url = NULL;
	AUTO(str) char *plain_url = NULL;
	struct http_server *tls = NULL;
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };
	int fd = mkstemp(ca);

	(void)state;
	make_certificate(&cert, &key);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, cert, strlen(cert)), strlen(cert));
	close(fd);
	if (http_server_start(
		    &(struct http_server_config){ .handle = handle, .tls_cert = cert, .tls_key = key }, &tls,
		    &fail) != OC_OK)
		fail_msg("%s", fail.text);
	url = mem_printf("https://127.0.0.1:%u", http_server_port(tls));
	plain_url = mem_printf("http://127.0.0.1:%u", http_server_port(tls));
	{
		AUTO(http_client)
		struct http_client *trusting =
			http_client_new(&(struct http_client_config){ .base_url = url, .ca_file = ca });
		AUTO(http_client)
		struct http_client *doubting =
			http_client_new(&(struct http_client_config){ .base_url = url });
		AUTO(http_client)
		struct http_client *plain = http_client_new(
			&(struct http_client_config){ .base_url = plain_url, .timeout_ms = 5000 });

		if (http_client_call(trusting, "POST", "/x", NULL, "{}", &a, &fail) != OC_OK)
			fail_msg("%s", fail.text);
		assert_int_equal(a.status, 200);
		http_answer_done(&a);
		assert_int_equal(http_client_call(doubting, "GET", "/x", NULL, NULL, &a, &fail),
				 OC_UNAVAILABLE);
		assert_non_null(strstr(fail.text, "not trusted"));
		assert_int_not_equal(http_client_call(plain, "GET", "/x", NULL, NULL, &a, &fail), OC_OK);
	}
	http_server_stop(tls, 1000);
	unlink(ca);
}

static void a_client_says_when_nobody_answers(void **state)
{
	AUTO(http_client)
	struct http_client *c =
		http_client_new(&(struct http_client_config){ .base_url = "http://127.0.0.1:1" });
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(http_client_call(c, "POST", "/x", NULL, "{}", &a, &fail), OC_UNAVAILABLE);
	assert_non_null(strstr(fail.text, "nobody answers"));
}

static void a_write_that_timed_out_is_unknown_and_a_read_is_not(void **state)
{
	AUTO(http_client)
	struct http_client *c =
		http_client_new(&(struct http_client_config){ .base_url = base_url, .timeout_ms = 1000 });
	struct http_answer a = { 0 };
	struct oc_fail fail = { 0 };

	(void)state;
	assert_int_equal(http_client_call(c, "POST", "/x?hold=1", NULL, "{}", &a, &fail), OC_UNKNOWN);
	assert_int_equal(http_client_call(c, "GET", "/x?hold=1", NULL, NULL, &a, &fail), OC_UNAVAILABLE);
	atomic_store(&released, true);
}

int main(void)
{
#define T(f)         cmocka_unit_test_setup_teardown(f, start, stop)
#define IMPATIENT(f) cmocka_unit_test_setup_teardown(f, start_impatient, stop)
	const struct CMUnitTest tests[] = {
		T(a_request_arrives_as_a_value_and_its_answer_leaves),
		T(an_announced_100_mb_body_is_refused_before_it_is_read),
		T(a_client_that_sends_all_before_it_listens_still_hears_413),
		T(a_body_far_beyond_the_limit_is_not_read_to_its_end),
		IMPATIENT(a_body_that_grows_past_the_limit_unannounced_ends_with_413),
		IMPATIENT(the_late_413_says_its_true_length),
		T(a_get_takes_no_body),
		T(too_many_headers_are_431),
		T(a_megabyte_of_headers_is_refused),
		T(escapes_that_are_no_text_are_400),
		T(a_header_that_is_not_utf8_is_400),
		T(a_header_value_of_ours_cannot_begin_another_header),
		IMPATIENT(one_who_sends_a_byte_at_a_time_is_cut_off),
		IMPATIENT(a_body_that_never_ends_is_cut_off),
		T(pipelined_requests_are_answered_in_order),
		T(two_lengths_that_disagree_are_refused),
		T(garbage_is_no_request),
		T(head_has_the_headers_and_no_body),
		T(more_than_the_threads_and_the_queue_hold_are_503_with_retry_after),
		T(stopping_lets_a_running_request_finish),
		T(the_port_can_be_had_again_right_after_an_end_with_open_connections),
		T(beyond_loopback_it_wants_tls),
		T(with_a_certificate_it_speaks_tls_and_nothing_else),
		T(a_client_says_when_nobody_answers),
		T(a_write_that_timed_out_is_unknown_and_a_read_is_not),
	};

	return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
