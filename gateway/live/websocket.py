"""Subscriptions over WebSocket: the protocol graphql-transport-ws, as the library graphql-ws defines it.

A token comes with connection_init, as `{"authorization": "Bearer ..."}`, since browsers send no headers of their
choice, or in the header of the upgrade. Queries and mutations are refused: HTTP is their door, which has their limits.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.answers import Refusal
from gateway.asked import Asked, asked_of
from gateway.brands import FOREIGN_PAGE, Brands
from gateway.callers import Callers, Session
from gateway.config import LiveLimits
from gateway.limits import RateExceeded
from gateway.live.live import Live
from gateway.live.seats import Full, too_many
from gateway.live.subscription import Ended, Next, Subscription
from gateway.tokens import TokenInvalid
from services.shared.telemetry import log

PROTOCOL = "graphql-transport-ws"
# Of the protocol; 1001 and 1013 are WebSocket's own.
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_ACCEPTABLE = 4400, 4401, 4403, 4406
INIT_TIMEOUT, SUBSCRIBER_EXISTS, TOO_MANY_INITS = 4408, 4409, 4429
INTERNAL_ERROR = 4500
GOING_AWAY, TRY_AGAIN_LATER = 1001, 1013
_LONGEST_REASON = 120
_LONGEST_ID = 100
_CLOSE_SECONDS = 1.0
_LAST_WORDS_SECONDS = 0.25
# Messages before connection_init, which nobody pays for.
_MOST_BEFORE_INIT = 10


class _Close(Exception):
    """The connection is closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class WebSocketEndpoint:
    """An ASGI application for WebSockets at /graphql. `own_origin` is ours, as pages see it."""

    live: Live
    limits: LiveLimits
    callers: Callers
    brands: Brands
    own_origin: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        if not self._may_come(socket):
            refusal = {"error": "Pages of this origin may not open WebSockets here; their brand has to declare it."}
            await socket.send_denial_response(JSONResponse(refusal, 403))
            return
        try:
            with self.live.seats.connection("websocket"):
                await _Connection(self, socket).serve()
        except Full as full:
            await socket.send_denial_response(
                JSONResponse({"error": full.error.message}, 503, headers={"Retry-After": "5"})
            )

    def _may_come(self, socket: WebSocket) -> bool:
        """Whether the page, if it is one, may: browsers let any page open a WebSocket, and tell where it is from. Ours
        may, and those that brands have declared.
        """
        origin = socket.headers.get("origin")
        if origin is None or origin == self.own_origin or origin in self.brands.origins:
            return True
        return urlsplit(origin).netloc == socket.headers.get("host")


