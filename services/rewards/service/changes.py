"""Which wallets change, for who keeps copies of wallets: told out of the ledger's own log, whoever wrote it.

A block of this process tells of itself; that another replica has written one is told by the tail of the log, and then
it is taken in at once. Nothing is looked for on a timer, and nothing is kept for a listener but what it has not taken.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.log import partition_and_seq
from services.shared.errors import ResourceExhausted
from services.shared.tail import Tail

# A busy ledger changes many wallets many times: a listener is told of all of them together, this often.
_GATHER_SECONDS = 0.02
_MOST_LISTENERS = 200
_MOST_IDS = 1_000
# Who is further behind than this is told that any wallet may have changed.
_MOST_BEHIND = 50_000


class TooManyListeners(ResourceExhausted):
    """More processes listen than are told; another replica may have room."""


@dataclass(frozen=True)
class Changed:
    """Members whose wallets have changed; with `any` whoever's. `heads`: the block of each partition up to which this
    tells of everything.
    """

    member_ids: Sequence[str]
    any: bool
    heads: Mapping[int, int]


@dataclass(eq=False)
class _Listener:
    ids: dict[str, None] = field(default_factory=dict)
    any: bool = True
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, ids: Iterable[str]) -> None:
        if not self.any:
            self.ids.update(dict.fromkeys(ids))
            if len(self.ids) > _MOST_BEHIND:
                self.any = True
                self.ids.clear()
        self.arrived.set()


class Changes:
    """`run` is a job of the server; without it, other replicas' changes are told late."""

    def __init__(self, ledger: Ledger, tail: Tail) -> None:
        self._ledger = ledger
        self._tail = tail
        self._listeners: set[_Listener] = set()
        self._behind: set[int] = set()
        self._look = asyncio.Event()
        ledger.on_change(self._changed)

    async def watch(self) -> AsyncIterator[Changed]:
        """At once that any wallet may have changed, as of the log's true end; then what does. TooManyListeners."""
        if len(self._listeners) >= _MOST_LISTENERS:
            raise TooManyListeners("This process tells as many others of changes as it can; call again in a moment.")
        listener = _Listener()
        self._listeners.add(listener)
        try:
            with self._tail.listening(self._written):
                await self._ledger.look()
                listener.arrived.set()
                while True:
                    await listener.arrived.wait()
                    listener.arrived.clear()
                    for changed in self._take(listener):
                        yield changed
                    await asyncio.sleep(_GATHER_SECONDS)
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Takes in what other replicas have written, as soon as the tail tells of it."""
        while True:
            await self._look.wait()
            self._look.clear()
            behind, self._behind = self._behind, set()
            await self._ledger.look(behind)

    def _take(self, listener: _Listener) -> list[Changed]:
        heads = self._ledger.heads()
        ids, any_changed = list(listener.ids), listener.any
        listener.ids.clear()
        listener.any = False
        if any_changed:
            return [Changed((), True, heads)]
        return [Changed(ids[start : start + _MOST_IDS], False, heads) for start in range(0, len(ids), _MOST_IDS)]

    def _changed(self, member_ids: Iterable[str]) -> None:
        for listener in self._listeners:
            listener.tell(member_ids)

    def _written(self, id: Any) -> None:
        """A block has been written by somebody; None: any may have been."""
        if id is None:
            self._behind.update(self._ledger.heads())
        else:
            partition, seq = partition_and_seq(id)
            if seq <= self._ledger.heads().get(partition, seq):
                return
            self._behind.add(partition)
        self._look.set()
