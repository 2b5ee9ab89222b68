"""Answers calls: access rules, deadlines, errors, health, reflection and a graceful stop, the same in every service."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from google.protobuf.descriptor import ServiceDescriptor
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pymongo.errors import PyMongoError

from services.shared.config import ServiceSettings
from services.shared.errors import DomainError
from services.shared.failures import NO_DATABASE, Closed
from services.shared.guard import Guard
from services.shared.identity import Verifier
from services.shared.metrics import catalogue
from services.shared.metrics.process import watch_loop
from services.shared.telemetry import Telemetry, log
from services.shared.tls import server_credentials

Add = Callable[[aio.Server], None]
Job = Callable[[], Awaitable[None]]

_HEALTH_PERIOD_SECONDS = 2.0
_PING_TIMEOUT_SECONDS = 2.0
# One that is late says that the machine or the database is busy; to refuse all calls would help neither.
_MISSED_PINGS = 2
# What a liveness probe asks the health service about: SERVING as long as this process answers at all. Readiness asks
# about "": an outage of the database must take a process out of service, not restart it.
ALIVE = "alive"
# Clients look for new processes of a service when a connection ends, so each is ended in friendship now and then.
_CONNECTION_AGE_MS = 300_000
_CONNECTION_AGE_GRACE_MS = 60_000


class Server:
    """One service's server. `run` returns after SIGTERM or SIGINT, when everything has been stopped in order."""

    def __init__(
        self,
        settings: ServiceSettings,
        services: Mapping[ServiceDescriptor, Add],
        telemetry: Telemetry,
    ) -> None:
        """`services` are those that this process answers for, each with what adds it; they become ready together."""
        self._settings = settings
        self._names = [descriptor.full_name for descriptor in services]
        self._telemetry = telemetry
        self._closed: Closed | None = Closed("NOT_READY", "The service is starting; call again in a moment.")
        self._health = health.aio.HealthServicer()
        self._serving = telemetry.meter.gauge(catalogue.SERVING).at()
        if certificate := settings.certificate_files():
            certificate.observe(telemetry.meter)
        self._certificate = certificate
        self._guard = guard = Guard(
            Verifier.from_file(settings.trust_file),
            lambda: self._closed,
            telemetry.meter,
            encrypted=self._certificate is not None,
            most_at_once=settings.max_concurrent_rpcs,
        )
        self._server = aio.server(
            interceptors=[*telemetry.server_interceptors(), guard],
            options=(
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_metadata_size", 16 << 10),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
                ("grpc.max_connection_age_grace_ms", _CONNECTION_AGE_GRACE_MS),
            ),
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
        )
        for add in services.values():
            add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        # Kubernetes's own probe of gRPC knows no TLS. Whether a process is well is all that it is told.
        self._probed = aio.server(options=(("grpc.so_reuseport", 0),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probed)

    async def run(self, *, prepare: Job, ping: Job, jobs: Sequence[Job] = ()) -> None:
        """Listens at once; serves when `prepare` (indexes, migrations) has succeeded, and as long as `ping` does. Where
        `ping` says that the clock is wrong nothing begins, and what has begun ends with the process.

        `jobs` run beside the calls until the stop: relays, sweepers. Each must end well when cancelled.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.set)
        await self._set_health(serving=False)
        await self._health.set(ALIVE, health_pb2.HealthCheckResponse.SERVING)
        self._listen()
        await self._server.start()
        await self._probed.start()
        log.info("listening", address=self._settings.listen, rpc_services=self._names)
        tasks = [asyncio.create_task(self._live(prepare, ping, jobs))]
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        await self._stop(tasks)
        for task in tasks:
            if not task.cancelled() and (failure := task.exception()):
                raise failure

    def _listen(self) -> None:
        settings, files = self._settings, self._certificate
        for address, ask_clients in ((settings.listen, True), (settings.open_listen, False)):
            if not address:
                continue
            if files is None:
                _bind(self._server.add_insecure_port, address)
            else:
                credentials = server_credentials(files, ask_clients=ask_clients)
                _bind(partial(self._server.add_secure_port, server_credentials=credentials), address)
        if settings.health_listen:
            _bind(self._probed.add_insecure_port, settings.health_listen)

    async def _live(self, prepare: Job, ping: Job, jobs: Sequence[Job]) -> None:
        await _insist(ping)
        await _insist(prepare)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(ping))
            group.create_task(watch_loop(self._telemetry.meter))
            for job in jobs:
                group.create_task(_keep_going(job))

    async def _watch(self, ping: Job) -> None:
        serving: bool | None = None
        missed = 0
        while True:
            try:
                await asyncio.wait_for(ping(), _PING_TIMEOUT_SECONDS)
                missed = 0
            except (PyMongoError, TimeoutError) as error:
                missed += 1
                if serving is not False:
                    log.warning("database unreachable", error=str(error) or f"no answer in {_PING_TIMEOUT_SECONDS:g} s")
                if serving and missed < _MISSED_PINGS:
                    continue
            now = not missed
            if now != serving:
                serving = now
                self._closed = None if now else NO_DATABASE
                self._serving.set(int(now))
                await self._set_health(serving=now)
                log.info("serving" if now else "not serving")
            await asyncio.sleep(_HEALTH_PERIOD_SECONDS)

    async def _set_health(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def _stop(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        log.info("stopping")
        await self._health.enter_graceful_shutdown()
        self._guard.streams.end()
        await self._server.stop(self._settings.stop_grace_seconds)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task
        await self._probed.stop(None)
        self._telemetry.stop()
        log.info("stopped")


def _bind(add_port: Callable[[str], int], address: str) -> None:
    try:
        add_port(address)
    except RuntimeError as error:
        raise SystemExit(
            f"{address} cannot be listened on; another process has the port. Stop it, or set ALLIANCE_LISTEN "
            "(ALLIANCE_OPEN_LISTEN, ALLIANCE_HEALTH_LISTEN) to a free one."
        ) from error


async def _insist(prepare: Job) -> None:
    """Runs it until it succeeds: services start in any order."""
    delay = 0.1
    while True:
        try:
            return await prepare()
        except (PyMongoError, DomainError) as error:
            log.warning("not ready yet", error=str(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)


async def _keep_going(job: Job) -> None:
    """Runs it until the stop: a job that fails is logged and starts again."""
    while True:
        try:
            return await job()
        except Exception:
            log.exception("background job failed; it starts again", job=getattr(job, "__qualname__", str(job)))
            await asyncio.sleep(1.0)
