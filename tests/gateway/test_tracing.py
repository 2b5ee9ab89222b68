"""One trace from a request to the services, and shared calls that know all of their requests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from gateway.app import create_app
from services.shared.errors import Internal
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import URL, World, settings_of
from tests.gateway.fakes import FakeAlliance

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE[::-1]}-{SPAN}-00"}
CALL = "alliance.partners.v1.PartnersService/BatchGetPartners"
QUERY = "query ($id: ID!) { partner(id: $id) { name } }"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.clear()


@pytest.fixture
async def http(alliance: FakeAlliance, keys: Path, spans: InMemorySpanExporter) -> AsyncIterator[httpx.AsyncClient]:
    alliance.reset()
    # As OTEL_TRACES_SAMPLER=parentbased_always_on: who sends a traceparent decides.
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON))
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(settings_of(alliance, keys), Telemetry(provider))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
        yield http
    alliance.reset()


async def test_a_shared_call_links_to_every_request_in_it(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, world: World
):
    ids = (world.brand, world.other_brand)
    await asyncio.gather(*(http.post("/graphql", json={"query": QUERY, "variables": {"id": id}}) for id in ids))
    finished = spans.get_finished_spans()
    requests = {span.context.trace_id for span in finished if span.name.startswith("POST")}
    assert len(requests) == 2
    loads = [span for span in finished if span.name == CALL]
    assert {link.context.trace_id for load in loads for link in load.links} == requests
    assert sum(load.attributes["alliance.keys"] for load in loads) == 2
    assert {load.kind for load in loads} == {SpanKind.CLIENT}


async def test_an_error_names_its_trace(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, alliance: FakeAlliance, world: World
):
    alliance.fail("BatchGetPartners", Internal("broken", reason="INTERNAL"))
    response = await http.post("/graphql", json={"query": QUERY, "variables": {"id": world.brand}})
    (error,) = response.json()["errors"]
    (request,) = [span for span in spans.get_finished_spans() if span.name.startswith("POST")]
    assert error["extensions"]["traceId"] == format(request.context.trace_id, "032x")


async def test_a_request_goes_on_with_its_callers_trace(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, alliance: FakeAlliance, world: World
):
    await http.post("/graphql", json={"query": QUERY, "variables": {"id": world.brand}}, headers=SAMPLED)
    finished = spans.get_finished_spans()
    assert {format(span.context.trace_id, "032x") for span in finished} == {TRACE}
    (request,) = [span for span in finished if span.kind is SpanKind.SERVER]
    assert request.name == "POST /graphql"
    assert request.attributes["http.response.status_code"] == 200
    (call,) = [span for span in finished if span.kind is SpanKind.CLIENT]
    assert call.name == CALL
    assert call.attributes["rpc.response.status_code"] == "OK"
    # The service is told to go on from the call.
    (received,) = alliance.calls
    assert received.metadata["traceparent"] == f"00-{TRACE}-{call.context.span_id:016x}-01"


async def test_what_is_not_sampled_makes_no_span_and_tells_the_services_so(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, alliance: FakeAlliance, world: World
):
    await http.post("/graphql", json={"query": QUERY, "variables": {"id": world.brand}}, headers=UNSAMPLED)
    assert spans.get_finished_spans() == ()
    (received,) = alliance.calls
    assert received.metadata["traceparent"].startswith(f"00-{TRACE[::-1]}-")
    assert received.metadata["traceparent"].endswith("-00")


async def test_a_shared_call_belongs_to_a_sampled_request_whoever_came_first(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, alliance: FakeAlliance, world: World
):
    body = {"query": QUERY, "variables": {"id": world.brand}}
    await asyncio.gather(*(http.post("/graphql", json=body, headers=given) for given in (UNSAMPLED, SAMPLED)))
    (load,) = [span for span in spans.get_finished_spans() if span.name == CALL]
    assert format(load.context.trace_id, "032x") == TRACE
    assert len(alliance.calls) == 1


async def test_an_error_is_told_to_its_spans(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, alliance: FakeAlliance, world: World
):
    alliance.fail("BatchGetPartners", Internal("broken", reason="INTERNAL"))
    await http.post("/graphql", json={"query": QUERY, "variables": {"id": world.brand}})
    (call,) = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["rpc.response.status_code"] == "INTERNAL"


async def test_what_a_stranger_makes_up_names_no_span(http: httpx.AsyncClient, spans: InMemorySpanExporter):
    await http.request("BREW", "/coffee", headers={"traceparent": "not one"})
    (request,) = spans.get_finished_spans()
    assert (request.name, request.attributes["http.request.method"]) == ("HTTP", "_OTHER")


async def test_probes_are_not_traced(http: httpx.AsyncClient, spans: InMemorySpanExporter):
    assert (await http.get("/healthz")).status_code == 200
    assert spans.get_finished_spans() == ()
