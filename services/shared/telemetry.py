"""Logs, traces and metrics of a process. Logs are JSON lines on standard output with the trace's id; traces go out by
OTLP when the standard OTEL_* variables name an endpoint, and cost nothing otherwise; metrics are always counted, and
read at ALLIANCE_METRICS_LISTEN. Metrics and logs go by OTLP, too, where OTEL_METRICS_EXPORTER or OTEL_LOGS_EXPORTER is
`otlp`.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from grpc import aio
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from services.shared import logs
from services.shared.logs import log as log
from services.shared.logs import trace_id as trace_id
from services.shared.metrics.instruments import Meter
from services.shared.metrics.process import observe_process
from services.shared.metrics.prometheus import Endpoint, Exposition

_METRICS_PERIOD_MILLIS = "60000"
_SPANS_AT_ONCE = "128"
_SWITCH_SECONDS = 0.0005
# How long a process that ends goes on sending what it has counted and traced.
FAREWELL_SECONDS = 5.0


class Telemetry:
    """What a process needs to be traced and measured. Without a provider it is not traced."""

    def __init__(
        self,
        provider: TracerProvider | None = None,
        meter: Meter | None = None,
        stops: Sequence[Callable[[], None]] = (),
        farewell_seconds: float = FAREWELL_SECONDS,
    ) -> None:
        """`stops` are called at the end, to send what is still waiting, for which there is so much time."""
        self.provider = provider
        self.meter = meter or Meter()
        self._stops = stops
        self._farewell_seconds = farewell_seconds

    @property
    def tracing(self) -> bool:
        return self.provider is not None

    def server_interceptors(self) -> Sequence[aio.ServerInterceptor]:
        """To come first in a server's list."""
        if self.provider is None:
            return ()
        from opentelemetry.instrumentation.grpc import aio_server_interceptor

        return (aio_server_interceptor(tracer_provider=self.provider),)  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Sends what is still waiting, all at once; what nobody takes in time is lost, rather than that the process is
        killed while it waits for a collector that is away (the SDK's own patience is half a minute, one after another).
        """
        stops = [*([self.provider.shutdown] if self.provider is not None else []), *self._stops]
        threads = [threading.Thread(target=stop, name="farewell", daemon=True) for stop in stops]
        until = time.monotonic() + self._farewell_seconds
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))
        if left := sum(thread.is_alive() for thread in threads):
            log.warning("telemetry could not be sent in time", unfinished=left, seconds=self._farewell_seconds)


def start(service: str, log_level: str = "INFO", metrics_listen: str = "") -> Telemetry:
    """Sets up this process's logs, its metrics, and its traces if an OTLP endpoint is configured. Once, from
    `__main__`. SystemExit if `metrics_listen` (host:port, empty for none) is taken.
    """
    resource = Resource.create({"service.name": service})
    stops: list[Callable[[], None]] = []
    if _sends_also("LOGS"):
        from services.shared.logs_otlp import LogSender

        sender = LogSender(resource)
        logs.start(service, log_level, sender)
        stops.append(sender.stop)
    else:
        logs.start(service, log_level)
    meter = Meter()
    observe_process(meter)
    if metrics_listen:
        stops.append(_endpoint(metrics_listen, meter, resource).stop)
    if _sends_also("METRICS"):
        from services.shared.metrics.otlp import Sender

        period_seconds = int(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _METRICS_PERIOD_MILLIS) / 1_000
        stops.append(Sender(meter, resource, period_seconds).stop)
    return Telemetry(_provider(resource) if _sends("TRACES") else None, meter, stops)


def carry() -> dict[str, str]:
    """The current trace context as headers, to be stored with work that is done later; empty outside of a trace."""
    headers: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        propagate.inject(headers)
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """The context that `carry` stored, as a parent for new spans."""
    return propagate.extract(headers)


def _provider(resource: Resource) -> TracerProvider:
    from opentelemetry.instrumentation.pymongo import PymongoInstrumentor

    from services.shared.spans_otlp import SpanExporter

    # The sampler is the standard variables' business too: OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
    # It ends with the rest of the telemetry, and not once more, without a bound, when the interpreter does.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    # Spans are sent from a thread of their own, which has the interpreter meanwhile: for as long as one lot takes, and
    # for 5 ms at a time, unless that is said otherwise; nobody is answered during that.
    at_once = int(os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or _SPANS_AT_ONCE)
    provider.add_span_processor(BatchSpanProcessor(SpanExporter(), max_export_batch_size=at_once))
    sys.setswitchinterval(_SWITCH_SECONDS)
    trace.set_tracer_provider(provider)
    PymongoInstrumentor().instrument(tracer_provider=provider)
    return provider


def _endpoint(address: str, meter: Meter, resource: Resource) -> Endpoint:
    known = {name: str(value) for name, value in resource.attributes.items() if name.startswith("service.")}
    try:
        return Endpoint(address, Exposition(meter, known))
    except OSError as error:
        raise SystemExit(
            f"{address} cannot be listened on for metrics ({error.strerror}); if another process has the port, stop "
            "it, or set ALLIANCE_METRICS_LISTEN to a free one."
        ) from error


def _sends(signal: str) -> bool:
    """Whether an OTLP endpoint is configured for TRACES, METRICS or LOGS."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def _sends_also(signal: str) -> bool:
    """METRICS and LOGS only when asked for: where there are a Prometheus and a reader of standard output, everything
    would be there twice.
    """
    return _sends(signal) and os.environ.get(f"OTEL_{signal}_EXPORTER", "none") == "otlp"
