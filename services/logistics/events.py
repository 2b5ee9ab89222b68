"""What other services are told by the logistics service: each accepted drop-off, to accounts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alliance.accounts.v1 import accounts_pb2
from services.logistics.domain.capture import DropOff
from services.logistics.domain.points import Material
from services.shared.client import Client, time_left
from services.shared.mongo import Transaction
from services.shared.outbox import Deliver, Event, Outbox, Relay
from services.shared.proto import timestamp

if TYPE_CHECKING:
    from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceAsyncStub

DROP_OFFS = "drop-offs"
# How long a machine is kept waiting for the first delivery of what it brought.
_SETTLE_SECONDS = 2.0

_KINDS = {
    Material.PET: accounts_pb2.ACT_KIND_PET_RECYCLING,
    Material.CARDBOARD: accounts_pb2.ACT_KIND_CARDBOARD_RECYCLING,
    Material.REUSABLE_BOX: accounts_pb2.ACT_KIND_BOX_REUSE,
}


class Events:
    """Writes events into the transaction that causes them, and knows which have arrived."""

    def __init__(self, outbox: Outbox, relay: Relay) -> None:
        self._outbox = outbox
        self._relay = relay

    async def dropped_off(self, tx: Transaction, drop_offs: Sequence[DropOff]) -> None:
        """For the members' accounts. A drop-off happens once, so that its id is the event's, too."""
        await self._outbox.emit(tx, DROP_OFFS, [(drop_off.id, _recorded(drop_off)) for drop_off in drop_offs])

    async def handed_on(self, fresh: Sequence[Event], drop_off_ids: Sequence[str]) -> bool:
        """Whether accounts has all of the drop-offs; waits a little for the events just written."""
        if fresh:
            await self._relay.settle(fresh, time_left(_SETTLE_SECONDS))
        return not await self._outbox.pending(drop_off_ids)


def drop_offs_to(accounts: "Client[AccountsServiceAsyncStub]") -> Deliver:
    """Delivers events of DROP_OFFS."""

    async def deliver(payloads: Sequence[bytes]) -> None:
        events = [accounts_pb2.DropOffRecorded.FromString(payload) for payload in payloads]
        await accounts.call(accounts.stub.RecordDropOffs, accounts_pb2.RecordDropOffsRequest(events=events))

    return deliver


def _recorded(drop_off: DropOff) -> accounts_pb2.DropOffRecorded:
    return accounts_pb2.DropOffRecorded(
        event_id=drop_off.id,
        drop_off_id=drop_off.id,
        member_id=drop_off.member_id,
        partner_id=drop_off.partner_id,
        kind=_KINDS[drop_off.material],
        # A box counts by the piece, the rest by the gram.
        quantity=1 if drop_off.material is Material.REUSABLE_BOX else drop_off.weight_grams,
        occurred_at=timestamp(drop_off.occurred_at),
        event_hash=drop_off.event_hash,
        box_number=drop_off.code if drop_off.material is Material.REUSABLE_BOX else "",
    )
