"""Answers calls: access rules, deadlines, errors, health, reflection and a graceful stop, the same in every service."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pymongo.errors import OperationFailure, PyMongoError

from alliance.common.v1 import access_pb2
from services.shared import identity
from services.shared.client import set_deadline
from services.shared.config import ServiceSettings
from services.shared.errors import DeadlineExceeded, DomainError, Internal, Unavailable
from services.shared.identity import CallerKind, Verifier
from services.shared.metrics import catalogue
from services.shared.metrics.calls import Calls
from services.shared.metrics.instruments import Meter
from services.shared.metrics.process import watch_loop
from services.shared.overload import Limit
from services.shared.rpc_errors import OVERLOADED, abort
from services.shared.streams import Streams
from services.shared.telemetry import Telemetry, log, trace_id
from services.shared.tls import peers, server_credentials

Add = Callable[[aio.Server], None]
Job = Callable[[], Awaitable[None]]

_HEALTH_PERIOD_SECONDS = 2.0
_PING_TIMEOUT_SECONDS = 2.0
# What a liveness probe asks the health service about: SERVING as long as this process answers at all. Readiness asks
# about "": an outage of the database must take a process out of service, not restart it.
ALIVE = "alive"
# Clients look for new processes of a service when a connection ends, so each is ended in friendship now and then.
_CONNECTION_AGE_MS = 300_000
_CONNECTION_AGE_GRACE_MS = 60_000
# A stream ends before its connection is broken off.
_STREAM_SECONDS = 300.0
# Methods of the platform, not of the alliance: they show neither data nor effect.
_PLATFORM = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


@dataclass(frozen=True)
class _Closed:
    """Why no calls are answered just now."""

    reason: str
    message: str


# InternalError, UnknownError, OutOfDiskSpace: the database's own trouble, which an operator has to end; until then a
# caller can only wait, and is told so.
_DATABASE_FAILS = frozenset({1, 8, 14031})
_TOO_MUCH = _Closed(OVERLOADED, "There is more to do than can be done just now; call again in a moment.")
_NO_DATABASE = _Closed("DATABASE_UNAVAILABLE", "The database cannot be reached; call again in a moment.")


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
        self._closed: _Closed | None = _Closed("NOT_READY", "The service is starting; call again in a moment.")
        self._health = health.aio.HealthServicer()
        self._serving = telemetry.meter.gauge(catalogue.SERVING).at()
        self._certificate = settings.certificate_files()
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
        """Listens at once; serves when `prepare` (indexes, migrations) has succeeded, and as long as `ping` does.

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
        await _insist(prepare)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(ping))
            group.create_task(watch_loop(self._telemetry.meter))
            for job in jobs:
                group.create_task(_keep_going(job))

    async def _watch(self, ping: Job) -> None:
        serving: bool | None = None
        while True:
            try:
                await asyncio.wait_for(ping(), _PING_TIMEOUT_SECONDS)
                now = True
            except (PyMongoError, TimeoutError) as error:
                now = False
                if serving is not False:
                    log.warning("database unreachable", error=str(error))
            if now != serving:
                serving = now
                self._closed = None if now else _NO_DATABASE
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


