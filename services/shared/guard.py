"""The door of a server: every call passes it, on its way in and with its error on its way out."""

import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc import aio

from services.shared import identity
from services.shared.access import access_rule
from services.shared.client import set_deadline
from services.shared.errors import DeadlineExceeded
from services.shared.failures import TOO_MUCH, Closed, as_told
from services.shared.identity import Verifier
from services.shared.metrics import catalogue
from services.shared.metrics.calls import Calls
from services.shared.metrics.instruments import Meter
from services.shared.overload import Limit
from services.shared.rpc_errors import abort
from services.shared.streams import Streams
from services.shared.tls import peers

# A stream ends before its connection is broken off.
_STREAM_SECONDS = 300.0
# Methods of the platform, not of the alliance: they show neither data nor effect.
_PLATFORM = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


class Guard(aio.ServerInterceptor):
    """The door of every method: is there time, who calls, may they; and errors leave in one form."""

    def __init__(
        self,
        verifier: Verifier,
        closed: Callable[[], Closed | None],
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
        self._calls = Calls(meter, catalogue.RPC_SERVER, catalogue.RPC_FAULTS)
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
                raise closed.error()
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
                    await abort(context, as_told(error, method))
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
                if (entered := limit.enter(context.time_remaining() or 0.0)) is None:
                    raise TOO_MUCH.error()
                try:
                    response = await handler.unary_unary(request, context)
                finally:
                    limit.leave(entered)
                status = "OK"
                return response
            except Exception as error:
                told = as_told(error, method)
                status = told.code.name
                return await abort(context, told)
            finally:
                in_flight.add(-1)
                answered(status, began)

        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)
