"""Subscriptions as server-sent events: the distinct connections mode of GraphQL over SSE.

Each result is an event `next` whose id is its cursor, so that a browser's EventSource, which sends back the last id
that it saw, goes on where it was. The end is an event `complete`; a stream that ends without one is to be opened again.
"""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import error_body, json_of
from gateway.asked import Asked
from gateway.callers import Session
from gateway.config import LiveLimits
from gateway.live.live import Live
from gateway.live.seats import Full
from gateway.live.subscription import Ended, Next, Subscription

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # Proxies that collect an answer before they send it on would hold it back for ever.
    (b"x-accel-buffering", b"no"),
)
_COMMENT = b":\n\n"
_COMPLETE = b"event: complete\ndata:\n\n"
_RETRY_MS = (500, 3_000)


@dataclass(frozen=True)
class EventStreams:
    """Answers requests whose answer is to be a stream of events."""

    live: Live
    limits: LiveLimits

    def __call__(self, asked: Asked, session: Session, last_event_id: str) -> ASGIApp:
        """The response."""
        return _EventStream(self, asked, session, last_event_id)


class _EventStream:
    def __init__(self, streams: EventStreams, asked: Asked, session: Session, last_event_id: str) -> None:
        self._live = streams.live
        self._limits = streams.limits
        self._asked = asked
        self._session = session
        self._last_event_id = last_event_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send_message = send
        # From when it goes on it is a subscription, and no longer a request in flight.
        self._leave = scope["leave"]
        with ExitStack() as seats:
            try:
                seats.enter_context(self._live.seats.connection("events"))
                seats.enter_context(self._live.seats.client(self._session.client, stranger=self._session.stranger))
            except Full as full:
                await self._refuse(full)
                return
            with suppress(TimeoutError):
                # Who does not take what we send is left.
                await self._stream(receive)

    async def _refuse(self, full: Full) -> None:
        body = json_of({"errors": [error_body(full.error, self._session.id)]})
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"retry-after", b"5"),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._send_message({"type": "http.response.start", "status": 429, "headers": headers})
        await self._send_message({"type": "http.response.body", "body": body})

    async def _stream(self, receive: Receive) -> None:
        # The answer begins when the subscription has: who sees its head misses nothing from then on.
        begun = await self._live.begin(self._asked, self._session, self._last_event_id)
        if isinstance(begun, Ended):
            await self._start()
            await self._end(begun)
            return
        with begun, self._live.told_of_stop(begun.interrupt):
            watch = asyncio.create_task(_gone(receive, begun))
            try:
                await self._start()
                await self._follow(begun)
            finally:
                watch.cancel()

    async def _start(self) -> None:
        self._leave()
        await self._send_message({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await self._send(_retry() + _COMMENT)

    async def _follow(self, subscription: Subscription) -> None:
        while not subscription.interrupted:
            match await subscription.next(self._limits.keepalive_seconds):
                case Next(body, cursor):
                    await self._send(_next(body, cursor))
                case Ended() as ended:
                    await self._end(ended)
                    return
                case None:
                    await self._send(_COMMENT)
        # Not complete: whoever still listens is to come back, to another process, in a while.
        await self._send(_retry(), more=False)

    async def _end(self, ended: Ended) -> None:
        await self._send(_next(b'{"errors":' + ended.errors + b"}"))
        await self._send(_COMPLETE, more=False)

    async def _send(self, body: bytes, *, more: bool = True) -> None:
        sent: Awaitable[None] = self._send_message({"type": "http.response.body", "body": body, "more_body": more})
        async with asyncio.timeout(self._limits.send_seconds):
            await sent


async def _gone(receive: Receive, subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    subscription.interrupt()


def _next(body: bytes, cursor: str = "") -> bytes:
    id = b"id: " + cursor.encode() + b"\n" if cursor else b""
    return b"event: next\n" + id + b"data: " + body + b"\n\n"


def _retry() -> bytes:
    # Of random length: all who are sent away at once do not come back at once.
    return b"retry: %d\n\n" % random.randint(*_RETRY_MS)
