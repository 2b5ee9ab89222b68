"""A rewards process for tests, with a partners service in this process that prices claims as the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from grpc import aio

from alliance.accounts.v1.accounts_pb2 import ACT_KIND_METRO_TRIP, ActKind
from alliance.partners.v1 import partners_pb2
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceServicer, add_PartnersServiceServicer_to_server
from alliance.rewards.v1 import rewards_pb2 as pb
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from services.shared.client import Client
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.support.service import OPERATOR, PATIENCE_SECONDS, ServiceProcess, member, partner, request_id

LATER = datetime(2100, 1, 1, tzinfo=UTC)
CENT = 10_000  # micros


@dataclass
class Price:
    """What a claim is to earn, as lots of (points, expiry); by default one lot."""

    lots: list[tuple[int, datetime]] = field(default_factory=list)
    reason: str = ""
    unit_value: int = CENT
    available_at: datetime | None = None  # pending until then


class FakePartners(PartnersServiceServicer):
    """Every partner is approved unless listed; a claim without a price earns as many points as its quantity."""

    def __init__(self) -> None:
        self.prices: dict[str, Price] = {}
        self.values: dict[str, int] = {}  # per partner
        self.inactive: set[str] = set()
        self.questions: list[str] = []
        self.released: list[str] = []

    async def BatchEvaluateEarns(  # noqa: N802
        self, request: Any, context: Any
    ) -> partners_pb2.BatchEvaluateEarnsResponse:
        return partners_pb2.BatchEvaluateEarnsResponse(decisions=map(self._decide, request.questions))

    async def BatchReleaseEarns(  # noqa: N802
        self, request: Any, context: Any
    ) -> partners_pb2.BatchReleaseEarnsResponse:
        self.released += request.claim_ids
        return partners_pb2.BatchReleaseEarnsResponse()

    async def gives_back(self, claim_id: str) -> None:
        """Waits until the claim's reserve was given back: that is told by an event, perhaps after the answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while claim_id not in self.released:
                await asyncio.sleep(0.02)

    async def BatchGetPartners(  # noqa: N802
        self, request: Any, context: Any
    ) -> partners_pb2.BatchGetPartnersResponse:
        found = [
            partners_pb2.Partner(id=id, status=partners_pb2.PARTNER_STATUS_APPROVED)
            for id in request.ids
            if id not in self.inactive
        ]
        return partners_pb2.BatchGetPartnersResponse(partners=found)

    def _decide(self, question: Any) -> partners_pb2.EarnDecision:
        self.questions.append(question.claim_id)
        default = Price([(question.quantity, LATER)], unit_value=self.values.get(question.partner_id, CENT))
        price = self.prices.get(question.claim_id, default)
        return partners_pb2.EarnDecision(
            claim_id=question.claim_id,
            partner_id=question.partner_id,
            grants=[
                partners_pb2.EarnGrant(rule_id=f"rule_{number}", points=points, expires_at=timestamp(expires))
                for number, (points, expires) in enumerate(price.lots)
            ],
            reason=price.reason,
            unit_value={"currency": "EUR", "micros": price.unit_value},
            agreement_id=f"agreement of {question.partner_id}",
            available_at=timestamp(price.available_at),
        )


