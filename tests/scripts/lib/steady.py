"""steady.py URL TOKEN BASE SEED - sends the same telemetry for the same BASE and SEED, one request after the other; each again, as it is,
until it is acknowledged. Prints how many requests that were and how many had to be sent again."""
import json, random, sys, time, urllib.error, urllib.request

url, token, base, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SERVICES = ["shop", "pay", "stock", "mail"]
again = 0


def resource(name):
    return {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]}


def nano(seconds):
    return str(int(seconds * 1e9))


def metrics(i):
    out = []
    for s, name in enumerate(SERVICES):
        at = base + 3 * i + s * 0.25
        out.append({"resource": resource(name), "scopeMetrics": [{"metrics": [
            {"name": "queue.length", "gauge": {"dataPoints": [{"timeUnixNano": nano(at + k * 0.5), "asDouble": round(rng.uniform(0, 100), 3),
                                                               "attributes": [{"key": "kind", "value": {"stringValue": "k%d" % k}}]} for k in range(3)]}},
            {"name": "requests", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [
                {"startTimeUnixNano": nano(base - 5), "timeUnixNano": nano(at), "asInt": str(17 * i * (s + 1) + 3)}]}},
            {"name": "size", "histogram": {"aggregationTemporality": 1, "dataPoints": [
                {"startTimeUnixNano": nano(at - 3), "timeUnixNano": nano(at), "count": "6", "sum": 60.0, "explicitBounds": [5, 20],
                 "bucketCounts": ["1", "4", "1"]}]}},
            # one in seven is no number: a dead letter, once
            {"name": "odd", "gauge": {"dataPoints": [{"timeUnixNano": nano(at), "asDouble": "NaN" if (i + s) % 7 == 0 else 1.0}]}}]}]})
    return "/v1/metrics", {"resourceMetrics": out}


def logs(i):
    out = []
    for s, name in enumerate(SERVICES):
        lines = [{"timeUnixNano": nano(base + 3 * i + k * 0.1), "severityText": "ERROR" if k == 0 else "INFO",
                  "body": {"stringValue": ["connection to 10.0.0.%d refused" % rng.randrange(250), "order %d took %d ms" % (rng.randrange(10**6), rng.randrange(900)),
                                           "cache miss for key '%x'" % rng.randrange(10**9)][k % 3]}} for k in range(6)]
        out.append({"resource": resource(name), "scopeLogs": [{"logRecords": lines}]})
    return "/v1/logs", {"resourceLogs": out}


def traces(i):
    client, server = [], []
    for k in range(8):
        trace, span, child = "%032x" % rng.getrandbits(128), "%016x" % rng.getrandbits(64), "%016x" % rng.getrandbits(64)
        start, took = base + 3 * i + k * 0.2, rng.uniform(0.002, 0.4)
        status = {"code": 2} if k == 0 else {}
        client.append({"traceId": trace, "spanId": span, "name": "GET", "kind": 3, "startTimeUnixNano": nano(start), "endTimeUnixNano": nano(start + took), "status": status})
        server.append({"traceId": trace, "spanId": child, "parentSpanId": span, "name": "GET", "kind": 2, "startTimeUnixNano": nano(start + 0.001),
                       "endTimeUnixNano": nano(start + took), "status": status})
    return "/v1/traces", {"resourceSpans": [{"resource": resource("shop"), "scopeSpans": [{"spans": client}]},
                                            {"resource": resource(SERVICES[1 + i % 3]), "scopeSpans": [{"spans": server}]}]}


def send(path, body):
    """The same body until somebody has it."""
    global again
    data = json.dumps(body).encode()
    for attempt in range(600):
        request = urllib.request.Request(url + path + "?tenant=default", data=data, headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
        try:
            with opener.open(request, timeout=10):
                return
        except urllib.error.HTTPError as e:
            if e.code not in (429, 500, 502, 503, 504):
                sys.exit("%s: %d %s" % (path, e.code, e.read()[:300]))
        except OSError:
            pass
        again += 1
        time.sleep(0.1)
    sys.exit("nobody took %s" % path)


n = 0
for i in range(60):
    for make in (metrics, logs, traces):
        send(*make(i))
        n += 1
    time.sleep(0.25)
print(n, again)
