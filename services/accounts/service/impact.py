"""What the alliance has avoided in all, for whoever follows it: read once for all of them, a few times a second."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from services.accounts.domain.acts import KindImpact
from services.accounts.store.impact import ImpactStore
from services.shared.errors import ResourceExhausted
from services.shared.tail import Tail

_PERIOD_SECONDS = 0.3
_MOST_LISTENERS = 500


class TooManyListeners(ResourceExhausted):
    """More processes listen than are told; another replica may have room."""


class Impact:
    """`run` is a job of the server; without it, nothing is told."""

    def __init__(self, store: ImpactStore, tail: Tail) -> None:
        self._store = store
        self._tail = tail
        self._changed = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()
        # As of the last look; None while nobody follows.
        self._total: Sequence[KindImpact] | None = None

    async def run(self) -> None:
        """Reads the sum after it has changed, whichever replica changed it; not more often than listeners are told."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            total = await self._store.total()
            if total != self._total:
                self._total = total
                for arrived in self._listeners:
                    arrived.set()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def watch(self) -> AsyncIterator[Sequence[KindImpact]]:
        """The sum by kind at once, and whenever it has changed. TooManyListeners."""
        if len(self._listeners) >= _MOST_LISTENERS:
            raise TooManyListeners("This process tells as many others as it can; call again in a moment.")
        arrived = asyncio.Event()
        self._listeners.add(arrived)
        try:
            with self._tail.listening(lambda _: self._changed.set()):
                yield await self._store.total()
                while True:
                    await arrived.wait()
                    arrived.clear()
                    yield self._total or ()
        finally:
            self._listeners.discard(arrived)
            if not self._listeners:
                self._total = None
