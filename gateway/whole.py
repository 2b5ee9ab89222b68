"""Answers that are whole leave at once: head and body in one piece, by one call of the kernel.

Uvicorn writes the head when it is told of it, and then the body, each of which is a packet of its own; and it looks at
each header of each answer anew, though nearly all of them are always the same. An application says by `whole` in its
`http.response.start` that all of the body follows at once.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

# Few headers have values of their own.
_REMEMBERED = 1_024
# What says more of an answer than how it is framed anyway.
_FRAMING = frozenset((b"connection", b"transfer-encoding"))


class Whole:
    """An application, as it is run for one request."""

    __slots__ = ("_app", "_cycle", "_start")

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle: Any = cycle
        self._start: Message | None = None

    def __call__(self, scope: Scope, receive: Receive, _: Send) -> Any:
        return self._app(scope, receive, self._send)

    async def _send(self, message: Message) -> None:
        cycle = self._cycle
        if message.get("whole") and message["type"] == "http.response.start" and _plain(cycle):
            self._start = message
            return
        start, self._start = self._start, None
        if start is None:
            await cycle.send(message)
            return
        if cycle.flow.write_paused or cycle.disconnected or not cycle.keep_alive:
            await cycle.send(start)
            await cycle.send(message)
            return
        write(cycle, start["status"], start["headers"], message["body"])


def write(cycle: Any, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """A whole answer, to a request on a connection that stays."""
    cycle.transport.write(in_one_piece(cycle, status, headers, body))
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()


def in_one_piece(
    cycle: Any, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, last: bool = False
) -> bytes:
    """Head and body, as they are sent; it says so if this is the last answer on its connection."""
    lines = [_line(name, value) for name, value in (*cycle.default_headers, *headers)]
    if last:
        lines.append(b"connection: close\r\n")
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", body])


def _plain(cycle: Any) -> bool:
    """Whether it has an answer still to come that has a body, on a connection that stays."""
    return bool(cycle.keep_alive and not cycle.response_started and cycle.scope["method"] != "HEAD")


@lru_cache(maxsize=_REMEMBERED)
def _line(name: bytes, value: bytes) -> bytes:
    """As it is sent; RuntimeError, as from uvicorn, for what would be more than one header."""
    if HEADER_RE.search(name) or name in _FRAMING:
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header value.")
    return name + b": " + value + b"\r\n"
