/* bench_servers [nats] [OPTIONS] - a private PostgreSQL with fsync on, with our tables, and a nats-server that
 * syncs each message; says in one JSON line where they are and lives until its standard input ends. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/support/natstemp.h"
#include "tests/support/pgtemp.h"

int main(int argc, char **argv)
{
	struct pgtemp db = { .durable = true, .options = argc > 2 ? argv[2] : NULL };
	struct natstemp nats = { .durable = true };
	bool bus = argc > 1 && strcmp(argv[1], "nats") == 0;
	long long tenant;
	char byte;

	pgtemp_start(&db);
	tenant = pgtemp_tenant(&db, "t-bench");
	if (bus)
		natstemp_start(&nats);
	printf("{\"dir\":\"%s\",\"worker\":\"%s\",\"api\":\"%s\",\"super\":\"%s\",\"nats\":\"%s\",\"nats_pid\":%d,\"tenant\":%lld}\n",
	       db.dir, db.worker, db.api, db.super, bus ? nats.url : "", (int)nats.pid, tenant);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	if (bus)
		natstemp_stop(&nats);
	pgtemp_stop(&db);
	return 0;
}
