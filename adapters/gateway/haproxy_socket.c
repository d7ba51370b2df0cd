#include "haproxy_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES (4 * 1024 * 1024)
#define COMMAND_MS       10000

/* Bits of srv_admin_state in `show servers state`. */
enum { ADMIN_MAINT = 0x63, ADMIN_DRAIN = 0x18 };

static int socket_open(struct haproxy *ha)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(ha->socket) >= sizeof addr.sun_path) {
		snprintf(ha->why, sizeof ha->why, "the path of the runtime socket is too long");
		return -1;
	}
	strcpy(addr.sun_path, ha->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
		snprintf(ha->why, sizeof ha->why, "cannot reach HAProxy at '%s': %s", ha->socket,
			 strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

enum said haproxy_ask(struct haproxy *ha, const char *command, char **ret)
{
	int64_t until = answer_clock_ms() + COMMAND_MS;
	size_t used = 0, size = 16384;
	char *text;
	int fd;

	if (gateway_cancelled(ha->call)) {
		snprintf(ha->why, sizeof ha->why, "cancelled");
		return SAID_CANCELLED;
	}
	fd = socket_open(ha);
	if (fd < 0)
		return NOT_SENT;
	/* A command is far smaller than a socket's buffer: it goes whole or not at all. */
	if (send(fd, command, strlen(command), MSG_NOSIGNAL) != (ssize_t)strlen(command)) {
		snprintf(ha->why, sizeof ha->why, "cannot write to HAProxy at '%s': %s", ha->socket,
			 strerror(errno));
		close(fd);
		return NOT_SENT;
	}
	text = malloc(size);
	for (;;) {
		enum gateway_wait w = gateway_wait(ha->call, fd, POLLIN, until - answer_clock_ms());
		ssize_t n;

		if (!text || w != WAIT_READY) {
			snprintf(ha->why, sizeof ha->why, "%s",
				 !text                 ? "no memory for HAProxy's answer"
				 : w == WAIT_CANCELLED ? "cancelled while HAProxy had not answered"
						       : "HAProxy did not answer in time");
			break;
		}
		if (used + 1 == size) {
			char *more = size < ANSWER_MAX_BYTES ? realloc(text, size * 2) : NULL;

			if (!more) {
				snprintf(ha->why, sizeof ha->why, "HAProxy's answer is longer than %d bytes",
					 ANSWER_MAX_BYTES);
				break;
			}
			text = more;
			size *= 2;
		}
		n = recv(fd, text + used, size - 1 - used, 0);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			snprintf(ha->why, sizeof ha->why, "HAProxy hung up: %s", strerror(errno));
			break;
		}
		if (n == 0) {
			close(fd);
			text[used] = '\0';
			*ret = text;
			return SAID;
		}
		used += (size_t)n;
	}
	close(fd);
	free(text);
	return NOT_HEARD;
}

/* The index of a column in a header line of words; -1 if it has none. */
static int column(const char *header, const char *separators, const char *name)
{
	int i = 0;

	header += strspn(header, "# ");
	for (;; i++) {
		size_t n = strcspn(header, separators);

		if (n == strlen(name) && memcmp(header, name, n) == 0)
			return i;
		header += n;
		if (*header == '\0' || *header == '\n')
			return -1;
		header++;
	}
}

/* The field with that index of one line, copied. */
static bool field(const char *line, const char *separators, int index, char *text, size_t size)
{
	for (; index > 0; index--) {
		line += strcspn(line, separators);
		if (*line == '\0' || *line == '\n')
			return false;
		line++;
	}
	size_t n = strcspn(line, separators);

	if (index < 0 || n >= size)
		return false;
	memcpy(text, line, n);
	text[n] = '\0';
	return true;
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : NULL;
}

json_t *haproxy_server_named(const json_t *servers, const char *name)
{
	json_t *s;
	size_t i;

	json_array_foreach((json_t *)servers, i,
			   s) if (strcmp(gateway_text(s, "name", ""), name) == 0) return s;
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(gateway_text(*(json_t *const *)a, "name", ""),
		      gateway_text(*(json_t *const *)b, "name", ""));
}

static json_t *sorted_by_name(json_t *take_servers)
{
	size_t n = json_array_size(take_servers);
	json_t **all = calloc(n + 1, sizeof *all), *sorted = json_array();

	for (size_t i = 0; all && i < n; i++)
		all[i] = json_array_get(take_servers, i);
	if (all)
		qsort(all, n, sizeof *all, by_name);
	for (size_t i = 0; all && i < n; i++)
		json_array_append(sorted, all[i]);
	free(all);
	json_decref(take_servers);
	return sorted;
}

/* Fills ha->servers from `show servers state`. */
static bool parse_state(struct haproxy *ha, const char *text)
{
	const char *header = text, *line;
	int be, name, admin, weight;
	json_t *servers;

	while (header && *header != '#')
		header = next_line(header);
	if (!header) {
		snprintf(ha->why, sizeof ha->why, "HAProxy says of backend '%s': %.200s", ha->backend,
			 text[strspn(text, "\n ")] ? text : "nothing");
		for (char *p = ha->why; *p; p++)
			if (*p == '\n')
				*p = ' ';
		return false;
	}
	be = column(header, " \n", "be_name");
	name = column(header, " \n", "srv_name");
	admin = column(header, " \n", "srv_admin_state");
	weight = column(header, " \n", "srv_uweight");
	if (be < 0 || name < 0 || admin < 0 || weight < 0) {
		snprintf(ha->why, sizeof ha->why,
			 "`show servers state` has other columns than this adapter knows");
		return false;
	}
	servers = json_array();
	for (line = next_line(header); line && json_array_size(servers) < 10000; line = next_line(line)) {
		char backend[256], server[256], bits[32], w[32];
		long b;

		if (!field(line, " \n", be, backend, sizeof backend) || strcmp(backend, ha->backend) != 0 ||
		    !field(line, " \n", name, server, sizeof server) ||
		    !field(line, " \n", admin, bits, sizeof bits) || !field(line, " \n", weight, w, sizeof w))
			continue;
		b = strtol(bits, NULL, 10);
		json_array_append_new(servers, json_pack("{s:o, s:I, s:s}", "name",
							 answer_text(server, strlen(server), 256), "weight",
							 (json_int_t)strtol(w, NULL, 10), "state",
							 b & ADMIN_MAINT   ? "maint"
							 : b & ADMIN_DRAIN ? "drain"
									   : "ready"));
	}
	json_decref(ha->servers);
	ha->servers = sorted_by_name(servers);
	if (json_array_size(ha->servers) > 0)
		return true;
	snprintf(ha->why, sizeof ha->why, "backend '%s' has no servers", ha->backend);
	return false;
}

enum said haproxy_look(struct haproxy *ha, bool *ret_good)
{
	char command[256], *text = NULL;
	enum said s;

	snprintf(command, sizeof command, "show servers state %s\n", ha->backend);
	s = haproxy_ask(ha, command, &text);
	*ret_good = s == SAID && parse_state(ha, text);
	free(text);
	return s;
}

long haproxy_sessions(struct haproxy *ha, const char *server, char *status, size_t status_size)
{
	char *text = NULL;
	long sessions = -1;
	int px, sv, st, scur;

	snprintf(status, status_size, "unknown");
	if (haproxy_ask(ha, "show stat -1 4 -1\n", &text) != SAID || text[0] != '#') {
		free(text);
		return -1;
	}
	px = column(text, ",\n", "pxname");
	sv = column(text, ",\n", "svname");
	st = column(text, ",\n", "status");
	scur = column(text, ",\n", "scur");
	for (const char *line = next_line(text); line; line = next_line(line)) {
		char backend[256], name[256], number[32];

		if (field(line, ",\n", px, backend, sizeof backend) && strcmp(backend, ha->backend) == 0 &&
		    field(line, ",\n", sv, name, sizeof name) && strcmp(name, server) == 0 &&
		    field(line, ",\n", scur, number, sizeof number)) {
			sessions = strtol(number, NULL, 10);
			if (!field(line, ",\n", st, status, status_size))
				snprintf(status, status_size, "unknown");
			break;
		}
	}
	free(text);
	return sessions;
}
