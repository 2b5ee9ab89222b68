"""Calls to other services: deadline, identity, retries and typed errors in one place."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

import grpc
from grpc import aio

from services.shared import identity
from services.shared.errors import DeadlineExceeded, DomainError, Unavailable
from services.shared.identity import Caller, Signer
from services.shared.metrics import catalogue
from services.shared.metrics.calls import Calls
from services.shared.rpc_errors import from_rpc
from services.shared.spans import CallSpans, Headers
from services.shared.telemetry import Telemetry, log
from services.shared.tls import CertificateFiles, channel_credentials

Stub = TypeVar("Stub")
Request = TypeVar("Request")
Response = TypeVar("Response")

# Monotonic time by which the call that is being answered must be done; set by the server's interceptor.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

# Every RPC of the alliance is idempotent, so that a call whose fate is unknown may be sent again. gRPC adds the jitter,
# and stops retrying a server that mostly fails.
#
# A target is resolved by DNS, as `dns:///host:port` says and plain `host:port` means. Where the name stands for several
# processes (a headless Service of Kubernetes), calls go to all of them in turn; by default gRPC would stay with the
# first address, since one connection carries all calls. A retry goes to the next address.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                # A server that stops answers CANCELLED to a call that it has not begun.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.1},
}

_OPTIONS = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Processes come and go under new addresses; gRPC's default of 30 s would be an outage.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
)
# No setting allows a longer deadline.
_LONGEST_CALL_SECONDS = 60.0


def set_deadline(seconds: float | None) -> None:
    """For the server's interceptor: what is left of the caller's time is all that our own calls get."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def time_left(at_most: float) -> float:
    """Seconds that may still be spent on the current call; at most the number given."""
    deadline = _deadline.get()
    return at_most if deadline is None else min(at_most, deadline - time.monotonic())


class Client(Generic[Stub]):
    """A typed stub of one service: `await accounts.call(accounts.stub.BatchGetMembers, request)`."""

    def __init__(
        self,
        target: str,
        stub: Callable[[aio.Channel], Stub],
        signer: Signer,
        *,
        timeout_seconds: float = 5.0,
        max_message_bytes: int = 16 << 20,
        telemetry: Telemetry | None = None,
        tls: CertificateFiles | None = None,
    ) -> None:
        """With `tls` both ends show a certificate; when there is a new one, calls go over a new connection."""
        self._target = target
        self._make_stub = stub
        self._options = (*_OPTIONS, ("grpc.max_receive_message_length", max_message_bytes))
        telemetry = telemetry or Telemetry()
        self._calls = Calls(telemetry.meter, catalogue.RPC_CLIENT)
        self._spans = CallSpans(telemetry.provider)
        self._tls = tls
        self._answered: dict[Any, Callable[[str, float], None]] = {}
        self._paths: dict[Any, str] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._connect()
        self._signer = signer
        self._timeout_seconds = timeout_seconds
        self._token = ""
        # Until the other side says that it does not know us; of which one line in the log is enough.
        self._let_in = True
        self._fixed = aio.Metadata()

    @property
    def stub(self) -> Stub:
        """The methods of the service; ask anew for each call."""
        if self._tls is not None and self._tls.current() is not self._certificate:
            self._retire(self._channel, list(self._answered))
            self._connect()
        return self._stub

    def _connect(self) -> None:
        self._certificate = self._tls.current() if self._tls is not None else None
        if self._certificate is None:
            self._channel = aio.insecure_channel(self._target, self._options)
        else:
            credentials = channel_credentials(self._certificate)
            self._channel = aio.secure_channel(self._target, credentials, self._options)
        methods = _Methods(self._channel, self._calls)
        self._stub = self._make_stub(cast(aio.Channel, methods))
        self._answered |= methods.answered
        self._paths |= methods.paths

    def _retire(self, channel: aio.Channel, methods: Sequence[Any]) -> None:
        """Calls that have begun on the old connection end there; streams, which have no end, begin anew."""

        async def close() -> None:
            try:
                await asyncio.sleep(_LONGEST_CALL_SECONDS)
            finally:
                await channel.close()
                for method in methods:
                    self._answered.pop(method, None)
                    self._paths.pop(method, None)

        task = asyncio.get_running_loop().create_task(close())
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def call(
        self,
        method: "aio.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        *,
        caller: Caller | None = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        """Calls for this process itself or, from the gateway, for `caller`. Failures are raised as DomainErrors.

        The deadline is the smaller of the timeout and what is left of the call that is being answered.
        """
        timeout = time_left(timeout_seconds or self._timeout_seconds)
        if timeout <= 0:
            raise DeadlineExceeded("No time was left for a further call.", reason="DEADLINE_EXCEEDED")
        answered = self._answered[method]
        began = time.perf_counter()
        span = self._spans.begin(self._paths[method])
        status = ""
        try:
            response = await method(request, timeout=timeout, metadata=self._metadata(caller, span.headers))
            status = "OK"
            self._let_in = True
        except aio.AioRpcError as error:
            status = error.code().name
            raise self._failure(error) from error
        except asyncio.CancelledError:
            answered("CANCELLED", began)
            raise
        finally:
            span.end(status)
            if status:
                answered(status, began)
        return response

    async def stream(
        self, method: "aio.UnaryStreamMultiCallable[Request, Response]", request: Request
    ) -> AsyncGenerator[Response, None]:
        """The responses of a stream, for this process itself, as long as it goes: it has no deadline. Its end, other
        than by the server's own wish, is raised as a DomainError; closing the generator ends it.
        """
        call = method(request, metadata=self._metadata(None, ()))
        try:
            async for response in call:
                yield response
        except aio.AioRpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()

    def _failure(self, error: aio.AioRpcError) -> DomainError:
        """As it was raised there; but that this process itself is not known there is no fault of whom it calls for."""
        failure = from_rpc(error)
        if failure.reason not in identity.NOT_THIS_PROCESS:
            return failure
        if self._let_in:
            log.error("not let in", target=self._target, reason=failure.reason, error=failure.message)
        self._let_in = False
        return Unavailable(f"{self._target} does not let this process in: {failure.message}", reason="NOT_LET_IN")

    def _metadata(self, caller: Caller | None, headers: Headers) -> aio.Metadata:
        """What a call carries; of a call without more than the token, made anew only when that is."""
        token = self._signer.token()
        if token is not self._token:
            self._token, self._fixed = token, aio.Metadata(("authorization", f"Bearer {token}"))
        if caller is not None:
            headers = (*headers, ("alliance-caller", caller.to_header()))
        return aio.Metadata(*self._fixed, *headers) if headers else self._fixed

    async def ready(self, timeout_seconds: float) -> bool:
        """Waits until the service's port accepts connections; False if it did not in time."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), timeout_seconds)
        except (TimeoutError, grpc.RpcError):
            return False
        return True

    async def close(self) -> None:
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await self._channel.close()


class _Methods:
    """The channel as a stub sees it when it makes its methods; keeps what to tell when one of them has answered."""

    def __init__(self, channel: aio.Channel, calls: Calls) -> None:
        self._channel = channel
        self._calls = calls
        self.answered: dict[Any, Callable[[str, float], None]] = {}
        self.paths: dict[Any, str] = {}

    def unary_unary(self, path: str, *arguments: Any, **options: Any) -> Any:
        method = self._channel.unary_unary(path, *arguments, **options)
        self.answered[method], self.paths[method] = self._calls.of(path), path
        return method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)
