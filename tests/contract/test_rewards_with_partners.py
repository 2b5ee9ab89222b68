"""Rewards and partners, both real: agreement, block, rule and campaign become points, and come back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alliance.accounts.v1.accounts_pb2 import ACT_KIND_METRO_TRIP
from alliance.partners.v1 import partners_pb2
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from alliance.rewards.v1 import rewards_pb2 as pb
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from deploy.local.embedded import free_port
from services.shared.errors import FailedPrecondition
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.contract.rewards_world import LATER, claim
from tests.support.errors import refused
from tests.support.service import ANYONE, OPERATOR, PATIENCE_SECONDS, ServiceProcess, member, partner, request_id


class Both:
    """The two services' clients, as gateway and as accounts."""

    def __init__(self, partners: ServiceProcess, rewards: ServiceProcess) -> None:
        self.partners = partners.client(PartnersServiceStub)
        self.rewards = rewards.client(RewardsServiceStub)
        self.accounts = rewards.client(RewardsServiceStub, "accounts")

    async def ask_partners(self, method: str, request: Any, caller: Any) -> Any:
        request.request_id = request_id()
        return await self.partners.call(getattr(self.partners.stub, method), request, caller=caller)

    async def ask_rewards(self, method: str, request: Any, caller: Any = None) -> Any:
        return await self.rewards.call(getattr(self.rewards.stub, method), request, caller=caller)

    async def record(self, *events: pb.ClaimRecorded) -> list[pb.Earning]:
        request = pb.RecordClaimsRequest(events=events)
        return list((await self.accounts.call(self.accounts.stub.RecordClaims, request)).earnings)

    async def set_status(self, partner_id: str, status: partners_pb2.PartnerStatus.ValueType) -> None:
        request = partners_pb2.SetPartnerStatusRequest(partner_id=partner_id, status=status)
        await self.ask_partners("SetPartnerStatus", request, OPERATOR)

    async def brand(self, name: str, points: int) -> str:
        """One that has agreed on a cent a point, paid a block, and gives a point per kilometre of metro."""
        ago = timestamp(datetime.now(UTC) - timedelta(days=30))
        application = partners_pb2.ApplyPartnerRequest(name=name, trade="grocer", country="NL")
        id = str((await self.ask_partners("ApplyPartner", application, ANYONE)).partner.id)
        await self.set_status(id, partners_pb2.PARTNER_STATUS_APPROVED)
        offer = partners_pb2.OfferAgreementRequest(
            partner_id=id, unit_value={"currency": "EUR", "micros": 10_000}, valid_from=ago
        )
        agreement = (await self.ask_partners("OfferAgreement", offer, OPERATOR)).agreement
        accept = partners_pb2.AcceptAgreementRequest(agreement_id=agreement.id)
        await self.ask_partners("AcceptAgreement", accept, partner(id))
        order = partners_pb2.OrderPrepaidBlockRequest(points=points)
        block = (await self.ask_partners("OrderPrepaidBlock", order, partner(id))).block
        confirm = partners_pb2.ConfirmPrepaidBlockRequest(block_id=block.id)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await self.ask_partners("ConfirmPrepaidBlock", confirm, OPERATOR)).allotted:
                await asyncio.sleep(0.05)
        rule = partners_pb2.CreateEarnRuleRequest(
            kind=ACT_KIND_METRO_TRIP, points=1, per_quantity=1_000, valid_from=ago, points_valid_months=12
        )
        await self.ask_partners("CreateEarnRule", rule, partner(id))
        return id


