"""The endpoint that Prometheus reads. It has a port and a thread of its own: it answers when the event loop does not,
and is never reachable where callers are.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from services.shared.metrics.definition import Definition, Kind
from services.shared.metrics.instruments import Meter, Point, Spread

# What a reader may take to send its request, and to take the answer in.
_TIMEOUT_SECONDS = 5.0


class Exposition(Collector):
    """A meter's readings as Prometheus has them, and who it is that says so (`target_info`)."""

    def __init__(self, meter: Meter, resource: Mapping[str, str]) -> None:
        self._meter = meter
        self._resource = {name.replace(".", "_"): value for name, value in resource.items()}

    def collect(self) -> Iterator[Metric]:
        """Everything, now."""
        yield InfoMetricFamily("target", "The process that answers, by OpenTelemetry's resource.", self._resource)
        for definition, points in self._meter.collect():
            yield _family(definition, points)


class Endpoint:
    """Answers `GET /metrics` until it is stopped."""

    def __init__(self, address: str, exposition: Exposition) -> None:
        """OSError if the address, host:port, cannot be listened on."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(exposition)
        host, _, port = address.rpartition(":")
        self._server = make_server(host, int(port), make_wsgi_app(registry), handler_class=_Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answers nobody any more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = _TIMEOUT_SECONDS

    def log_message(self, *_: object) -> None:
        """A line for each reading would say nothing."""


def _family(definition: Definition, points: Iterable[Point]) -> Metric:
    name, text, labels = definition.prometheus_name, definition.description, definition.labels
    if definition.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, spread in points:
            if isinstance(spread, Spread):
                histogram.add_metric(values, _buckets(definition, spread), spread.total)
        return histogram
    family: CounterMetricFamily | GaugeMetricFamily
    family = (CounterMetricFamily if definition.kind is Kind.COUNTER else GaugeMetricFamily)(name, text, labels=labels)
    for values, number in points:
        if not isinstance(number, Spread):
            family.add_metric(values, number)
    return family


def _buckets(definition: Definition, spread: Spread) -> list[tuple[str, float]]:
    ends = [*(f"{boundary:g}" for boundary in definition.boundaries), "+Inf"]
    return list(zip(ends, accumulate(spread.counts), strict=True))
