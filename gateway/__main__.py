"""`python -m gateway`: settings -> app -> serve."""

import signal
import socket

import uvicorn
import uvloop

from gateway.app import create_app
from gateway.config import Settings
from services.shared import telemetry


async def main() -> None:
    # Everything is made on the loop that serves: a gRPC channel belongs to the loop on which it was made.
    settings = Settings()
    listening = _listen(settings.listen)
    observed = telemetry.start("gateway", settings.log_level, settings.metrics_listen)
    app = create_app(settings, observed)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=round(settings.stop_grace_seconds),
        h11_max_incomplete_event_size=64 << 10,
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        # After its graceful stop the server raises the signal anew; by then we are done, and end well.
        signal.signal(signum, lambda *_: None)
    telemetry.log.info("listening", address=settings.listen)
    await uvicorn.Server(config).serve(sockets=[listening])
    telemetry.log.info("stopped")


def _listen(address: str) -> socket.socket:
    """The listening socket; a taken port ends the process with a sentence rather than a traceback."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
