#!/usr/bin/env python3
"""sinks.py - as much of ClickHouse's HTTP interface and OpenObserve's _json as a sender of logs sees, to try a sink on.

Prints its port. POST /control?mode=ok|503|429|400|swallow|part&times=N: what the next N inserts meet (swallow: it is taken, but the connection
ends without an answer; part: one record of each batch is refused). GET /state: what was taken, as JSON."""
import base64, json, sys, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

taken, tokens, seen = [], set(), {"requests": 0, "repeated": 0}
mode, times = "ok", 0


class Peer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, **headers):
        data = body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(200, json.dumps(dict(seen, taken=taken)))

    def do_POST(self):
        global mode, times
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if url.path == "/control":
            mode, times = query["mode"], int(query.get("times", 1))
            return self.answer(200, "")
        seen["requests"] += 1
        now = mode if times > 0 else "ok"
        times -= 1
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"writer:secret").decode():
            return self.answer(401, "who are you?")
        if now in ("503", "429"):
            return self.answer(int(now), "later", Retry_After="0")
        if now == "400":
            return self.answer(400, "Code: 117. DB::Exception: Unknown field")
        if url.path == "/":
            if query.get("query") != "INSERT INTO logs.raw FORMAT JSONEachRow":
                return self.answer(404, "Code: 60. DB::Exception: Table does not exist")
            rows = [json.loads(line) for line in body.splitlines()]
            token = query["insert_deduplication_token"]
            if token in tokens:
                seen["repeated"] += 1
                rows = []
            tokens.add(token)
            said = ""
        elif url.path == "/api/default/raw/_json":
            rows = json.loads(body)
            failed = 1 if now == "part" else 0
            said = json.dumps({"code": 200, "status": [{"name": "raw", "successful": len(rows) - failed, "failed": failed, "error": "too old"}]})
            rows = rows[failed:]
        else:
            return self.answer(404, "not here")
        taken.extend(rows)
        if now == "swallow":
            self.close_connection = True
            return self.connection.shutdown(2)
        self.answer(200, said)


server = ThreadingHTTPServer(("127.0.0.1", 0), Peer)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
