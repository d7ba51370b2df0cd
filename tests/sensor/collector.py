#!/usr/bin/env python3
"""collector.py SUMS - takes OTLP/HTTP JSON metrics as a collector does, prints its port, and keeps the sums in the file SUMS.

A key is the metric's name with its attributes, sorted; the value is the number of calls of a histogram, or the
sum of a counter. The file is replaced as a whole after each request."""
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

path, sums, lock = sys.argv[1], {}, Lock()


def add(metric, point, value):
    attrs = sorted((a["key"], a["value"]["stringValue"]) for a in point["attributes"])
    key = " ".join([metric["name"]] + ["%s=%s" % a for a in attrs])
    sums[key] = sums.get(key, 0) + value


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        doc = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            for resource in doc.get("resourceMetrics", []):
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        for point in metric.get("histogram", {}).get("dataPoints", []):
                            add(metric, point, int(point["count"]))
                        for point in metric.get("sum", {}).get("dataPoints", []):
                            add(metric, point, point["asDouble"])
            with open(path + ".new", "w") as f:
                json.dump(sums, f, indent=0)
            os.replace(path + ".new", path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
print(server.server_port, flush=True)
server.serve_forever()
