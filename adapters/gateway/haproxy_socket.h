/* haproxy_socket.h - what HAProxy's runtime socket can be asked, and how its answers are read.
 *
 * One connection, one command, one answer up to the end of the stream; bounded in time and bytes, since
 * whoever listens there need not be an HAProxy. */
#ifndef ADAPTERS_GATEWAY_HAPROXY_SOCKET_H
#define ADAPTERS_GATEWAY_HAPROXY_SOCKET_H

#include "gateway.h"

enum said { SAID, NOT_SENT, NOT_HEARD, SAID_CANCELLED };

struct haproxy {
	struct gateway_call *call;
	const char *socket, *backend;
	json_t *servers; /* [{"name","weight","state"}], by name */
	char why[1024];
};

/* One command. `*ret` is the caller's on SAID; else ha->why has the reason. */
enum said haproxy_ask(struct haproxy *ha, const char *command, char **ret);
/* Reads weight and state of every server of the backend into ha->servers. */
enum said haproxy_look(struct haproxy *ha, bool *ret_good);
/* What `show stat` says of one server: its status and its sessions. -1 if unknown. */
long haproxy_sessions(struct haproxy *ha, const char *server, char *status, size_t status_size);
/* The server of that name in a list, lent; NULL if there is none. */
json_t *haproxy_server_named(const json_t *servers, const char *name);

#endif
