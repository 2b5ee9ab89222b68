"""Everything that is stored, once, in order: for the check of what must hold."""

from collections.abc import AsyncIterator

from services.accounts.domain.acts import CarbonTotal, Claim
from services.accounts.store.acts import claim_of
from services.shared.mongo import Database, Transaction

_WHY = "scan: invariants are checked on everything"


class AuditStore:
    """Reads of whole collections, row after row."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claims = database["claims"]
        self._totals = database["carbon_totals"]

    async def keys_are_unique(self) -> bool:
        """Whether the database itself refuses a second claim with the same key, or of the same box."""
        indexes = (await self._claims.index_information()).values()
        unique = {
            field for index in indexes if index.get("unique") for field, _ in index["key"] if len(index["key"]) == 1
        }
        return unique >= {"key", "box_key"}

    async def claim_keys(self) -> AsyncIterator[tuple[str, str]]:
        """Key and id of each claim, by key."""
        async for row in self._claims.find({}, {"key": 1}, sort=[("key", 1)], comment=_WHY):
            yield row["key"], row["_id"]

    async def claims(self) -> AsyncIterator[Claim]:
        """By member."""
        async for row in self._claims.find({}, sort=[("member_id", 1), ("_id", 1)], comment=_WHY):
            yield claim_of(row)

    async def totals(self) -> AsyncIterator[CarbonTotal]:
        """By member."""
        async for row in self._totals.find({}, sort=[("_id", 1)], comment=_WHY):
            yield CarbonTotal(row["_id"], row["claims"], row["co2e_mg"])

    async def sum_and_total(self, member_id: str) -> tuple[CarbonTotal, CarbonTotal]:
        """What the member's claims sum to, and what is kept as that sum: both of the same moment."""

        async def body(tx: Transaction) -> tuple[CarbonTotal, CarbonTotal]:
            rows = self._claims.find({"member_id": member_id}, {"co2e_mg": 1}, session=tx.session)
            grams = [row["co2e_mg"] async for row in rows]
            kept = await self._totals.find_one({"_id": member_id}, session=tx.session) or {}
            return (
                CarbonTotal(member_id, len(grams), sum(grams)),
                CarbonTotal(member_id, kept.get("claims", 0), kept.get("co2e_mg", 0)),
            )

        (found, _) = await self._database.transaction(body)
        return found
