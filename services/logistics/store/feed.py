"""The order in which batches were accepted: each that brought drop-offs gets a place in it, 1, 2, 3 and so on.

A unique index on the place decides between replicas, so that no place is given twice, and nobody tries one before the
one below is taken, so that none is left out. A batch gets its place soon after it was stored, not with it: machines
would wait for one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.shared.mongo import Database, Document, Indexes

INDEXES: Indexes = {
    "batches": [
        IndexModel([("place", 1)], unique=True, sparse=True),
        IndexModel([("unplaced", 1)], sparse=True),
    ],
}


class PlaceTaken(Exception):
    """Another process has given that place to another batch."""


@dataclass(frozen=True)
class PlacedBatch:
    """A batch that has its place, with the drop-offs that it brought, in its order."""

    place: int
    drop_off_ids: tuple[str, ...]


class FeedStore:
    """Places of batches."""

    def __init__(self, database: Database) -> None:
        self._batches = database["batches"]

    async def unplaced(self, limit: int) -> list[str]:
        """Batches that have no place yet."""
        rows = self._batches.find({"unplaced": True}, {"_id": 1}, limit=limit)
        return [row["_id"] async for row in rows]

    async def give(self, key: str, place: int) -> bool:
        """Gives a batch its place; False if it needs none, PlaceTaken."""
        try:
            done = await self._batches.update_one(
                {"_id": key, "unplaced": True}, {"$set": {"place": place}, "$unset": {"unplaced": ""}}
            )
        except DuplicateKeyError as error:
            raise PlaceTaken from error
        return bool(done.matched_count)

    async def last(self) -> int:
        """The last place that is taken; for the start of a process."""
        row = await self._batches.find_one({"place": {"$gt": 0}}, {"place": 1}, sort=[("place", -1)])
        return int(row["place"]) if row else 0

    async def read(
        self, after: int, until: int, limit: int, *, member_id: str = "", partner_id: str = ""
    ) -> Sequence[PlacedBatch]:
        """The batches behind a place up to and with another, in order; only those with drop-offs of a member, or on a
        partner's machines.
        """
        wanted: Document = {
            "place": {"$gt": after, "$lte": until},
            **({"members": member_id} if member_id else {}),
            **({"partner_id": partner_id} if partner_id else {}),
        }
        rows = self._batches.find(wanted, {"place": 1, "brought": 1}, sort=[("place", 1)], limit=limit)
        return [PlacedBatch(row["place"], tuple(row["brought"])) async for row in rows]
