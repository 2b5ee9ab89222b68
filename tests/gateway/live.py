"""The gateway on a port of its own, for those who hold connections open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from gateway.app import create_app
from gateway.config import LiveLimits
from gateway.live.live import Live
from gateway.server import Server, listen
from gateway.tokens import Tokens
from services.shared.metrics.instruments import Meter
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import settings_of, tokens_of
from tests.gateway.fakes import FakeAlliance

WALLET = """
subscription W($id: ID, $after: String) {
  walletChanged(memberId: $id, after: $after) { cursor wallet { balance } }
}
"""
ACCEPTED = """
subscription A($member: ID, $partner: ID, $after: String) {
  dropOffAccepted(memberId: $member, partnerId: $partner, after: $after) { cursor dropOff { weightGrams } }
}
"""
IMPACT = "subscription { allianceImpact { cursor impact { claims co2eMg } } }"


@dataclass
class Served:
    """A gateway that answers at a URL."""

    url: str
    # Where probes ask.
    probes: str
    live: Live
    tokens: Tokens
    meter: Meter

    def operator(self) -> str:
        return self.tokens.for_operator("operator").text

    def partner(self, partner_id: str) -> str:
        return self.tokens.for_partner(partner_id, f"client_{partner_id}").text

    def member(self, member_id: str, partner_id: str = "partner_any") -> str:
        return self.tokens.for_member(member_id, partner_id, f"client_{partner_id}").text


@asynccontextmanager
async def served(
    alliance: FakeAlliance,
    keys: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = monotonic,
    **limits: Any,
) -> AsyncIterator[Served]:
    """A gateway with these limits on what is live, and other settings."""
    made = settings_of(alliance, keys, live=LiveLimits(**limits), **(settings or {}))
    telemetry = Telemetry()
    app = create_app(made, telemetry, clock)
    listening, probed = listen("127.0.0.1:0"), listen("127.0.0.1:0")
    server = Server(app, made, probed)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    url, probes = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (listening, probed))
    yield Served(url, probes, app.state.live, tokens_of(keys), telemetry.meter)
    server.should_exit = True
    await task


async def until(condition: Any) -> None:
    """Waits for something that has to become true."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
