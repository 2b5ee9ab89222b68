"""An HTTP/1.1 client of one kind of request, as cheap as Python allows: those who flood share the processor with whom
they flood, and what they take of it themselves is no figure of the alliance's.
"""

import asyncio

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


class Caller(asyncio.Protocol):
    """A connection, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.open = False

    @classmethod
    async def to(cls, host: str, port: int) -> "Caller":
        """Connected."""
        _, caller = await asyncio.get_running_loop().create_connection(cls, host, port)
        return caller

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """The status and body of the answer; OSError if the connection ends before. Given up, it is of no more use."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Ends the connection."""
        self.open = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(_HEAD_END)
        if head < 0:
            return
        named = self._received.find(_LENGTH, 0, head + 2) + len(_LENGTH)
        end = head + len(_HEAD_END) + int(self._received[named : self._received.index(b"\r\n", named)])
        if len(self._received) < end:
            return
        status, body = int(self._received[9:12]), self._received[head + len(_HEAD_END) : end]
        if b"\r\nconnection: close" in self._received[: head + 2]:
            self.close()
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))
