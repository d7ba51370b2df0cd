"""client.py PORT WHAT - Debian's own gRPC client against the server of test_server.c; exit 77 where it is not installed."""
import sys

try:
    import grpc
except ImportError:
    sys.exit(77)

port, what = sys.argv[1], sys.argv[2]
raw = lambda b: b


def channel(**more):
    return grpc.insecure_channel("127.0.0.1:" + port, options=[
        ("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", 64 << 20)], **more)


def call(ch, method="/test.Echo/Say", body=b"", **more):
    return ch.unary_unary(method, request_serializer=raw, response_deserializer=raw)(body, timeout=60, **more)


def refused(code, *args, **more):
    try:
        call(*args, **more)
    except grpc.RpcError as e:
        assert e.code() == code, (e.code(), e.details())
        return e
    raise AssertionError("was answered")


with channel() as ch:
    if what == "echo":
        for size in (0, 1, 5, 70000, 3 << 20):
            body = bytes(i & 255 for i in range(251)) * (size // 251) + b"x" * (size % 251)
            assert call(ch, body=body) == body, size
        seen = call(ch, "/test.Echo/Who", metadata=(("authorization", "Bearer abc"), ("x-opscase-tenant", "t-001")))
        assert seen == b"Bearer abc t-001 -", seen
    elif what == "gzip":
        with channel(compression=grpc.Compression.Gzip) as packed:
            seen = call(packed, "/test.Echo/Who", b"a" * 10000)
            assert seen == b"- - gzip", seen
    elif what == "errors":
        e = refused(grpc.StatusCode.UNIMPLEMENTED, ch, "/test.Echo/Nothing")
        assert "100 % nothing \u00fc" in e.details(), e.details()
        e = refused(grpc.StatusCode.UNAVAILABLE, ch, "/test.Echo/Later")
        details = dict(e.trailing_metadata())["grpc-status-details-bin"]
        assert b"google.rpc.RetryInfo" in details and details.endswith(b"\x08\x07"), details
        refused(grpc.StatusCode.RESOURCE_EXHAUSTED, ch, body=b"x" * (5 << 20))
        assert call(ch, body=b"still there") == b"still there"
    elif what == "many":
        say = ch.unary_unary("/test.Echo/Say", request_serializer=raw, response_deserializer=raw)
        bodies = [b"%d" % i * 1000 for i in range(500)]
        under_way = [say.future(b, timeout=60) for b in bodies]
        assert [f.result() for f in under_way] == bodies
    elif what == "cancel":
        slow = ch.unary_unary("/test.Echo/Slow", request_serializer=raw, response_deserializer=raw)
        for _ in range(20):
            slow.future(b"never mind", timeout=60).cancel()
        assert call(ch, body=b"well") == b"well"
    else:
        sys.exit("what?")
