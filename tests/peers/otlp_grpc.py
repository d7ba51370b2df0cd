#!/usr/bin/env python3
"""otlp_grpc.py PORT TOKEN - sends one of each signal over gRPC, as an OpenTelemetry SDK would, packed and not, and tries what shall be
refused. Needs python3-grpcio and python3-opentelemetry-proto; 77 where they are not installed."""
import sys
import time

try:
    import grpc
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest, ExportMetricsServiceResponse)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
except ImportError as trouble:
    print("skipped:", trouble)
    sys.exit(77)

port, token = sys.argv[1:3]
now = time.time_ns()
BASE = "/opentelemetry.proto.collector.%s.v1.%sService/Export"


def resource(r):
    a = r.resource.attributes.add()
    a.key, a.value.string_value = "service.name", "over-grpc"


metrics = ExportMetricsServiceRequest()
rm = metrics.resource_metrics.add()
resource(rm)
m = rm.scope_metrics.add().metrics.add()
m.name = "queue.length"
for i in range(50):
    p = m.gauge.data_points.add()
    p.time_unix_nano, p.as_double = now - i * 1000000, i
bad = m.gauge.data_points.add()
bad.as_double = 1  # without a time

logs = ExportLogsServiceRequest()
rl = logs.resource_logs.add()
resource(rl)
sl = rl.scope_logs.add()
for i in range(200):
    line = sl.log_records.add()
    line.time_unix_nano, line.severity_number = now, 9
    line.body.string_value = "order %d accepted" % i

traces = ExportTraceServiceRequest()
rs = traces.resource_spans.add()
resource(rs)
s = rs.scope_spans.add().spans.add()
s.trace_id, s.span_id, s.name, s.kind = b"t" * 16, b"s" * 8, "GET /", 2
s.start_time_unix_nano, s.end_time_unix_nano = now - 5000000, now


def export(channel, noun, service, request, answer=None, **metadata):
    call = channel.unary_unary(BASE % (noun, service), request_serializer=lambda r: r.SerializeToString(),
                               response_deserializer=answer.FromString if answer else lambda b: b)
    pairs = [(k.replace("_", "-"), v) for k, v in metadata.items()]
    return call(request, timeout=60, metadata=pairs)


def refused(code, *args, **metadata):
    try:
        export(*args, **metadata)
    except grpc.RpcError as e:
        assert e.code() == code, (e.code(), e.details())
        print("refused:", e.code().name, e.details())
        return
    raise AssertionError("was taken")


who = {"authorization": "Bearer " + token, "x_opscase_tenant": "default"}
options = [("grpc.enable_http_proxy", 0)]
with grpc.insecure_channel("127.0.0.1:" + port, options=options) as plain, grpc.insecure_channel(
        "127.0.0.1:" + port, options=options, compression=grpc.Compression.Gzip) as packed:
    said = export(plain, "metrics", "Metrics", metrics, ExportMetricsServiceResponse, **who)
    assert said.partial_success.rejected_data_points == 1, said
    print("partial:", said.partial_success.error_message)
    export(packed, "logs", "Logs", logs, **who)
    export(packed, "trace", "Trace", traces, **who)
    refused(grpc.StatusCode.UNAUTHENTICATED, plain, "logs", "Logs", logs)
    refused(grpc.StatusCode.UNAUTHENTICATED, plain, "logs", "Logs", logs, authorization="Bearer oct_" + "x" * 43)
    refused(grpc.StatusCode.INVALID_ARGUMENT, plain, "logs", "Logs", logs, authorization="Bearer " + token)
    refused(grpc.StatusCode.UNIMPLEMENTED, plain, "profiles", "Profiles", logs, **who)
