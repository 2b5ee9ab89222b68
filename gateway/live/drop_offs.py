"""Drop-offs as they are accepted: one stream of all for the process, shared out to those who follow a part of it.

Every batch has a place in one order, so that a cursor is a place, and what a subscriber missed is read behind it, page
by page as it is taken, until it has caught up with the stream.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

from alliance.logistics.v1 import logistics_pb2 as pb
from gateway.backends import Backends
from gateway.errors import BAD_USER_INPUT, FieldError, masked, subscription_ended
from gateway.live.mailbox import Buffered
from gateway.live.measures import LiveMeasures
from gateway.live.upstream import Upstream, backoff
from gateway.logistics.sources import LOGISTICS
from services.shared.errors import DomainError, FailedPrecondition, Unavailable
from services.shared.telemetry import log

TOPIC = "drop_offs"
_BEGIN_SECONDS = 5.0
# Behind whatever is in a batch.
_LAST = 10_000
_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9]{1,4})")


@dataclass(frozen=True)
class DropOffsKey:
    """Which are followed: a member's, those on a partner's machines, or, with neither, all."""

    member_id: str = ""
    partner_id: str = ""


@dataclass(frozen=True, slots=True)
class DropOffRow:
    """A drop-off with its place: of its batch, and in it."""

    drop_off: Any
    place: tuple[int, int]
    answers: ClassVar[None] = None

    @property
    def member_id(self) -> str:
        return str(self.drop_off.member_id)

    @property
    def partner_id(self) -> str:
        return str(self.drop_off.partner_id)

    @property
    def cursor(self) -> str:
        return f"{self.place[0]}.{self.place[1]}"


class Behind(Buffered):
    """A mailbox that first gets what was missed, and is told nothing else until then."""

    def __init__(self, key: DropOffsKey, most: int, after: tuple[int, int] | None) -> None:
        super().__init__(key, most)
        # Up to where it has all; None: it is content with what is to come.
        self.reached = after
        self.catching_up: asyncio.Task[None] | None = None

    def new(self, row: DropOffRow) -> bool:
        """Whether it does not have the row yet; then it has."""
        new = self.reached is None or row.place > self.reached
        if new:
            self.reached = row.place
        return new


class DropOffs:
    """The topic."""

    def __init__(self, backends: Backends, measures: LiveMeasures, buffered: int) -> None:
        self._backends = backends
        self._buffered = buffered
        self._boxes: dict[DropOffsKey, set[Behind]] = {}
        # The place up to which the stream has told all; None before its first word.
        self._told: int | None = None
        self._begun = asyncio.Event()
        self._upstream = Upstream(TOPIC, self._follow, measures)

    async def open(self, key: DropOffsKey, after: str) -> Behind:
        """A mailbox that gets all behind the cursor `after`, or from now on. FieldError if it is no cursor."""
        box = Behind(key, self._buffered, _place(after) if after else None)
        self._boxes.setdefault(key, set()).add(box)
        self._upstream.join()
        if after:
            box.catching_up = asyncio.create_task(self._catch_up(box))
            return box
        try:
            # "From now on" is a promise that needs the stream.
            async with asyncio.timeout(_BEGIN_SECONDS):
                await self._begun.wait()
        except BaseException as error:
            self.shut(box)
            if isinstance(error, TimeoutError):
                raise Unavailable("Drop-offs cannot be followed just now.", reason="UNAVAILABLE") from error
            raise
        return box

    def shut(self, box: Behind) -> None:
        """The subscriber has gone."""
        if box.catching_up is not None:
            box.catching_up.cancel()
        boxes = self._boxes[box.key]
        boxes.discard(box)
        if not boxes:
            del self._boxes[box.key]
        self._upstream.leave()
        if not self._boxes:
            # Nobody hears what is told from here on.
            self._told = None
            self._begun.clear()

    async def close(self) -> None:
        await self._upstream.close()

    async def _follow(self) -> None:
        request = pb.WatchDropOffsRequest(after=self._told)
        try:
            async with aclosing(self._backends.stream(LOGISTICS, "WatchDropOffs", request)) as stream:
                async for answer in stream:
                    self._upstream.alive()
                    self._told = answer.accepted.place
                    self._begun.set()
                    self._share_out(answer.accepted)
        except FailedPrecondition as error:
            # We were away for too long: nobody can be told what we missed.
            self._told = None
            self._begun.clear()
            for box in self._all():
                box.end(subscription_ended(error.reason, error.message))
            raise

    def _share_out(self, accepted: Any) -> None:
        for row in _rows(accepted):
            for key in (DropOffsKey(), DropOffsKey(row.member_id), DropOffsKey(partner_id=row.partner_id)):
                for box in self._boxes.get(key, ()):
                    if box.catching_up is None and box.new(row):
                        box.offer(row)

    def _all(self) -> Iterator[Behind]:
        return (box for boxes in self._boxes.values() for box in boxes)

    async def _catch_up(self, box: Behind) -> None:
        try:
            await self._page_on(box)
        except FailedPrecondition as error:
            box.end(subscription_ended(error.reason, error.message))
        except Exception:
            log.exception("catching up failed")
            box.end(masked())

    async def _page_on(self, box: Behind) -> None:
        """Puts in what was missed, a page at a time, until nothing is missing of what the stream has told."""
        begin, failures = box.reached or (0, 0), 0
        # The batch in which the subscriber stopped is told again: there may be more in it.
        after = max(begin[0] - 1, 0)
        while True:
            await self._begun.wait()
            request = pb.ListMissedDropOffsRequest(
                after=after, member_id=box.key.member_id, partner_id=box.key.partner_id
            )
            try:
                page = await self._backends.call(LOGISTICS, "ListMissedDropOffs", request)
            except FailedPrecondition:
                raise
            except DomainError:
                failures += 1
                await asyncio.sleep(backoff(failures))
                continue
            failures = 0
            if begin[0] > page.last:
                box.end(_no_cursor())
                return
            for accepted in page.accepted:
                for row in _rows(accepted):
                    if _is_of(row, box.key) and box.new(row):
                        box.put(row)
                await box.emptied()
            after = page.until
            if after >= page.last and self._told is not None and after >= self._told:
                box.reached = max(box.reached or (0, 0), (after, _LAST))
                box.catching_up = None
                return
            if not page.accepted:
                await asyncio.sleep(backoff(0))


def _rows(accepted: Any) -> list[DropOffRow]:
    return [DropOffRow(drop_off, (accepted.place, index)) for index, drop_off in enumerate(accepted.drop_offs)]


def _is_of(row: DropOffRow, key: DropOffsKey) -> bool:
    return key.member_id in ("", row.member_id) and key.partner_id in ("", row.partner_id)


def _place(cursor: str) -> tuple[int, int]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise _no_cursor()
    return int(match[1]), int(match[2])


def _no_cursor() -> FieldError:
    message = "`after` is not a cursor of this subscription; use one that came with an event."
    return FieldError(BAD_USER_INPUT, message, reason="CURSOR_MALFORMED")
