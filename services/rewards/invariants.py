"""`python -m services.rewards.invariants`: do the books balance, is the ledger what it was, do settlements sum to zero?

Settings are those of the service, from the same environment; keys are not needed. It reads the whole ledger.
"""

from collections.abc import Mapping, Sequence

from services.rewards.config import Settings
from services.rewards.domain.settlement import Line, Settlement, lines_hash, positions
from services.rewards.ledger.findings import Findings, Subject
from services.rewards.ledger.ledger import as_stored
from services.rewards.store.audit import AuditStore
from services.shared import invariants
from services.shared.config import database_only
from services.shared.invariants import OUTBOX, Check, Results, outbox_flows
from services.shared.mongo import Database
from services.shared.outbox import Outbox

LOG, BOOKS, ACCOUNTS, NETS = Subject.LOG.value, Subject.BOOKS.value, Subject.ACCOUNTS.value, "settlement_nets"
NAMES = (LOG, BOOKS, ACCOUNTS, NETS, OUTBOX)


def checks(database: Database) -> Sequence[Check]:
    """All of this service's."""
    audit = AuditStore(database)

    async def ledger() -> Mapping[str, str]:
        stored = await as_stored(database)
        findings = (await stored.verify()).findings if stored else Findings()
        told = {str(subject): findings.of(subject) for subject in Subject}
        return {name: text for name, text in told.items() if text is not None}

    async def nets() -> str:
        before: Settlement | None = None
        async for settlement, lines in audit.settlements():
            if finding := wrong_with(settlement, lines, before):
                return f"settlement {settlement.number}: {finding}"
            before = settlement
        return ""

    return (Check((LOG, BOOKS, ACCOUNTS), ledger), invariants.one(NETS, nets), outbox_flows(Outbox(database)))


def wrong_with(settlement: Settlement, lines: Sequence[Line], before: Settlement | None) -> str:
    """What is wrong first with a settlement, given its lines and the settlement before it; "" if nothing is."""
    if settlement.number != (before.number + 1 if before else 1):
        return f"comes behind number {before.number if before else 0}"
    if before and settlement.since != before.until:
        return "does not begin where the one before it ended"
    if len(lines) != settlement.lines or lines_hash(lines) != settlement.lines_hash:
        return "its lines are not those that it was made of"
    if sum(position.due_micros for position in settlement.positions) != 0:
        return "what is due does not sum to zero"
    carried = {position.partner_id: position.carried_micros for position in before.positions} if before else {}
    if settlement.positions != positions(lines, carried):
        return "its positions do not follow from its lines"
    return ""


async def _run() -> int:
    database = invariants.database_of(database_only(Settings))
    try:
        return await invariants.check("rewards", checks(database), Results(database))
    finally:
        database.close()


if __name__ == "__main__":
    invariants.main(_run)
