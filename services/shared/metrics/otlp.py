"""Sends a meter's readings by OTLP, for those who have a collector rather than a Prometheus."""

import threading
import time
from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from services.shared.metrics.definition import Definition, Kind
from services.shared.metrics.instruments import Meter, Point, Reading, Spread, attributes_of

_SCOPE = InstrumentationScope("alliance")
_EXPORT_TIMEOUT_MILLIS = 5_000


class Sender:
    """Sends what everything stands at, every so often and once more at the end, from a thread of its own."""

    def __init__(self, meter: Meter, resource: Resource, period_seconds: float) -> None:
        self._meter = meter
        self._resource = resource
        self._period_seconds = period_seconds
        self._began = time.time_ns()
        self._exporter = OTLPMetricExporter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics sender", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sends the last readings."""
        self._stopping.set()
        self._thread.join(2 * _EXPORT_TIMEOUT_MILLIS / 1_000)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stopping.wait(self._period_seconds):
            self._send()
        self._send()

    def _send(self) -> None:
        # A reading that is lost is made good by the next one: everything is counted from the start of the process.
        data = as_otel(self._meter.collect(), self._resource, self._began, time.time_ns())
        self._exporter.export(data, timeout_millis=_EXPORT_TIMEOUT_MILLIS)


def as_otel(readings: Iterable[Reading], resource: Resource, began: int, now: int) -> MetricsData:
    """The readings in OpenTelemetry's own model; times are in nanoseconds since 1970."""
    metrics = [
        export.Metric(each.definition.name, each.definition.description, each.definition.unit, _data(each, began, now))
        for each in readings
    ]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])


def _data(reading: Reading, began: int, now: int) -> export.DataT:
    definition, points = reading
    if definition.kind is Kind.HISTOGRAM:
        spreads = [_spread(definition, values, spread, began, now) for values, spread in _of(points, Spread)]
        return export.Histogram(spreads, AggregationTemporality.CUMULATIVE)
    numbers = [
        export.NumberDataPoint(dict(attributes_of(definition, values)), began, now, number)
        for values, number in points
        if not isinstance(number, Spread)
    ]
    if definition.kind is Kind.COUNTER:
        return export.Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return export.Gauge(numbers)


def _spread(
    definition: Definition, values: tuple[str, ...], spread: Spread, began: int, now: int
) -> export.HistogramDataPoint:
    return export.HistogramDataPoint(
        attributes=dict(attributes_of(definition, values)),
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=sum(spread.counts),
        sum=spread.total,
        bucket_counts=spread.counts,
        explicit_bounds=definition.boundaries,
        min=0.0,
        max=0.0,
    )


def _of(points: Iterable[Point], type: type[Spread]) -> list[tuple[tuple[str, ...], Spread]]:
    return [(values, found) for values, found in points if isinstance(found, type)]
