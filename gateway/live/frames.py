"""WebSockets as uvicorn has them, with their frames bounded, of which it reads as many as come, and callers' mistakes
told to callers alone.

A frame takes six bytes and the work of a small request. Messages are paid for by who sends them; pings, pongs and
fragments that never become a message are not, and a quarter of a megabyte of them, which is what one read of a socket
may bring, would keep everybody else waiting for a second.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

# What is read before frames are counted.
_READ_BYTES = 1 << 10
# Who has said little may say so much at once: when a client comes back, it subscribes to all that it follows.
AT_ONCE = 1_000


class FramedSocket(WebSocketsSansIOProtocol):
    """A WebSocket that is closed if it gets more frames than it may, or text that is none."""

    def __init__(self, per_second: float, limited: Callable[[str], None], **given: Any) -> None:
        """`limited` is told the name of the limit each time that it closes one."""
        super().__init__(**given)
        self._per_second = per_second
        self._limited = limited
        self._left = float(AT_ONCE)
        self._counted_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        now = self.loop.time()
        self._left = min(AT_ONCE, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        for begin in range(0, len(data), _READ_BYTES):
            super().data_received(data[begin : begin + _READ_BYTES])
            if self.transport.is_closing():
                return
            if self._left < 0:
                self._close()
                return

    def handle_events(self) -> None:
        self._left -= len(self.conn.events)
        super().handle_events()

    def send_receive_event_to_app(self) -> None:
        # What is no text is its sender's mistake; uvicorn would log it as an error of ours, with a traceback.
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self.frames = []
            self.conn.fail(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # The upgrade was refused; uvicorn would log that nothing was answered.
            self.handshake_complete = True

    def handle_parser_exception(self) -> None:
        # Whoever still has something to say is told that nobody listens; uvicorn would call it an error of theirs.
        self.disconnected = True
        super().handle_parser_exception()

    def _close(self) -> None:
        self._limited("frames of a websocket")
        if self.close_sent:
            # It was told already that it is over.
            self.transport.abort()
            return
        reason = f"A WebSocket has {self._per_second:g} frames a second at most, and {AT_ONCE:,} at once"
        self.conn.fail(CloseCode.POLICY_VIOLATION, reason)
        self.handle_parser_exception()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
