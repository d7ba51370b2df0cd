/* Whatever a runner says on its two lines: the call ends at once, its answer is a JSON object, and only an answer
 * that the entry has makes it more than "unclear". A runner is a stranger once it has loaded an adapter.
 *
 * Input: a byte for the entry, one for how much of the rest comes over the call's line; what remains comes over the
 * control line. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/mem.h"
#include "executor/spawn.h"

static int no_process(void)
{
	return 0;
}

/* No process is behind these lines, so there is none to end: kill(0) would be us. */
#define kill(pid, sig)      ((void)(pid), (void)(sig), no_process())
#define spawn_reap(pid, ms) ((void)(pid), (void)(ms), no_process())
#define listen              listen_to_it /* sockets have one, too */
#include "executor/runner.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Our end of the line, with everything said on it and no more to come. */
static int line_with(int *ret_theirs, const uint8_t *bytes, size_t len)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
	    send(pair[1], bytes, len, MSG_DONTWAIT) != (ssize_t)len || shutdown(pair[1], SHUT_WR) != 0)
		abort();
	*ret_theirs = pair[1];
	return pair[0];
}

static void listened(void *arg, const char *sentence)
{
	size_t *heard = arg;

	if (!str_utf8_ok(sentence, strlen(sentence)))
		abort();
	++*heard;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct runner_times times = {
		.timeout_ms = 60000, .grace_ms = 10, .term_ms = 10, .reply_max = 64, .output_max = 64
	};
	struct runner r = { .scratch = NULL, .pid = 0 };
	struct host_answer a;
	AUTO(json) json_t *body = NULL;
	size_t heard = 0, first;
	int theirs[4];
	struct host_call call = {
		.operation = "x", .params = "{}", .progress = listened, .progress_arg = &heard
	};
	struct oc_fail fail = { 0 };
	bool reuse;
	enum oc_err err;

	if (size < 2 || size > 100000)
		return 0;
	call.entry = (enum host_entry)(bytes[0] % (HOST_UNDO + 1));
	r.shared = bytes[0] & 0x80;
	first = (size - 2) * bytes[1] / 255;
	r.call_fd = line_with(&theirs[0], bytes + 2, first);
	r.control_fd = line_with(&theirs[1], bytes + 2 + first, size - 2 - first);
	r.out_fd = line_with(&theirs[2], bytes + 2, first);
	r.err_fd = line_with(&theirs[3], bytes + 2, 0);
	err = runner_exchange(&r, &call, "{}", &times, &a, &reuse, &fail);
	if (err == OC_OK) {
		if (json_read_own(a.json, &body, NULL) != OC_OK || !json_is_object(body))
			abort();
		if (a.outcome != OPSCASE_UNCLEAR && (a.garbage || !outcome_fits(call.entry, a.outcome)))
			abort();
		if (strlen(a.out) > times.output_max * 3 || !str_utf8_ok(a.out, strlen(a.out)))
			abort();
		host_answer_done(&a);
	} else if (!fail.text[0]) {
		abort();
	}
	for (size_t i = 0; i < ARRAY_LEN(theirs); i++)
		close(theirs[i]);
	frame_done(&r.call_in);
	frame_done(&r.control_in);
	close(r.call_fd);
	close(r.control_fd);
	close(r.out_fd);
	close(r.err_fd);
	return 0;
}
