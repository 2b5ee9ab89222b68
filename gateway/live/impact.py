"""What the alliance has avoided in all: one stream for all who follow it, and one answer for all who ask alike."""

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from alliance.accounts.v1 import accounts_pb2 as pb
from gateway.accounts.sources import ACCOUNTS
from gateway.backends import Backends
from gateway.live.mailbox import Latest, state_cursor
from gateway.live.measures import LiveMeasures
from gateway.live.upstream import Upstream

TOPIC = "impact"


@dataclass(frozen=True, slots=True)
class ImpactRow:
    """The sum as it is now."""

    impact: Any
    cursor: str
    # By document and variables: everybody who asks the same sees the same.
    answers: dict[Any, bytes] = field(default_factory=dict)


class Impact:
    """The topic."""

    def __init__(self, backends: Backends, measures: LiveMeasures) -> None:
        self._backends = backends
        self._boxes: set[Latest] = set()
        self._row: ImpactRow | None = None
        self._upstream = Upstream(TOPIC, self._follow, measures)

    async def open(self, key: None, after: str) -> Latest:
        """A mailbox that gets the sum, now if it is not the one with the cursor `after`, and whenever it changes."""
        box = Latest(key, after)
        self._boxes.add(box)
        self._upstream.join()
        if self._row is not None:
            box.offer(self._row)
        return box

    def shut(self, box: Latest) -> None:
        """The subscriber has gone."""
        self._boxes.discard(box)
        self._upstream.leave()
        if not self._boxes:
            # Nobody hears what becomes of it from here on.
            self._row = None

    async def close(self) -> None:
        await self._upstream.close()

    async def _follow(self) -> None:
        async with aclosing(self._backends.stream(ACCOUNTS, "WatchImpact", pb.WatchImpactRequest())) as stream:
            async for answer in stream:
                self._upstream.alive()
                self._row = ImpactRow(answer.impact, state_cursor(answer.impact))
                for box in self._boxes:
                    box.offer(self._row)
