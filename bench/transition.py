#!/usr/bin/env python3
"""transition.py - a durable transition through the one door, next to pgbench writing the same rows by one statement"""
from bench import *
from peer_sql import PEER, PEER_SQL

SECS = seconds(4)
CASES = int(SECS * 7000)

def cases(s, prefix, n):
    s.sql("INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by) SELECT ('%s-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid,"
          " %d, 't-bench', 'bench', 'NEW', 'bench' FROM generate_series(0, %d) i" % (prefix, s.tenant, n - 1))


def settle(s):
    """The rows of the round before go, and what they left behind: each round meets the same tables."""
    s.sql("TRUNCATE ops_case, outbox, idempotency CASCADE")
    cases(s, "ffffffff", 40000)


s = Servers(nats=None, options="-c shared_buffers=256MB -c max_wal_size=4GB -c checkpoint_timeout=30min")
round_no = 0
for clients in (1, 8):
    ours, peer, p99, cpu_ours, cpu_pg, cpu_peer = [], [], [], [], [], []
    for r in range(ROUNDS):
        round_no += 1
        settle(s)
        cases(s, "%08x" % round_no, CASES)
        s.sql("VACUUM ANALYZE ops_case; CHECKPOINT")
        before = s.cpu()
        got = run_json([program("bench_transition"), s.worker, str(s.tenant), "%08x" % round_no, str(CASES), str(clients), str(SECS)], CLIENT_CPU)
        cpu_pg.append((s.cpu() - before) / got["done"] * 1000)
        cpu_ours.append(got["cpu_s"] / got["done"] * 1000)
        ours.append(got["rate"])
        p99.append(got["p99_ms"])
        before = s.cpu()
        tps, ms = s.pgbench(PEER_SQL, clients=clients, secs=SECS, define=["t=%d" % s.tenant])
        cpu_peer.append((s.cpu() - before) / len(ms) * 1000)
        peer.append(tps)
    figure("transition", "one a commit, %d client%s" % (clients, "s" if clients > 1 else ""), ours, "transitions/s", PEER, peer, target=0.9,
           p99_ms=percentile(p99, 50), cpu_s_per_1000=percentile(cpu_ours, 50), postgres_cpu_s_per_1000=percentile(cpu_pg, 50),
           peer_postgres_cpu_s_per_1000=percentile(cpu_peer, 50))

# --- the same over HTTP, with a token
daemon = Daemon(s, "api", ["--http.threads=16", "--db.pool=8"], cpu=CLIENT_CPU)
LUA = """
local n, step, prefix = 0, %d, "%s"
local thread_no = 0
function setup(thread) thread:set("first", thread_no); thread_no = thread_no + 1 end
function init(args) n = first * step end
function request()
  local path = string.format("/case/%%s-0000-4000-8000-%%012d/transition", prefix, n)
  n = n + 1
  return wrk.format("PATCH", path, {["Authorization"] = "Bearer %s", ["Content-Type"] = "application/json", ["Idempotency-Key"] = prefix .. n},
    '{"event":"start_analysis","actor":"bench"}')
end
local bad = 0
function response(status, headers, body) if status ~= 200 then bad = bad + 1; if bad < 3 then print("BAD", status, body) end end end
"""
for clients in (8,):
    ours, peer, p99, cpu, cpu_pg = [], [], [], [], []
    for r in range(ROUNDS):
        round_no += 1
        settle(s)
        cases(s, "%08x" % round_no, CASES)
        s.sql("VACUUM ANALYZE ops_case; CHECKPOINT")
        script = tempfile.NamedTemporaryFile("w", suffix=".lua")
        script.write(LUA % (CASES, "%08x" % round_no, daemon.token))
        script.flush()
        before, before_pg = cpu_of(daemon.pid), s.cpu()
        t = time.monotonic()
        out = run(["wrk", "-t1", "-c%d" % clients, "-d%ds" % max(1, int(SECS)), "--latency", "-s", script.name, "http://127.0.0.1:%d" % daemon.port], CLIENT_CPU)
        t = time.monotonic() - t
        if "BAD" in out:
            sys.exit(out)
        done = int(s.sql("SELECT count(*) FROM ops_case WHERE status = 'ANALYZING' AND id::text LIKE '%08x-%%'" % round_no))
        rate = done / t
        ours.append(rate)
        cpu.append((cpu_of(daemon.pid) - before) / done * 1000)
        cpu_pg.append((s.cpu() - before_pg) / done * 1000)
        late = next(l.split()[1] for l in out.splitlines() if l.strip().startswith("99%"))
        p99.append(float(late.rstrip("mus")) * (1 if late.endswith("ms") else 0.001 if late.endswith("us") else 1000))
        peer.append(s.pgbench(PEER_SQL, clients=clients, secs=SECS, define=["t=%d" % s.tenant])[0])
    figure("transition", "over HTTP with a token, %d connections" % clients, ours, "transitions/s", PEER, peer, target=0.6,
           p99_ms=percentile(p99, 50), cpu_s_per_1000=percentile(cpu, 50), postgres_cpu_s_per_1000=percentile(cpu_pg, 50),
           note="opscased and wrk share one CPU, PostgreSQL has the other")
