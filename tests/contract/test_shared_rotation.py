"""A process's key is replaced as deploy/docs/keys.md says, on real processes that are rolled one after the other."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from alliance.logistics.v1 import logistics_pb2 as pb
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from deploy import credentials
from deploy.local.embedded import reserved_port
from deploy.local.keys import identity_key, trust_file
from services.shared.client import Client
from services.shared.errors import Unavailable
from services.shared.identity import Signer
from tests.support.metrics import Metrics, metrics_when
from tests.support.service import PATIENCE_SECONDS, ServiceProcess

METHOD = "alliance.logistics.v1.LogisticsService/BatchGetDropOffs"


class Trust:
    """The file with the public keys that the services accept."""

    def __init__(self, path: Path, keys: Path) -> None:
        self.path = path
        self._keys: list[dict[str, Any]] = json.loads(trust_file(keys).read_text())["keys"]
        self._write()

    def add(self, key: dict[str, Any]) -> None:
        self._keys.append(key)
        self._write()

    def remove(self, kid: str) -> None:
        self._keys = [key for key in self._keys if key["kid"] != kid]
        self._write()

    def _write(self) -> None:
        self.path.write_text(json.dumps({"keys": self._keys}))


@pytest.fixture
def trust(keys: Path, tmp_path: Path) -> Trust:
    return Trust(tmp_path / "trust.jwks", keys)


class Replica(ServiceProcess):
    """A process that tells how many calls it has answered since its start."""

    def __init__(self, *arguments: Any, **environment: str) -> None:
        self._metrics = f"127.0.0.1:{reserved_port(self)}"
        super().__init__("logistics", *arguments, ALLIANCE_METRICS_LISTEN=self._metrics, **environment)

    async def has_answered(self, calls: int) -> None:
        def read(metrics: Metrics) -> bool:
            return metrics.value("rpc_server_call_duration_seconds_count", rpc_method=METHOD) >= calls

        await metrics_when(self._metrics, read)


@pytest.fixture
def replicas(mongodb_uri: str, keys: Path, tmp_path: Path, trust: Trust) -> Iterator[list[Replica]]:
    """Two processes of one service."""
    common = {"ALLIANCE_TRUST_FILE": str(trust.path), "ALLIANCE_MONGODB_DATABASE": f"test_{uuid4().hex[:12]}"}
    processes = [Replica(mongodb_uri, keys, tmp_path / f"{n}.log", **common) for n in range(2)]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.kill()


async def test_a_key_is_replaced_and_no_call_fails(replicas: list[Replica], trust: Trust, keys: Path, tmp_path: Path):
    targets = "ipv4:" + ",".join(process.target for process in replicas)
    pair = credentials.new_key("gateway/2")
    new_file = tmp_path / "gateway.jwk"
    new_file.write_text(json.dumps(pair["private"]))
    old, new = (
        Client(targets, LogisticsServiceStub, Signer.from_file("gateway", file), timeout_seconds=PATIENCE_SECONDS)
        for file in (identity_key(keys, "gateway"), new_file)
    )
    caller, answered = old, 0
    stop = asyncio.Event()

    async def calls() -> None:
        nonlocal answered
        while not stop.is_set():
            await caller.call(caller.stub.BatchGetDropOffs, pb.BatchGetDropOffsRequest(ids=[]))
            answered += 1
            await asyncio.sleep(0.01)

    async def roll() -> None:
        for process in replicas:
            assert await asyncio.to_thread(process.stop) == 0
            await asyncio.to_thread(process.start)
            # What preStop is in a cluster: before the next process goes, clients have found the one that came.
            await process.has_answered(20)

    async with asyncio.TaskGroup() as group:  # ends with the first call that fails
        group.create_task(calls())
        trust.add(pair["public"])  # type: ignore[arg-type]
        await roll()
        caller = new
        trust.remove("gateway")
        await roll()
        stop.set()
    assert answered >= 80
    with pytest.raises(Unavailable) as refused:
        await old.call(old.stub.BatchGetDropOffs, pb.BatchGetDropOffsRequest(ids=[]))
    assert refused.value.reason == "NOT_LET_IN"
    for client in (old, new):
        await client.close()
