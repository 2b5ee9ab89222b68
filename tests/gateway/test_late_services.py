"""A service that hangs costs what it knows, not the answer."""

from pathlib import Path

import httpx

from gateway.app import create_app
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import URL, Gateway, World, settings_of
from tests.gateway.fakes import FakeAlliance

_QUERY = """query($id: ID!) { member(id: $id) {
  displayName
  wallet { balance }
  acts(first: 1) { nodes { earning { points } claim { member { redemptions(first: 1) { nodes { id } } } } } }
} }"""


async def test_g2_a_service_that_hangs_at_every_level_leaves_the_rest_of_the_answer(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    for method in ("BatchGetWallets", "BatchGetEarnings", "BatchListRedemptions"):
        alliance.recorder.delays[method] = 10
    settings = settings_of(alliance, keys, late_call_timeout_seconds=0.1, request_timeout_seconds=4)
    app = create_app(settings, Telemetry(None))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http,
    ):
        answer = await http.post(
            "/graphql",
            json={"query": _QUERY, "variables": {"id": world.member}},
            headers={"Authorization": f"Bearer {gateway.member(world.member)}"},
        )
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["data"]["member"]["displayName"]
    assert body["data"]["member"]["wallet"] is None
    assert {error["extensions"]["code"] for error in body["errors"]} == {"SERVICE_UNAVAILABLE"}
