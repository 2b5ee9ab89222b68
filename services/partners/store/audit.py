"""Everything that is stored, once, in order: for the check of what must hold."""

from collections.abc import AsyncIterator, Collection

from services.shared.mongo import Database

_WHY = "scan: invariants are checked on everything"


class AuditStore:
    """Paid blocks, by partner."""

    def __init__(self, database: Database) -> None:
        self._blocks = database["prepaid_blocks"]

    async def paid(self) -> AsyncIterator[tuple[str, dict[str, int]]]:
        """Each partner who has paid for blocks, with their points by the block's id."""
        partner, blocks = "", dict[str, int]()
        rows = self._blocks.find(
            {}, {"partner_id": 1, "points": 1, "paid_at": 1}, sort=[("partner_id", 1)], comment=_WHY
        )
        async for row in rows:
            if row["partner_id"] != partner:
                if blocks:
                    yield partner, blocks
                partner, blocks = row["partner_id"], {}
            if row["paid_at"]:
                blocks[row["_id"]] = row["points"]
        if blocks:
            yield partner, blocks

    async def paid_points(self, partner_ids: Collection[str]) -> dict[str, int]:
        """The sum of what each has paid for."""
        sums = dict.fromkeys(partner_ids, 0)
        async for row in self._blocks.find({"partner_id": {"$in": list(partner_ids)}}):
            if row["paid_at"]:
                sums[row["partner_id"]] += row["points"]
        return sums
