"""What is counted comes out as it was counted: as Prometheus has it, and in OpenTelemetry's own model."""

import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Histogram, Sum
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families
from pymongo.monitoring import CommandSucceededEvent

from deploy.local.embedded import free_port
from gateway.metrics import Measures
from services.shared import telemetry
from services.shared.commands import Commands
from services.shared.metrics import catalogue
from services.shared.metrics.calls import Calls
from services.shared.metrics.definition import Definition, Kind, counter, gauge, histogram
from services.shared.metrics.instruments import OVERFLOW, Instrument, Meter, Spread
from services.shared.metrics.otlp import as_otel
from services.shared.metrics.prometheus import Endpoint, Exposition

ASKED = counter("shop.asked", "{question}", "Questions that were asked.", attributes={"shop.kind": "of goods"})
TOOK = histogram("shop.answer.duration", "s", "Time until an answer.", boundaries=(0.1, 1.0))
OPEN = gauge("shop.open", "1", "How much of the shop is open.")


def read(meter: Meter) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What Prometheus would have: values by series and labels."""
    endpoint = Endpoint(address := f"127.0.0.1:{free_port()}", Exposition(meter, {"service.name": "shop"}))
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        text = answer.read().decode()
    endpoint.stop()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_what_was_counted_is_read_by_prometheus():
    meter = Meter()
    meter.counter(ASKED).at('green "tea"\n').add()
    meter.counter(ASKED).at('green "tea"\n').add(2)
    meter.gauge(OPEN).at().set(0.5)
    for seconds in (0.05, 0.1, 0.5, 7):
        meter.histogram(TOOK).at().record(seconds)
    found = read(meter)
    assert found["target_info"] == {(("service_name", "shop"),): 1}
    assert found["shop_asked_total"] == {(("shop_kind", 'green "tea"\n'),): 3}
    assert found["shop_open_ratio"] == {(): 0.5}
    buckets = found["shop_answer_duration_seconds_bucket"]
    assert buckets == {(("le", "0.1"),): 2, (("le", "1"),): 3, (("le", "+Inf"),): 4}
    assert found["shop_answer_duration_seconds_count"] == {(): 4}
    assert found["shop_answer_duration_seconds_sum"] == {(): 7.65}


def test_what_may_happen_rarely_is_told_before_it_has_happened():
    meter = Meter()
    Measures(meter)
    answered = Calls(meter, catalogue.RPC_SERVER, catalogue.RPC_FAULTS).of("/alliance.Any/Get")
    found = read(meter)
    assert found["alliance_gateway_limited_total"][(("limit", "connections"),)] == 0
    assert found["alliance_gateway_limited_total"][(("limit", "mutations in flight"),)] == 0
    assert (
        found["alliance_graphql_operations_total"][(("graphql_operation_type", "mutation"), ("outcome", "failed"))] == 0
    )
    assert set(found["alliance_rpc_faults_total"].values()) == {0}
    for status in ("OK", "NOT_FOUND", "INTERNAL", "INTERNAL", "UNAVAILABLE"):
        answered(status, 0.0)
    faults = {labels[0][1]: count for labels, count in read(meter)["alliance_rpc_faults_total"].items()}
    assert {status: count for status, count in faults.items() if count} == {"INTERNAL": 2, "UNAVAILABLE": 1}


def test_what_begins_at_zero_has_a_value_for_each_attribute():
    with pytest.raises(ValueError, match="each attribute"):
        counter("shop.sold", "{thing}", "Things sold.", attributes={"kind": "of goods"}, from_zero=((),))


@given(st.lists(st.floats(0, 1e6)))
def test_every_value_is_in_one_bucket_and_below_its_end(values: list[float]):
    meter = Meter()
    for value in values:
        meter.histogram(TOOK).at().record(value)
    ((_, points),) = meter.collect()[:1] or [(TOOK, [((), Spread((0, 0, 0), 0.0))])]
    ((_, spread),) = points or [((), Spread((0, 0, 0), 0.0))]
    assert isinstance(spread, Spread)
    expected = (
        sum(value <= 0.1 for value in values),
        sum(0.1 < value <= 1 for value in values),
        sum(value > 1 for value in values),
    )
    assert spread.counts == expected
    assert spread.total == pytest.approx(sum(values))


def test_no_caller_can_fill_the_memory_with_series():
    meter = Meter()
    few = Definition("few", Kind.COUNTER, "1", "Few.", {"who": "anybody"}, most_series=3)
    for name in map(str, range(100)):
        meter.counter(few).at(name).add()
    ((_, points),) = meter.collect()
    assert len(points) == 4
    assert dict(points)[OVERFLOW,] == 97


def test_what_cannot_be_read_hides_nothing_else():
    meter = Meter()
    meter.observe(OPEN, lambda: 1 / 0)
    meter.observe(ASKED, lambda: [(("tea",), 4.0)])
    readings = {reading.definition: reading.points for reading in meter.collect()}
    assert readings == {OPEN: [], ASKED: [(("tea",), 4.0)]}


def test_what_is_made_while_somebody_reads_spoils_no_reading(monkeypatch: pytest.MonkeyPatch):
    """A process tells of itself from its first moment on, when most is still to be made."""
    meter, cells = Meter(), Instrument.cells
    names = (f"late.{number}" for number in range(100))

    def meanwhile(instrument: Instrument[Any]) -> Any:
        for kind, make in ((Kind.COUNTER, meter.counter), (Kind.GAUGE, meter.gauge)):
            make(Definition(next(names), kind, "1", "Late."))
        meter.histogram(Definition(next(names), Kind.HISTOGRAM, "1", "Late.", boundaries=(1.0,)))
        return cells(instrument)

    monkeypatch.setattr(Instrument, "cells", meanwhile)
    meter.counter(ASKED).at("tea").add()
    meter.gauge(OPEN).at().set(1)
    meter.histogram(TOOK).at().record(1)
    assert {ASKED, OPEN, TOOK} <= {reading.definition for reading in meter.collect()}


def test_a_metric_keeps_to_its_definition():
    meter = Meter()
    with pytest.raises(ValueError, match=r"shop\.asked has the attributes shop\.kind"):
        meter.counter(ASKED).at()
    with pytest.raises(ValueError, match=r"shop\.asked is a counter, not a gauge"):
        meter.gauge(ASKED)
    with pytest.raises(ValueError, match="boundaries"):
        Definition("h", Kind.HISTOGRAM, "s", "No boundaries.")


def test_readings_in_opentelemetrys_own_model():
    meter = Meter()
    meter.counter(ASKED).at("tea").add(3)
    meter.histogram(TOOK).at().record(0.5)
    data = as_otel(meter.collect(), Resource.create({"service.name": "shop"}), 1, 2)
    took, asked = data.resource_metrics[0].scope_metrics[0].metrics
    assert isinstance(asked.data, Sum)
    assert asked.data.is_monotonic
    assert [(point.attributes, point.value) for point in asked.data.data_points] == [({"shop.kind": "tea"}, 3)]
    assert isinstance(took.data, Histogram)
    assert [(point.bucket_counts, point.explicit_bounds) for point in took.data.data_points] == [
        ((0, 1, 0), (0.1, 1.0))
    ]


def test_a_process_tells_of_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.shared.logs.start", lambda *_: None)
    observed = telemetry.start("shop")
    found = read(observed.meter)
    assert found["process_cpu_time_seconds_total"][("cpu_mode", "user"),] > 0
    assert found["process_memory_usage_bytes"][()] > 1e6
    assert set(found["cpython_gc_collections_total"]) == {(("cpython_gc_generation", str(n)),) for n in range(3)}
    assert found["process_unix_file_descriptor_count"][()] < found["alliance_process_file_descriptors_max"][()]


def test_names_are_prometheus_names():
    names = {definition.name: definition.prometheus_name for definition in catalogue.definitions(catalogue)}
    assert names["alliance.requests.in_flight"] == "alliance_requests_in_flight"  # the autoscalers' name for it
    assert names["rpc.server.call.duration"] == "rpc_server_call_duration_seconds"
    assert names["process.cpu.time"] == "process_cpu_time_seconds_total"
    assert names["process.memory.usage"] == "process_memory_usage_bytes"


def test_a_taken_port_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.shared.logs.start", lambda *_: None)
    address = f"127.0.0.1:{free_port()}"
    first = telemetry.start("shop", metrics_listen=address)
    with pytest.raises(SystemExit, match="set ALLIANCE_METRICS_LISTEN to a free one"):
        telemetry.start("shop", metrics_listen=address)
    first.stop()


def test_commands_without_an_answer_are_counted_from_nought():
    """Else the first outage would be a count that appears, and Prometheus would see no increase."""
    meter = Meter()
    took = CommandSucceededEvent(timedelta(milliseconds=2), {"ok": 1}, "find", 1, ("db", 27017), 1)
    Commands(meter).succeeded(took)
    counts = {
        dict(labels)["db_response_status_code"]: value
        for labels, value in read(meter)[f"{catalogue.DATABASE.prometheus_name}_count"].items()
    }
    assert counts == {"OK": 1, "network": 0}
