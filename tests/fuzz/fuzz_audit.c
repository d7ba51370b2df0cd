/* `opscase audit verify` of whatever file: it holds, or it says what is wrong; it never crashes, since who brings
 * the file may be the one who changed it.
 *
 * Input: the export; behind a line of four blanks, if there is one, a checkpoint. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "apps/opscase/cli.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char *file_of(int *ret_fd, const void *bytes, size_t len)
{
	*ret_fd = memfd_create("audit", MFD_CLOEXEC);
	if (*ret_fd < 0 || write(*ret_fd, bytes, len) != (ssize_t)len)
		abort();
	return mem_printf("/proc/self/fd/%d", *ret_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static bool quiet;
	const uint8_t *cut = memmem(bytes, size, "\n    \n", 6);
	size_t len = cut ? (size_t)(cut - bytes) + 1 : size;
	AUTO(str) char *export = NULL;
	AUTO(str) char *checkpoint = NULL;
	int export_fd, checkpoint_fd = -1;
	struct cli cli = { .argc = 1 };
	struct oc_fail fail = { 0 };

	/* what it prints is many times what libFuzzer says, and goes nowhere */
	if (!quiet && !freopen("/dev/null", "we", stdout))
		abort();
	quiet = true;
	export = file_of(&export_fd, bytes, len);
	cli.argv[0] = export;
	cli.json = size & 1;
	if (cut) {
		checkpoint = file_of(&checkpoint_fd, cut + 6, size - len - 5);
		cli.option[0].name = "checkpoint";
		cli.option[0].value = checkpoint;
		cli.options = 1;
	}
	if (cli_audit_verify(&cli, &fail) != OC_OK && !fail.text[0])
		abort();
	close(export_fd);
	if (checkpoint_fd >= 0)
		close(checkpoint_fd);
	return 0;
}
