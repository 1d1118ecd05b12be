"""An OTLP receiver made of grpcio and OpenTelemetry's own protobuf classes (a strict decoder).

Usage: otlp_receiver.py grpc|http [delay seconds] [how many] [message]
Prints its port, then each span and metric point that it took as a line of JSON. Of each request it
rejects so many, the first ones, with the message; 0 and a message is a warning.
"""
import gzip
import json
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
reject = int(sys.argv[3]) if len(sys.argv) > 3 else 0
message = sys.argv[4] if len(sys.argv) > 4 else ""
lock = threading.Lock()


def say(what):
    with lock:
        print(json.dumps(what), flush=True)


def value(any_value):
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def take_traces(request, headers):
    time.sleep(delay)
    answer, left = traces.ExportTraceServiceResponse(), reject
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                if left > 0:
                    left -= 1
                    answer.partial_success.rejected_spans += 1
                    continue
                say({
                    "span": span.name,
                    "service": attributes(resource.resource.attributes).get("service.name"),
                    "scope": scope.scope.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_id": span.parent_span_id.hex(),
                    "trace_state": span.trace_state,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "events": [[e.name, e.time_unix_nano, attributes(e.attributes)] for e in span.events],
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "status": [span.status.code, span.status.message],
                    "headers": headers,
                })
    if message:
        answer.partial_success.error_message = message
    return answer


def take_metrics(request, headers):
    time.sleep(delay)
    answer, left = metrics.ExportMetricsServiceResponse(), reject
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    if left > 0:
                        left -= 1
                        answer.partial_success.rejected_data_points += 1
                        continue
                    line = {
                        "metric": metric.name, "unit": metric.unit, "kind": kind,
                        "attributes": attributes(point.attributes), "headers": headers,
                        "start": point.start_time_unix_nano, "time": point.time_unix_nano,
                        "temporality": getattr(getattr(metric, kind), "aggregation_temporality", None),
                        "monotonic": getattr(getattr(metric, kind), "is_monotonic", None),
                    }
                    if kind == "exponential_histogram":
                        line["count"] = point.count
                        line["sum"] = point.sum
                        line["buckets"] = sum(point.positive.bucket_counts) + point.zero_count
                        line["zero"], line["scale"] = point.zero_count, point.scale
                        line["offset"], line["counts"] = point.positive.offset, list(point.positive.bucket_counts)
                        line["exemplars"] = [
                            [e.trace_id.hex(), e.span_id.hex(), e.as_double, e.time_unix_nano]
                            for e in point.exemplars
                        ]
                    else:
                        line["value"] = getattr(point, point.WhichOneof("value"))
                    say(line)
    if message:
        answer.partial_success.error_message = message
    return answer


class Traces(traces_grpc.TraceServiceServicer):
    def Export(self, request, context):
        return take_traces(request, dict(context.invocation_metadata()))


class Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        return take_metrics(request, dict(context.invocation_metadata()))


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {key.lower(): text for key, text in self.headers.items()}
        if self.path == "/v1/traces":
            answer = take_traces(traces.ExportTraceServiceRequest.FromString(body), headers)
        else:
            answer = take_metrics(metrics.ExportMetricsServiceRequest.FromString(body), headers)
        answer = answer.SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


if sys.argv[1] == "grpc":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    traces_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()
else:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    print(server.server_address[1], flush=True)
    server.serve_forever()
