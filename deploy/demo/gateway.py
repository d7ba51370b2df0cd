#!/usr/bin/env python3
"""Customers of a gateway, and who reads its access log: sends what nginx wrote as OTLP/HTTP JSON, once a second.

usage: gateway.py LOG OTLP_URL TOKEN_FILE CUSTOMERS_URL SERVICE GATEWAY STANDBY NAME=HOST:PORT...
Of the service and of each of its backends (NAME=HOST:PORT): http.latency_ms and http.err_rate, a point a request, and `up`, whether
the backend takes connections. Each request is a span of the service that names the backend as its peer. The resources say
which gateway and upstream they are behind and which server stands by: what a runbook needs to know.
"""
import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

log, otlp, token_file, url, service, gateway, standby = sys.argv[1:8]
backends = dict(reversed(arg.split("=", 1)) for arg in sys.argv[8:])
token = open(token_file).read().strip()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def customer():
    while True:
        began = time.time()
        try:
            with opener.open(url, timeout=10) as answer:
                answer.read()
        except OSError:
            pass
        time.sleep(max(0.0, 0.2 - (time.time() - began)))


def attributes(name):
    known = {"service.name": name, "gateway": gateway, "upstream": service, "standby": standby}
    return [{"key": k, "value": {"stringValue": v}} for k, v in known.items()]


def post(path, doc):
    request = urllib.request.Request(otlp + path, json.dumps(doc).encode(), {
        "Content-Type": "application/json", "Authorization": "Bearer " + token})
    with opener.open(request, timeout=5) as answer:
        answer.read()


def gauge(name, unit, points):
    return {"name": name, "unit": unit,
            "gauge": {"dataPoints": [{"timeUnixNano": str(at), "asDouble": v} for at, v in points]}}


def up(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
        return 1
    except OSError:
        return 0


def nanoseconds(seconds):
    return int(float(seconds) * 1000) * 1000000


def send(lines):
    seen = {service: []}
    spans = []
    for address in backends:
        seen[backends[address]] = []
    for line in lines:
        try:
            at, failed = nanoseconds(line["at"]), int(line["status"]) >= 500
            seen[service].append((at, float(line["s"]) * 1000, failed))
            name = backends.get(line["to"])
            took = float(line["to_s"])
        except (KeyError, ValueError):
            continue
        if name is None:
            continue
        seen[name].append((at, took * 1000, int(line["to_status"]) >= 500))
        spans.append({"traceId": os.urandom(16).hex(), "spanId": os.urandom(8).hex(), "name": "GET /", "kind": 3,
                      "startTimeUnixNano": str(at - int(took * 1e9)), "endTimeUnixNano": str(at),
                      "status": {"code": 2 if failed else 1},
                      "attributes": [{"key": "peer.service", "value": {"stringValue": name}}]})
    resources = []
    for name, points in seen.items():
        metrics = []
        if points:
            metrics = [gauge("http.latency_ms", "ms", [(at, ms) for at, ms, _ in points]),
                       gauge("http.err_rate", "1", [(at, float(bad)) for at, _, bad in points])]
        for address in backends:
            if backends[address] == name:
                metrics.append(gauge("up", "1", [(time.time_ns(), up(address))]))
        if metrics:
            resources.append({"resource": {"attributes": attributes(name)}, "scopeMetrics": [{"metrics": metrics}]})
    post("/v1/metrics", {"resourceMetrics": resources})
    if spans:
        post("/v1/traces", {"resourceSpans": [{"resource": {"attributes": attributes(service)},
                                               "scopeSpans": [{"spans": spans}]}]})


for _ in range(8):
    threading.Thread(target=customer, daemon=True).start()
while not os.path.exists(log):
    time.sleep(0.1)
with open(log) as text:
    rest = ""
    while True:
        time.sleep(1)
        rest += text.read()
        whole, _, rest = rest.rpartition("\n")
        try:
            send([json.loads(line) for line in whole.splitlines()])
        except urllib.error.HTTPError as trouble:
            print("gateway:", trouble, trouble.read().decode(errors="replace")[:300], file=sys.stderr, flush=True)
        except OSError as trouble:
            print("gateway:", trouble, file=sys.stderr, flush=True)
