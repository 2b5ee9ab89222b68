"""Counting what was refused, at a cost that an attacker cannot drive up."""

import asyncio

from services.logistics.store.refusals import RefusalStore
from services.shared.telemetry import log


class Refusals:
    """Writes one at a time: what is refused during a write shares the next."""

    def __init__(self, store: RefusalStore) -> None:
        self._store = store
        self._waiting: set[bytes] = set()
        self._writing = asyncio.Lock()

    async def add(self, claim: bytes) -> None:
        """Returns when the claim, given as a hash, has been stored."""
        self._waiting.add(claim)
        async with self._writing:
            if claim in self._waiting:
                await self._write()

    async def _write(self) -> None:
        claims, self._waiting = self._waiting, set()
        try:
            await self._store.add(claims)
        except BaseException:
            self._waiting |= claims
            raise
        log.warning("batches refused, their signature did not fit", batches=len(claims))

    async def count(self) -> int:
        """How many different claims were refused."""
        return await self._store.count()
