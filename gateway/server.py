"""The server that carries the application: HTTP and WebSockets on one socket, and the order of its stop."""

import asyncio
import socket
import time
from contextlib import suppress
from functools import partial

import uvicorn
from starlette.applications import Starlette

from gateway.config import Settings
from gateway.health import Probes
from gateway.live.frames import FramedSocket
from gateway.wire import Connection, Doors

_FAREWELL_SECONDS = 1.0
# Of the one socket; each costs two microseconds or so for a connection that is made at a quiet moment.
_LISTENERS = 8
# A peer that acknowledges nothing for so long is gone, whatever is still to be sent to it.
_SILENCE_MS = 30_000


class Server(uvicorn.Server):
    """Bounds connections, and tells subscribers that it stops before it closes theirs."""

    def __init__(self, app: Starlette, settings: Settings, probed: socket.socket | None = None) -> None:
        """`probed` is where probes ask, if that is not where callers do."""
        live = settings.live
        doors = Doors(
            settings.connections,
            app.state.measures.cut,
            time.monotonic,
            behind_proxies=settings.trusted_proxies > 0,
            shedding=app.state.shedding,
        )
        super().__init__(
            uvicorn.Config(
                app,
                # What makes a connection, in place of its class; uvicorn says less than it takes.
                http=partial(Connection, doors),  # type: ignore[arg-type]
                timeout_keep_alive=settings.connections.idle_seconds,  # type: ignore[arg-type]
                ws=partial(FramedSocket, live.frames_per_second, app.state.measures.cut),  # type: ignore[arg-type]
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
            )
        )
        self._live = app.state.live
        self._doors = doors
        doors.open = self.server_state.connections
        app.state.measures.observe_connections(lambda: len(doors.open))
        self._probes = Probes(app.state.health, probed) if probed else None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is told to stop, on these sockets."""
        # libuv takes one connection from each listener in a turn of the event loop, so that in a flood, when turns are
        # long, it took seconds until who connects was so much as heard.
        await super().serve([each for one in sockets or () for each in (one, *_again(one))])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._probes:
            await self._probes.start()

    async def on_tick(self, counter: int) -> bool:
        self._doors.walk()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._live.stop(), _FAREWELL_SECONDS)
        await super().shutdown(sockets)
        if self._probes:
            self._probes.stop()


def _again(listening: socket.socket) -> list[socket.socket]:
    return [listening.dup() for _ in range(_LISTENERS - 1)]


def listen(address: str, setting: str = "ALLIANCE_LISTEN") -> socket.socket:
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
            f"or set {setting} to a free one."
        ) from error
    listening.set_inheritable(True)
    return listening
