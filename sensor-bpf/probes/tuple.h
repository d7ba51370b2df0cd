/* tuple.h - who talks to whom: shared between the programs in the kernel and the host. */
#pragma once

/* IPv4 addresses stand in the IPv4-mapped form (::ffff:a.b.c.d), so that there is one shape to compare. */
struct tuple {
	unsigned char local[16], remote[16];
	unsigned short local_port, remote_port; /* host order */
	unsigned int netns;                     /* inode of the network namespace */
};
