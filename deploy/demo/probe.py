#!/usr/bin/env python3
"""Measures a service through its gateway and sends what it saw as OTLP/HTTP JSON, once a second.

usage: probe.py NAME URL OTLP_URL TOKEN_FILE [STATUS_FILE]
Every request is one data point of http.latency_ms and of http.err_rate (1 failed, 0 did not) of the service NAME.
"""
import json
import sys
import threading
import time
import urllib.error
import urllib.request

name, url, otlp, token_file = sys.argv[1:5]
status_file = sys.argv[5] if len(sys.argv) > 5 else None
token = open(token_file).read().strip()
lock = threading.Lock()
seen = []  # (time in ns, latency in ms, failed)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def look():
    while True:
        began = time.time()
        try:
            with opener.open(url, timeout=5) as answer:
                answer.read()
                failed = 0
        except urllib.error.HTTPError:
            failed = 1
        except OSError:
            failed = 1
        ended = time.time()
        with lock:
            seen.append((time.time_ns(), (ended - began) * 1000, failed))
        time.sleep(max(0.0, 0.2 - (ended - began)))


def point(at, value):
    return {"timeUnixNano": str(at), "asDouble": value}


def send(batch):
    doc = {"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]},
        "scopeMetrics": [{"metrics": [
            {"name": "http.latency_ms", "unit": "ms",
             "gauge": {"dataPoints": [point(at, ms) for at, ms, _ in batch]}},
            {"name": "http.err_rate", "unit": "1",
             "gauge": {"dataPoints": [point(at, failed) for at, _, failed in batch]}},
        ]}]}]}
    request = urllib.request.Request(otlp + "/v1/metrics", json.dumps(doc).encode(), {
        "Content-Type": "application/json", "Authorization": "Bearer " + token})
    with opener.open(request, timeout=5) as answer:
        answer.read()


for _ in range(4):
    threading.Thread(target=look, daemon=True).start()
while True:
    time.sleep(1)
    with lock:
        batch, seen = seen, []
    if not batch:
        continue
    try:
        send(batch)
    except urllib.error.HTTPError as trouble:
        print("probe:", trouble, trouble.read().decode(errors="replace")[:300], file=sys.stderr, flush=True)
    except OSError as trouble:
        print("probe:", trouble, file=sys.stderr, flush=True)
    if status_file:
        latency = sorted(ms for _, ms, _ in batch)
        with open(status_file + ".new", "w") as out:
            print("%d requests, %.0f %% failed, p95 %.0f ms" % (
                len(batch), 100 * sum(f for _, _, f in batch) / len(batch), latency[int(len(latency) * 0.95)]), file=out)
        import os
        os.rename(status_file + ".new", status_file)
