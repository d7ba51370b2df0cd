#!/usr/bin/env python3
"""loop.py - the whole closed loop: auto cases of one noop step from create to CLOSED, idle and under load; RSS and CPU"""
from concurrent.futures import ThreadPoolExecutor
from bench import *
from peer_sql import PEER_SQL

PEER = "one pgbench transaction: UPDATE + 3 INSERTs of a transition as one statement, 1 client"
MANY = int(os.environ.get("BENCH_CASES", "10000"))

s = Servers(pinned=False, options="-c shared_buffers=256MB -c max_wal_size=4GB -c checkpoint_timeout=30min -c max_connections=200")
d = Daemon(s)
BODY = {"title": "bench", "tenant": "t-bench", "drive": "auto", "template": "noop"}


def create(i):
    status, text = d.http("POST", "/case/create", BODY, {"Idempotency-Key": "bench-%s-%d" % (time.monotonic_ns(), i)})
    if status != 201:
        sys.exit("create: %d %s" % (status, text))
    return json.loads(text)["data"]["id"]


def open_count():
    return int(s.sql("SELECT count(*) FROM ops_case WHERE status <> 'CLOSED' AND opened_by = 'bench' AND drive = 'auto'"))


def wait_closed(timeout=120):
    until = time.monotonic() + timeout
    while open_count():
        if time.monotonic() > until:
            sys.exit("cases are stuck: " + s.sql("SELECT status, park_reason, sentence, count(*) FROM ops_case WHERE status <> 'CLOSED' GROUP BY 1, 2, 3"))
        time.sleep(0.1)


def took(since):
    """ms from create to CLOSED by PostgreSQL's clock, sorted; and ms from plan_ready to gate_approved."""
    rows = s.sql("SELECT extract(epoch FROM closed_at - created_at) * 1000 FROM ops_case WHERE drive = 'auto' AND created_at > '%s'" % since).split()
    gate = s.sql("SELECT extract(epoch FROM g.created_at - p.created_at) * 1000 FROM case_timeline g JOIN case_timeline p USING (tenant_id, case_id)"
                 " WHERE g.event = 'gate_approved' AND p.event = 'plan_ready' AND p.created_at > '%s'" % since).split()
    return sorted(map(float, rows)), sorted(map(float, gate))


def now():
    return s.sql("SELECT clock_timestamp()")


# --- idle
for i in range(5):
    create(i)
    wait_closed()
time.sleep(2)
before = d.cpu()
time.sleep(max(5, seconds(10)))
idle_cpu = (d.cpu() - before) / max(5, seconds(10)) * 100
figure("loop", "idle, all roles: resident memory of opscased", [rss_mib(d.pid)], "MiB", target=60, at_least=False,
       with_runners=sum(rss_mib(p) for p in family(d.pid)))
figure("loop", "idle, all roles: CPU of opscased", [idle_cpu], "% of one core", target=0.5, at_least=False)

s.sql("INSERT INTO ops_case (id, tenant_id, tenant, title, status, opened_by) SELECT ('ffffffff-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid,"
      " %d, 't-bench', 'peer', 'NEW', 'peer' FROM generate_series(0, 39999) i" % s.tenant)
ours, peer, gate99, p99 = [], [], [], []
for r in range(ROUNDS):
    since = now()
    for i in range(40):
        create(i)
        time.sleep(0.25)
    wait_closed()
    ms, gate = took(since)
    ours.append(percentile(ms, 50))
    p99.append(percentile(ms, 99))
    gate99.append(percentile(gate, 99))
    tps, lat = s.pgbench(PEER_SQL, secs=2, cpu=None, define=["t=%d" % s.tenant])
    s.sql("DELETE FROM outbox WHERE case_id::text LIKE 'ffffffff%'")
    peer.append(percentile(lat, 50))
figure("loop", "idle system: p50 from create to CLOSED", ours, "ms", PEER, peer, target=25, at_least=False, p99_ms=percentile(p99, 50))
figure("loop", "gate decision, plan_ready to gate_approved: p99", gate99, "ms", target=20, at_least=False,
       note="the decision with its commit, and the way there and back")

# --- under load
rates, mid, late, per_case = [], [], [], []
N = int(150 * seconds(2))
with ThreadPoolExecutor(16) as pool:
    for r in range(ROUNDS):
        since, t, before = now(), time.monotonic(), (d.cpu(), s.cpu())
        list(pool.map(create, range(N)))
        wait_closed()
        ms, _ = took(since)
        span = float(s.sql("SELECT extract(epoch FROM max(closed_at) - min(created_at)) FROM ops_case WHERE drive = 'auto' AND created_at > '%s'" % since))
        rates.append(N / span)
        mid.append(percentile(ms, 50))
        late.append(percentile(ms, 99))
        per_case.append((d.cpu() - before[0] + s.cpu() - before[1]) / N * 1000)
figure("loop", "cases created and closed, 16 callers at once", rates, "cases/s", p50_ms=percentile(mid, 50), p99_ms=percentile(late, 50),
       cpu_s_per_1000=percentile(per_case, 50))

# --- memory over many
with ThreadPoolExecutor(16) as pool:
    sizes = [rss_mib(d.pid)]
    for part in range(10):
        list(pool.map(create, range(MANY // 10)))
        wait_closed()
        sizes.append(rss_mib(d.pid))
figure("loop", "resident memory after %d more cases" % MANY, [sizes[-1]], "MiB", "after the first tenth of them", [sizes[1]], target=1.1, at_least=False,
       sizes=[rounded(x) for x in sizes])
