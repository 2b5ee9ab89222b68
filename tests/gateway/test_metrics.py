"""What becomes of each operation is counted: under names from the schema, with whose fault it was."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.local.keys import token_key
from gateway import metrics
from gateway.app import create_app
from gateway.tokens import TokenKeys, Tokens
from services.shared.errors import Internal, Unavailable
from services.shared.metrics import catalogue
from services.shared.metrics.definition import Definition
from services.shared.metrics.instruments import Meter, Spread
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import URL, Gateway, World, settings_of
from tests.gateway.fakes import FakeAlliance

PARTNER = "query ($id: ID!) { partner(id: $id) { name } }"


@pytest.fixture
async def counted(alliance: FakeAlliance, keys: Path) -> AsyncIterator[tuple[Gateway, Meter]]:
    """A gateway of its own, and what it counts."""
    alliance.reset()
    telemetry = Telemetry()
    app = create_app(settings_of(alliance, keys), telemetry)
    tokens = Tokens(TokenKeys.from_file(token_key(keys)), URL, partner_seconds=900, member_seconds=600)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http,
    ):
        yield Gateway(http, tokens), telemetry.meter
    alliance.reset()


def counts(meter: Meter, definition: Definition) -> dict[tuple[str, ...], float]:
    """How often, by attributes."""
    (reading,) = [reading for reading in meter.collect() if reading.definition is definition]
    return {
        values: sum(point.counts) if isinstance(point, Spread) else point for values, point in reading.points if point
    }


async def test_operations_are_counted_by_root_field_and_by_whose_fault_it_was(
    counted: tuple[Gateway, Meter], alliance: FakeAlliance, world: World
):
    gateway, meter = counted
    await gateway.ask(PARTNER, id=world.brand)
    await gateway.ask("query Renamed { them: node(id: 7) { id } }")
    await gateway.ask("{ a: __typename b: __typename }")
    await gateway.ask(PARTNER)  # without its variable
    alliance.fail("BatchGetPartners", Unavailable("away", reason="AWAY"))
    await gateway.ask(PARTNER, id=world.brand)
    alliance.fail("BatchGetPartners", Internal("broken", reason="INTERNAL"))
    await gateway.ask("query ($id: ID!) { partner(id: $id) { name } __typename }", id=world.brand)
    found = counts(meter, metrics.OPERATIONS)
    assert found["query", "partner", "ok"] == 1
    assert found["query", "partner", "refused"] == 1
    assert found["query", "partner", "partial"] == 1
    assert found["query", "several", "partial"] == 1
    assert found["query", "several", "ok"] == 1
    assert not any("Renamed" in values for values in found)


async def test_what_is_not_executed_is_counted_by_its_reason(counted: tuple[Gateway, Meter]):
    gateway, meter = counted
    await gateway.ask("{")
    await gateway.ask("{ __typename }", "no token")
    await gateway.ask("{" + "__typename " * 4_000 + "}")
    found = counts(meter, metrics.REFUSALS)
    assert found == {("DOCUMENT_INVALID",): 1, ("UNAUTHENTICATED",): 1, ("DOCUMENT_TOO_EXPENSIVE",): 1}


async def test_requests_ways_documents_and_batches(counted: tuple[Gateway, Meter], world: World):
    gateway, meter = counted
    for _ in range(3):
        await gateway.data(PARTNER, id=world.brand)
    await gateway.http.get("/no/such/path")
    assert counts(meter, metrics.HTTP) == {("POST", "/graphql", "200"): 3, ("GET", "other", "404"): 1}
    assert counts(meter, metrics.WAYS) == {("compiled",): 3}
    assert counts(meter, metrics.DOCUMENTS) == {("hit",): 2, ("miss",): 1}
    assert counts(meter, metrics.BATCHES) == {("PartnersService/BatchGetPartners",): 3}
    assert counts(meter, catalogue.RPC_CLIENT) == {("alliance.partners.v1.PartnersService/BatchGetPartners", "OK"): 3}
    assert counts(meter, catalogue.IN_FLIGHT) == {}  # none any more


async def test_what_is_beyond_a_limit_is_counted_by_the_limit(counted: tuple[Gateway, Meter]):
    gateway, meter = counted
    await gateway.ask("{" + "__typename " * 1_200 + "}")
    await gateway.ask("query ($n: Int!) { members(first: $n) { nodes { acts(first: 100) { nodes { id } } } } }", n=100)
    await gateway.http.post("/graphql", content=b" " * 70_000, headers={"Content-Type": "application/json"})
    assert counts(meter, metrics.LIMITED) == {("tokens",): 1, ("cost",): 1, ("body bytes",): 1}
    assert counts(meter, metrics.IN_FLIGHT_MOST) == {(): 256}
    assert counts(meter, metrics.CLIENTS) == {(): 1}
