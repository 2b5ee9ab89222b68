"""A client for load: as little of HTTP as a kept connection takes, so that it costs less than what it measures.

It turns garbage collection off while it works, and runs in a process that does nothing else meanwhile.
"""

import asyncio
import gc
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

# More than are ever in flight below a gateway's peak; if all are busy, requests wait for one, and the wait counts.
_CONNECTIONS = 128
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 "

# The bytes of the next request.
Next = Callable[[], bytes]


@dataclass
class Answers:
    """What came back: seconds per request, and how many were not answered with 200."""

    took: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed: float = 0.0

    def percentile_ms(self, share: float) -> float:
        """By nearest rank; 0 of nothing."""
        ordered = sorted(self.took)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def closed(address: tuple[str, int], request: Next, *, connections: int, seconds: float) -> Answers:
    """Each connection sends its next request when the last one is answered."""
    return _alone(_closed(address, request, connections, seconds))


def paced(address: tuple[str, int], request: Next, *, rate: float, seconds: float) -> Answers:
    """So many requests a second, whatever comes back; each is timed from when it was due, not from when it went out."""
    return _alone(_paced(address, request, rate, seconds))


def _alone(work: Coroutine[Any, Any, Answers]) -> Answers:
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return uvloop.run(work)
    finally:
        gc.enable()
        gc.unfreeze()


async def _closed(address: tuple[str, int], request: Next, connections: int, seconds: float) -> Answers:
    answers = Answers()
    start = time.perf_counter()
    until = start + seconds
    idle = asyncio.get_running_loop().create_future()
    busy = connections

    def answered(connection: Connection) -> None:
        nonlocal busy
        if time.perf_counter() < until:
            connection.send(request(), time.perf_counter())
            return
        busy -= 1
        if not busy:
            idle.set_result(None)

    opened = [await Connection.open(address, answers, answered) for _ in range(connections)]
    for connection in opened:
        connection.send(request(), time.perf_counter())
    await idle
    answers.elapsed = time.perf_counter() - start
    for connection in opened:
        connection.close()
    return answers


async def _paced(address: tuple[str, int], request: Next, rate: float, seconds: float) -> Answers:
    answers = Answers()
    free: deque[Connection] = deque()
    late: deque[float] = deque()

    def answered(connection: Connection) -> None:
        if late:
            connection.send(request(), late.popleft())
        else:
            free.append(connection)

    opened = [await Connection.open(address, answers, answered) for _ in range(_CONNECTIONS)]
    free.extend(opened)
    start = time.perf_counter() + 0.01
    for number in range(round(rate * seconds)):
        due = start + number / rate
        while (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if free:
            free.popleft().send(request(), due)
        else:
            late.append(due)
    while len(free) < len(opened):
        await asyncio.sleep(0.001)
    answers.elapsed = time.perf_counter() - start
    for connection in opened:
        connection.close()
    return answers


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, answers: Answers, answered: "Callable[[Connection], None]") -> None:
        self._answers = answers
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._whole = 0
        self._since = 0.0

    @classmethod
    async def open(
        cls, address: tuple[str, int], answers: Answers, answered: "Callable[[Connection], None]"
    ) -> "Connection":
        """A connection; `answered` is called after each answer."""
        _, made = await asyncio.get_running_loop().create_connection(lambda: cls(answers, answered), *address)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, since: float) -> None:
        """Sends a request that counts as sent at `since`."""
        assert self._transport is not None
        self._since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._whole:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._got, 0, end + 2)
            self._whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._got) < self._whole:
            return
        self._answers.took.append(time.perf_counter() - self._since)
        self._answers.failed += not self._got.startswith(_OK)
        self._got, self._whole = b"", 0
        self._answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None and not self._transport.is_closing():
            raise ConnectionError("the gateway closed the connection") from error

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()
