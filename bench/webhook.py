#!/usr/bin/env python3
"""webhook.py - a webhook becomes a committed case whose command is on the bus, next to Node-RED's webhook to HTTP request"""
from bench import *

SECS = max(1, int(seconds(4)))
s = Servers(pinned=False, options="-c shared_buffers=256MB -c max_wal_size=4GB")
d = Daemon(s, "api,relay", ["--http.threads=32", "--db.pool=16"])
red = npm("node-red@5.0.7", node=24)
home = tempfile.mkdtemp(prefix="opscase-bench-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
red_port, sink_port = free_port(), free_port()
json.dump([{"id": "t", "type": "tab", "label": "bench"},
           {"id": "in", "type": "http in", "z": "t", "url": "/hook", "method": "post", "wires": [["rq"]]},
           {"id": "rq", "type": "http request", "z": "t", "method": "POST", "ret": "txt", "url": "http://127.0.0.1:%d/" % sink_port,
            "persist": True, "wires": [["out"]]},
           {"id": "out", "type": "http response", "z": "t", "wires": []}], open(home + "/flows.json", "w"))
with open(home + "/settings.js", "w") as f:
    f.write("module.exports = {uiPort: %d, uiHost: '127.0.0.1', flowFile: 'flows.json', httpAdminRoot: false, logging: {console: {level: 'error'}},"
            " telemetry: {enabled: false}}" % red_port)
sink = spawn([node_of(red), "-e", "require('http').createServer((q, r) => { q.resume(); r.end('ok') }).listen(%d, '127.0.0.1')" % sink_port])
env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
node_red = spawn([node_of(red), red + "/node_modules/node-red/red.js", "-u", home, "-s", home + "/settings.js"], env=env,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wait_port(sink_port, child=sink)
wait_port(red_port, child=node_red)
time.sleep(3)
LUA = """
local n = %d
function request()
  n = n + 1
  return wrk.format("POST", "%s", {["Authorization"] = "Bearer %s", ["Content-Type"] = "application/json", ["Idempotency-Key"] = "w" .. n},
    '{"title":"bench","tenant":"t-bench","drive":"auto","template":"noop"}')
end
local bad = 0
function response(status, h, body) if status >= 300 then bad = bad + 1; if bad < 3 then print("BAD", status, body) end end end
"""


def ms(text):
    for unit, factor in (("us", .001), ("ms", 1), ("s", 1000)):
        if text.endswith(unit):
            return float(text[:-len(unit)]) * factor


def wrk(port, path, first):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % (first, path, d.token))
        script.flush()
        out = run(["wrk", "-t1", "-c16", "-d%ds" % SECS, "--latency", "-s", script.name, "http://127.0.0.1:%d" % port])
    if "BAD" in out:
        sys.exit(out)
    at = {l.split()[0]: ms(l.split()[1]) for l in out.splitlines() if l.strip()[:3] in ("50%", "99%")}
    return next(float(l.split()[1]) for l in out.splitlines() if l.startswith("Requests/sec")), at["50%"], at["99%"]


ours, peer = [], []
for r in range(ROUNDS):
    s.sql("TRUNCATE ops_case, outbox, idempotency CASCADE")
    t = time.monotonic()
    rate, p50, p99 = wrk(d.port, "/case/create", r * 1000000)
    n = int(s.sql("SELECT count(*) FROM ops_case"))
    while s.sql("SELECT EXISTS (SELECT 1 FROM outbox WHERE kind = 'c' AND published_at IS NULL)") == "t":
        time.sleep(.05)
    ours.append((n / (time.monotonic() - t), p50, p99, rss_mib(d.pid)))
    peer.append(wrk(red_port, "/hook", 0) + (rss_mib(node_red.pid),))
PEER = "Node-RED 5.0.7: http in, http request, http response; nothing durable"
col = lambda rows, i: [row[i] for row in rows]
figure("webhook", "webhooks committed as cases and their command published, 16 at once", col(ours, 0), "webhooks/s", PEER, col(peer, 0), target=2,
       note="the action itself is not in it: the whole loop, gate and proof included, is the bench loop")
figure("webhook", "answer to the webhook, p50", col(ours, 1), "ms", PEER, col(peer, 1))
figure("webhook", "answer to the webhook, p99", col(ours, 2), "ms", PEER, col(peer, 2), target=.5, at_least=False)
figure("webhook", "resident memory", col(ours, 3), "MiB", PEER, col(peer, 3), target=.125, at_least=False)
