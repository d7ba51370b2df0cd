#!/usr/bin/env python3
"""flow.py - two-step durable flows at 32 in flight, next to DBOS and Restate"""
import urllib.request
from bench import *

SECS = str(int(seconds(5)) + 1)
s = Servers(pinned=False, options="-c shared_buffers=256MB -c max_wal_size=4GB -c max_connections=200")
# a server of its own for DBOS, without the extensions that we load: they would only cost it time
theirs = Servers(pinned=False, nats="bare", options="-c shared_preload_libraries='' -c shared_buffers=256MB -c max_wal_size=4GB -c max_connections=200")
theirs.sql("CREATE DATABASE dbos_sys")
dbos = npm("@dbos-inc/dbos-sdk@5.3.0")
shutil.copy(HERE + "/peers/dbos.mjs", dbos)
DBOS_URL = "postgresql://postgres@localhost/dbos_sys?host=" + theirs.dir


def restate_start():
    """restate-server as it comes (it writes its log to disk, and syncs it), and the service beside it."""
    folder = npm("@restatedev/restate-server@1.7.12", "@restatedev/restate-sdk", node=24)
    shutil.copy(HERE + "/peers/restate.mjs", folder)
    service, ingress, admin, node = free_port(), free_port(), free_port(), free_port()
    data = tempfile.mkdtemp(prefix="opscase-bench-")
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    binary = folder + "/node_modules/.bin/restate-server"
    env = dict(os.environ, RESTATE_BASE_DIR=data, RESTATE_LOG_FILTER="error", RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT="1m",
               RESTATE_INGRESS__BIND_ADDRESS="127.0.0.1:%d" % ingress, RESTATE_ADMIN__BIND_ADDRESS="127.0.0.1:%d" % admin,
               RESTATE_BIND_ADDRESS="127.0.0.1:%d" % node, RESTATE_ADVERTISED_ADDRESS="http://127.0.0.1:%d" % node,
               RESTATE_DISABLE_TELEMETRY="true", DO_NOT_TRACK="1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        env.pop(name, None)
    log = open(data + "/log", "w")
    server = spawn([binary], env=env, stdout=log, stderr=log)
    worker = spawn([node_of(folder), folder + "/restate.mjs", str(service)], stdout=log, stderr=log, env=env)
    wait_port(service, child=worker)
    wait_port(admin, child=server)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(60):
        try:
            opener.open(urllib.request.Request("http://127.0.0.1:%d/deployments" % admin, method="POST", headers={"content-type": "application/json"},
                                               data=json.dumps({"uri": "http://127.0.0.1:%d" % service}).encode())).read()
            break
        except OSError as e:
            last = e
            time.sleep(0.5)
    else:
        raise RuntimeError("restate does not take the service: %s %s" % (last, open(data + "/log").read()[-500:]))
    return [node_of(folder), folder + "/restate.mjs", "0", "http://127.0.0.1:%d" % ingress, "32", SECS], env


restate = None
try:
    restate = restate_start()
    run_json(restate[0][:-1] + ["2"], env=restate[1], timeout=30)
except (Exception, SystemExit) as e:
    say("no Restate: %s" % str(e)[:500])
    restate = None
ours, peer, third = [], [], []
for r in range(ROUNDS):
    s.sql("TRUNCATE ops_case, outbox, inbox CASCADE")
    before = s.cpu()
    got = run_json([program("bench_flow"), s.worker, s.nats, str(s.tenant), "32", SECS, BUILD])
    got["cpu"] = (got["cpu_s"] + s.cpu() - before) / got["done"] * 1000
    ours.append(got)
    before = theirs.cpu()
    got = run_json([node_of(dbos), dbos + "/dbos.mjs", DBOS_URL, "32", SECS], cwd=dbos)
    got["cpu"] = (got["cpu_s"] + theirs.cpu() - before) / got["done"] * 1000
    peer.append(got)
    if restate:
        third.append(run_json(restate[0], env=restate[1]))


def col(rows, key):
    return [r[key] for r in rows]


NOTE = ("ours: open and decide (commit), lease, a call of noop in its shared runner, product and event, second decision (commit, which takes the two before"
        " along to the disk), from hand to hand, facts and events published behind it; DBOS: a workflow of two runStep, empty functions in its own process; Restate: a handler of two ctx.run,"
        " called through the ingress; all at 32 in flight, nothing pinned, PostgreSQL with fsync for ours and DBOS")
figure("flow", "two-step flows", col(ours, "rate"), "flows/s", "DBOS 5.3.0", col(peer, "rate"), target=12, cpu_s_per_1000=percentile(col(ours, "cpu"), 50),
       peer_cpu_s_per_1000=percentile(col(peer, "cpu"), 50), p50_ms=percentile(col(ours, "p50_ms"), 50), note=NOTE)
figure("flow", "two-step flows, p99", col(ours, "p99_ms"), "ms", "DBOS 5.3.0", col(peer, "p99_ms"), target=0.1, at_least=False)
if third:
    figure("flow", "two-step flows", col(ours, "rate"), "flows/s", "Restate 1.7.12", col(third, "rate"), target=10)
