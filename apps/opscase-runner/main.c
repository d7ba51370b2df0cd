/* opscase-runner - the disposable child that loads one adapter. Wiring only; see worker.h, keeper.h.
 *
 * The service starts it with two sockets: 3 for calls and answers, 4 for control. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "keeper.h"
#include "worker.h"

#define CALL_FD    3
#define CONTROL_FD 4

static int is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

int main(int argc, char **argv)
{
	/* No destructor of an adapter's library gets a say in how this process ends. */
	if (argc == 3 && strcmp(argv[1], "--describe") == 0)
		_exit(worker_describe(argv[2]));
	if (argc == 3 && (strcmp(argv[1], "--keep") == 0 || strcmp(argv[1], "--serve") == 0) &&
	    is_socket(CALL_FD) && is_socket(CONTROL_FD))
		_exit(argv[1][2] == 'k' ? keeper_main(CALL_FD, CONTROL_FD)
					: worker_main(CALL_FD, CONTROL_FD, 0));
	fprintf(stderr, "usage: opscase-runner --describe FILE   say what an adapter offers, as JSON\n"
			"(--keep and --serve are for the service, which brings the sockets)\n");
	return 64;
}
