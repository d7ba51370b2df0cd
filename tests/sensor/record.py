#!/usr/bin/env python3
"""record.py OUT UPSTREAM_PORT [udp] - a relay that writes down what passes, as tests/fuzz/fuzz_flow.c reads it.

Listens on any free port of 127.0.0.1, prints it, relays one connection (or datagrams, until stdin ends), and writes
each read as one record: the side that accepted is taken for the side that serves. This is how the samples in
tests/fuzz/corpus/flow were made, from real clients and servers."""
import selectors
import socket
import struct
import sys

KEPT = 512


def record(out, incoming, data):
    kept = data[:KEPT]
    out.write(struct.pack("<BHI", 0 if incoming else 1, len(kept), len(data)) + kept)
    out.flush()


def tcp(out, port):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", port))
    sel = selectors.DefaultSelector()
    sel.register(client, selectors.EVENT_READ, (server, True))
    sel.register(server, selectors.EVENT_READ, (client, False))
    while True:
        for key, _ in sel.select():
            other, incoming = key.data
            try:
                data = key.fileobj.recv(1 << 20)
            except ConnectionError:
                data = b""
            if not data:
                return
            record(out, incoming, data)
            other.sendall(data)


def udp(out, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    sel = selectors.DefaultSelector()
    sel.register(sock, selectors.EVENT_READ)
    sel.register(sys.stdin, selectors.EVENT_READ)
    client = None
    while True:
        for key, _ in sel.select():
            if key.fileobj is sys.stdin:
                return
            data, sender = sock.recvfrom(65536)
            if sender[1] == port:
                record(out, False, data)
                sock.sendto(data, client)
            else:
                client = sender
                record(out, True, data)
                sock.sendto(data, ("127.0.0.1", port))


with open(sys.argv[1], "wb") as f:
    f.write(bytes([0 if len(sys.argv) > 3 else 1]))
    (udp if len(sys.argv) > 3 else tcp)(f, int(sys.argv[2]))
