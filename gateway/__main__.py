"""`python -m gateway`: settings -> app -> serve."""

import asyncio
import gc
import signal
import socket
from contextlib import suppress

import uvicorn
import uvloop

from gateway.app import create_app
from gateway.config import Settings
from gateway.live.live import Live
from services.shared import telemetry

_FAREWELL_SECONDS = 1.0
# A peer that acknowledges nothing for so long is gone, whatever is still to be sent to it.
_SILENCE_MS = 30_000


async def main() -> None:
    # Everything is made on the loop that serves: a gRPC channel belongs to the loop on which it was made.
    settings = Settings()
    listening = _listen(settings.listen)
    observed = telemetry.start("gateway", settings.log_level, settings.metrics_listen)
    app = create_app(settings, observed)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=settings.live.message_bytes,
        ws_ping_interval=settings.live.keepalive_seconds,
        ws_ping_timeout=settings.live.keepalive_seconds,
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
    for signum in (signal.SIGTERM, signal.SIGINT):
        # After its graceful stop the server raises the signal anew; by then we are done, and end well.
        signal.signal(signum, lambda *_: None)
    _settle()
    telemetry.log.info("listening", address=settings.listen)
    await _Server(config, app.state.live).serve(sockets=[listening])
    telemetry.log.info("stopped")


def _settle() -> None:
    """Takes what has been made so far, which stays, out of the garbage collector's sight.

    Going through the schema's 130,000 objects took it 0.1 s, during which nobody was answered, once in some 2,500
    requests; and a fifth of all time went into collections in which there was nothing to be found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


class _Server(uvicorn.Server):
    """Tells subscribers that it stops, before it closes their connections."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._live.stop(), _FAREWELL_SECONDS)
        await super().shutdown(sockets)


def _listen(address: str) -> socket.socket:
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


if __name__ == "__main__":
    uvloop.run(main())
