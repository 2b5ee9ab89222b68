"""The whole alliance as tests use it: real processes, and brands, members and machines that come through its doors.

Every call makes a request id of its own unless one is given. A refusal is raised as `Refused`, with its reason.
"""

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp

from alliance.logistics.v1 import logistics_pb2
from deploy.local.alliance import OPERATOR_CLIENT_ID, Alliance
from deploy.local.day import documents
from deploy.local.day.cast import Kind, Material
from deploy.local.day.doors import Doors, Person, backend
from deploy.local.day.keepsakes import public_bytes
from deploy.local.day.stage import iso
from gateway.errors import SERVICE_UNAVAILABLE
from tests.support.documents import (
    CANCEL_EARNING,
    CREATE_GIFT_CODE,
    EARNING,
    GIFT_POINTS,
    MEMBER,
    PARTNER_POINTS,
    REVERSE_REDEMPTION,
    WALLET,
)

POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
LONG_AGO = timedelta(days=300)


def now() -> datetime:
    """This moment in UTC, to the millisecond."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@dataclass
class World:
    """The running alliance, and its operator."""

    alliance: Alliance
    doors: Doors
    http: httpx.AsyncClient
    operator: Person

    @classmethod
    def of(cls, alliance: Alliance) -> "World":
        """Doors into a running alliance; to be closed."""
        return cls(
            alliance,
            Doors(alliance.url, alliance.machines_target, authorities=alliance.machines_authorities),
            httpx.AsyncClient(base_url=alliance.url, timeout=15, trust_env=False),
            backend("operator", OPERATOR_CLIENT_ID, alliance.operator_secret),
        )

    async def close(self) -> None:
        """Ends all connections."""
        await self.doors.close()
        await self.http.aclose()

    async def ask(self, person: Person | None, document: str, **variables: Any) -> dict[str, Any]:
        """The whole answer of a document, errors and all, once every service behind it has been in time to answer."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            answer = await self.ask_once(person, document, **variables)
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            if SERVICE_UNAVAILABLE not in codes or time.monotonic() > until:
                return answer
            await asyncio.sleep(POLL_SECONDS)

    async def ask_once(self, person: Person | None, document: str, **variables: Any) -> dict[str, Any]:
        """The whole answer of a document, errors and all, at the first attempt."""
        headers = {"authorization": f"Bearer {await self.doors.token(person)}"} if person else {}
        answer = await self.http.post("/graphql", json={"query": document, "variables": variables}, headers=headers)
        body: dict[str, Any] = answer.json()
        return body

    async def query(self, person: Person | None, document: str, **variables: Any) -> Any:
        """The data of a document; Refused with its first error."""
        return await self.doors.execute(person, document, variables)

    async def mutate(self, person: Person | None, document: str, **fields: Any) -> Any:
        """The payload of a mutation."""
        return await self.doors.mutate(person, document, **{"requestId": uuid4().hex, **fields})

    async def applied(self, name: str = "") -> str:
        """The id of a new brand that nobody has approved yet."""
        name = name or f"Brand {uuid4().hex[:10]}"
        made = await self.mutate(None, documents.APPLY_PARTNER, name=name, trade="grocer", country="NL")
        return str(made["partner"]["id"])

    async def set_status(self, partner_id: str, status: str) -> Any:
        """The operator moves a brand through its life."""
        return await self.mutate(self.operator, documents.SET_PARTNER_STATUS, partnerId=partner_id, status=status)

    async def brand(
        self, *, unit_value_micros: int = 10_000, block: int = 1_000_000, earns: Mapping[Kind, int] | None = None
    ) -> "Brand":
        """An approved brand with credentials, and since long ago an agreement, a paid block and rules.

        `earns` gives the points for one unit of a kind.
        """
        partner_id = await self.applied()
        await self.set_status(partner_id, "APPROVED")
        made = await self.mutate(self.operator, documents.CREATE_API_CLIENT, partnerId=partner_id, label="tests")
        brand = Brand(self, partner_id, backend(partner_id, made["client"]["id"], made["secret"]))
        if unit_value_micros:
            await brand.agree(unit_value_micros)
        if block:
            await brand.buy(block)
        for kind, points in (earns or {}).items():
            await brand.rule(kind, points)
        return brand

    async def settle(self) -> Any:
        """The operator runs a settlement."""
        return (await self.mutate(self.operator, documents.RUN_SETTLEMENT))["settlement"]

    async def report(self) -> Any:
        """The operator's report of the whole alliance."""
        return (await self.query(self.operator, documents.REPORT))["report"]

    async def earning(self, claim_id: str, within_seconds: float = _PATIENCE_SECONDS) -> Any:
        """What a claim earned, as soon as that is decided."""
        until = time.monotonic() + within_seconds
        while True:
            earning = (await self.query(self.operator, EARNING, id=claim_id))["claim"]["earning"]
            if earning is not None:
                return earning
            assert time.monotonic() < until, f"nothing was decided on {claim_id} within {within_seconds} s"
            await asyncio.sleep(POLL_SECONDS)


