/* digest.h - SHA-256, because an adapter links no crypto library of its own. Pure. */
#ifndef K8S_DIGEST_H
#define K8S_DIGEST_H

#include <stddef.h>

/* 64 hex digits and a NUL. */
void digest_hex(const void *data, size_t len, char ret_hex[65]);

#endif
