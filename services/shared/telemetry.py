"""Logs and traces. Logs are JSON lines on standard output with the trace's id; traces go out by OTLP when the standard
OTEL_* variables name an endpoint, and cost nothing otherwise."""

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import structlog
from grpc import aio
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

log: structlog.stdlib.BoundLogger = structlog.get_logger("alliance")


class Telemetry:
    """What a process needs to be traced; all of it empty when tracing is off."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self.provider = provider

    @property
    def tracing(self) -> bool:
        return self.provider is not None

    def server_interceptors(self) -> Sequence[aio.ServerInterceptor]:
        """To come first in a server's list."""
        if self.provider is None:
            return ()
        from opentelemetry.instrumentation.grpc import aio_server_interceptor

        return (aio_server_interceptor(tracer_provider=self.provider),)  # type: ignore[no-untyped-call]

    def client_interceptors(self) -> Sequence[aio.ClientInterceptor]:
        if self.provider is None:
            return ()
        from opentelemetry.instrumentation.grpc import aio_client_interceptors

        return tuple(aio_client_interceptors(tracer_provider=self.provider))  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Sends what is still waiting."""
        if self.provider is not None:
            self.provider.shutdown()


def start(service: str, log_level: str = "INFO") -> Telemetry:
    """Sets up this process's logs, and its traces if an OTLP endpoint is configured. Once, from `__main__`."""
    _start_logs(service, log_level)
    if not _otlp_configured():
        return Telemetry(None)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.pymongo import PymongoInstrumentor

    # The sampler is the standard variables' business too: OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    PymongoInstrumentor().instrument(tracer_provider=provider)
    return Telemetry(provider)


def trace_id() -> str:
    """The current trace's id in hex; empty outside of a trace."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""


def carry() -> dict[str, str]:
    """The current trace context as headers, to be stored with work that is done later; empty outside of a trace."""
    headers: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        propagate.inject(headers)
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """The context that `carry` stored, as a parent for new spans."""
    return propagate.extract(headers)


def _otlp_configured() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def _start_logs(service: str, level: str) -> None:
    def identify(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        if found := trace_id():
            event["trace_id"] = found
        return event

    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        identify,
    ]
    structlog.configure(
        processors=[*processors, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=max(logging.getLevelName(level), logging.WARNING), handlers=[handler], force=True)
