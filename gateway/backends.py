"""The four services, as the gateway calls them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from time import monotonic
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceStub
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from gateway.breaker import Breaker
from gateway.config import Settings
from gateway.engine.batch import Batcher
from gateway.engine.source import Source
from gateway.metrics import Batches, observe_breakers
from services.shared.client import Client
from services.shared.errors import DeadlineExceeded, DomainError, Unavailable
from services.shared.identity import GATEWAY, Caller, Signer
from services.shared.telemetry import Telemetry

_HEALTH_TIMEOUT_SECONDS = 1.0
# The reason of errors that no service has given.
_TRANSPORT = "UNAVAILABLE"
_STUBS: dict[str, Any] = {
    "accounts": AccountsServiceStub,
    "partners": PartnersServiceStub,
    "logistics": LogisticsServiceStub,
    "rewards": RewardsServiceStub,
}


class Backends:
    """Clients of the services, and the batcher over them. Connects when it is first used."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Callable[[], float] = monotonic) -> None:
        self._timeout_seconds = settings.call_timeout_seconds
        signer = Signer.from_file(GATEWAY, settings.identity_key_file)
        targets = settings.targets()
        if tls := settings.certificate_files():
            tls.observe(telemetry.meter)

        def client(name: str, stub: type[Any]) -> Client[Any]:
            return Client(
                targets[name],
                stub,
                signer,
                timeout_seconds=settings.call_timeout_seconds,
                tls=tls,
                telemetry=telemetry,
            )

        self._clients = {name: client(name, stub) for name, stub in _STUBS.items()}
        self._health = {name: client(name, health_pb2_grpc.HealthStub) for name in _STUBS}
        self._breakers = {
            name: Breaker(name, settings.breaker_failures, settings.breaker_open_seconds, clock) for name in _STUBS
        }
        observe_breakers(telemetry.meter, self._breakers)
        self.batcher = Batcher(self._read, traced=telemetry.tracing, measure=Batches(telemetry.meter))

    async def call(
        self,
        service: ServiceDescriptor,
        method: str,
        request: Message,
        caller: Caller | None = None,
        *,
        within_seconds: float | None = None,
    ) -> Any:
        """The response of an RPC, called for the gateway itself or for `caller`; a DomainError if it failed.

        It has the usual time for that, or less if there is less.
        """
        shorter = within_seconds is not None and within_seconds < self._timeout_seconds
        name = _name_of(service)
        client, breaker = self._clients[name], self._breakers[name]
        began = breaker.enter()
        try:
            answer = await client.call(
                getattr(client.stub, method),
                request,
                caller=caller,
                timeout_seconds=within_seconds if shorter else None,
            )
        except DeadlineExceeded:
            # Of a shorter time than usual it says nothing that it has passed.
            breaker.failed(began, late=not shorter)
            raise
        except Unavailable as error:
            if error.reason == _TRANSPORT:
                breaker.failed(began, late=False)
            else:
                # It is there, and says that it cannot just now.
                breaker.answered()
            raise
        except DomainError:
            breaker.answered()
            raise
        except BaseException:
            breaker.given_up(began)
            raise
        breaker.answered()
        return answer

    def stream(self, service: ServiceDescriptor, method: str, request: Message) -> AsyncGenerator[Any, None]:
        """The responses of a streaming RPC, called for the gateway itself; a DomainError if it breaks off."""
        client = self._clients[_name_of(service)]
        return client.stream(getattr(client.stub, method), request)

    async def health(self) -> Mapping[str, str]:
        """What each service says of itself: serving, not_serving, or unreachable."""
        answers = await asyncio.gather(*map(self._health_of, self._health.values()))
        return dict(zip(self._health, answers, strict=True))

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in (*self._clients.values(), *self._health.values())))

    async def _read(self, source: Source, request: Message, caller: Caller | None) -> Any:
        return await self.call(source.service, source.method, request, caller)

    async def _health_of(self, client: Client[Any]) -> str:
        try:
            answer = await client.call(
                client.stub.Check, health_pb2.HealthCheckRequest(), timeout_seconds=_HEALTH_TIMEOUT_SECONDS
            )
        except (DomainError, grpc.RpcError):
            return "unreachable"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)).lower()


def _name_of(service: ServiceDescriptor) -> str:
    # alliance.accounts.v1 is the package of accounts.
    return service.file.package.split(".")[1]
