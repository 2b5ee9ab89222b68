"""Several processes of one service: calls are spread over them, and a probe tells a dead process from a waiting one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.embedded import free_port
from deploy.local.keys import identity_key
from services.shared.client import Client
from services.shared.identity import Signer
from services.shared.server import ALIVE
from tests.support.service import PATIENCE_SECONDS, ServiceProcess, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
CALLS = 30


class Counting(health_pb2_grpc.HealthServicer):
    """A service that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def Check(self, request: object, context: object) -> health_pb2.HealthCheckResponse:  # type: ignore[override]  # noqa: N802
        self.calls += 1
        return health_pb2.HealthCheckResponse(status=SERVING)


class Replica:
    def __init__(self) -> None:
        self.service = Counting()
        self.server = aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(self.service, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    replicas = [Replica() for _ in range(3)]
    for replica in replicas:
        await replica.server.start()
    yield replicas
    for replica in replicas:
        await replica.server.stop(None)


def client(target: str, keys: Path) -> Client[health_pb2_grpc.HealthStub]:
    signer = Signer.from_file("gateway", identity_key(keys, "gateway"))
    return Client(target, health_pb2_grpc.HealthStub, signer, timeout_seconds=PATIENCE_SECONDS)


async def check(client: Client[health_pb2_grpc.HealthStub]) -> None:
    answer = await client.call(client.stub.Check, health_pb2.HealthCheckRequest())
    assert answer.status == SERVING


async def test_calls_go_to_all_addresses_of_a_name_in_turn(replicas: list[Replica], keys: Path):
    # What a resolved name gives: one target, several addresses.
    several = client("ipv4:" + ",".join(f"127.0.0.1:{replica.port}" for replica in replicas), keys)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not all(replica.service.calls for replica in replicas):  # It is connected to one after the other.
            await check(several)
    before = [replica.service.calls for replica in replicas]
    for _ in range(CALLS):
        await check(several)
    gained = [replica.service.calls - had for replica, had in zip(replicas, before, strict=True)]
    assert sum(gained) == CALLS
    assert all(calls >= CALLS // 6 for calls in gained)
    await several.close()


async def test_calls_go_on_when_one_address_is_gone(replicas: list[Replica], keys: Path):
    several = client("ipv4:" + ",".join(f"127.0.0.1:{replica.port}" for replica in replicas), keys)
    await check(several)
    await replicas[0].server.stop(None)
    for _ in range(CALLS):
        await check(several)
    assert sum(replica.service.calls for replica in replicas[1:]) >= CALLS
    await several.close()


@pytest.mark.parametrize("scheme", ["", "dns:///"])
async def test_a_target_is_a_name_and_a_port(scheme: str, replicas: list[Replica], keys: Path):
    one = client(f"{scheme}localhost:{replicas[0].port}", keys)
    await check(one)
    assert replicas[0].service.calls == 1
    await one.close()


async def test_a_process_without_its_database_is_alive_but_not_ready(keys: Path, tmp_path: Path):
    nowhere = f"mongodb://127.0.0.1:{free_port()}/?directConnection=true"
    process = ServiceProcess("partners", nowhere, keys, tmp_path / "partners.log")
    process.launch()
    try:
        async with aio.insecure_channel(process.target) as channel:
            alive = health_pb2.HealthCheckRequest(service=ALIVE)
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                alive, timeout=PATIENCE_SECONDS, wait_for_ready=True
            )
        assert answer.status == SERVING
        assert not serving(process.target)
    finally:
        process.kill()
