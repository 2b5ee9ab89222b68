"""Everything that is stored, once, in order: for the check of what must hold."""

from collections.abc import AsyncIterator

from services.rewards.domain.settlement import Line, Settlement
from services.rewards.store.settlements import line_of, settlement_of
from services.shared.mongo import Database


class AuditStore:
    """Settlements and their lines, and how the ledger was made."""

    def __init__(self, database: Database) -> None:
        self._settlements = database["settlements"]
        self._lines = database["settlement_lines"]

    async def settlements(self) -> AsyncIterator[tuple[Settlement, list[Line]]]:
        """Each with its lines, by number."""
        async for row in self._settlements.find({"number": {"$gt": 0}}, sort=[("number", 1)]):
            settlement = settlement_of(row)
            lines = self._lines.find({"lists": settlement.id}, sort=[("order", 1)])
            yield settlement, [line_of(line) async for line in lines]
