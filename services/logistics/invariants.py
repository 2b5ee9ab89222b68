"""`python -m services.logistics.invariants`: is every machine's event stored once, and are others told?

Settings are those of the service, from the same environment; keys are not needed.
"""

from collections.abc import Sequence

from services.logistics.config import Settings
from services.logistics.store.audit import AuditStore
from services.shared import invariants
from services.shared.config import database_only
from services.shared.invariants import OUTBOX, Check, Results, outbox_flows
from services.shared.mongo import Database
from services.shared.outbox import Outbox

UNIQUE = "drop_offs_unique"
NAMES = (UNIQUE, OUTBOX)


def checks(database: Database) -> Sequence[Check]:
    """All of this service's."""
    audit = AuditStore(database)

    async def unique() -> str:
        if not await audit.hashes_are_unique():
            return "drop_offs have no unique index on event_hash: nothing keeps an event from being stored twice"
        before = ("", "")
        async for event_hash, id in audit.event_hashes():
            if event_hash == before[0]:
                return f"drop-offs {before[1]} and {id} are of the same event"
            before = (event_hash, id)
        return ""

    return (invariants.one(UNIQUE, unique), outbox_flows(Outbox(database)))


async def _run() -> int:
    database = invariants.database_of(database_only(Settings))
    try:
        return await invariants.check("logistics", checks(database), Results(database))
    finally:
        database.close()


if __name__ == "__main__":
    invariants.main(_run)
