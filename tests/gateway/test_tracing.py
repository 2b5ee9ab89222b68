"""One trace from a request to the services, and shared calls that know all of their requests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.app import create_app
from services.shared.errors import Internal
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import URL, World, settings_of
from tests.gateway.fakes import FakeAlliance

QUERY = "query ($id: ID!) { partner(id: $id) { name } }"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.clear()


@pytest.fixture
async def http(alliance: FakeAlliance, keys: Path, spans: InMemorySpanExporter) -> AsyncIterator[httpx.AsyncClient]:
    alliance.reset()
    provider = TracerProvider()
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
    loads = [span for span in finished if span.name == "PartnersService/BatchGetPartners"]
    assert {link.context.trace_id for load in loads for link in load.links} == requests
    assert sum(load.attributes["alliance.keys"] for load in loads) == 2
    # The client's own span of the call is below.
    assert {load.context.span_id for load in loads} <= {span.parent.span_id for span in finished if span.parent}


async def test_an_error_names_its_trace(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, alliance: FakeAlliance, world: World
):
    alliance.fail("BatchGetPartners", Internal("broken", reason="INTERNAL"))
    response = await http.post("/graphql", json={"query": QUERY, "variables": {"id": world.brand}})
    (error,) = response.json()["errors"]
    (request,) = [span for span in spans.get_finished_spans() if span.name.startswith("POST")]
    assert error["extensions"]["traceId"] == format(request.context.trace_id, "032x")
