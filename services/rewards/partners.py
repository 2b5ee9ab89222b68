"""What the rewards service asks of partners: what claims earn, and whether a partner takes part."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from alliance.accounts.v1.accounts_pb2 import ActKind
from alliance.partners.v1 import partners_pb2 as pb
from services.rewards.domain.earnings import Claim, Grant, Price
from services.shared import checks
from services.shared.client import Client
from services.shared.errors import Unavailable
from services.shared.outbox import Deliver
from services.shared.proto import enum_number, timestamp

if TYPE_CHECKING:
    from alliance.partners.v1.partners_pb2_grpc import PartnersServiceAsyncStub

RELEASES = "earns-released"
# A yes is good for so long: many redeem at one partner at once, and partners close seldom.
_ACTIVE_FOR_SECONDS = 1.0
_ACTIVE = (pb.PARTNER_STATUS_APPROVED, pb.PARTNER_STATUS_SUSPENDED)


class Partners(Protocol):
    """The partners service, as its client here sees it."""

    async def price(self, claims: Sequence[Claim]) -> Mapping[str, Price]:
        """What each claim earns, by claim id. The same for ever; Unavailable if nobody can be asked."""

    async def active(self, partner_id: str) -> bool:
        """Whether the partner takes part: it offers rewards and accepts points."""


class PartnersClient:
    """Over gRPC."""

    def __init__(self, client: "Client[PartnersServiceAsyncStub]") -> None:
        self._client = client
        self._active_until: dict[str, float] = {}

    async def price(self, claims: Sequence[Claim]) -> Mapping[str, Price]:
        questions = [
            pb.EarnQuestion(
                claim_id=claim.id,
                partner_id=claim.partner_id,
                member_id=claim.member_id,
                kind=enum_number(ActKind, claim.kind, "ACT_KIND_"),
                quantity=claim.quantity,
                occurred_at=timestamp(claim.occurred_at),
            )
            for claim in claims
        ]
        request = pb.BatchEvaluateEarnsRequest(questions=questions)
        answer = await self._client.call(self._client.stub.BatchEvaluateEarns, request)
        prices = {decision.claim_id: _price(decision) for decision in answer.decisions}
        if missing := [claim.id for claim in claims if claim.id not in prices]:
            raise Unavailable(f"partners did not decide on {missing[0]}; deliver it again.", reason="EARN_UNDECIDED")
        return prices

    async def active(self, partner_id: str) -> bool:
        if time.monotonic() < self._active_until.get(partner_id, 0.0):
            return True
        request = pb.BatchGetPartnersRequest(ids=[partner_id])
        answer = await self._client.call(self._client.stub.BatchGetPartners, request)
        active = any(partner.id == partner_id and partner.status in _ACTIVE for partner in answer.partners)
        if active:
            self._active_until[partner_id] = time.monotonic() + _ACTIVE_FOR_SECONDS
        return active


def deliveries(client: "Client[PartnersServiceAsyncStub]") -> Mapping[str, Deliver]:
    """How events are handed over: a payload of RELEASES is a request that names claims."""

    async def release(payloads: Sequence[bytes]) -> None:
        requests = [pb.BatchReleaseEarnsRequest.FromString(payload) for payload in payloads]
        ids = [id for request in requests for id in request.claim_ids]
        await client.call(client.stub.BatchReleaseEarns, pb.BatchReleaseEarnsRequest(claim_ids=ids))

    return {RELEASES: release}


def release_of(claim_id: str) -> tuple[str, pb.BatchReleaseEarnsRequest]:
    """The event that a claim's points were not issued after all, or were taken back."""
    return f"{claim_id}:released", pb.BatchReleaseEarnsRequest(claim_ids=[claim_id])


def _price(decision: pb.EarnDecision) -> Price:
    grants = tuple(
        Grant(grant.rule_id or grant.campaign_id, grant.points, checks.moment(grant.expires_at, "expires_at"))
        for grant in decision.grants
    )
    pending = decision.HasField("available_at")
    available_at = checks.moment(decision.available_at, "available_at") if pending else None
    return Price(grants, decision.reason, decision.unit_value.micros, decision.agreement_id, available_at)
