#include "allow.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* An IPv4 address in IPv6 clothes counts as IPv4. */
static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

/* "[addr]" or "addr" as an address; its family, or 0. */
static int parse_address(const char *text, unsigned char addr[16])
{
	char plain[64];
	size_t n = strlen(text);

	if (n >= 2 && text[0] == '[' && text[n - 1] == ']')
		text++, n -= 2;
	if (n >= sizeof plain)
		return 0;
	memcpy(plain, text, n);
	plain[n] = '\0';
	if (inet_pton(AF_INET, plain, addr) == 1)
		return AF_INET;
	if (inet_pton(AF_INET6, plain, addr) != 1)
		return 0;
	if (memcmp(addr, mapped, sizeof mapped) != 0)
		return AF_INET6;
	memmove(addr, addr + 12, 4);
	return AF_INET;
}

static bool parse_number(const char *text, long min, long max, long *ret)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	*ret = strtol(text, &end, 10);
	return *end == '\0' && *ret >= min && *ret <= max;
}

static bool parse_entry(const char *text, struct allow_entry *ret)
{
	struct allow_entry e = { 0 };
	char host[300], *colon, *slash;
	long number;

	if (strlen(text) >= sizeof host || !*text)
		return false;
	strcpy(host, text);
	/* One colon is a port; more are a bare IPv6 address, whose port needs brackets. */
	colon = strchr(host, ':');
	if (host[0] == '[')
		colon = strchr(host, ']') ? strchr(strchr(host, ']'), ':') : NULL;
	else if (colon && strchr(colon + 1, ':'))
		colon = NULL;
	if (colon) {
		if (!parse_number(colon + 1, 1, 65535, &number))
			return false;
		e.port = (int)number;
		*colon = '\0';
	}
	slash = strchr(host, '/');
	if (slash)
		*slash = '\0';
	e.family = parse_address(host, e.addr);
	if (e.family) {
		e.bits = e.family == AF_INET ? 32 : 128;
		if (slash) {
			if (!parse_number(slash + 1, 0, e.bits, &number))
				return false;
			e.bits = (unsigned)number;
		}
		*ret = e;
		return true;
	}
	if (slash)
		return false;
	e.sub = strncmp(host, "*.", 2) == 0;
	snprintf(e.host, sizeof e.host, "%.255s", host + (e.sub ? 2 : 0));
	for (char *p = e.host; *p; p++) {
		if (!isalnum((unsigned char)*p) && *p != '.' && *p != '-' && *p != '_')
			return false;
		*p = (char)tolower((unsigned char)*p);
	}
	*ret = e;
	return e.host[0] != '\0';
}

bool allow_read(const json_t *list, struct allow *ret, char *why, size_t why_size)
{
	struct allow a = { .entries = calloc(json_array_size(list) + 1, sizeof *a.entries) };
	json_t *entry;
	size_t i;

	if (!a.entries) {
		snprintf(why, why_size, "no memory");
		return false;
	}
	json_array_foreach((json_t *)list, i, entry)
	{
		if (json_is_string(entry) && parse_entry(json_string_value(entry), &a.entries[a.count])) {
			a.count++;
			continue;
		}
		snprintf(
			why, why_size,
			"entry %zu of `allow` is neither host, host:port, *.domain nor an address or network: '%.100s'",
			i + 1, json_is_string(entry) ? json_string_value(entry) : "(no text)");
		allow_done(&a);
		return false;
	}
	*ret = a;
	return true;
}

void allow_done(struct allow *allow)
{
	free(allow->entries);
	*allow = (struct allow){ 0 };
}

static bool name_matches(const struct allow_entry *e, const char *host, int port)
{
	size_t n = strlen(host), m = strlen(e->host);

	if (n > 0 && host[n - 1] == '.')
		n--;
	if (!m || (e->port && e->port != port))
		return false;
	if (!e->sub)
		return n == m && strncasecmp(host, e->host, n) == 0;
	return n > m + 1 && host[n - m - 1] == '.' && strncasecmp(host + n - m, e->host, m) == 0;
}

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return memcmp(a, b, whole) == 0 && (!rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static int bytes_of(const struct sockaddr *sa, unsigned char addr[16])
{
	if (sa->sa_family == AF_INET) {
		memcpy(addr, &((const struct sockaddr_in *)sa)->sin_addr, 4);
		return AF_INET;
	}
	if (sa->sa_family != AF_INET6)
		return 0;
	memcpy(addr, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	if (memcmp(addr, mapped, 12) != 0)
		return AF_INET6;
	memmove(addr, addr + 12, 4);
	return AF_INET;
}

static bool network_matches(const struct allow *allow, int family, const unsigned char *addr, int port)
{
	for (size_t i = 0; i < allow->count; i++) {
		const struct allow_entry *e = &allow->entries[i];

		if (e->family == family && (!e->port || e->port == port) && same_bits(e->addr, addr, e->bits))
			return true;
	}
	return false;
}

/* Addresses that a name from somewhere must not lead to: ourselves, our wire (and the cloud's metadata on it). */
static bool is_special(int family, const unsigned char *a)
{
	static const unsigned char zeros[12] = { 0 }, nat64[4] = { 0, 0x64, 0xff, 0x9b };

	if (family == AF_INET)
		return a[0] == 127 || a[0] == 0 || (a[0] == 169 && a[1] == 254) || a[0] >= 224;
	return a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) ||
	       /* ::, ::1, and IPv4 inside IPv6: compatible, NAT64, 6to4 */
	       memcmp(a, zeros, sizeof zeros) == 0 || memcmp(a, nat64, sizeof nat64) == 0 ||
	       (a[0] == 0x20 && a[1] == 0x02);
}

bool allow_host(const struct allow *allow, const char *host, int port)
{
	unsigned char addr[16];
	int family = parse_address(host, addr);

	if (family)
		return network_matches(allow, family, addr, port);
	for (size_t i = 0; i < allow->count; i++) {
		const struct allow_entry *e = &allow->entries[i];

		/* A name that is not listed may still lead into a network that is. */
		if (name_matches(e, host, port) || (e->family && (!e->port || e->port == port)))
			return true;
	}
	return false;
}

bool allow_address(const struct allow *allow, const char *host, int port, const struct sockaddr *sa)
{
	unsigned char addr[16], said[16];
	int family = bytes_of(sa, addr);

	if (!family)
		return false;
	if (network_matches(allow, family, addr, port))
		return true;
	if (is_special(family, addr) || parse_address(host, said))
		return false;
	for (size_t i = 0; i < allow->count; i++)
		if (name_matches(&allow->entries[i], host, port))
			return true;
	return false;
}
