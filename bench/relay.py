#!/usr/bin/env python3
"""relay.py - the outbox relay next to raw asynchronous publishing with message ids; commit to consumer at 2,000 a second"""
from bench import *

N = int(20000 * seconds(1))
s = Servers(options="-c shared_buffers=256MB -c max_wal_size=4GB")
ours, peer, durable, cpu, cpu_peer, mid, late = [], [], [], [], [], [], []


def rig(mode, n):
    s.sql("TRUNCATE outbox")
    return run_json([program("bench_relay"), mode, s.worker, s.nats, str(s.tenant), str(n)], CLIENT_CPU)


for r in range(ROUNDS):
    got = rig("relay", N)
    ours.append(got["rate"])
    cpu.append(got["cpu_s"] / N * 1000)
    got = rig("raw", N)
    peer.append(got["rate"])
    cpu_peer.append(got["cpu_s"] / N * 1000)
    durable.append(rig("raw-file", N // 4)["rate"])
    got = rig("latency", int(2000 * seconds(5)))
    mid.append(got["p50_ms"])
    late.append(got["p99_ms"])
    if got["heard"] < 0.99 * int(2000 * seconds(5)):
        say("only %d heard" % got["heard"])
WHERE = "PostgreSQL and nats-server share one CPU, the relay has the other"
figure("relay", "committed rows published and marked", ours, "messages/s", "js_PublishAsync with message ids, 4,096 in flight, into a file that is synced", durable,
       target=0.8, cpu_s_per_1000=percentile(cpu, 50), note="durable next to durable: ours are rows of PostgreSQL with fsync, the peer's are in a stream"
       " under sync_interval: always; " + WHERE)
figure("relay", "committed rows published and marked", ours, "messages/s", "js_PublishAsync with message ids, 4,096 in flight, into the same stream in memory", peer,
       target=0.8, cpu_s_per_1000=percentile(cpu, 50), peer_cpu_s_per_1000=percentile(cpu_peer, 50), note="nothing of the peer's outlives nats-server; " + WHERE)
figure("relay", "commit to consumer at 2,000 a second, p50", mid, "ms", target=1, at_least=False)
figure("relay", "commit to consumer at 2,000 a second, p99", late, "ms", target=5, at_least=False)
