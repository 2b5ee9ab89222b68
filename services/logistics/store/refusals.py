"""Batches whose signature did not fit, as hashes of what they claimed to be."""

from collections.abc import Collection
from contextlib import suppress

from services.shared.mongo import Database, Indexes, LostRace, racing

# Anybody can send such batches; more rows than this are not stored for them.
_MOST = 100_000

INDEXES: Indexes = {"refused_batches": []}


class RefusalStore:
    """Counts each claim once, up to a bound."""

    def __init__(self, database: Database) -> None:
        self._refused = database["refused_batches"]

    async def add(self, claims: Collection[bytes]) -> None:
        """Remembers claims by their hashes; those that are known stay as they are."""
        if await self._refused.estimated_document_count() >= _MOST:
            return
        with suppress(LostRace), racing():
            await self._refused.insert_many([{"_id": claim} for claim in claims], ordered=False)

    async def count(self) -> int:
        """How many different claims were refused."""
        return await self._refused.count_documents(
            {}, limit=_MOST, comment="scan: a report for an operator counts them"
        )
