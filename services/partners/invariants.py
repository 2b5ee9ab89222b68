"""`python -m services.partners.invariants`: does the ledger have the points that were paid for, and no others?

Settings are those of the service, from the same environment: the rewards service is asked, so that the key is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alliance.rewards.v1.rewards_pb2 import BatchGetPartnerPointsRequest
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from services.partners.config import Settings
from services.partners.store.audit import AuditStore
from services.shared import invariants
from services.shared.client import Client
from services.shared.identity import Signer
from services.shared.invariants import OUTBOX, Check, Results, outbox_flows
from services.shared.mongo import Database
from services.shared.outbox import Outbox

if TYPE_CHECKING:
    from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceAsyncStub

PREPAID = "prepaid_blocks"
NAMES = (PREPAID, OUTBOX)
_AT_ONCE = 100


def checks(database: Database, rewards: "Client[RewardsServiceAsyncStub]") -> Sequence[Check]:
    """All of this service's."""
    audit, outbox = AuditStore(database), Outbox(database)

    async def allotted(partner_ids: Sequence[str]) -> Mapping[str, int]:
        answer = await rewards.call(
            rewards.stub.BatchGetPartnerPoints, BatchGetPartnerPointsRequest(partner_ids=partner_ids)
        )
        return {row.partner_id: row.allotted for row in answer.partners}

    async def compare(paid: Mapping[str, Mapping[str, int]]) -> str:
        # Blocks are paid and delivered meanwhile. What had been delivered before the ledger was asked, it must have;
        # it can have no more than had been paid for after that.
        waiting = await outbox.waiting([block for blocks in paid.values() for block in blocks])
        have = await allotted(list(paid))
        after = await audit.paid_points(list(paid))
        for partner, blocks in paid.items():
            delivered = sum(points for block, points in blocks.items() if block not in waiting)
            if not delivered <= have.get(partner, 0) <= after[partner]:
                return (
                    f"partner {partner}: {delivered} points were paid for and handed over, "
                    f"the ledger has {have.get(partner, 0)}"
                )
        return ""

    async def prepaid() -> str:
        part: dict[str, Mapping[str, int]] = {}
        async for partner, blocks in audit.paid():
            part[partner] = blocks
            if len(part) == _AT_ONCE:
                if found := await compare(part):
                    return found
                part = {}
        return await compare(part) if part else ""

    return (invariants.one(PREPAID, prepaid), outbox_flows(outbox))


async def _run() -> int:
    settings = Settings(trust_file=Path())  # nobody calls it
    database = invariants.database_of(settings)
    rewards = Client(
        settings.rewards_target,
        RewardsServiceStub,
        Signer.from_file("partners", settings.identity_key_file),
        timeout_seconds=settings.call_timeout_seconds,
        tls=settings.certificate_files(),
    )
    try:
        return await invariants.check("partners", checks(database, rewards), Results(database))
    finally:
        await rewards.close()
        database.close()


if __name__ == "__main__":
    invariants.main(_run)