@pytest.fixture(scope="module")
async def both(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[Both]:
    address = f"127.0.0.1:{free_port()}"  # each has to know the other's
    rewards = ServiceProcess(
        "rewards", mongodb_uri, keys, workspace / "rewards-of-both.log", ALLIANCE_PARTNERS_TARGET=address
    )
    targets = {"ALLIANCE_LISTEN": address, "ALLIANCE_REWARDS_TARGET": rewards.target}
    partners = ServiceProcess("partners", mongodb_uri, keys, workspace / "partners-of-both.log", **targets)
    partners.target = address
    partners.start()
    rewards.start()
    yield Both(partners, rewards)
    assert rewards.stop() == 0
    assert partners.stop() == 0


async def test_p3_from_a_paid_block_to_points_and_back_to_the_campaign(both: Both):
    brand, person = await both.brand("Groene Bakker", points=100), new_id("member")
    now = datetime.now(UTC)
    campaign = partners_pb2.CreateCampaignRequest(
        name="Double",
        kind=ACT_KIND_METRO_TRIP,
        extra_percent=100,
        valid_from=timestamp(now - timedelta(days=2)),
        valid_until=timestamp(now + timedelta(days=2)),
        budget_points=500,
        member_cap_points=500,
        points_expire_at=timestamp(LATER.replace(year=now.year + 5)),
    )
    await both.ask_partners("CreateCampaign", campaign, partner(brand))
    (doubled,) = await both.record(claim(person, brand, 40_000))
    assert (doubled.status, doubled.points) == (pb.EARNING_STATUS_ISSUED, 80)
    assert sorted(lot.points for lot in doubled.lots) == [40, 40]
    assert {lot.unit_value.micros for lot in doubled.lots} == {10_000}

    async def granted() -> int:
        request = partners_pb2.BatchListEarnRulesRequest(partner_ids=[brand])
        answer = await both.partners.call(both.partners.stub.BatchListEarnRules, request)
        return int(answer.partners[0].campaigns[0].granted_points)

    async def given_back_to(points: int) -> None:
        """What was not issued is given back by an event, which may come later than the answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await granted() != points:
                await asyncio.sleep(0.05)

    assert await granted() == 40
    (over,) = await both.record(claim(person, brand, 11_000))
    assert (over.status, over.reason) == (pb.EARNING_STATUS_REFUSED, "PREPAID_BLOCK_EXHAUSTED")
    await given_back_to(40)
    cancel = pb.CancelEarningRequest(request_id=request_id(), claim_id=doubled.claim_id)
    await both.ask_rewards("CancelEarning", cancel, partner(brand))
    await given_back_to(0)
    request = pb.BatchGetPartnerPointsRequest(partner_ids=[brand])
    (points,) = (await both.ask_rewards("BatchGetPartnerPoints", request)).partners
    assert (points.allotted, points.issued, points.cancelled, points.allotment_left) == (100, 80, 80, 100)


async def test_p1_a_suspended_brand_cannot_issue_and_its_points_still_spend(both: Both):
    brand, shop = await both.brand("Snelle Koerier", 1_000), await both.brand("Warme Koffie", 1_000)
    person = new_id("member")
    await both.record(claim(person, brand, 50_000))
    await both.set_status(brand, partners_pb2.PARTNER_STATUS_SUSPENDED)
    (refusal,) = await both.record(claim(person, brand, 50_000))
    assert (refusal.status, refusal.reason) == (pb.EARNING_STATUS_REFUSED, "PARTNER_SUSPENDED")
    new = pb.CreateRewardRequest(request_id=request_id(), title="Espresso", points=20, stock=5)
    reward = (await both.ask_rewards("CreateReward", new, partner(shop))).reward
    redeem = pb.RedeemRequest(request_id=request_id(), reward_id=reward.id)
    held = (await both.ask_rewards("Redeem", redeem, member(person))).redemption
    capture = pb.CaptureRedemptionRequest(request_id=request_id(), voucher_code=held.voucher_code)
    captured = (await both.ask_rewards("CaptureRedemption", capture, partner(shop))).redemption
    assert [(lot.issuer_partner_id, lot.points) for lot in captured.lots] == [(brand, 20)]
    new.request_id = request_id()
    await both.set_status(brand, partners_pb2.PARTNER_STATUS_CLOSED)
    error = await refused(FailedPrecondition, both.ask_rewards("CreateReward", new, partner(brand)))
    assert error.reason == "PARTNER_NOT_ACTIVE"
