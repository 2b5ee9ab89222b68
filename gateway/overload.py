"""Load shedding: more than the process can answer is refused at once, so that what is let in is answered fast.

How much that is shows in the event loop's lag: by how long a timer is late is how long everything waits for the
processor. A slow service behind us does not show there, and should not: requests that wait for it cost nothing. So the
limit on requests in flight goes down while the loop is late, and up again while it is not (additive increase,
multiplicative decrease), as TCP finds its share of a link; and down at once to what takes as long as is wanted, since
what takes the processor three times as long is three times as much (Little's law).
"""

import asyncio
from collections.abc import Callable, Sequence

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.cors import asks_first
from gateway.errors import SERVICE_UNAVAILABLE
from gateway.health import PATHS
from gateway.request_ids import request_id_of
from gateway.returns import Returns

Header = tuple[bytes, bytes]

_TICK_SECONDS = 0.02
# So many take a process some 20 ms; fewer would idle it, and callers who send some at once would be refused.
_FEWEST = 64
# A tick's lateness is a rough measure: no less than a fifth is left in one step, and at least a tenth goes.
_STEEPEST, _GENTLEST = 0.2, 0.9
_INCREASE = 4
_ALWAYS = frozenset(PATHS)
_MESSAGE = "There is more to do than can be done just now; nothing was read of this request. Send it again in a moment."


class Overload:
    """How many requests may be in flight; a fixed number at most, fewer while the event loop is late."""

    def __init__(self, most: int, lag_seconds: float) -> None:
        self.most = most
        self._target = lag_seconds
        self._before = 0.0
        self.limit = float(most)
        self.in_flight = 0

    def observe(self, lag_seconds: float) -> None:
        """By how much the event loop was late, once in a tick. One late tick is a large document; two are overload."""
        late = min(self._before, lag_seconds)
        if late > self._target:
            share = min(_GENTLEST, max(_STEEPEST, self._target / late))
            self.limit = min(self.most, max(_FEWEST, min(self.limit, self.in_flight) * share))
        elif lag_seconds <= self._target:
            self.limit = min(self.most, self.limit + _INCREASE)
        self._before = lag_seconds


class Shedding:
    """Outermost of all: who cannot be served is told so before anything of the request is looked at, in an answer that
    is ready but for who asks, and that pages may read as any other.

    A request counts until its answer begins (`scope["answering"]()`, which whatever answers for longer may rely on).
    """

    def __init__(
        self,
        app: ASGIApp,
        overload: Overload,
        shed: Callable[[], None],
        returns: Returns,
        headers: Sequence[Header],
        readable: Callable[[Scope], Sequence[Header]],
    ) -> None:
        """`headers` are what every response carries; `readable` adds those by which a page may read it."""
        self._app = app
        self._overload = overload
        self._shed = shed
        self._returns = returns
        self._readable = readable
        self._ticking = False
        content = {"message": _MESSAGE, "extensions": {"code": SERVICE_UNAVAILABLE, "reason": "OVERLOADED"}}
        self._body = orjson.dumps({"errors": [content]})
        self._headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(self._body)).encode()),
            (b"cache-control", b"no-store"),
            (b"vary", b"Origin"),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        overload = self._overload
        # A browser whose question beforehand is refused tells its page nothing of why; the answer costs as little.
        if overload.in_flight >= overload.limit and not asks_first(scope):
            await self._refuse(scope, send)
            return
        if not self._ticking:
            self._tick_at(asyncio.get_running_loop())
        counted = scope["answering"] = _Counted(overload)
        try:
            await self._app(scope, receive, send)
        finally:
            counted()
            self._returns.answered += 1

    async def _refuse(self, scope: Scope, send: Send) -> None:
        self._shed()
        headers = [
            *self._headers,
            (b"retry-after", b"%d" % self._returns.refused()),
            (b"x-request-id", request_id_of(scope).encode("latin-1")),
            *self._readable(scope),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})

    def _tick_at(self, loop: asyncio.AbstractEventLoop) -> None:
        # Only while there is something in flight; an idle process sleeps.
        self._ticking = True
        due = loop.time() + _TICK_SECONDS
        loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._overload.observe(loop.time() - due)
        self._ticking = False
        if self._overload.in_flight or self._overload.limit < self._overload.most:
            self._tick_at(loop)


class _Counted:
    """A request in flight, until it is called for the first time."""

    __slots__ = ("_overload",)

    def __init__(self, overload: Overload) -> None:
        self._overload: Overload | None = overload
        overload.in_flight += 1

    def __call__(self) -> None:
        if self._overload is not None:
            self._overload.in_flight -= 1
            self._overload = None
