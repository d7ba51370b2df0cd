/* bench_servers nats|nats-unsynced|-|bare [OPTIONS] - a private PostgreSQL with fsync on, with our tables (bare: with
 * nothing), and a nats-server that syncs each message (unsynced: every two minutes, its default); says in one JSON
 * line where they are and lives until its standard input ends. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/support/natstemp.h"
#include "tests/support/pgtemp.h"

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "-";
	bool bus = strncmp(mode, "nats", 4) == 0, bare = strcmp(mode, "bare") == 0;
	struct pgtemp db = { .durable = true, .empty = bare, .options = argc > 2 ? argv[2] : NULL };
	struct natstemp nats = { .durable = strcmp(mode, "nats") == 0 };
	long long tenant;
	char byte;

	pgtemp_start(&db);
	tenant = bare ? 0 : pgtemp_tenant(&db, "t-bench");
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
