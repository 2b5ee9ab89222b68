"""A client for load: as little of HTTP as a kept connection takes, so that it costs less than what it measures.

It waits for sockets itself, since an event loop costs several times of what is done here; it turns garbage collection
off while it works, and runs in a process that does nothing else meanwhile. Two CPUs are often one core that is seen
twice: beside a busy one, the other does little more than half as much, so that the client must not be busy.
"""

import gc
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# More than are ever in flight below a gateway's peak; if all are busy, requests wait for one, and the wait counts.
_CONNECTIONS = 128
# Those outside who do not know of each other have one each: more than a gateway lets in at once.
_CROWD = 3_000
# So many of them come from one address of this machine; a gateway bounds how many there may be of one.
_OF_ONE_ADDRESS = 250
# Whoever has no answer by then is left without a word.
PATIENCE_SECONDS = 3.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 "
_TOLD = b"HTTP/1.1 503 "
_LATER = b"\r\nretry-after: "
_READ_BYTES = 1 << 18

# The bytes of the next request.
Next = Callable[[], bytes]


@dataclass
class Answers:
    """What came back: seconds of each request, whatever it was answered."""

    took: list[float] = field(default_factory=list)
    # Seconds of those among them that were told to come again (503 with Retry-After).
    told: list[float] = field(default_factory=list)
    # How many were answered anything else but 200, or not at all.
    failed: int = 0
    elapsed: float = 0.0

    @property
    def good(self) -> int:
        """How many were answered with 200."""
        return len(self.took) - len(self.told) - self.failed

    def percentile_ms(self, share: float) -> float:
        """Of all, by nearest rank; 0 of nothing."""
        return percentile_ms(self.took, share)


def percentile_ms(seconds: list[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    ordered = sorted(seconds)
    return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def closed(address: tuple[str, int], request: Next, *, connections: int, seconds: float) -> Answers:
    """Each connection sends its next request when the last one is answered."""
    with _alone(), _Connections(address, connections) as pool:
        start = time.perf_counter()
        until = start + seconds
        for _ in range(connections):
            pool.send(request(), time.perf_counter())
        while pool.busy:
            for _ in range(pool.wait(1.0)):
                if (now := time.perf_counter()) < until:
                    pool.send(request(), now)
        pool.answers.elapsed = time.perf_counter() - start
        return pool.answers


def paced(
    address: tuple[str, int], request: Next, *, rate: float, seconds: float, connections: int = _CONNECTIONS
) -> Answers:
    """So many requests a second, at equal distances, whatever comes back: an open loop. Each is timed from when it was
    due, not from when it went out, so that nothing that is late hides what waits behind it.
    """
    with _alone(), _Connections(address, connections) as pool:
        count = round(rate * seconds)
        start = time.perf_counter() + 0.01
        sent = 0
        heard = start
        while sent < count or pool.busy:
            now = time.perf_counter()
            while sent < count and pool.free and (due := start + sent / rate) <= now:
                pool.send(request(), due)
                sent += 1
            # When all connections are busy, there is nothing to do until one of them is answered.
            more = sent < count and pool.free
            if pool.wait(max(0.0, start + sent / rate - time.perf_counter()) if more else 0.1) or more:
                heard = time.perf_counter()
            elif time.perf_counter() > heard + PATIENCE_SECONDS:
                break
        answers = pool.answers
        answers.elapsed = time.perf_counter() - start
        answers.took += [answers.elapsed] * pool.busy
        answers.failed += pool.busy
        return answers


def crowd(address: tuple[str, int], request: Next, *, rate: float, seconds: float) -> Answers:
    """As `paced`, by so many at once that nobody waits for a connection."""
    return paced(address, request, rate=rate, seconds=seconds, connections=_CROWD)


@contextmanager
def _alone() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class _Connections:
    """Kept connections, each with one request at a time, used in turn."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.answers = Answers()
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self.free: deque[int] = deque()
        # By connection, when what it waits for was due; and what has come of an answer, and is to come.
        self._since: dict[int, float] = {}
        self._parts: dict[int, tuple[bytes, int]] = {}
        for number in range(count):
            apart = number // _OF_ONE_ADDRESS
            made = socket.create_connection(address, source_address=(f"127.0.0.{apart + 1}", 0) if apart else None)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
            self._sockets[made.fileno()] = made
            self._poll.register(made.fileno(), select.EPOLLIN)
            self.free.append(made.fileno())

    def __enter__(self) -> "_Connections":
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for made in self._sockets.values():
            made.close()

    @property
    def busy(self) -> int:
        """How many wait for an answer."""
        return len(self._since)

    def send(self, request: bytes, since: float) -> None:
        """Sends a request that counts as sent at `since`, over a connection that is free."""
        number = self.free.popleft()
        self._since[number] = since
        if self._sockets[number].send(request) < len(request):
            raise ConnectionError("the gateway takes no more in")

    def wait(self, seconds: float) -> int:
        """Waits for answers at most so long; how many have come."""
        if seconds > 0:
            # epoll alone would wait for whole milliseconds.
            select.select([self._poll], [], [], seconds)
        return sum([self._read(number) for number, _ in self._poll.poll(0)])

    def _read(self, number: int) -> int:
        data = self._sockets[number].recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the gateway closed the connection")
        if number in self._parts:
            got, whole = self._parts.pop(number)
            data = got + data
        else:
            whole = 0
        if not whole:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                length = _LENGTH.search(data, 0, end + 2)
                whole = end + 4 + (int(length[1]) if length else 0)
        if not whole or len(data) < whole:
            self._parts[number] = data, whole
            return 0
        if number not in self._since:
            raise ConnectionError(f"the gateway said something unasked: {data[:200]!r}")
        took = time.perf_counter() - self._since.pop(number)
        self.answers.took.append(took)
        if not data.startswith(_OK):
            if data.startswith(_TOLD) and _LATER in data.lower():
                self.answers.told.append(took)
            else:
                self.answers.failed += 1
        self.free.append(number)
        return 1