@dataclass
class World:
    """The service and who calls it."""

    process: ServiceProcess
    partners: FakePartners
    gateway: Client[Any]
    accounts: Client[Any]
    partners_service: Client[Any]
    database: str

    async def allot(self, partner_id: str, points: int) -> str:
        """A paid block; its id."""
        block = new_id("block")
        event = pb.PrepaidBlockPaid(event_id=block, block_id=block, partner_id=partner_id, points=points)
        client = self.partners_service
        await client.call(client.stub.AllotPrepaidBlocks, pb.AllotPrepaidBlocksRequest(events=[event]))
        return block

    async def new_partner(self, points: int = 1_000_000, unit_value: int = CENT) -> str:
        """One with points to issue, at that value each in micros."""
        id = new_id("partner")
        self.partners.values[id] = unit_value
        await self.allot(id, points)
        return id

    async def record(self, *events: pb.ClaimRecorded) -> list[pb.Earning]:
        client = self.accounts
        return list((await client.call(client.stub.RecordClaims, pb.RecordClaimsRequest(events=events))).earnings)

    async def earn(self, member_id: str, partner_id: str, points: int, *, price: Price | None = None) -> pb.Earning:
        """Points for a fresh claim."""
        event = claim(member_id, partner_id, points)
        if price:
            self.partners.prices[event.claim_id] = price
        (earning,) = await self.record(event)
        return earning

    async def new_member(self, points: int = 0, partner_id: str = "") -> str:
        """One who has points of that partner, or of a new one."""
        id = new_id("member")
        if points:
            earning = await self.earn(id, partner_id or await self.new_partner(), points)
            assert earning.status == pb.EARNING_STATUS_ISSUED, earning.reason
        return id

    async def reward(self, partner_id: str, points: int, stock: int = 1_000) -> pb.Reward:
        request = pb.CreateRewardRequest(request_id=request_id(), title="Coffee", points=points, stock=stock)
        return (await self.call("CreateReward", request, partner(partner_id))).reward

    async def redeem(self, member_id: str, reward_id: str) -> pb.Redemption:
        request = pb.RedeemRequest(request_id=request_id(), reward_id=reward_id)
        return (await self.call("Redeem", request, member(member_id))).redemption

    async def capture(self, partner_id: str, voucher: str, points: int = 0) -> pb.Redemption:
        request = pb.CaptureRedemptionRequest(request_id=request_id(), voucher_code=voucher, points=points)
        return (await self.call("CaptureRedemption", request, partner(partner_id))).redemption

    async def void(self, redemption_id: str, caller: Any) -> pb.Redemption:
        request = pb.VoidRedemptionRequest(request_id=request_id(), redemption_id=redemption_id)
        return (await self.call("VoidRedemption", request, caller)).redemption

    async def spend(self, member_id: str, partner_id: str, points: int) -> pb.Redemption:
        """At that partner, all the way."""
        reward = await self.reward(partner_id, points)
        held = await self.redeem(member_id, reward.id)
        return await self.capture(partner_id, held.voucher_code)

    async def reverse(
        self, partner_id: str, redemption_id: str, points: int = 0, *, restock: bool = False
    ) -> pb.Redemption:
        request = pb.ReverseRedemptionRequest(
            request_id=request_id(), redemption_id=redemption_id, points=points, restock=restock
        )
        return (await self.call("ReverseRedemption", request, partner(partner_id))).redemption

    async def gift_code(self, member_id: str) -> str:
        request = pb.CreateGiftCodeRequest(request_id=request_id())
        return str((await self.call("CreateGiftCode", request, member(member_id))).code)

    async def give(self, member_id: str, code: str, points: int) -> pb.Gift:
        request = pb.GiftPointsRequest(request_id=request_id(), code=code, points=points)
        return (await self.call("GiftPoints", request, member(member_id))).gift

    async def cancel(self, claim_id: str, caller: Any = OPERATOR) -> pb.CancelEarningResponse:
        return await self.call(
            "CancelEarning", pb.CancelEarningRequest(request_id=request_id(), claim_id=claim_id), caller
        )

    async def settle(self) -> pb.Settlement:
        request = pb.RunSettlementRequest(request_id=request_id())
        return (await self.call("RunSettlement", request, OPERATOR)).settlement

    async def wallet(self, member_id: str) -> pb.Wallet:
        return (await self.call("BatchGetWallets", pb.BatchGetWalletsRequest(member_ids=[member_id]))).wallets[0]

    async def entries(self, member_id: str, first: int = 100, after: str = "") -> Any:
        request = pb.BatchListEntriesRequest(member_ids=[member_id], page={"first": first, "after": after})
        return (await self.call("BatchListEntries", request)).members[0]

    async def points(self, partner_id: str) -> pb.PartnerPoints:
        """With the identities that always hold."""
        request = pb.BatchGetPartnerPointsRequest(partner_ids=[partner_id])
        (found,) = (await self.call("BatchGetPartnerPoints", request)).partners
        assert found.allotted + found.cancelled == found.issued + found.allotment_left
        assert found.issued == found.cancelled + found.spent + found.expired + found.outstanding
        return found

    async def verify(self) -> str:
        """What is wrong with the ledger; empty if nothing."""
        answer = await self.call("VerifyLedger", pb.VerifyLedgerRequest(), OPERATOR)
        assert answer.clean == (answer.finding == "")
        return str(answer.finding)

    async def call(self, method: str, request: Any, caller: Any = None, **options: Any) -> Any:
        """As the gateway, for whomever."""
        return await self.gateway.call(getattr(self.gateway.stub, method), request, caller=caller, **options)


@asynccontextmanager
async def rewards_world(mongodb_uri: str, keys: Path, log: Path, **environment: str) -> AsyncIterator[World]:
    """Both services, running."""
    fake = FakePartners()
    server = aio.server()
    add_PartnersServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    database = f"test_rewards_{uuid4().hex[:8]}"
    environment |= {"ALLIANCE_PARTNERS_TARGET": f"127.0.0.1:{port}", "ALLIANCE_MONGODB_DATABASE": database}
    process = ServiceProcess("rewards", mongodb_uri, keys, log, **environment)
    process.start()
    clients = [process.client(RewardsServiceStub, name) for name in ("gateway", "accounts", "partners")]
    yield World(process, fake, *clients, database)
    for client in clients:
        await client.close()
    await server.stop(None)
    assert process.stop() == 0


def claim(
    member_id: str, partner_id: str, quantity: int = 100, kind: ActKind.ValueType = ACT_KIND_METRO_TRIP
) -> pb.ClaimRecorded:
    """A fresh one."""
    id = new_id("claim")
    return pb.ClaimRecorded(
        event_id=f"{id}:recorded",
        claim_id=id,
        partner_id=partner_id,
        member_id=member_id,
        kind=kind,
        quantity=quantity,
        occurred_at=timestamp(datetime.now(UTC) - timedelta(hours=1)),
    )
