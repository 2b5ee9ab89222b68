"""What other services are told: each new claim, to rewards."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from alliance.rewards.v1 import rewards_pb2
from services.accounts.domain.acts import Claim
from services.accounts.messages import kind_number
from services.shared.client import Client
from services.shared.mongo import Transaction
from services.shared.outbox import Deliver, Outbox
from services.shared.proto import timestamp

if TYPE_CHECKING:
    from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceAsyncStub

CLAIMS = "claims"


def announcer(outbox: Outbox) -> Callable[[Transaction, Sequence[Claim]], Awaitable[None]]:
    """Adds an event for each claim to the transaction that made it."""

    async def announce(tx: Transaction, claims: Sequence[Claim]) -> None:
        recorded = [_claim_recorded(claim) for claim in claims]
        await outbox.emit(tx, CLAIMS, [(event.event_id, event) for event in recorded])

    return announce


def claims_to(rewards: "Client[RewardsServiceAsyncStub]") -> Deliver:
    """Delivers events of CLAIMS."""

    async def deliver(payloads: Sequence[bytes]) -> None:
        events = [rewards_pb2.ClaimRecorded.FromString(payload) for payload in payloads]
        await rewards.call(rewards.stub.RecordClaims, rewards_pb2.RecordClaimsRequest(events=events))

    return deliver


def _claim_recorded(claim: Claim) -> rewards_pb2.ClaimRecorded:
    return rewards_pb2.ClaimRecorded(
        # Claims' ids sort by time, and events are delivered in the order of theirs.
        event_id=f"{claim.id}:recorded",
        claim_id=claim.id,
        partner_id=claim.partner_id,
        member_id=claim.member_id,
        kind=kind_number(claim.kind),
        quantity=claim.quantity,
        occurred_at=timestamp(claim.occurred_at),
    )
