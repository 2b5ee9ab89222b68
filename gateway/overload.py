"""Load shedding: more than the process can answer is refused at once, so that what is let in is answered fast.

While the event loop's thread has something to do all the time, as many requests are let in as are answered within a
time that callers like, at the rate that is being reached (Little's law). While it has not, what requests wait for is
no processor of ours, and to wait costs nothing: then as many again are let in as there are already, so that a flood
finds no more places open than its own first moments have shown to be needed, and a slow service costs nobody an answer.

The loop's lag does not show this in time: what is cheap in a request comes first, so that two thousand were let in
before any turn of the loop was long. Nor does processor time, of which a busy machine gives less than is wanted.

Three times as much as can be answered means two refusals for each answer, so that a refusal has to cost next to
nothing: it is decided when the head of a request is there, where its connection is (`gateway/wire.py`), and leaves in
one piece; no task is begun for it, and its body is not looked at.

Brands are served alike (max-min fairness): who has fewer places than its share is let in beyond the limit, too.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.cors import asks_first
from gateway.errors import SERVICE_UNAVAILABLE
from gateway.request_ids import request_id_of
from gateway.returns import Returns

Header = tuple[bytes, bytes]

_WINDOW_SECONDS = 0.2
# Who has something to do for so large a part of a window has no time left to speak of.
_BUSY = 0.8
# What comes together at a quiet moment is no flood yet.
_START = 256
# Calls of services are shared among requests: at 128 that come one by one each costs half as much again as at 500.
_FEWEST = 128
# However many have less than their share, there are no more than this many times the limit.
_MOST_BEYOND = 2
# Probes have to be answered most of all when there is much to do.
_ALWAYS = frozenset(("/healthz", "/readyz"))
_MESSAGE = "There is more to do than can be done just now; nothing was read of this request. Send it again in a moment."


class Overload:
    """How many requests may be in flight: `most`, and while the process is busy as many as it answers within
    `answer_seconds`.
    """

    def __init__(self, most: int, answer_seconds: float) -> None:
        self.most = most
        self._answer_seconds = answer_seconds
        self.limit = float(min(_START, most))
        self.in_flight = 0
        # By client.
        self._having: dict[str, int] = {}
        # In this window; and the rate in the one before.
        self._answered = 0
        self._peak = 0
        self._rate = 0.0

    def enter(self, client: str) -> bool:
        """One more request of a client; False if that is one too many."""
        having = self._having
        own = having.get(client, 0)
        if self.in_flight >= self.limit and (
            own >= self.limit / (len(having) + (not own)) or self.in_flight >= _MOST_BEYOND * self.limit
        ):
            return False
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        having[client] = own + 1
        return True

    def leave(self, client: str) -> None:
        """A request of a client is being answered, or has been given up."""
        self.in_flight -= 1
        self._answered += 1
        left = self._having[client] - 1
        if left:
            self._having[client] = left
        else:
            del self._having[client]

    def observe(self, seconds: float, busy_seconds: float) -> None:
        """A window is over: how long it was, and for how much of it the event loop had something to do."""
        rate, before = self._answered / seconds, self._rate
        if busy_seconds >= _BUSY * seconds:
            # In one window a single large document may have kept all others from being answered.
            limit = max(_FEWEST, max(rate, before) * self._answer_seconds)
        else:
            limit = max(_START, 2 * self._peak)
        self.limit = min(self.most, limit)
        self._rate, self._answered, self._peak = rate, 0, self.in_flight

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in flight, and more windows would change nothing."""
        return not (self.in_flight or self._peak or self._rate)


class Shedding:
    """Who cannot be served is told so before anything but the head of the request is looked at, in an answer that is
    ready but for who asks, and that pages may read as any other.
    """

    def __init__(
        self,
        overload: Overload,
        client: Callable[[Scope], str],
        shed: Callable[[], None],
        returns: Returns,
        headers: Sequence[Header],
        readable: Callable[[Scope], Sequence[Header]],
    ) -> None:
        """`client` says among whom places are shared out. `headers` are what every response carries; `readable` adds
        those by which a page may read it.
        """
        self._overload = overload
        self._client = client
        self._shed = shed
        self._returns = returns
        self._readable = readable
        self._watching = False
        content = {"message": _MESSAGE, "extensions": {"code": SERVICE_UNAVAILABLE, "reason": "OVERLOADED"}}
        self.body = orjson.dumps({"errors": [content]})
        self._headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(self.body)).encode()),
            (b"cache-control", b"no-store"),
            (b"vary", b"Origin"),
            *headers,
        ]

    def let_in(self, scope: Scope, app: ASGIApp) -> ASGIApp | None:
        """The application, to be run for the request in its place; None if there is no place for it."""
        if scope["path"] in _ALWAYS:
            return app
        client = self._client(scope)
        if not self._overload.enter(client):
            # A browser whose question beforehand is refused tells its page nothing of why; the answer costs as little.
            return app if asks_first(scope) else None
        if not self._watching:
            self._watch(asyncio.get_running_loop())
        return _Place(app, self._overload, client, self._returns)

    def refused(self, scope: Scope) -> list[Header]:
        """The headers of the answer to a request for which there is no place; its status is 503."""
        self._shed()
        return [
            *self._headers,
            (b"retry-after", b"%d" % self._returns.refused()),
            (b"x-request-id", request_id_of(scope).encode("latin-1")),
            *self._readable(scope),
        ]

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        # Only while there is something in flight; an idle process sleeps.
        self._watching = True
        loop.call_later(_WINDOW_SECONDS, self._observe, loop, time.monotonic(), _wanted_seconds())

    def _observe(self, loop: asyncio.AbstractEventLoop, began: float, wanted: float) -> None:
        self._overload.observe(time.monotonic() - began, _wanted_seconds() - wanted)
        self._watching = False
        if not self._overload.at_rest:
            self._watch(loop)


def _wanted_seconds() -> float:
    """For how long this thread has run or, where the system tells, waited for a processor (sched-stats of Linux)."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            ran, waited, _ = file.read().split()
    except OSError:
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9


class _Place:
    """A request in flight, until its answer begins (`scope["answering"]()`, which whatever answers for longer takes
    away), or until it is given up.
    """

    __slots__ = ("_app", "_client", "_left", "_overload", "_returns")

    def __init__(self, app: ASGIApp, overload: Overload, client: str, returns: Returns) -> None:
        self._app = app
        self._overload = overload
        self._client = client
        self._returns = returns
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["answering"] = self._leave
        try:
            await self._app(scope, receive, send)
        finally:
            self._leave()
            self._returns.answered += 1

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._overload.leave(self._client)
