/* allow.h - where calls may go.
 *
 * An entry is a host name ("api.example.net", "*.example.net") or an address or network ("10.1.0.0/16",
 * "[::1]"), each with an optional ":port". A name alone does not open this machine or its neighbours on the
 * wire: loopback, link-local, multicast and unspecified addresses need an entry of their own as address
 * or network. What counts is the address that is connected to, so a name cannot be bent in between. */
#ifndef ADAPTERS_HTTP_ALLOW_H
#define ADAPTERS_HTTP_ALLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct allow_entry {
	char host[256]; /* lower case; "" if this is a network */
	bool sub;       /* "*.": every host below, not the domain itself */
	int family;     /* AF_INET or AF_INET6 for a network */
	unsigned char addr[16];
	unsigned bits;
	int port; /* 0: any */
};

struct allow {
	struct allow_entry *entries;
	size_t count;
};

/* False with a sentence if an entry makes no sense. */
bool allow_read(const json_t *list, struct allow *ret, char *why, size_t why_size);
void allow_done(struct allow *allow);

/* May a call go to this host of a URL, as far as one can say without looking the name up? */
bool allow_host(const struct allow *allow, const char *host, int port);
/* May it be connected to this address, when the URL said `host`? */
bool allow_address(const struct allow *allow, const char *host, int port, const struct sockaddr *addr);

#endif
