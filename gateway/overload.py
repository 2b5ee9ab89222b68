"""Load shedding: more than the process can answer is refused at once, so that what is let in is answered fast.

How much that is shows in the event loop's lag: by how long a timer is late is how long everything waits for the
processor. A slow service behind us does not show there, and should not: requests that wait for it cost nothing. So the
limit on requests in flight goes down by a tenth while the loop is late, and up again while it is not (additive
increase, multiplicative decrease), as TCP finds its share of a link.
"""

import asyncio
from collections.abc import Callable

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import SERVICE_UNAVAILABLE

_TICK_SECONDS = 0.02
# So many take a process some 20 ms; fewer would idle it, and callers who send some at once would be refused.
_FEWEST = 64
_DECREASE = 0.9
_INCREASE = 4
# Probes have to be answered most of all when there is much to do.
_ALWAYS = frozenset(("/healthz", "/readyz"))
_MESSAGE = "There is more to do than can be done just now; nothing was read of this request. Send it again in a moment."


class Overload:
    """How many requests may be in flight; a fixed number at most, fewer while the event loop is late."""

    def __init__(self, most: int, lag_seconds: float) -> None:
        self.most = most
        self._target = lag_seconds
        self._before = 0.0
        self.limit = float(most)
        self.in_flight = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self.in_flight >= self.limit

    def observe(self, lag_seconds: float) -> None:
        """By how much the event loop was late, once in a tick. One late tick is a large document; two are overload."""
        if min(self._before, lag_seconds) > self._target:
            self.limit = min(self.most, max(_FEWEST, min(self.limit, self.in_flight) * _DECREASE))
        elif lag_seconds <= self._target:
            self.limit = min(self.most, self.limit + _INCREASE)
        self._before = lag_seconds


class Shedding:
    """Outermost of all: who cannot be served is told so before anything of the request is looked at.

    A request counts until its answer begins (`scope["answering"]()`, which whatever answers for longer may rely on).
    """

    def __init__(self, app: ASGIApp, overload: Overload, shed: Callable[[], None], retry_after_seconds: int) -> None:
        self._app = app
        self._overload = overload
        self._shed = shed
        self._ticking = False
        content = {"message": _MESSAGE, "extensions": {"code": SERVICE_UNAVAILABLE, "reason": "OVERLOADED"}}
        self._body = orjson.dumps({"errors": [content]})
        self._headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(self._body)).encode()),
            (b"retry-after", str(retry_after_seconds).encode()),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        overload = self._overload
        if overload.full:
            self._shed()
            await send({"type": "http.response.start", "status": 503, "headers": self._headers})
            await send({"type": "http.response.body", "body": self._body})
            return
        if not self._ticking:
            self._tick_at(asyncio.get_running_loop())
        counted = scope["answering"] = _Counted(overload)
        try:
            await self._app(scope, receive, send)
        finally:
            counted()

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