@dataclass
class Brand:
    """A brand and its backend."""

    world: World
    id: str
    person: Person

    async def agree(self, unit_value_micros: int, valid_from: datetime | None = None) -> str:
        """The operator offers an agreement and the brand accepts; its id."""
        offered = await self.world.mutate(
            self.world.operator,
            documents.OFFER_AGREEMENT,
            partnerId=self.id,
            unitValue={"currency": "EUR", "micros": unit_value_micros},
            validFrom=iso(valid_from or now() - LONG_AGO),
        )
        agreement_id: str = offered["agreement"]["id"]
        await self.world.mutate(self.person, documents.ACCEPT_AGREEMENT, agreementId=agreement_id)
        return agreement_id

    async def buy(self, points: int) -> None:
        """A prepaid block is ordered, paid, and in the ledger."""
        ordered = await self.world.mutate(self.person, documents.ORDER_PREPAID_BLOCK, points=points)
        paid = {"requestId": uuid4().hex, "blockId": ordered["block"]["id"]}
        while not (await self.world.mutate(self.world.operator, documents.CONFIRM_PREPAID_BLOCK, **paid))["allotted"]:
            await asyncio.sleep(POLL_SECONDS)

    async def rule(
        self,
        kind: Kind,
        points: int,
        per_quantity: int = 1,
        valid_from: datetime | None = None,
        months: int = 12,
        return_window_days: int = 0,
    ) -> Any:
        """A new earn rule."""
        made = await self.world.mutate(
            self.person,
            documents.CREATE_EARN_RULE,
            kind=kind,
            points=points,
            perQuantity=per_quantity,
            validFrom=iso(valid_from or now() - LONG_AGO),
            pointsValidMonths=months,
            returnWindowDays=return_window_days,
        )
        return made["rule"]

    async def campaign(self, kind: Kind, **fields: Any) -> Any:
        """A campaign that runs now and doubles points, unless the fields say otherwise."""
        usual = {
            "name": "More for a while",
            "kind": kind,
            "extraPercent": 100,
            "validFrom": iso(now() - timedelta(days=10)),
            "validUntil": iso(now() + timedelta(days=10)),
            "budgetPoints": 100_000,
            "memberCapPoints": 100_000,
            "pointsExpireAt": iso(now() + timedelta(days=60)),
        }
        made = await self.world.mutate(self.person, documents.CREATE_CAMPAIGN, **{**usual, **fields})
        return made["campaign"]

    async def enrol(self, name: str = "Noor Veen", number: str = "") -> "Member":
        """A new member of the alliance, by this brand."""
        number = number or f"N-{uuid4().hex[:12]}"
        made = await self.world.mutate(self.person, documents.ENROL_MEMBER, displayName=name, customerNumber=number)
        return Member(self.world, made["member"]["id"], self.person.at(number), {self.id: number})

    async def report_acts(self, *acts: Mapping[str, Any], **fields: Any) -> list[Any]:
        """What came of acts that the brand reports; made with `act`."""
        done = await self.world.mutate(self.person, documents.REPORT_ACTS, reports=list(acts), **fields)
        return list(done["acts"])

    async def reward(self, points: int, stock: int = 1_000, title: str = "A cup of soup") -> str:
        """The id of a new reward."""
        made = await self.world.mutate(
            self.person, documents.CREATE_REWARD, title=title, description="", points=points, stock=stock
        )
        return str(made["reward"]["id"])

    async def capture(self, voucher_code: str, points: int = 0, **fields: Any) -> Any:
        """Takes a voucher in at the brand's till."""
        done = await self.world.mutate(
            self.person, documents.CAPTURE_REDEMPTION, voucherCode=voucher_code, points=points, **fields
        )
        return done["redemption"]

    async def cancel(self, claim_id: str, **fields: Any) -> Any:
        """Takes back the points of a claim."""
        return await self.world.mutate(self.person, CANCEL_EARNING, claimId=claim_id, **fields)

    async def reverse(self, redemption_id: str, points: int = 0, **fields: Any) -> Any:
        """Takes a spend at this brand back."""
        done = await self.world.mutate(
            self.person, REVERSE_REDEMPTION, redemptionId=redemption_id, points=points, **fields
        )
        return done["redemption"]

    async def points(self) -> Any:
        """The brand's points by the ledger."""
        return (await self.world.query(self.person, PARTNER_POINTS, id=self.id))["partner"]["points"]

    async def sees(self, member: "Member") -> Any:
        """What the brand is shown of a member."""
        return (await self.world.query(self.person, MEMBER, id=member.id))["member"]

    async def machine(self, materials: Sequence[Material] = ("PET", "CARDBOARD", "REUSABLE_BOX")) -> "Machine":
        """A machine at a new recycling point of the brand."""
        point = await self.world.mutate(
            self.person,
            documents.CREATE_RECYCLING_POINT,
            name=f"Point {uuid4().hex[:8]}",
            location={"latitude": 52.3791, "longitude": 4.9003},
            address="Stationsplein, Amsterdam",
            materials=list(materials),
        )
        key = Ed25519PrivateKey.generate()
        registered = await self.world.mutate(
            self.person,
            documents.REGISTER_MACHINE,
            recyclingPointId=point["recyclingPoint"]["id"],
            publicKey=base64.b64encode(public_bytes(key)).decode(),
        )
        return Machine(self.world, registered["machine"]["id"], key)


