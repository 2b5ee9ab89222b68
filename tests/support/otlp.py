"""A receiver of OTLP over gRPC, in this process: what a collector would get."""

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span it gets, with the name of the service that sent it."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.metrics = MetricsReceiver()
        self.logs = LogsReceiver()
        self.target = ""

    def Export(  # noqa: N802
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(attributes["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def environment(self) -> dict[str, str]:
        """What a process needs to send its spans here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.target}",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def wait_for(self, condition: Callable[[list[tuple[str, Span]]], bool], seconds: float = 60) -> None:
        """Returns when the spans fulfil the condition; AssertionError with what came if they do not in time."""
        until = time.monotonic() + seconds
        while not condition(list(self.spans)):
            if time.monotonic() > until:
                raise AssertionError("\n".join(sorted({f"{service}: {span.name}" for service, span in self.spans})))
            time.sleep(0.05)


class MetricsReceiver(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the last reading of every metric, by service and name."""

    def __init__(self) -> None:
        self.metrics: dict[tuple[str, str], Metric] = {}

    def Export(  # noqa: N802
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        for resource in request.resource_metrics:
            attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_metrics:
                self.metrics |= {(attributes["service.name"], metric.name): metric for metric in scope.metrics}
        return metrics_service_pb2.ExportMetricsServiceResponse()


class LogsReceiver(logs_service_pb2_grpc.LogsServiceServicer):
    """Keeps every line, with the service that sent it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, LogRecord]] = []

    def Export(  # noqa: N802
        self, request: logs_service_pb2.ExportLogsServiceRequest, context: grpc.ServicerContext
    ) -> logs_service_pb2.ExportLogsServiceResponse:
        for resource in request.resource_logs:
            attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_logs:
                self.lines += [(attributes["service.name"], record) for record in scope.log_records]
        return logs_service_pb2.ExportLogsServiceResponse()


@contextmanager
def receiving() -> Iterator[TraceReceiver]:
    """A receiver on a free port of the loopback address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    receiver = TraceReceiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(receiver.metrics, server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(receiver.logs, server)
    receiver.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield receiver
    server.stop(None)
