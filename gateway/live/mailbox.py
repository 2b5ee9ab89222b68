"""What waits for one subscriber. A mailbox never grows with how slow its subscriber is."""

import asyncio
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections import deque
from hashlib import blake2b
from typing import Any, Protocol

from google.protobuf.message import Message

from gateway.errors import FieldError, subscription_ended

_CURSOR_BYTES = 12


class Row(Protocol):
    """An event of a topic."""

    @property
    def cursor(self) -> str:
        """Its place: who has got so far goes on behind it."""

    @property
    def answers(self) -> dict[Any, bytes] | None:
        """Where it looks the same to everybody: what has been answered already, by what was asked."""


class Mailbox(ABC):
    """The subscriber's end. A topic puts rows in and may end it; the subscriber waits, takes, and may put back."""

    def __init__(self, key: Any) -> None:
        # What is followed.
        self.key = key
        self.arrived = asyncio.Event()
        # Why no more will come.
        self.ended: FieldError | None = None

    @abstractmethod
    def take(self) -> Any:
        """The next row; None if there is none now."""

    @abstractmethod
    def put_back(self, row: Any) -> None:
        """A row that could not be shown yet: it comes again, unless a newer one has taken its place."""

    def end(self, why: FieldError) -> None:
        """What is in it can still be taken."""
        self.ended = self.ended or why
        self.arrived.set()


def state_cursor(state: Message) -> str:
    """The cursor of a state: a digest of it, the same in whichever process."""
    content = state.SerializeToString(deterministic=True)
    return urlsafe_b64encode(blake2b(content, digest_size=_CURSOR_BYTES).digest()).decode()


class Latest(Mailbox):
    """Keeps only the latest state: who is slow misses those in between, and a state that was seen last is no news."""

    def __init__(self, key: Any, seen: str) -> None:
        super().__init__(key)
        # The cursors of the last row that was taken, and of the one before.
        self._seen = self._before = seen
        self._row: Row | None = None

    def offer(self, row: Row) -> None:
        """The state as it is now."""
        self._row = None if row.cursor == self._seen else row
        if self._row is not None:
            self.arrived.set()

    def take(self) -> Any:
        row, self._row = self._row, None
        if row is not None:
            self._before, self._seen = self._seen, row.cursor
        if self.ended is None:
            self.arrived.clear()
        return row

    def put_back(self, row: Any) -> None:
        self._seen = self._before
        self.offer(self._row or row)


class Buffered(Mailbox):
    """Keeps every row, in order, up to a number: who falls further behind is told where to resume."""

    def __init__(self, key: Any, most: int) -> None:
        super().__init__(key)
        self._most = most
        self._rows: deque[Row] = deque()
        self._empty = asyncio.Event()
        self._empty.set()

    def offer(self, row: Row) -> None:
        """The next row."""
        if self.ended is not None:
            return
        if len(self._rows) >= self._most:
            message = (
                f"More than {self._most} events waited for you; subscribe again with `after` and take them faster."
            )
            self.end(subscription_ended("TOO_SLOW", message, cursor=self._rows[-1].cursor))
            return
        self.put(row)

    def put(self, row: Row) -> None:
        """The next row, whatever waits: for who waits for the mailbox to be empty first."""
        self._rows.append(row)
        self._empty.clear()
        self.arrived.set()

    async def emptied(self) -> None:
        """Waits until all has been taken."""
        await self._empty.wait()

    def take(self) -> Any:
        row = self._rows.popleft() if self._rows else None
        if not self._rows:
            self._empty.set()
            if self.ended is None:
                self.arrived.clear()
        return row

    def put_back(self, row: Any) -> None:
        self._rows.appendleft(row)
        self.arrived.set()
