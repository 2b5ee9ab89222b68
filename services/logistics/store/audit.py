"""Everything that is stored, once, in order: for the check of what must hold."""

from collections.abc import AsyncIterator

from services.shared.mongo import Database

_WHY = "scan: invariants are checked on everything"


class AuditStore:
    """Reads of whole collections, row after row."""

    def __init__(self, database: Database) -> None:
        self._drop_offs = database["drop_offs"]

    async def hashes_are_unique(self) -> bool:
        """Whether the database itself refuses a second drop-off of the same event."""
        indexes = await self._drop_offs.index_information()
        return any(index["key"] == [("event_hash", 1)] and index.get("unique") for index in indexes.values())

    async def event_hashes(self) -> AsyncIterator[tuple[str, str]]:
        """Event hash and id of each drop-off, by hash."""
        async for row in self._drop_offs.find({}, {"event_hash": 1}, sort=[("event_hash", 1)], comment=_WHY):
            yield row["event_hash"], row["_id"]
