"""A server of unary gRPC calls: as little of HTTP/2 as they take, so that it costs a fraction of what calls it.

gRPC's own server for asyncio costs more per call than the call costs the gateway. Next to the load it took more than a
core, and what was measured was the wait for it. This one reads HEADERS and DATA, keeps flow control (RFC 9113) and
the table of header fields (RFC 7541) as it must, and answers everything that came in one read by one write. It takes
no compressed messages, no Huffman codes, and no headers beyond a frame: gRPC's clients send none.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

# The answer to a method's path and a request's message; None: there is no such method.
Answer = Callable[[str, bytes], bytes | None]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 4, 5
_WINDOW = 65_535
_LARGEST_WINDOW = (1 << 31) - 1
_FRAME = 16_384
# Header blocks that name nothing in the table: `:status: 200`, `content-type: application/grpc`, and the status.
_HEAD = b"\x88\x0f\x10\x10application/grpc"
_OK = b"\x00\x0bgrpc-status\x010"
_UNIMPLEMENTED = _HEAD + b"\x00\x0bgrpc-status\x0212"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._begun = False
        self._fields = _Fields()
        self._paths: dict[int, str] = {}
        self._messages: dict[int, bytes] = {}
        self._out: list[bytes] = []
        # What may be sent: of the connection, of streams that have told anything of theirs, and of new ones.
        self._window = self._new_window = _WINDOW
        self._windows: dict[int, int] = {}
        self._frame_bytes = _FRAME
        # Bytes received since the other side was last told that it may send as many again.
        self._received = 0
        # Answers that wait for the other side to take more, with the stream of each.
        self._waiting: deque[tuple[int, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        grown = struct.pack(">I", _LARGEST_WINDOW - _WINDOW)
        self._transport.write(_frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, grown))

    def data_received(self, data: bytes) -> None:
        got = self._got + data
        at = 0
        if not self._begun:
            if len(got) < len(_PREFACE):
                self._got = got
                return
            self._begun, at = True, len(_PREFACE)
        while len(got) - at >= 9:
            high, low, kind, flags, stream = struct.unpack_from(">HBBBI", got, at)
            end = at + 9 + (high << 8 | low)
            if len(got) < end:
                break
            self._take(kind, flags, stream & _LARGEST_WINDOW, got[at + 9 : end])
            at = end
        self._got = got[at:]
        if self._out:
            assert self._transport is not None
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._acknowledge(len(payload))
            if flags & _PADDED:
                raise ValueError("gRPC pads no frames")
            message = self._messages.pop(stream, b"") + payload
            if flags & _END_STREAM:
                self._call(stream, message)
            else:
                self._messages[stream] = message
        elif kind == _HEADERS:
            if not flags & _END_HEADERS or flags & _PADDED:
                raise ValueError("headers are expected to be one frame without padding")
            self._paths[stream] = self._fields.path(payload[5:] if flags & _PRIORITY else payload)
        elif kind == _WINDOW_UPDATE:
            self._grow(stream, struct.unpack(">I", payload)[0] & _LARGEST_WINDOW)
        elif kind == _SETTINGS and not flags & _ACK:
            self._set(payload)
        elif kind == _PING and not flags & _ACK:
            self._out.append(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM:
            self._forget(stream)

    def _call(self, stream: int, message: bytes) -> None:
        # A flag, which says that nothing is compressed, and the length come first.
        answer = self._answer(self._paths.pop(stream), message[5:])
        if answer is None:
            self._out.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _UNIMPLEMENTED))
            self._forget(stream)
            return
        self._out.append(_frame(_HEADERS, _END_HEADERS, stream, _HEAD))
        self._send(stream, struct.pack(">BI", 0, len(answer)) + answer)

    def _send(self, stream: int, rest: bytes) -> None:
        """As much as the other side takes; the rest waits."""
        window = self._windows.get(stream, self._new_window)
        while rest and (most := min(self._window, window, self._frame_bytes)) > 0:
            part, rest = rest[:most], rest[most:]
            self._window -= len(part)
            window -= len(part)
            self._out.append(_frame(_DATA, 0, stream, part))
        if rest:
            self._windows[stream] = window
            self._waiting.append((stream, rest))
        else:
            self._out.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _OK))
            self._windows.pop(stream, None)

    def _grow(self, stream: int, by: int) -> None:
        if not stream:
            self._window += by
        elif stream in self._windows or stream in self._paths or stream in self._messages:
            self._windows[stream] = self._windows.get(stream, self._new_window) + by
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for stream, rest in waiting:
            self._send(stream, rest)

    def _set(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self._windows:
                    self._windows[stream] += value - self._new_window
                self._new_window = value
            elif name == _MAX_FRAME_SIZE:
                self._frame_bytes = value
        self._out.append(_frame(_SETTINGS, _ACK, 0, b""))
        self._go_on()

    def _acknowledge(self, count: int) -> None:
        self._received += count
        if self._received > 1 << 20:
            self._out.append(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0

    def _forget(self, stream: int) -> None:
        self._paths.pop(stream, None)
        self._messages.pop(stream, None)
        self._windows.pop(stream, None)
        self._waiting = deque(one for one in self._waiting if one[0] != stream)


class _Fields:
    """What is read of header blocks: the path, and the table that later blocks refer to (RFC 7541)."""

    _STATIC = 61
    # Of the static table the names alone: they count with their length when an entry is evicted.
    _NAMES = (
        b":authority :method :method :path :path :scheme :scheme "
        b":status :status :status :status :status :status :status "
        b"accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow "
        b"authorization cache-control content-disposition content-encoding content-language content-length "
        b"content-location content-range content-type cookie date etag expect expires from host if-match "
        b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards "
        b"proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie "
        b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
    ).split()

    def __init__(self) -> None:
        # The latest first.
        self._table: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0
        self._most = 4_096

    def path(self, block: bytes) -> str:
        """The path that a block names; the table is as it has to be for the next one."""
        path = b""
        at = 0
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _number(block, at, 0x7F)
                name, value = self._entry(index)
            elif first & 0x40:
                name, value, at = self._literal(block, at, 0x3F)
                self._keep(name, value)
            elif first & 0x20:
                self._most, at = _number(block, at, 0x1F)
                self._evict()
                continue
            else:
                name, value, at = self._literal(block, at, 0x0F)
            if name == b":path":
                path = value
        return path.decode()

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[bytes, bytes, int]:
        index, at = _number(block, at, mask)
        if index:
            name, _ = self._entry(index)
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return name, value, at

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index > self._STATIC:
            return self._table[index - self._STATIC - 1]
        # None of the values in the static table is asked for.
        return self._NAMES[index - 1], b""

    def _keep(self, name: bytes, value: bytes) -> None:
        self._table.appendleft((name, value))
        self._bytes += len(name) + len(value) + 32
        self._evict()

    def _evict(self) -> None:
        while self._bytes > self._most:
            name, value = self._table.pop()
            self._bytes -= len(name) + len(value) + 32


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer behind a prefix, and where what follows it begins."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    if block[at] & 0x80:
        raise ValueError("gRPC codes no header by Huffman")
    length, at = _number(block, at, 0x7F)
    return block[at : at + length], at + length
