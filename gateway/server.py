"""The server that carries the application: HTTP and WebSockets on one socket, and the order of its stop."""

import asyncio
import socket
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette

from gateway.config import Settings

_FAREWELL_SECONDS = 1.0
# A peer that acknowledges nothing for so long is gone, whatever is still to be sent to it.
_SILENCE_MS = 30_000


class Server(uvicorn.Server):
    """Tells subscribers that it stops, before it closes their connections."""

    def __init__(self, app: Starlette, settings: Settings) -> None:
        live = settings.live
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=live.message_bytes,
                ws_ping_interval=live.keepalive_seconds,
                ws_ping_timeout=live.keepalive_seconds,
                # Of little use for small messages, and dear in memory.
                ws_per_message_deflate=False,
                access_log=False,
                log_config=None,
                server_header=False,
                # Whose word on the caller's address is taken is our own setting, see `trusted_proxies`.
                proxy_headers=False,
                timeout_graceful_shutdown=round(settings.stop_grace_seconds),
                h11_max_incomplete_event_size=64 << 10,
            )
        )
        self._live = app.state.live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._live.stop(), _FAREWELL_SECONDS)
        await super().shutdown(sockets)


def listen(address: str) -> socket.socket:
    """The listening socket; a taken port ends the process with a sentence rather than a traceback."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MS)
    try:
        listening.bind((host.strip("[]"), int(port)))
    except OSError as error:
        raise SystemExit(
            f"{address} cannot be listened on ({error.strerror}); if another process has the port, stop it, "
            "or set ALLIANCE_LISTEN to a free one."
        ) from error
    listening.set_inheritable(True)
    return listening
