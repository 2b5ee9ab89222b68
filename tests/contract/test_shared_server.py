"""How a service behaves when the world around it does not: no database, a taken port, a stop, a flood of bytes."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pymongo.errors import NetworkTimeout

from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from deploy.local.embedded import EmbeddedServer
from deploy.local.keys import identity_key, trust_file
from services.shared import server as server_module
from services.shared.client import Client, set_deadline
from services.shared.config import ServiceSettings
from services.shared.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from services.shared.server import Server
from services.shared.telemetry import Telemetry
from tests.support.errors import refused
from tests.support.service import ANYONE, ServiceProcess, request_id, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A database that a test may stop and start, not yet started."""
    server = EmbeddedServer(tmp_path / "database", tmp_path / "database.log")
    yield server
    server.stop()


@pytest.fixture
def lonely(server: EmbeddedServer, keys: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service whose database is the one above."""
    process = ServiceProcess("partners", server.uri, keys, tmp_path / "partners.log")
    yield process
    process.kill()


@pytest.fixture
def process(mongodb_uri: str, keys: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess("partners", mongodb_uri, keys, tmp_path / "partners.log")
    yield process
    process.kill()


async def until_serving(process: ServiceProcess, expected: bool) -> None:
    async with asyncio.timeout(60):
        while serving(process.target) != expected:
            await asyncio.sleep(0.05)


async def application(client: Client[PartnersServiceStub], request: str = "", name: str = "Brand") -> pb.Partner:
    message = pb.ApplyPartnerRequest(request_id=request or request_id(), name=name, trade="grocer", country="NL")
    return (await client.call(client.stub.ApplyPartner, message, caller=ANYONE)).partner


async def test_a_service_waits_for_its_database_and_comes_back_after_it_was_away(
    server: EmbeddedServer, lonely: ServiceProcess
):
    lonely.launch()
    client = lonely.client(PartnersServiceStub)
    assert await client.ready(60)
    assert not serving(lonely.target)
    error = await refused(Unavailable, application(client))
    assert error.reason == "NOT_READY"

    server.start()
    await until_serving(lonely, True)
    kept = await application(client, "r1")

    server.kill()
    await until_serving(lonely, False)
    error = await refused(Unavailable, application(client, "r2", "Another"))
    assert error.reason == "DATABASE_UNAVAILABLE"

    server.start()
    await until_serving(lonely, True)
    assert await application(client, "r1") == kept
    assert (await application(client, "r2", "Another")).name == "Another"


async def test_a_late_answer_of_the_database_closes_nothing_and_a_second_one_does(
    keys: Path, monkeypatch: pytest.MonkeyPatch
):
    """A machine that is busy for a moment is no outage, which all callers would be told of."""
    monkeypatch.setattr(server_module, "_HEALTH_PERIOD_SECONDS", 0)
    files = {"identity_key_file": identity_key(keys, "partners"), "trust_file": trust_file(keys)}
    settings = ServiceSettings(listen="", mongodb_database="", plaintext=True, **files)  # type: ignore[arg-type]
    server = Server(settings, {}, Telemetry())
    told, ended = [], asyncio.Event()
    answers = iter(("in time", "late", "in time", "late", "late", "in time"))

    async def ping() -> None:
        told.append(server._closed is None)
        match next(answers, None):
            case "late":
                raise NetworkTimeout("late")
            case None:
                ended.set()
                await asyncio.Event().wait()

    watching = asyncio.create_task(server._watch(ping))
    await ended.wait()
    watching.cancel()
    assert told == [False, True, True, True, True, False, True]


async def test_a_service_with_a_wrong_clock_does_nothing_and_says_so(mongodb_uri: str, keys: Path, tmp_path: Path):
    """What expires by a wrong clock would be gone for good."""
    (tmp_path / "sitecustomize.py").write_text(
        "from datetime import timedelta\n"
        "from services.shared import clock\n"
        "right = clock.now\n"
        "clock.now = lambda: right() + timedelta(days=1)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    process = ServiceProcess("partners", mongodb_uri, keys, tmp_path / "partners.log", PYTHONPATH=path)
    process.launch()
    try:
        async with asyncio.timeout(60):
            while "The clock here differs from the database's by 86,4" not in process.log_text():
                await asyncio.sleep(0.05)
        assert not serving(process.target)
    finally:
        process.kill()


async def test_a_stop_lets_calls_in_flight_finish(process: ServiceProcess):
    process.start()
    client = process.client(PartnersServiceStub)
    await application(client)
    calls = [asyncio.create_task(application(client, name=f"Brand {number}")) for number in range(10)]
    await asyncio.sleep(0.02)
    stopping = asyncio.create_task(asyncio.to_thread(process.stop))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert await stopping == 0
    # Those that came too late were refused as a whole; none was cut off.
    assert all(isinstance(answer, pb.Partner | Unavailable) for answer in answers), answers
    process.start()
    assert await client.ready(60)
    names = {row.name for row in (await client.call(client.stub.ListPartners, pb.ListPartnersRequest())).partners}
    assert {answer.name for answer in answers if isinstance(answer, pb.Partner)} <= names


def test_a_taken_port_is_named(process: ServiceProcess):
    host, _, port = process.target.partition(":")
    with socket.create_server((host, int(port))):
        process.launch()
        assert process.wait() == 1
    assert f"{process.target} cannot be listened on" in process.log_text()


async def test_limits_answer_at_once(process: ServiceProcess):
    process.start()
    client = process.client(PartnersServiceStub)
    await refused(ResourceExhausted, application(client, name="x" * (5 << 20)))
    with pytest.raises(DeadlineExceeded):
        await client.call(client.stub.ListPartners, pb.ListPartnersRequest(), timeout_seconds=1e-6)
    set_deadline(0)
    error = await refused(DeadlineExceeded, client.call(client.stub.ListPartners, pb.ListPartnersRequest()))
    set_deadline(None)
    assert error.message == "No time was left for a further call."


def test_reflection_tells_tools_what_there_is(process: ServiceProcess):
    process.start()
    with grpc.insecure_channel(process.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]))
    assert "alliance.partners.v1.PartnersService" in {row.name for row in answer.list_services_response.service}
