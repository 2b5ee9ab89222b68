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
from deploy.local.keys import identity_key, trust_file
from services.shared.client import Client
from services.shared.errors import Unauthenticated
from services.shared.identity import Signer
from tests.support.service import ServiceProcess

# What preStop is in a cluster: before the next process goes, clients have found the one that came. They try again every
# second at least (grpc.max_reconnect_backoff_ms, give or take a fifth).
_PAUSE_SECONDS = 1.3


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


@pytest.fixture
def replicas(mongodb_uri: str, keys: Path, tmp_path: Path, trust: Trust) -> Iterator[list[ServiceProcess]]:
    """Two processes of one service."""
    common = {"ALLIANCE_TRUST_FILE": str(trust.path), "ALLIANCE_MONGODB_DATABASE": f"test_{uuid4().hex[:12]}"}
    processes = [ServiceProcess("logistics", mongodb_uri, keys, tmp_path / f"{n}.log", **common) for n in range(2)]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.kill()


async def test_a_key_is_replaced_and_no_call_fails(
    replicas: list[ServiceProcess], trust: Trust, keys: Path, tmp_path: Path
):
    targets = "ipv4:" + ",".join(process.target for process in replicas)
    pair = credentials.new_key("gateway/2")
    new_file = tmp_path / "gateway.jwk"
    new_file.write_text(json.dumps(pair["private"]))
    old, new = (
        Client(targets, LogisticsServiceStub, Signer.from_file("gateway", file))
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
            await asyncio.sleep(_PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:  # ends with the first call that fails
        group.create_task(calls())
        trust.add(pair["public"])  # type: ignore[arg-type]
        await roll()
        caller = new
        trust.remove("gateway")
        await roll()
        stop.set()
    assert answered > 100
    with pytest.raises(Unauthenticated):
        await old.call(old.stub.BatchGetDropOffs, pb.BatchGetDropOffsRequest(ids=[]))
    for client in (old, new):
        await client.close()
