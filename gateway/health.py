"""Whether the process lives and can be sent requests; told at the public door, and at a port of its own for probes.

The port of its own is there since probes must be answered when callers take all connections that there may be: a
process that is restarted for that loses what it has begun, and its callers go to the next one.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

# Probes have to be answered most of all when there is much to do.
PATHS = ("/healthz", "/readyz")
# Kubelets ask one at a time, and close behind them.
_CONNECTIONS = 64
_IDLE_SECONDS = 5


@dataclass
class Health:
    """Whether the process lives, and whether it can be sent requests."""

    # What each service says of itself.
    services: Callable[[], Awaitable[Mapping[str, str]]]
    seen_all: bool = False

    def routes(self) -> list[Route]:
        """Where it is asked."""
        return [Route(path, told) for path, told in zip(PATHS, (self.alive, self.ready), strict=True)]

    async def alive(self, _: HttpRequest) -> Response:
        """GET /healthz: the process answers."""
        return JSONResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})

    async def ready(self, _: HttpRequest) -> Response:
        """GET /readyz: ready once all four services have served, and from then on while any of them does.

        A gateway that left the load balancer with one service of four would turn a part failing into all failing.
        """
        services = await self.services()
        serving = [state == "serving" for state in services.values()]
        self.seen_all = self.seen_all or all(serving)
        ready = self.seen_all and any(serving)
        status = "ready" if all(serving) else "degraded" if ready else "not_ready"
        content = {"status": status, "services": dict(services)}
        return JSONResponse(content, 200 if ready else 503, headers={"Cache-Control": "no-store"})


class Probes:
    """The port for probes: health and nothing else, with few connections, none of which are counted as a caller's."""

    def __init__(self, health: Health, listening: socket.socket) -> None:
        self._listening = listening
        self._config = uvicorn.Config(
            Starlette(routes=health.routes()),
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
        )
        self._server: asyncio.Server | None = None
        self._state = ServerState()

    async def start(self) -> None:
        """Answers from now on."""
        self._config.load()
        made: Any = partial(HttpToolsProtocol, config=self._config, server_state=self._state, app_state={})
        self._server = await asyncio.get_running_loop().create_server(made, sock=self._listening)

    def stop(self) -> None:
        """Answers nobody any more."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
