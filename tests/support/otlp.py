"""A receiver of OTLP over gRPC, in this process: what a collector would get."""

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span it gets, with the name of the service that sent it."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
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

    def wait_for(self, condition: Callable[[list[tuple[str, Span]]], bool], seconds: float = 15) -> None:
        """Returns when the spans fulfil the condition; AssertionError with what came if they do not in time."""
        until = time.monotonic() + seconds
        while not condition(list(self.spans)):
            if time.monotonic() > until:
                raise AssertionError("\n".join(sorted({f"{service}: {span.name}" for service, span in self.spans})))
            time.sleep(0.05)


@contextmanager
def receiving() -> Iterator[TraceReceiver]:
    """A receiver on a free port of the loopback address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    receiver = TraceReceiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    receiver.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield receiver
    server.stop(None)
