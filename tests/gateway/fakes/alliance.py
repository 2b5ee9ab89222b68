"""All stand-ins together, each a server on a port of its own."""

from typing import Any

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from alliance.accounts.v1 import accounts_pb2_grpc
from alliance.logistics.v1 import logistics_pb2_grpc
from alliance.partners.v1 import partners_pb2_grpc
from alliance.rewards.v1 import rewards_pb2_grpc
from deploy.local.embedded import free_port
from services.shared.errors import DomainError
from services.shared.guard import Guard
from services.shared.identity import Verifier
from tests.gateway.fakes.accounts import Accounts
from tests.gateway.fakes.logistics import Logistics
from tests.gateway.fakes.partners import Partners
from tests.gateway.fakes.recording import Call, Recorder
from tests.gateway.fakes.rewards import Rewards


class FakeServer:
    """A servicer on a port of its own, that can be stopped and started again."""

    def __init__(self, servicer: Any, add: Any, verifier: Verifier, recorder: Recorder) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        self._servicer = servicer
        self._add = add
        self._verifier = verifier
        self._recorder = recorder
        self._server: aio.Server | None = None

    async def start(self) -> None:
        guard = Guard(self._verifier, lambda: None)
        self._server = aio.server(interceptors=[guard, self._recorder], options=[("grpc.so_reuseport", 0)])
        self._add(self._servicer, self._server)
        checks = health.aio.HealthServicer()
        await checks.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self._server)
        self._server.add_insecure_port(self.target)
        await self._server.start()

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.stop(0)


class FakeAlliance:
    """The four services together."""

    def __init__(self, verifier: Verifier) -> None:
        self.recorder = Recorder()
        self.accounts, self.partners, self.logistics, self.rewards = Accounts(), Partners(), Logistics(), Rewards()
        self.servers = {
            name: FakeServer(servicer, add, verifier, self.recorder)
            for name, servicer, add in (
                ("accounts", self.accounts, accounts_pb2_grpc.add_AccountsServiceServicer_to_server),
                ("partners", self.partners, partners_pb2_grpc.add_PartnersServiceServicer_to_server),
                ("logistics", self.logistics, logistics_pb2_grpc.add_LogisticsServiceServicer_to_server),
                ("rewards", self.rewards, rewards_pb2_grpc.add_RewardsServiceServicer_to_server),
            )
        }

    async def start(self) -> None:
        for server in self.servers.values():
            await server.start()

    async def stop(self) -> None:
        for server in self.servers.values():
            await server.stop()

    @property
    def calls(self) -> list[Call]:
        return self.recorder.calls

    def methods(self) -> list[str]:
        """The methods called, in order."""
        return [call.method for call in self.recorder.calls]

    def fail(self, method: str, error: DomainError | Exception) -> None:
        self.recorder.failures[method] = error

    def reset(self) -> None:
        """Forgets the calls so far, and lets everything succeed again."""
        self.recorder.calls.clear()
        self.recorder.failures.clear()
        self.recorder.delays.clear()
        self.recorder.waits.clear()
        for stream in (self.accounts.impacts, self.logistics.acceptances, self.rewards.changes):
            stream.opened = 0