class _Connection:
    """From the upgrade to the close. Whatever ends it ends the wait for the next message: the stop of the process, a
    token that runs out, a client that does not take what it is sent.
    """

    def __init__(self, endpoint: WebSocketEndpoint, socket: WebSocket) -> None:
        self._live = endpoint.live
        self._limits = endpoint.limits
        self._callers = endpoint.callers
        self._brands = endpoint.brands
        self._socket = socket
        # None before connection_init.
        self._session: Session | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._seats = ExitStack()
        self._unpaid = 0
        self._ending: _Close | None = None
        self._waiting = asyncio.timeout(self._limits.init_seconds)

    async def serve(self) -> None:
        offered = self._socket.scope["subprotocols"]
        await self._socket.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            if PROTOCOL not in offered:
                raise _Close(NOT_ACCEPTABLE, f"Subprotocol not acceptable; offer {PROTOCOL}")
            with self._seats:
                await self._read()
        except WebSocketDisconnect:
            return
        except _Close as close:
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._socket.close(
                        close.code, close.reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
                    )
        finally:
            for task in self._operations.values():
                task.cancel()

    async def _read(self) -> None:
        try:
            async with self._waiting:
                with self._live.told_of_stop(self._going_away):
                    while True:
                        await self._take(await self._message())
        except TimeoutError:
            raise self._ending or _Close(INIT_TIMEOUT, "Connection initialisation timeout") from None

    def _end(self, close: _Close, at: float | None = None) -> None:
        """Ends the connection, now or at a moment of the loop's time."""
        if not self._waiting.expired():
            self._ending = close
            self._waiting.reschedule(asyncio.get_running_loop().time() if at is None else at)

    def _going_away(self) -> None:
        self._end(_Close(GOING_AWAY, "Going away; connect again"))

    async def _message(self) -> dict[str, Any]:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1005))
        try:
            message = orjson.loads(received["text"])
        except (KeyError, TypeError, orjson.JSONDecodeError):
            raise _invalid("send text, as JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("payload", {}), dict | None):
            raise _invalid("a message is an object with `type`, and its payload one, too")
        return message

    def _pay(self) -> None:
        """For a message: who sends them faster than they may ask is closed."""
        if self._session is None:
            self._unpaid += 1
            if self._unpaid > _MOST_BEFORE_INIT:
                raise _invalid("begin with connection_init")
            return
        try:
            self._session.account.pay(1)
        except RateExceeded as exceeded:
            raise _Close(TRY_AGAIN_LATER, str(exceeded)) from exceeded

    async def _take(self, message: Mapping[str, Any]) -> None:
        self._pay()
        payload = message.get("payload")
        match message.get("type"):
            case "connection_init":
                await self._init(payload or {})
            case "ping":
                await self._send({"type": "pong"} | ({"payload": payload} if payload is not None else {}))
            case "pong":
                return
            case "subscribe":
                self._subscribe(_id(message), payload)
            case "complete":
                if task := self._operations.pop(_id(message), None):
                    task.cancel()
            case _:
                raise _invalid("its type is none of this protocol")

    async def _init(self, payload: Mapping[str, Any]) -> None:
        if self._session is not None:
            raise _Close(TOO_MANY_INITS, "Too many initialisation requests")
        given = payload.get("authorization", payload.get("Authorization"))
        if given is None:
            given = self._socket.headers.get("authorization")
        elif not isinstance(given, str):
            raise _Close(FORBIDDEN, "Forbidden: authorization is text")
        try:
            session = self._callers.session(self._socket.scope, [given] if given is not None else [], uuid4().hex)
            session.account.pay(1)
        except TokenInvalid as error:
            raise _Close(FORBIDDEN, f"Forbidden: {error}") from error
        except RateExceeded as exceeded:
            raise _Close(TRY_AGAIN_LATER, str(exceeded)) from exceeded
        if self._brands.foreign(self._socket.headers.get("origin", ""), session.viewer.partner_id):
            raise _Close(FORBIDDEN, f"Forbidden: {FOREIGN_PAGE}")
        try:
            self._seats.enter_context(self._live.seats.client(session.client, stranger=session.stranger))
        except Full as full:
            raise _Close(TRY_AGAIN_LATER, str(full)) from full
        self._session = session
        valid_until = session.valid_until
        if not self._live.stopping:
            self._waiting.reschedule(None)
        if valid_until is not None:
            # A moment later, so that each subscription has said so.
            at = asyncio.get_running_loop().time() + valid_until - time.time() + _LAST_WORDS_SECONDS
            self._end(_Close(FORBIDDEN, "Forbidden: The token has expired; connect with a new one"), at)
        await self._send({"type": "connection_ack"})

    def _subscribe(self, id: str, payload: Mapping[str, Any] | None) -> None:
        if self._session is None:
            raise _Close(UNAUTHORIZED, "Unauthorized")
        if id in self._operations:
            raise _Close(SUBSCRIBER_EXISTS, f"Subscriber for {id} already exists")
        try:
            asked = asked_of(payload or {})
        except Refusal as refusal:
            raise _invalid(str(refusal)) from refusal
        # Those that came before have a seat, whether they have begun or not.
        full = len(self._operations) >= self._limits.subscriptions_per_connection
        task = asyncio.create_task(self._serve(id, asked, self._session, full=full))
        self._operations[id] = task
        task.add_done_callback(lambda _: self._forget(id, task))

    def _forget(self, id: str, task: "asyncio.Task[None]") -> None:
        if self._operations.get(id) is task:
            del self._operations[id]
        if not task.cancelled() and (error := task.exception()):
            log.error("subscription failed", exc_info=error)
            self._end(_Close(INTERNAL_ERROR, "Internal server error"))

    async def _serve(self, id: str, asked: Asked, session: Session, *, full: bool) -> None:
        """One operation, to its end."""
        try:
            begun = self._no_seat(session) if full else await self._live.begin(asked, session)
            if isinstance(begun, Subscription):
                with begun:
                    errors = await self._follow(id, begun)
            else:
                errors = begun.errors
            self._forget_id(id)
            await self._send_raw(_message("error", id, errors))
        except _Close as close:
            self._end(close)
        except WebSocketDisconnect:
            return

    def _no_seat(self, session: Session) -> Ended:
        most = self._limits.subscriptions_per_connection
        message = f"A connection has at most {most} subscriptions; end some."
        return self._live.refused(too_many(message, "subscriptions of a connection", most).error, session)

    async def _follow(self, id: str, subscription: Subscription) -> bytes:
        while True:
            match await subscription.next():
                case Next(body):
                    await self._send_raw(_message("next", id, body))
                case Ended(errors):
                    return errors

    def _forget_id(self, id: str) -> None:
        # The client may use the id again as soon as it has the message.
        self._operations.pop(id, None)

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._send_raw(orjson.dumps(message))

    async def _send_raw(self, text: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.send_seconds):
                await self._socket.send_text(text.decode())
        except TimeoutError:
            raise _Close(TRY_AGAIN_LATER, "You take messages too slowly; connect again and resume") from None


def _message(type: str, id: str, payload: bytes) -> bytes:
    return b'{"type":"%s","id":%s,"payload":%s}' % (type.encode(), orjson.dumps(id), payload)


def _id(message: Mapping[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= _LONGEST_ID:
        raise _invalid(f"its id has to be text of 1 to {_LONGEST_ID} characters")
    return id


def _invalid(what: str) -> _Close:
    return _Close(BAD_REQUEST, f"Invalid message: {what}")
