"""Connections, bounded where uvicorn leaves them open: how many there are, how long a head or a body may take to come,
how long a head may be, and how long an answer may take to be taken.

An attacker who opens connections and says little on them (Slowloris, R.U.D.Y.), or reads slowly, holds nothing here
for longer than these bounds. They are looked at by walking over all connections once in a while, so that a request
that comes as requests do costs nothing for them.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.config import ConnectionLimits
from gateway.errors import BAD_USER_INPUT, SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS
from gateway.overload import Shedding
from gateway.whole import Whole, in_one_piece, write

_WALKS_PER_LIMIT = 4
_LONGEST_WALK_SECONDS = 1.0
# For so long we go on taking what a caller still sends who has been answered already: if a connection is closed with
# something unread, the kernel throws away the answer, too.
_LINGER_SECONDS = 2.0
# Beyond the connections that there may be, so many are closed in that way.
_LINGERING = 64
# Files that are no connections of callers: to services, logs, keys.
_OTHER_FILES = 256
_FEWEST = 8
# When there is no place, so large a part of the connections that say nothing makes room.
_MAKING_ROOM = 1 / 20
_MAKING_ROOM_SECONDS = 0.1


class Phase(Enum):
    """What a connection is about."""

    SILENT = auto()  # Nothing has come yet.
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()
    UNREAD = auto()  # Answered before its body was there.
    IDLE = auto()
    LEAVING = auto()  # Has been told to.


class Doors:
    """All connections of a process."""

    def __init__(
        self,
        limits: ConnectionLimits,
        limited: Callable[[str], None],
        clock: Callable[[], float],
        *,
        behind_proxies: bool,
        shedding: Shedding | None = None,
    ) -> None:
        """`limited` is told the name of a limit each time that it cuts something off. Behind proxies, all connections
        come from few addresses. `shedding` says which requests are let in; without it, all are.
        """
        self.limits = limits
        self.most = min(limits.connections, max(_FEWEST, _files(limits.connections + _OTHER_FILES) - _OTHER_FILES))
        # The server's own, once there is one.
        self.open: set[Any] = set()
        self.limited = limited
        self.shedding = shedding
        self._clock = clock
        self._most_per_address = self.most if behind_proxies else limits.connections_per_address
        self._by_address: Counter[str] = Counter()
        self._made_room_at = self._walked_at = clock()
        self._period = min(
            _LONGEST_WALK_SECONDS,
            min(limits.head_seconds, limits.body_seconds, limits.idle_seconds, limits.send_seconds) / _WALKS_PER_LIMIT,
        )
        self._no_place = _refusal(
            503, SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS",
            f"This gateway has {self.most:,} connections at most, and all are taken; connect again in a moment.",
            "connections", self.most,
        )  # fmt: skip
        self._too_many = _refusal(
            429, TOO_MANY_REQUESTS, "TOO_MANY_CONNECTIONS",
            f"From one address there are {self._most_per_address:,} connections at most; close some.",
            "connections of an address", self._most_per_address,
        )  # fmt: skip
        self.too_long = _refusal(
            431, BAD_USER_INPUT, "HEAD_TOO_LARGE",
            f"A request's line and headers have {limits.head_bytes:,} bytes at most; send less.",
            "head bytes", limits.head_bytes,
        )  # fmt: skip
        self._late = {
            Phase.HEAD: _late("head", "line and headers", limits.head_seconds),
            Phase.BODY: _late("body", "body", limits.body_seconds),
        }

    @property
    def crowded(self) -> bool:
        """Whether there is not even room for those who leave."""
        return len(self.open) > self.most + _LINGERING

    def enter(self, connection: "Connection") -> bytes:
        """One more; what it is answered if it may not stay, else nothing."""
        address = connection.address
        self._by_address[address] += 1
        connection.seen(self._clock())
        if len(self.open) > self.most:
            self._make_room(connection)
            self.limited("connections")
            return self._no_place
        if self._by_address[address] > self._most_per_address:
            self.limited("connections of an address")
            return self._too_many
        return b""

    def left(self, address: str) -> None:
        """One has ended."""
        self._by_address[address] -= 1

    def cut(self, connection: "Connection", limit: str, answer: bytes = b"") -> None:
        """Ends a connection that is beyond a limit, with an answer if there can be one."""
        self.limited(limit)
        connection.cut(answer)

    def walk(self) -> None:
        """Looks at all connections, if it is time to: whichever has been at one thing for too long is ended."""
        now = self._clock()
        if now - self._walked_at < self._period:
            return
        self._walked_at = now
        addresses: Counter[str] = Counter()
        for connection in list(self.open):
            # Of WebSockets, which have limits of their own, only the number counts.
            addresses[connection.client[0] if connection.client else ""] += 1
            if isinstance(connection, Connection):
                self._look_at(connection, now)
        self._by_address = addresses

    def _look_at(self, connection: "Connection", now: float) -> None:
        limits = self.limits
        phase, seconds = connection.seen(now)
        if connection.untaken_seconds(now) > limits.send_seconds:
            self.limited("send seconds")
            connection.transport.abort()
        elif phase is Phase.SILENT and seconds > limits.head_seconds:
            # Browsers connect beforehand; they are told nothing, since they have asked for nothing.
            self.cut(connection, "head seconds")
        elif phase is Phase.HEAD and seconds > limits.head_seconds:
            self.cut(connection, "head seconds", self._late[phase])
        elif phase is Phase.BODY and seconds > limits.body_seconds:
            self.cut(connection, "body seconds", self._late[phase])
        elif phase is Phase.LEAVING and seconds > _LINGER_SECONDS:
            connection.transport.abort()
        elif phase is Phase.UNREAD and seconds > _LINGER_SECONDS:
            self.cut(connection, "body seconds")
        elif phase is Phase.IDLE and seconds > limits.idle_seconds:
            connection.cut()

    def _make_room(self, newcomer: "Connection") -> None:
        """Ends some of the connections that have been silent for longest; not for each that finds no place, and not the
        one that found none, which is told so.
        """
        now = self._clock()
        if now - self._made_room_at < _MAKING_ROOM_SECONDS:
            return
        self._made_room_at = now
        others = [each for each in self.open - {newcomer} if isinstance(each, Connection)]
        seen = [(each.seen(now), each) for each in others if not each.transport.is_closing()]
        idle = [(seconds, each) for (phase, seconds), each in seen if phase in (Phase.SILENT, Phase.IDLE)]
        idle.sort(key=lambda pair: -pair[0])
        for _, connection in idle[: max(1, int(self.most * _MAKING_ROOM))]:
            connection.cut()


class Connection(HttpToolsProtocol):
    """A connection as uvicorn has it, that is let in, looked at, and cut off."""

    def __init__(self, doors: Doors, **given: Any) -> None:
        super().__init__(**given)
        self._doors = doors
        self.address = ""
        self._head = 0
        # What is answered at present, or was last; uvicorn's is the last that was asked.
        self._answered: RequestResponseCycle | None = None
        # What it was seen at, and since when; how much of answers had not been taken, and since when.
        self._seen: tuple[Any, Phase] = (None, Phase.SILENT)
        self._seen_at: float | None = None
        self._untaken = 0
        self._untaken_at = 0.0
        self._upgraded = self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.address = self.client[0] if self.client else ""
        if refusal := self._doors.enter(self):
            self.cut(refusal)
            if self._doors.crowded:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._doors.left(self.address)

    def data_received(self, data: bytes) -> None:
        if self._leaving or self.transport.is_closing():
            return
        most = self._doors.limits.head_bytes
        if len(data) > most and self._between() and data.find(b"\r\n\r\n", 0, most) < 0:
            self._doors.cut(self, "head bytes", self._doors.too_long)
            return
        super().data_received(data)
        scope = self.scope
        if self._upgraded or (scope is not None and "path" in scope):
            self._head = 0
        else:
            self._head += len(data)
            if self._head > most:
                self._doors.cut(self, "head bytes", self._doors.too_long)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= self._doors.limits.pipelined:
            # Raised through the parser, which is not to go on; uvicorn answers 400 and closes.
            self._doors.limited("pipelined requests")
            raise httptools.HttpParserError("too many requests are sent ahead")
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        scope: Any = cycle.scope
        whole: Any = Whole(app, cycle)
        shedding = self._doors.shedding
        if shedding is None or (whole := shedding.let_in(scope, whole)) is not None:
            super()._start_asgi_task(cycle, whole)
            return
        headers = shedding.refused(scope)
        body = shedding.body if scope["method"] != "HEAD" else b""
        # Who goes on asking without taking the answers is not waited for.
        if cycle.keep_alive and not self.flow.write_paused:
            write(cycle, 503, headers, body)
        else:
            self.cut(in_one_piece(cycle, 503, headers, body, last=True))

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is not None:
            # Of who has been answered already, too.
            self.cycle.more_body = False

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade()

    def cut(self, answer: bytes = b"") -> None:
        """Ends the connection; with this answer, unless another has begun."""
        if self.transport.is_closing() or self._leaving:
            return
        begun = False
        for cycle in (self._answered, self.cycle):
            if cycle is not None and not cycle.response_complete:
                # Whoever waits for the rest of the request waits no more, and has nobody to answer.
                cycle.disconnected = True
                cycle.message_event.set()
                begun = begun or cycle.response_started
        if begun or not answer:
            self.transport.close()
            return
        self._leaving = True
        self.flow.resume_reading()
        self.transport.write(answer)
        self.transport.write_eof()

    def seen(self, now: float) -> tuple[Phase, float]:
        """What the connection is at, and for how many seconds it was seen at that."""
        phase = self._phase()
        at = (self.scope, phase)
        # A body that we do not read ourselves is not late.
        if self._seen_at is None or at[0] is not self._seen[0] or phase is not self._seen[1] or self.flow.read_paused:
            self._seen, self._seen_at = at, now
        return phase, now - self._seen_at

    def untaken_seconds(self, now: float) -> float:
        """For how long what waits to be sent has not become less."""
        waiting = self.transport.get_write_buffer_size()
        if not waiting or waiting < self._untaken or not self._untaken:
            self._untaken_at = now
        self._untaken = waiting
        return now - self._untaken_at

    def _phase(self) -> Phase:
        if self._leaving:
            return Phase.LEAVING
        if self.scope is None:
            return Phase.SILENT if not self._head else Phase.HEAD
        if "path" not in self.scope:
            return Phase.HEAD
        if not self.cycle.response_complete:
            return Phase.BODY if self.cycle.more_body else Phase.ANSWERING
        return Phase.UNREAD if self.cycle.more_body else Phase.IDLE

    def _between(self) -> bool:
        """Whether what comes next is the head of a request."""
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)


def _files(wanted: int) -> int:
    """How many files this process may have open: as many as are wanted, if it may have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted or soft == resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _late(measure: str, what: str, seconds: float) -> bytes:
    message = f"A request's {what} has to be here within {seconds:g} s; send it faster."
    return _refusal(408, BAD_USER_INPUT, "REQUEST_TOO_SLOW", message, f"{measure} seconds", seconds)


def _refusal(status: int, code: str, reason: str, message: str, measure: str, limit: float) -> bytes:
    """A whole response, after which the connection is closed."""
    extensions: Mapping[str, object] = {"code": code, "reason": reason, "measure": measure, "limit": limit}
    body = orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})
    retry = "retry-after: 1\r\n" if status in (429, 503) else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\n{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body