class Guard(aio.ServerInterceptor):
    """The door of every method: is there time, who calls, may they; and errors leave in one form."""

    def __init__(
        self,
        verifier: Verifier,
        closed: "Callable[[], _Closed | None]",
        meter: Meter | None = None,
        *,
        encrypted: bool = False,
        most_at_once: int = 1_000,
    ) -> None:
        """`encrypted` says that connections have certificates, to which process tokens have to belong."""
        self._most_at_once = most_at_once
        self._verifier = verifier
        self._encrypted = encrypted
        self._closed = closed
        meter = meter or Meter()
        self._in_flight = meter.gauge(catalogue.IN_FLIGHT).at()
        self._streams = meter.gauge(catalogue.STREAMS)
        self.streams = Streams(_STREAM_SECONDS)
        self._calls = Calls(meter, catalogue.RPC_SERVER)
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        method: str = details.method
        if method.startswith(_PLATFORM):
            return await continuation(details)
        guarded = self._guarded.get(method)
        if guarded is None:
            handler = await continuation(details)
            if handler is None:
                return None
            guarded = self._guarded[method] = self._guard(method, handler)
        return guarded

    def _guard(self, method: str, handler: Any) -> Any:
        kinds, services = access_rule(method)

        async def enter(context: "aio.ServicerContext[Any, Any]") -> None:
            left = context.time_remaining()
            if left is not None and left <= 0:
                raise DeadlineExceeded("The call came without any time left.", reason="DEADLINE_EXCEEDED")
            set_deadline(left)
            metadata = dict(context.invocation_metadata() or ())
            caller = identity.caller_of(metadata, self._verifier, peers(context) if self._encrypted else None)
            identity.check_access(caller, kinds, services)
            if closed := self._closed():
                raise Unavailable(closed.message, reason=closed.reason)
            identity.set_current_caller(caller)

        if handler.response_streaming:
            streams = self._streams.at(method.removeprefix("/"))

            async def stream(request: Message, context: "aio.ServicerContext[Any, Any]") -> Any:
                streams.add(1)
                try:
                    await enter(context)
                    async for response in self.streams.lasting(handler.unary_stream(request, context)):
                        yield response
                except Exception as error:
                    await abort(context, _expected(error, method))
                finally:
                    streams.add(-1)

            return grpc.unary_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )

        answered, in_flight, limit = self._calls.of(method), self._in_flight, Limit(self._most_at_once)

        async def unary(request: Message, context: "aio.ServicerContext[Any, Any]") -> Any:
            began, status = time.perf_counter(), "CANCELLED"
            in_flight.add(1)
            try:
                await enter(context)
                if (entered := limit.enter()) is None:
                    raise Unavailable(_TOO_MUCH.message, reason=_TOO_MUCH.reason)
                try:
                    response = await handler.unary_unary(request, context)
                finally:
                    limit.leave(entered)
                status = "OK"
                return response
            except Exception as error:
                expected = _expected(error, method)
                status = expected.code.name
                return await abort(context, expected)
            finally:
                in_flight.add(-1)
                answered(status, began)

        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)


def _bind(add_port: Callable[[str], int], address: str) -> None:
    try:
        add_port(address)
    except RuntimeError as error:
        raise SystemExit(
            f"{address} cannot be listened on; another process has the port. Stop it, or set ALLIANCE_LISTEN "
            "(ALLIANCE_OPEN_LISTEN, ALLIANCE_HEALTH_LISTEN) to a free one."
        ) from error


def access_rule(method: str) -> tuple[frozenset[CallerKind], frozenset[str]]:
    """The rule in the method's proto: the kinds of caller, and the services. Without a rule: nobody."""
    service, _, name = method.removeprefix("/").partition("/")
    rule = Default().FindServiceByName(service).methods_by_name[name].GetOptions().Extensions[access_pb2.access]
    prefix = len("CALLER_")
    kinds = frozenset(CallerKind(access_pb2.Caller.Name(number)[prefix:].lower()) for number in rule.callers)
    return kinds, frozenset(rule.services)


def _expected(error: Exception, method: str) -> DomainError:
    """What the caller is told. The unexpected is logged whole and told as a trace id."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, aio.AbortError):
        raise error
    if isinstance(error, PyMongoError) and _passing(error):
        log.warning("database unreachable", method=method, error=str(error))
        return Unavailable(_NO_DATABASE.message, reason=_NO_DATABASE.reason)
    if isinstance(error, OperationFailure) and error.code in _DATABASE_FAILS:
        log.error("the database fails", method=method, error=str(error))
        return Unavailable(_NO_DATABASE.message, reason=_NO_DATABASE.reason)
    log.error("unexpected error", method=method, exc_info=error)
    return Internal(
        "Something unexpected went wrong here; nothing that you can correct. Report it with the trace id.",
        reason="INTERNAL",
        trace_id=trace_id(),
    )


def _passing(error: PyMongoError) -> bool:
    from pymongo.errors import (
        AutoReconnect,
        ConnectionFailure,
        ExecutionTimeout,
        NetworkTimeout,
        WTimeoutError,
    )

    return (
        error.timeout
        or isinstance(error, AutoReconnect | ConnectionFailure | ExecutionTimeout | NetworkTimeout | WTimeoutError)
        or any(map(error.has_error_label, ("TransientTransactionError", "UnknownTransactionCommitResult")))
    )


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
