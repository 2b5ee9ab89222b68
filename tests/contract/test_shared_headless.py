"""A name that stands for several processes, as a headless Service: they come and go, and no call fails."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from deploy.local.embedded import free_port
from services.shared.client import Client
from tests.contract.test_shared_balance import Counting, check, client
from tests.support.service import PATIENCE_SECONDS

_A = 1
_TTL_SECONDS = 1


class Names(asyncio.DatagramProtocol):
    """A name server that knows one name, as the cluster's does that of a headless Service: with all ready addresses."""

    def __init__(self, name: str) -> None:
        self.addresses: list[str] = []
        self._question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers one question: the addresses if it is for those of that name, nothing for anything else (RFC 1035)."""
        assert self._transport is not None
        end = data.index(b"\0", 12) + 5
        known = data[12 : end - 4].lower() == self._question and data[end - 4 : end - 2] == struct.pack("!H", _A)
        answers = [
            struct.pack("!HHHIH", 0xC00C, _A, 1, _TTL_SECONDS, 4) + socket.inet_aton(address)
            for address in (self.addresses if known else ())
        ]
        head = data[:2] + struct.pack("!HHHHH", 0x8580, 1, len(answers), 0, 0)
        self._transport.sendto(head + data[12:end] + b"".join(answers), addr)


class Pods:
    """Processes of one service, each at an address of its own and all at the same port."""

    def __init__(self, names: Names) -> None:
        self.port = free_port()
        self.services: dict[str, Counting] = {}
        self._names = names
        self._servers: dict[str, aio.Server] = {}

    async def add(self, address: str) -> None:
        """Starts one; from now on the name leads to it, too."""
        # As services do, with less patience: by the end of a connection a client learns who is there by now.
        server = aio.server(options=(("grpc.max_connection_age_ms", 1_000),))
        self.services[address] = Counting()
        health_pb2_grpc.add_HealthServicer_to_server(self.services[address], server)
        server.add_insecure_port(f"{address}:{self.port}")
        await server.start()
        self._servers[address] = server
        self._names.addresses.append(address)

    async def end(self, address: str) -> None:
        """Ends one at once; the name server hears of it only then."""
        await self._servers.pop(address).stop(None)
        self._names.addresses.remove(address)

    async def close(self) -> None:
        for address in list(self._servers):
            await self.end(address)


@pytest.fixture
async def service(keys: Path) -> AsyncIterator[tuple[Pods, Client[health_pb2_grpc.HealthStub]]]:
    """Two processes of a service, and a client that knows its name."""
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Names("rewards.alliance"), ("127.0.0.1", 0)
    )
    _, port = transport.get_extra_info("sockname")
    pods = Pods(names)
    for address in ("127.0.0.2", "127.0.0.3"):
        await pods.add(address)
    by_name = client(f"dns://127.0.0.1:{port}/rewards.alliance:{pods.port}", keys)
    yield pods, by_name
    await by_name.close()
    await pods.close()
    transport.close()


async def test_one_is_killed_and_one_is_added_and_no_call_fails(
    service: tuple[Pods, Client[health_pb2_grpc.HealthStub]],
):
    pods, by_name = service

    async def until_called(*addresses: str) -> None:
        before = {address: pods.services[address].calls for address in addresses}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(pods.services[address].calls < before[address] + 5 for address in addresses):
                await check(by_name)  # fails if the call does
                await asyncio.sleep(0.01)

    await until_called("127.0.0.2", "127.0.0.3")
    await pods.end("127.0.0.2")
    await until_called("127.0.0.3")
    await pods.add("127.0.0.4")
    await until_called("127.0.0.3", "127.0.0.4")
    gone = pods.services["127.0.0.2"].calls
    await until_called("127.0.0.3", "127.0.0.4")
    assert pods.services["127.0.0.2"].calls == gone
