#!/usr/bin/env python3
"""hostile.py URL TOKEN TENANT - everything that a stranger may send to the API, over raw sockets.

Every request must end in a clear answer (a problem document with a sentence) or, where what was sent is no request at
all, in a closed connection; no answer may be a 500, and nobody else may have to wait. Prints one line of JSON:
{"created": [ids of cases that were created with a whole answer], "maybe": number of creations nobody heard of}.
"""

import json
import os
import random
import select
import socket
import sys
import threading
import time
import urllib.parse

URL, TOKEN, TENANT = sys.argv[1:4]
HOST, PORT = urllib.parse.urlsplit(URL).hostname, urllib.parse.urlsplit(URL).port
SEED = int(os.environ.get("OPSCASE_SEED", "0")) or random.randrange(1, 1 << 32)
RANDOM = random.Random(SEED)
UNKNOWN = "01890000-0000-7000-8000-000000000000"
COMMON = f"Host: {HOST}:{PORT}\r\nAuthorization: Bearer {TOKEN}\r\nX-Opscase-Tenant: {TENANT}\r\n"

wrong = []
created = []
maybe = 0


def complain(what, got):
    wrong.append(f"{what}: {got}")


def connect(timeout=60):
    s = socket.create_connection((HOST, PORT), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def answer_of(s):
    """(status, headers, body) of one answer, or None where the connection ended without one."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            piece = s.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            return None
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:])}
    status = int(lines[0].split()[1])
    want = int(headers.get("content-length", "0")) if status not in (204, 304) else 0
    while len(body) < want:
        try:
            piece = s.recv(65536)
        except OSError:
            break
        if not piece:
            break
        body += piece
    return status, headers, body


def raw(data, close_after=False):
    """Sends bytes as they are. A server that answers early and closes is right to."""
    s = connect()
    try:
        s.sendall(data)
        if close_after:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    try:
        return answer_of(s)
    finally:
        s.close()


def request(method, path, body=None, extra="", token=True):
    head = f"{method} {path} HTTP/1.1\r\n" + (COMMON if token else f"Host: {HOST}\r\n") + "Connection: close\r\n" + extra
    if body is not None:
        head += f"Content-Length: {len(body)}\r\n"
    return raw(head.encode("latin-1") + b"\r\n" + (body or b""))


def refused(what, got, *statuses):
    """A refusal says why, as a problem document; a 500 says that we did not think of it."""
    if got is None:
        complain(what, "no answer")
        return
    status, headers, body = got
    if status not in statuses if statuses else not 400 <= status < 500:
        complain(what, f"{status} {body[:200]!r}")
        return
    if status < 400:
        return
    try:
        doc = json.loads(body.decode("utf-8"))
        if "/api/v1/" in what and doc["status"] == "error" and doc["errorType"] and doc["error"]:
            return  # as Prometheus says it, to Prometheus' own clients
        if headers.get("content-type", "").split(";")[0] != "application/problem+json" or not doc["detail"] or doc["status"] != status:
            complain(what, f"no clear error: {headers.get('content-type')} {body[:200]!r}")
    except (ValueError, KeyError, TypeError) as e:
        complain(what, f"no problem document: {e}: {body[:200]!r}")


def refused_or_closed(what, got):
    """For what is no request: closing is an answer, too."""
    if got is not None and not (400 <= got[0] < 500 or got[0] in (501, 505)):
        complain(what, f"{got[0]} {got[2][:200]!r}")


# --- what is sent

def bodies_that_are_none():
    deep = 100000
    yield "no JSON", b"{"
    yield "nothing but a word", b"true"
    yield "a list", b"[]"
    yield "a text", b'"x"'
    yield "a null", b"null"
    yield "a number beyond numbers", b'{"title":1e999}'
    yield "one field twice", b'{"title":"a","title":"b"}'
    yield "text that is not UTF-8", b'{"title":"\xff\xfe"}'
    yield "a surrogate alone", b'{"title":"\\ud800"}'
    yield "a NUL in a text", b'{"title":"a\\u0000b"}'
    yield "NULs", b"\0" * 1000
    yield "a byte order mark", b'\xef\xbb\xbf{"title":"a"}'
    yield "two documents", b'{"title":"a"}{"title":"b"}'
    yield "lists in lists", b"[" * deep
    yield "objects in objects", b'{"a":' * (deep // 5) + b"1" + b"}" * (deep // 5)
    yield "lists in a field", b'{"title":' + b"[" * 5000 + b"]" * 5000 + b"}"
    yield "unknown fields", json.dumps({f"f{i}": i for i in range(5000)}).encode()
    yield "a long list", b'{"title":[' + b"0," * 30000 + b"0]}"
    yield "an endless number", b'{"title":' + b"9" * 60000 + b"}"
    yield "random bytes", RANDOM.randbytes(4096)


def write_routes(page):
    for path, methods in page["paths"].items():
        for method, row in methods.items():
            if method in ("post", "patch"):
                yield method.upper(), path.replace("{id}", UNKNOWN), row


def schema_of(page, row):
    schema = row.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    return page["components"]["schemas"].get(name, schema)


def wrong_bodies(page):
    for method, path, row in write_routes(page):
        key = f"Idempotency-Key: hostile-{RANDOM.getrandbits(64):x}\r\n"
        for what, body in bodies_that_are_none():
            if path == "/alert/cloudevents" and what == "a list":
                continue  # a batch of none
            # Telemetry is lenient where its protocols are: unknown members, a record that is none among good ones.
            if path in ("/ingest/lines", "/_bulk", "/api/v1/write"):
                continue
            if path.startswith("/v1/") and what not in ("no JSON", "nothing but a word", "a list", "a null", "NULs", "random bytes"):
                continue
            refused(f"{method} {path} with {what}", request(method, path, body, key))
        for field, kind in schema_of(page, row).get("properties", {}).items():
            for value in (7, -1.5, True, None, "x" * 3, [], {}, ["x"], {"a": {"b": "c"}}, "'; DROP TABLE ops_case; --", "$(touch /tmp/x)`id`"):
                # Only what the type itself forbids: the rest may be right.
                fits = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int, "number": (int, float)}
                type_ = kind.get("type")
                if value is None or not isinstance(type_, str) or isinstance(value, fits.get(type_, object)):
                    continue
                refused(f"{method} {path} with {field} = {value!r:.40}", request(method, path, json.dumps({field: value}).encode(), key))


def ids_and_questions(_page):
    ids = ["..%2f..%2fetc%2fpasswd", "%00", "%c3%28", "'%3B DROP TABLE ops_case%3B--", "x" * 5000, "0", "-1", UNKNOWN, UNKNOWN.upper(),
           UNKNOWN + "0", "%2e%2e", "*", "{id}", "1%20or%201=1"]
    for i in ids:
        for path in (f"/case/{i}", f"/case/{i}/timeline", f"/case/{i}/nothing"):
            refused(f"GET {path:.60}", request("GET", path.replace(" ", "%20")))
        refused(f"DELETE /token/{i:.40}", request("DELETE", "/token/" + i.replace(" ", "%20"), extra="Idempotency-Key: d1\r\n"))
    for q in ("limit=-1", "limit=99999999999999999999", "limit=x", "limit=%0d5", "cursor=x", "cursor=" + "A" * 3000, "include=everything",
              "status=NONE", "%zz=1", "a=%c3%28"):
        refused(f"GET /case?{q:.40}", request("GET", f"/case?{q}" if not q.startswith("include") else f"/case/{UNKNOWN}?{q}"))
    refused("two hundred questions", request("GET", "/case?" + "&".join(f"a{i}=1" for i in range(200))), 400)
    refused_or_closed("two thousand questions", request("GET", "/case?" + "&".join(f"a{i}=1" for i in range(2000))))
    for method in ("PUT", "TRACE", "FOO", "DELETE"):
        got = request(method, "/case/create")
        if got is None or got[0] not in (405, 501):
            complain(f"{method} /case/create", got and got[0])
    for path in ("/", "/nothing", "//case", "/case/create/", "/.git/config"):
        refused(f"GET {path}", request("GET", path))
    for token in ("", "x", "\t", "Basic eDp5", "Bearer " + "a" * 8000, "Bearer ' OR 1=1 --"):
        refused(f"Authorization: {token:.30}", request("GET", "/case", extra=f"Authorization: {token}\r\n", token=False), 400, 401, 431)


def headers(_page):
    many = "".join(f"X-{i}: {i}\r\n" for i in range(200))
    refused("two hundred headers", request("GET", "/case", extra=many), 431)
    # Beyond what is kept of a head, the library refuses it before there is a request: a sentence, but no document.
    refused_or_closed("two thousand headers", request("GET", "/case", extra=many * 10))
    refused_or_closed("a megabyte in one header", request("GET", "/case", extra="X-Long: " + "a" * (1 << 20) + "\r\n"))
    refused_or_closed("a header without an end", raw(b"GET /case HTTP/1.1\r\nX: " + b"a" * (1 << 20)))
    refused("a header that is not UTF-8", request("GET", "/case", extra="X-Opscase-Tenant: \xff\xfe\r\n"), 400)
    body = b'{"title":"never"}'
    for key in ("k" * 5000, " ", "a b\x01", "\xc3\xa9"):
        refused(f"Idempotency-Key: {key!r:.30}", request("POST", "/case/create", body, f"Idempotency-Key: {key}\r\n"), 400, 422, 431)
    for lengths in ("Content-Length: -1\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 99999999999999999999\r\n",
                    "Content-Length: 5x\r\n", "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 17\r\n"):
        refused_or_closed(lengths.strip(), raw(("POST /case/create HTTP/1.1\r\n" + COMMON + lengths + "\r\n").encode() + body, True))


def no_requests(_page):
    for what, data in (
        ("a TLS hello", bytes.fromhex("16030100a5010000a10303") + RANDOM.randbytes(160)),
        ("random bytes", RANDOM.randbytes(10000)),
        ("NULs", b"\0" * 100000),
        ("a line without an end", b"A" * (2 << 20)),
        ("a path without an end", b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\n\r\n"),
        ("another version", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"),
        ("no version", b"GET /\r\n\r\n"),
        ("a proxy's request", b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n"),
        ("a tunnel", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n"),
        ("a NUL in the path", b"GET /case\0/x HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("bare returns", b"GET /case HTTP/1.1\rHost: x\r\r"),
        ("a broken chunk", b"POST /case/create HTTP/1.1\r\n" + COMMON.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
        ("a chunk of 16 EiB", b"POST /case/create HTTP/1.1\r\n" + COMMON.encode() + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}"),
    ):
        refused_or_closed(what, raw(data, True))


def a_hundred_megabytes(_page):
    head = "POST {} HTTP/1.1\r\n" + COMMON
    for path in ("/case/create", "/v1/metrics", "/adapter/exec"):
        got = raw((head.format(path) + "Content-Length: 104857600\r\n\r\n").encode())
        refused(f"100 MB announced for {path}", got, 413)
        # nobody said how much it will be
        s = connect()
        sent = 0
        try:
            s.sendall((head.format(path) + "Transfer-Encoding: chunked\r\n\r\n").encode())
            while sent < 100 << 20:
                s.sendall(b"10000\r\n" + b'"' + b"a" * 65535 + b"\r\n")
                sent += 65536
        except OSError:
            pass
        got = answer_of(s)
        s.close()
        if got is None and sent >= 100 << 20:
            complain(f"100 MB in pieces for {path}", "all of it was taken, without an answer")
        elif got is not None:
            refused(f"100 MB in pieces for {path}", got, 413)


def text_stays_text(_page):
    for title in ("'; DROP TABLE ops_case; --", '"; touch /tmp/opscase-hostile; "', "$(touch /tmp/opscase-hostile)", "`touch /tmp/opscase-hostile`",
                  "%s%s%n", "\\'; SELECT 1", "${jndi:ldap://x/}", "<script>alert(1)</script>", "a\u202eb\u0007", "\U0001f600" * 100):
        got = request("POST", "/case/create", json.dumps({"title": title, "labels": {"k": title[:60]}}).encode())
        if got is None or got[0] != 201:
            # a control character may be refused, but then clearly
            refused(f"a case called {title!r:.40}", got)
            continue
        doc = json.loads(got[2])["data"]
        created.append(doc["id"])
        if doc["title"] != title:
            complain(f"a case called {title!r:.40}", f"is called {doc['title']!r:.60}")
    if os.path.exists("/tmp/opscase-hostile"):
        complain("a title", "was carried out")


def bodies_cut_short(_page):
    for n in (0, 1, 10, 16):
        s = connect()
        s.sendall((f"POST /case/create HTTP/1.1\r\n{COMMON}Content-Length: 5000\r\n\r\n").encode() + b'{"title":"never"}'[:n])
        s.close()


def those_who_hang_up(_page):
    """Whole requests whose sender does not wait: each becomes a whole case or none."""
    global maybe
    for i in range(40):
        s = connect()
        body = json.dumps({"title": f"nobody waits for {i}", "drive": "auto", "template": "noop"}).encode()
        s.sendall((f"POST /case/create HTTP/1.1\r\n{COMMON}Content-Length: {len(body)}\r\n\r\n").encode() + body)
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset instead of an end
        s.close()
        maybe += 1


class Slow(threading.Thread):
    """Many at once who send a byte now and then, or read nothing. They are cut off; others do not notice."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop = False
        self.sockets = []
        self.heads = self.hold(60, "GET /case HTTP/1.1\r\n")
        self.pieces = self.hold(60, f"POST /case/create HTTP/1.1\r\n{COMMON}Content-Length: 5000\r\n\r\n" + '{"title":"')
        self.silent = self.hold(60, "")
        self.deaf = self.hold(20, (f"GET /openapi.json HTTP/1.1\r\n{COMMON}\r\n") * 200)

    def hold(self, n, text):
        held = []
        for _ in range(n):
            s = connect()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setblocking(False)
            try:
                s.send(text.encode())
            except BlockingIOError:
                pass
            held.append(s)
        return held

    def run(self):
        while not self.stop:
            for s in self.heads + self.pieces:
                try:
                    s.send(b"a")
                except OSError:
                    pass
            time.sleep(0.5)

    def ended(self, held):
        n = 0
        for s in held:
            try:
                while select.select([s], [], [], 0)[0]:
                    if not s.recv(65536):
                        n += 1
                        break
            except OSError:
                n += 1
        return n


def quick(what):
    began = time.monotonic()
    got = request("GET", "/healthz", token=False)
    took = time.monotonic() - began
    if got is None or got[0] != 200 or took > 10:
        complain(what, f"{got and got[0]} after {took:.1f} s")


def main():
    print(f"seed {SEED}", file=sys.stderr)
    page = json.loads(request("GET", "/openapi.json")[2])
    began = time.monotonic()
    slow = Slow()
    slow.start()
    quick("while two hundred are slow")
    for attack in (wrong_bodies, ids_and_questions, headers, no_requests, a_hundred_megabytes, text_stays_text,
                   bodies_cut_short, those_who_hang_up):
        began_one = time.monotonic()
        attack(page)
        quick("after an attack")
        print(f"  {attack.__name__} {time.monotonic() - began_one:.1f} s", file=sys.stderr)
    # A head has 15 s, a body 30.
    while time.monotonic() - began < 60:
        if slow.ended(slow.heads) == 60 and slow.ended(slow.pieces) == 60 and slow.ended(slow.silent) == 60:
            break
        time.sleep(0.5)
    for what in ("heads", "pieces", "silent"):
        n = slow.ended(getattr(slow, what))
        if n != 60:
            complain(f"60 who send {what}", f"only {n} were cut off after a minute")
    slow.stop = True
    for s in slow.heads + slow.pieces + slow.silent + slow.deaf:
        s.close()
    quick("at the end")
    for line in wrong[:40]:
        print("WRONG " + line, file=sys.stderr)
    print(json.dumps({"created": created, "maybe": maybe, "wrong": len(wrong)}))
    return 1 if wrong else 0


sys.exit(main())
