"""Accepted drop-offs in their order, as they come and from any place on: nothing missed, nothing twice.

Every replica gives places to the batches that it stored, and to those that a crash left without one; whichever replica
a listener asks, it hears of all.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.logistics.domain.capture import DropOff
from services.logistics.store.captures import CaptureStore
from services.logistics.store.feed import FeedStore, PlacedBatch, PlaceTaken
from services.shared import checks
from services.shared.errors import FailedPrecondition, ResourceExhausted
from services.shared.tail import Tail

# How often batches that a crash left without a place are looked for.
_LOOK_SECONDS = 2.0
_AT_ONCE = 100
_MOST_LISTENERS = 200
# A page of what was missed: so many batches are looked through for it, and so many are in it.
_SEARCHED = 2_000
_PAGE = 20
# Who was away for longer reads the members' lists anew.
_MOST_MISSED = 100_000


class TooManyListeners(ResourceExhausted):
    """More processes listen than are told; another replica may have room."""


class CursorTooOld(FailedPrecondition):
    """More batches have been accepted since than are told again."""


@dataclass(frozen=True)
class Accepted:
    """What a batch brought, and its place. The first that a listener hears is the place from which it hears all."""

    place: int
    drop_offs: Sequence[DropOff]


@dataclass(frozen=True)
class Missed:
    """A page of what was accepted behind a place: all there was of that up to and with `until`."""

    accepted: Sequence[Accepted]
    until: int
    last: int


class Feed:
    """`run` is a job of the server."""

    def __init__(self, store: FeedStore, captures: CaptureStore, tail: Tail) -> None:
        self._store = store
        self._captures = captures
        self._tail = tail
        self._waiting: dict[str, None] = {}
        self._arrived = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()
        # The last place that we know is taken; None before the first look.
        self._last: int | None = None

    def stored(self, key: str) -> None:
        """A batch has been stored here, and may need a place."""
        self._waiting[key] = None
        self._arrived.set()

    async def run(self) -> None:
        """Until cancelled. What fails here is found again by the look after it."""
        # First what the process before this one has left: it was accepted before all that comes now.
        keys = await self._store.unplaced(_AT_ONCE)
        while True:
            for key in keys:
                await self._give(key)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS * random.uniform(0.8, 1.2)):
                    await self._arrived.wait()
            self._arrived.clear()
            keys = list(self._waiting) or await self._store.unplaced(_AT_ONCE)
            self._waiting.clear()

    async def watch(self, after: int | None) -> AsyncIterator[Accepted]:
        """At once the place from which all is told: the one given, or the last so far; then what is accepted, batch by
        batch. TooManyListeners, CursorTooOld.
        """
        if len(self._listeners) >= _MOST_LISTENERS:
            raise TooManyListeners("This process tells as many others as it can; call again in a moment.")
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            with self._tail.listening(lambda _: changed.set()):
                last = await self._look()
                place = last if after is None else _sound(after, last)
                yield Accepted(place, ())
                while True:
                    while batches := await self._store.read(place, place + _AT_ONCE, _AT_ONCE):
                        for accepted in await self._filled(batches):
                            yield accepted
                        place = batches[-1].place
                    await changed.wait()
                    changed.clear()
        finally:
            self._listeners.discard(changed)

    async def missed(self, after: int, *, member_id: str = "", partner_id: str = "") -> Missed:
        """A page of the batches that were accepted behind a place: those with drop-offs of a member, those from a
        partner's machines, or all. CursorTooOld.
        """
        if member_id:
            checks.id_of(member_id, "member_id", "member")
        if partner_id:
            checks.id_of(partner_id, "partner_id", "partner")
        last = await self._look()
        until = min(_sound(after, last) + _SEARCHED, last)
        batches = await self._store.read(after, until, _PAGE, member_id=member_id, partner_id=partner_id)
        if len(batches) == _PAGE:
            until = batches[-1].place
        return Missed(await self._filled(batches), until, last)

    async def _give(self, key: str) -> None:
        if self._last is None:
            self._last = await self._store.last()
        while True:
            try:
                if await self._store.give(key, self._last + 1):
                    self._last += 1
                    self._tell()
                return
            except PlaceTaken:
                await self._look(at_least=self._last + 1)

    async def _look(self, at_least: int = 0) -> int:
        """The last place that is taken by now."""
        last = await self._store.last() if self._last is None else max(self._last, at_least)
        while batches := await self._store.read(last, last + _AT_ONCE, _AT_ONCE):
            last = batches[-1].place
        self._last = last
        return last

    async def _filled(self, batches: Sequence[PlacedBatch]) -> list[Accepted]:
        ids = [id for batch in batches for id in batch.drop_off_ids]
        found = {one.id: one for one in await self._captures.drop_offs(ids)}
        return [Accepted(batch.place, [found[id] for id in batch.drop_off_ids]) for batch in batches]

    def _tell(self) -> None:
        for changed in self._listeners:
            changed.set()


def _sound(after: int, last: int) -> int:
    checks.whole(after, "after", 0, 2**53)
    if last - after > _MOST_MISSED:
        raise CursorTooOld(
            "More has been accepted since than is told again; read the list of drop-offs and go on anew."
        )
    return min(after, last)
