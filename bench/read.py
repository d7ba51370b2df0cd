#!/usr/bin/env python3
"""read.py - GET of a case with a token, row-level security and ETag, and the 304, next to pgbench selecting the same row"""
from bench import *

SECS = max(1, int(seconds(4)))
PEER = "pgbench -M prepared, SELECT * of the same row, 8 clients"
PEER_SQL = r"""
\set n random(0, 9999)
SELECT * FROM ops_case WHERE tenant_id = :t AND id = ('ffffffff-0000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
"""
LUA = """
local n = 0
local headers = {["Authorization"] = "Bearer %s"%s}
function request()
  n = (n * 7919 + 13) %% 10000
  return wrk.format("GET", string.format("/case/ffffffff-0000-4000-8000-%%012d", n), headers)
end
local bad = 0
function response(status, h, body) if status ~= %d then bad = bad + 1; if bad < 3 then print("BAD", status, body) end end end
"""
s = Servers(nats=None, options="-c shared_buffers=256MB")
d = Daemon(s, "api", ["--http.threads=16", "--db.pool=8"], cpu=CLIENT_CPU)
s.sql("INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by) SELECT ('ffffffff-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid,"
      " %d, 't-bench', 'bench', 'NEW', 'bench' FROM generate_series(0, 9999) i" % s.tenant)
s.sql("VACUUM ANALYZE ops_case")


def wrk(headers, status):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % (d.token, headers, status))
        script.flush()
        before, pg = cpu_of(d.pid), s.cpu()
        out = run(["wrk", "-t1", "-c8", "-d%ds" % SECS, "--latency", "-s", script.name, "http://127.0.0.1:%d" % d.port], CLIENT_CPU)
    if "BAD" in out:
        sys.exit(out)
    rate = next(float(l.split()[1]) for l in out.splitlines() if l.startswith("Requests/sec"))
    return rate, (cpu_of(d.pid) - before) / rate / SECS * 1000, (s.cpu() - pg) / rate / SECS * 1000


full, same, peer, peer2, cpu, cpu_pg, cpu_peer = [], [], [], [], [], [], []
for r in range(ROUNDS):
    for values, headers, status in ((full, "", 200), (same, ', ["If-None-Match"] = "\\"1\\""', 304)):
        rate, c, p = wrk(headers, status)
        values.append(rate)
        if status == 200:
            cpu.append(c)
            cpu_pg.append(p)
        before = s.cpu()
        tps, lat = s.pgbench(PEER_SQL, clients=8, secs=SECS, define=["t=%d" % s.tenant])
        cpu_peer.append((s.cpu() - before) / len(lat) * 1000)
        (peer if status == 200 else peer2).append(tps)
figure("read", "GET of a case", full, "requests/s", PEER, peer, target=0.7, cpu_s_per_1000=percentile(cpu, 50),
       postgres_cpu_s_per_1000=percentile(cpu_pg, 50), peer_postgres_cpu_s_per_1000=percentile(cpu_peer, 50),
       note="opscased and wrk share one CPU, PostgreSQL has the other")
figure("read", "304 by If-None-Match", same, "requests/s", PEER, peer2, target=0.7)
