/* harness.h - drives gateway.so as the host would, against peers in a folder of their own. */
#ifndef GATEWAY_TESTS_HARNESS_H
#define GATEWAY_TESTS_HARNESS_H

#include <opscase/adapter.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <jansson.h>

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

extern const struct opscase_adapter *adapter;

struct answered {
	int outcome;
	json_t *json;
};

enum entry { VALIDATE, DRY_RUN, RUN, PROBE, UNDO };

struct given { /* what differs from call to call; the rest is the same */
	const char *key, *expected, *before;
	int64_t deadline_ms;
};

void *harness_open(const char *config);
struct answered harness_call(void *ctx, enum entry entry, const char *params, struct given given);
void answered_done(struct answered *a);
const char *answered_text(const struct answered *a, const char *name);
/* The answer's member as text, to hand back as a binding or as `before`. The caller frees. */
char *answered_json(const struct answered *a, const char *name);

char *harness_folder(void);
void harness_remove(const char *folder);
int harness_port(void);
void harness_write(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *harness_read(const char *path);
pid_t harness_start(char *const argv[]);
void harness_stop(pid_t pid);
/* GET over one connection; the body, or "" if that did not work. */
const char *harness_get(int port, const char *path);
bool harness_wait_get(int port, const char *path);
int harness_listen(int *ret_port);

#define assert_outcome(a, wanted)                                             \
	do {                                                                  \
		if ((a).outcome != (int)(wanted))                             \
			print_error("answer: %s\n", json_dumps((a).json, 0)); \
		assert_int_equal((a).outcome, (wanted));                      \
	} while (0)

int nginx_tests(void);
int haproxy_tests(void);

#endif