@dataclass
class Member:
    """A member at the frontend of the brand that enrolled them. `numbers` are the customer numbers by brand."""

    world: World
    id: str
    person: Person
    numbers: dict[str, str] = field(default_factory=dict)

    async def link(self, brand: Brand, number: str = "") -> None:
        """Becomes a customer of a further brand."""
        code = (await self.world.mutate(self.person, documents.CREATE_LINK_CODE))["code"]
        number = number or f"N-{uuid4().hex[:12]}"
        await self.world.mutate(brand.person, documents.LINK_IDENTITY, code=code, customerNumber=number)
        self.numbers[brand.id] = number

    async def consent(self, brand: Brand, *, granted: bool = True) -> None:
        """Says whether a brand may see the member's data."""
        await self.world.mutate(self.person, documents.SET_CONSENT, partnerId=brand.id, granted=granted)

    async def look(self) -> Any:
        """Everything about the member, as the member sees it."""
        return (await self.world.query(self.person, MEMBER, id=self.id))["member"]

    async def wallet(self) -> Any:
        """The member's points."""
        return (await self.world.query(self.person, WALLET, id=self.id))["member"]["wallet"]

    async def redeem(self, reward_id: str, **fields: Any) -> Any:
        """Holds the points of a reward; the redemption has the voucher's code."""
        return (await self.world.mutate(self.person, documents.REDEEM, rewardId=reward_id, **fields))["redemption"]

    async def void(self, redemption_id: str, **fields: Any) -> Any:
        """Gives a redemption up."""
        done = await self.world.mutate(self.person, documents.VOID_REDEMPTION, redemptionId=redemption_id, **fields)
        return done["redemption"]

    async def gift_code(self) -> str:
        """A code by which others can give this member points."""
        return str((await self.world.mutate(self.person, CREATE_GIFT_CODE))["code"])

    async def give(self, code: str, points: int, **fields: Any) -> Any:
        """Points for whose code that is."""
        return (await self.world.mutate(self.person, GIFT_POINTS, code=code, points=points, **fields))["gift"]

    def act(self, brand: Brand, kind: Kind, quantity: int = 1, *, at: datetime | None = None, ticket: str = "") -> Any:
        """An act of the member as a brand reports it, by its own customer number.

        A trip gets a ticket of its own unless one is named.
        """
        if not ticket and kind.endswith("_TRIP"):
            ticket = f"T-{uuid4().hex}"
        return {
            "customerNumber": self.numbers[brand.id],
            "kind": kind,
            "quantity": quantity,
            "occurredAt": iso(at or now()),
            "reference": ticket,
        }

    async def earn(self, brand: Brand, *acts: Mapping[str, Any]) -> list[Any]:
        """The brand reports these acts; the outcomes, once the points of those that were credited are decided."""
        done = await brand.report_acts(*acts)
        credited = await self.world.query(
            self.world.operator,
            "query Claims($id: ID!) { member(id: $id) { claims(first: 100) { edges { node { id } } } } }",
            id=self.id,
        )
        for edge in credited["member"]["claims"]["edges"]:
            await self.world.earning(edge["node"]["id"])
        return done


@dataclass
class Machine:
    """A recycling machine with its key."""

    world: World
    id: str
    key: Ed25519PrivateKey

    async def capture(
        self,
        *items: logistics_pb2.Item,
        mode: str = "PROCEED",
        batch_id: str = "",
        key: Ed25519PrivateKey | None = None,
    ) -> logistics_pb2.CaptureItemsResponse:
        """What comes of a signed batch; signed with another key if one is given."""
        batch = logistics_pb2.ItemBatch(
            machine_id=self.id,
            batch_id=batch_id or uuid4().hex,
            mode=logistics_pb2.CaptureMode.Value(f"CAPTURE_MODE_{mode}"),
            items=items,
        )
        return await self.world.doors.capture_items(self.id, batch, key or self.key)


def item(
    member: Member, material: Material = "PET", grams: int = 25, *, code: str = "", at: datetime | None = None
) -> logistics_pb2.Item:
    """A thing that the member handed in."""
    occurred_at = Timestamp()
    occurred_at.FromDatetime(at or now())
    if material == "REUSABLE_BOX":
        grams, code = 0, code or uuid4().hex
    return logistics_pb2.Item(
        member_id=member.id,
        material=logistics_pb2.Material.Value(f"MATERIAL_{material}"),
        weight_grams=grams,
        code=code,
        occurred_at=occurred_at,
    )
