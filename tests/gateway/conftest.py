"""The gateway in this process, over stand-ins of the services that count what they are asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from alliance.accounts.v1 import accounts_pb2
from alliance.logistics.v1 import logistics_pb2
from alliance.rewards.v1 import rewards_pb2
from deploy.local.keys import identity_key, token_key, trust_file
from gateway.app import create_app
from gateway.config import Rates, Settings
from gateway.tokens import TokenKeys, Tokens
from services.shared.identity import Verifier
from services.shared.ids import new_id
from services.shared.metrics.instruments import Meter
from services.shared.telemetry import Telemetry
from tests.gateway.fakes import LATER, NOW, FakeAlliance

URL = "http://gateway.test"
GRAPHQL = "application/graphql-response+json"


def pytest_configure(config: pytest.Config) -> None:
    # Known and decided: see gateway/tokens.py.
    config.addinivalue_line("filterwarnings", "ignore:EdDSA is deprecated")


@pytest.fixture(scope="session")
async def alliance(keys: Path) -> AsyncIterator[FakeAlliance]:
    alliance = FakeAlliance(Verifier.from_file(trust_file(keys)))
    await alliance.start()
    yield alliance
    await alliance.stop()


def settings_of(alliance: FakeAlliance, keys: Path, **changes: Any) -> Settings:
    targets = {f"{name}_target": server.target for name, server in alliance.servers.items()}
    # All tests share one address, and one process's clock; what is tested by name has rates of its own.
    changes.setdefault("rates", Rates(address=10**9, strangers_unseen=10**9, member=10**9))
    # Nor must one test's failures keep the next from calling.
    changes.setdefault("breaker_failures", 0)
    changes.setdefault("issuer", URL)
    # Nor what else the machine has to do: who tests a bound in seconds sets it.
    changes.setdefault("call_timeout_seconds", 60)
    changes.setdefault("request_timeout_seconds", 120)
    return Settings(
        token_key_file=token_key(keys),
        identity_key_file=identity_key(keys, "gateway"),
        plaintext=True,
        **targets,
        **changes,
    )


@pytest.fixture(scope="session")
async def app(alliance: FakeAlliance, keys: Path) -> AsyncIterator[Starlette]:
    app = create_app(settings_of(alliance, keys), Telemetry(None))
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def gateway_with(
    alliance: FakeAlliance, keys: Path, clock: Callable[[], float] = monotonic, **changes: Any
) -> AsyncIterator["Gateway"]:
    """A gateway of its own, with other settings."""
    telemetry = Telemetry()
    app = create_app(settings_of(alliance, keys, **changes), telemetry, clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http,
    ):
        yield Gateway(http, tokens_of(keys), telemetry.meter)


def tokens_of(keys: Path) -> Tokens:
    """Signs as the gateway does."""
    return Tokens(TokenKeys.from_file(token_key(keys)), URL, partner_seconds=900, member_seconds=600)


@dataclass
class Gateway:
    """A caller of the gateway."""

    http: httpx.AsyncClient
    tokens: Tokens
    # What a gateway of its own counts.
    meter: Meter = field(default_factory=Meter)

    async def post(self, query: str, token: str | None = None, **variables: Any) -> httpx.Response:
        headers = {"Accept": GRAPHQL} | ({"Authorization": f"Bearer {token}"} if token else {})
        return await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)

    async def ask(self, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
        """The whole answer, whatever it is."""
        return dict((await self.post(query, token, **variables)).json())

    async def data(self, query: str, token: str | None = None, **variables: Any) -> Any:
        """The data of an answer that has to be without errors."""
        answer = await self.ask(query, token, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def operator(self) -> str:
        return self.tokens.for_operator("operator").text

    def partner(self, partner_id: str) -> str:
        return self.tokens.for_partner(partner_id, f"client_{partner_id}").text

    def member(self, member_id: str, partner_id: str = "partner_any") -> str:
        return self.tokens.for_member(member_id, partner_id, f"client_{partner_id}").text


@pytest.fixture
async def gateway(app: Starlette, alliance: FakeAlliance, keys: Path) -> AsyncIterator[Gateway]:
    alliance.reset()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
        yield Gateway(http, tokens_of(keys))
    alliance.reset()


def codes(answer: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """The errors of an answer: code and path of each."""
    return [(error["extensions"]["code"], error.get("path", [])) for error in answer.get("errors", [])]


@dataclass
class World:
    """A member with one of everything, enrolled by a brand."""

    brand: str
    other_brand: str
    member: str
    act: str
    claim: str
    drop_off: str
    machine: str
    point: str
    reward: str
    redemption: str
    settlement: str
    others: list[str] = field(default_factory=list)


@pytest.fixture
def world(alliance: FakeAlliance) -> World:
    """A fresh one, beside those of other tests."""
    return make_world(alliance)


def make_world(alliance: FakeAlliance) -> World:
    """Puts a world into the services."""
    brand, other = alliance.partners.add("Groenmarkt").id, alliance.partners.add("Noodle House").id
    world = World(
        brand,
        other,
        *(new_id(prefix) for prefix in ("member", "act", "claim", "dropoff", "machine", "point", "reward")),
        new_id("redemption"),
        new_id("settlement"),
    )
    accounts, logistics, rewards = alliance.accounts, alliance.logistics, alliance.rewards
    accounts.members[world.member] = accounts_pb2.Member(
        id=world.member, display_name="Ada", enrolled_at=NOW, enrolled_by_partner_id=brand
    )
    for partner_id, number in ((brand, "C-1"), (other, "N-1")):
        accounts.identities.append(
            accounts_pb2.Identity(partner_id=partner_id, customer_number=number, member_id=world.member, linked_at=NOW)
        )
    accounts.acts[world.act] = accounts_pb2.Act(
        id=world.act,
        member_id=world.member,
        partner_id=brand,
        kind=accounts_pb2.ACT_KIND_PET_RECYCLING,
        quantity=9,
        occurred_at=NOW,
        recorded_at=NOW,
        status=accounts_pb2.ACT_STATUS_CREDITED,
        claim_id=world.claim,
        new_co2e_mg=14_850,
        drop_off_id=world.drop_off,
    )
    accounts.claims[world.claim] = accounts_pb2.Claim(
        id=world.claim,
        member_id=world.member,
        act_id=world.act,
        partner_id=brand,
        kind=accounts_pb2.ACT_KIND_PET_RECYCLING,
        quantity=9,
        co2e_mg=14_850,
        factor_id="pet-recycling-2025",
        occurred_at=NOW,
    )
    logistics.points[world.point] = logistics_pb2.RecyclingPoint(
        id=world.point,
        name="Station",
        location={"latitude": 52.09, "longitude": 5.11},
        address="Square 1",
        partner_id=brand,
        materials=[logistics_pb2.MATERIAL_PET],
        created_at=NOW,
    )
    logistics.machines[world.machine] = logistics_pb2.Machine(
        id=world.machine, recycling_point_id=world.point, partner_id=brand, public_key=b"k" * 32, registered_at=NOW
    )
    logistics.drop_offs[world.drop_off] = logistics_pb2.DropOff(
        id=world.drop_off,
        member_id=world.member,
        machine_id=world.machine,
        recycling_point_id=world.point,
        partner_id=brand,
        material=logistics_pb2.MATERIAL_PET,
        weight_grams=9,
        occurred_at=NOW,
        event_hash="00",
    )
    lot = rewards_pb2.Lot(
        issuer_partner_id=brand, points=30, unit_value={"currency": "EUR", "micros": 4_000}, expires_at=LATER
    )
    given = rewards_pb2.Lot(rule_id=f"rule_{brand}", claim_id=world.claim, agreement_id=f"agreement of {brand}")
    given.MergeFrom(lot)
    lot.id = f"lot of {world.member}"
    rewards.earnings[world.claim] = rewards_pb2.Earning(
        claim_id=world.claim,
        member_id=world.member,
        partner_id=brand,
        status=rewards_pb2.EARNING_STATUS_ISSUED,
        points=30,
        lots=[given],
        decided_at=NOW,
    )
    rewards.wallets[world.member] = rewards_pb2.Wallet(
        member_id=world.member, balance=30, held=10, available=20, lots=[lot]
    )
    rewards.entries.append(
        rewards_pb2.Entry(
            id=new_id("entry"),
            member_id=world.member,
            kind=rewards_pb2.ENTRY_KIND_EARN,
            points=30,
            at=NOW,
            claim_id=world.claim,
            lots=[lot],
        )
    )
    rewards.rewards[world.reward] = rewards_pb2.Reward(
        id=world.reward, partner_id=other, title="Soup", points=10, stock=5, created_at=NOW
    )
    rewards.redemptions[world.redemption] = rewards_pb2.Redemption(
        id=world.redemption,
        reward_id=world.reward,
        member_id=world.member,
        partner_id=other,
        status=rewards_pb2.REDEMPTION_STATUS_HELD,
        points=10,
        voucher_code="SECRET",
        created_at=NOW,
    )
    settlement = rewards_pb2.Settlement(id=world.settlement, number=1, until=NOW, lines=1, lines_hash="00")
    for partner_id, micros in ((brand, -40_000), (other, 40_000)):
        settlement.positions.add(partner_id=partner_id, net={"currency": "EUR", "micros": micros})
    rewards.settlements[world.settlement] = settlement
    rewards.lines[:] = [
        rewards_pb2.SettlementLine(
            id="line_1", redemption_id=world.redemption, debtor_partner_id=brand, creditor_partner_id=other, points=10
        )
    ]
    return world
