"""Mutations take turns: as many of a kind at once as are answered soon, and the brands alike.

What a mutation does is dear, and once begun it has to be finished. So how many are begun is decided here, where a
refusal costs nearly nothing: for each field of Mutation as many as are answered within a time that its callers like
(`services/shared/overload.py`), so that the services, which have limits of their own, have nothing left to refuse.

Who finds no place waits in line, for a moment; a place that becomes free goes to whoever of those in line has the
fewest already, so that a brand's flood takes no turns away from the others (max-min fairness). A line that does not
empty, or in which somebody waited in vain, is no crowd but a flood: from then on only those may wait who have less than
their share, and everybody else is told at once (after Maurer, Fail at Scale, ACM Queue 2015).
"""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.answers import Refusal
from gateway.errors import SERVICE_UNAVAILABLE
from gateway.returns import Returns
from services.shared.overload import Limit

# To begin with: what comes together at a quiet moment is no flood yet.
_START = 64


class Turns:
    """Of one kind of work, whose limit it is."""

    def __init__(self, limit: Limit, wait_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._wait_seconds = wait_seconds
        self._clock = clock
        # By client: how many turns it has, and who waits for one.
        self._having: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[asyncio.Future[float | None]]] = OrderedDict()
        self._in_line = 0
        self._line_began = 0.0
        # When somebody last waited, or would have, for nothing.
        self._in_vain_at = -math.inf

    @property
    def in_line(self) -> int:
        """How many wait."""
        return self._in_line

    async def take(self, client: str) -> float | None:
        """When the turn begins, for `end`; None if there is none to be had."""
        if not self._in_line:
            began = self.limit.enter()
            if began is not None:
                self._having[client] = self._having.get(client, 0) + 1
                return began
            self._line_began = self._clock()
        began = await self._wait(client) if self._may_wait(client) else None
        if began is None:
            self._in_vain_at = self._clock()
        return began

    def end(self, client: str, began: float) -> None:
        """The turn is over; the next in line has it."""
        self.limit.leave(began)
        left = self._having[client] = self._having[client] - 1
        if not left:
            del self._having[client]
        while self._in_line and (next_began := self.limit.enter()) is not None:
            self._give(next_began)

    def _may_wait(self, client: str) -> bool:
        clients = len(self._having.keys() | self._waiting.keys() | {client})
        own = self._having.get(client, 0) + len(self._waiting.get(client, ()))
        if own < self.limit.limit / clients:
            return True
        now = self._clock()
        standing = now - self._line_began > self._wait_seconds or now - self._in_vain_at < self._wait_seconds
        return not standing and self._in_line < self.limit.limit

    async def _wait(self, client: str) -> float | None:
        loop = asyncio.get_running_loop()
        place: asyncio.Future[float | None] = loop.create_future()
        self._waiting.setdefault(client, deque()).append(place)
        self._in_line += 1
        patience = loop.call_later(self._wait_seconds, self._give_up, client, place)
        try:
            # Shielded: who is cancelled stays in line until that is known here.
            return await asyncio.shield(place)
        except asyncio.CancelledError:
            self._give_up(client, place)
            if (began := place.result()) is not None:
                self.end(client, began)
            raise
        finally:
            patience.cancel()

    def _give_up(self, client: str, place: "asyncio.Future[float | None]") -> None:
        line = self._waiting.get(client)
        if line is not None and place in line:
            line.remove(place)
            self._shorter(client, line)
            if not place.done():
                place.set_result(None)

    def _give(self, began: float) -> None:
        client = min(self._waiting, key=lambda waiting: self._having.get(waiting, 0))
        line = self._waiting[client]
        place = line.popleft()
        # Who has as few as others comes after them next time.
        self._waiting.move_to_end(client)
        self._shorter(client, line)
        self._having[client] = self._having.get(client, 0) + 1
        place.set_result(began)

    def _shorter(self, client: str, line: "deque[asyncio.Future[float | None]]") -> None:
        self._in_line -= 1
        if not line:
            del self._waiting[client]


class Mutations:
    """All mutations of a process, each field of Mutation with turns of its own."""

    def __init__(
        self, most: int, target_seconds: float, wait_seconds: float, returns: Returns, clock: Callable[[], float]
    ) -> None:
        self._most = most
        self._target_seconds = target_seconds
        self._wait_seconds = wait_seconds
        self._returns = returns
        self._clock = clock
        self.by_field: dict[str, Turns] = {}

    @asynccontextmanager
    async def turn(self, field: str, client: str) -> AsyncIterator[None]:
        """Within, the mutation is one of those that are answered now; Refusal if that would be one too many.

        `field` is one of the schema's; turns are shared out among clients.
        """
        turns = self.by_field.get(field) or self._turns_of(field)
        began = await turns.take(client)
        if began is None:
            raise self._refusal(turns)
        try:
            yield
        finally:
            turns.end(client, began)
            self._returns.answered += 1

    def _turns_of(self, field: str) -> Turns:
        limit = Limit(self._most, start=_START, target_seconds=self._target_seconds, clock=self._clock)
        turns = self.by_field[field] = Turns(limit, self._wait_seconds, self._clock)
        return turns

    def _refusal(self, turns: Turns) -> Refusal:
        seconds = self._returns.refused()
        return Refusal(
            503,
            SERVICE_UNAVAILABLE,
            f"There is more to do than can be done just now; nothing was done for this request. Send it again in "
            f"{seconds} s, as it is.",
            reason="OVERLOADED",
            headers={"Retry-After": str(seconds)},
            measure="mutations in flight",
            limit=int(turns.limit.limit),
            retryAfterSeconds=seconds,
        )
