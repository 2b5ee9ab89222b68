"""What other services are told by the partners service."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from alliance.rewards.v1.rewards_pb2 import AllotPrepaidBlocksRequest, PrepaidBlockPaid
from services.partners.domain.agreement import PrepaidBlock
from services.shared.client import Client
from services.shared.mongo import Transaction
from services.shared.outbox import Deliver, Outbox

if TYPE_CHECKING:
    from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceAsyncStub

_BLOCK_PAID = "prepaid-block-paid"


class Events:
    """Writes events into the transaction that causes them, and knows which have arrived."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def block_paid(self, tx: Transaction, block: PrepaidBlock) -> None:
        """For the ledger: the block's points are the partner's to issue. The event has the block's id."""
        event = PrepaidBlockPaid(event_id=block.id, block_id=block.id, partner_id=block.partner_id, points=block.points)
        await self._outbox.emit(tx, _BLOCK_PAID, [(block.id, event)])

    async def block_allotted(self, block_id: str) -> bool:
        """Whether the ledger knows of the paid block."""
        return not await self._outbox.pending([block_id])


def deliveries(rewards: "Client[RewardsServiceAsyncStub]") -> Mapping[str, Deliver]:
    """How events of each topic are handed over."""

    async def blocks_paid(payloads: Sequence[bytes]) -> None:
        events = [PrepaidBlockPaid.FromString(payload) for payload in payloads]
        await rewards.call(rewards.stub.AllotPrepaidBlocks, AllotPrepaidBlocksRequest(events=events))

    return {_BLOCK_PAID: blocks_paid}
