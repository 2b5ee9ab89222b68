"""Connections between processes: who shows no certificate, or a wrong one, is refused; new ones are taken up."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc.jwk import OKPKey
from pymongo.errors import PyMongoError
from structlog.testing import capture_logs

from alliance.logistics.v1 import logistics_pb2 as pb
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from deploy.local import certificates, embedded
from deploy.local.certificates import Authority
from deploy.local.embedded import free_port
from deploy.local.keys import identity_key
from services.shared.client import Client
from services.shared.errors import DomainError, InvalidArgument, NotFound, Unauthenticated, Unavailable
from services.shared.identity import Signer
from services.shared.mongo import Database
from services.shared.tls import CertificateFiles
from tests.support.metrics import Metrics, metrics_when
from tests.support.service import OPERATOR, PATIENCE_SECONDS, ServiceProcess, serving


class Files:
    """Certificate files of one process, to be replaced while they are used."""

    def __init__(self, folder: Path, authority: Authority, process: str, until: datetime | None = None) -> None:
        self._folder = folder
        folder.mkdir()
        self.authorities = authority.pem()
        self.put(authority, process, until)

    def put(self, authority: Authority, process: str, until: datetime | None = None) -> None:
        """Another certificate, in one step, as a volume of Kubernetes changes."""
        chain, key = authority.certify(process, until)
        for name, content in (("tls.crt", chain), ("tls.key", key), ("ca.crt", self.authorities)):
            new = self._folder / f"{name}.new"
            new.write_bytes(content)
            new.rename(self._folder / name)

    def paths(self) -> tuple[Path, Path, Path]:
        return self._folder / "tls.crt", self._folder / "tls.key", self._folder / "ca.crt"

    def open(self) -> CertificateFiles:
        return CertificateFiles(*self.paths())


class Encrypted:
    """A logistics process with TLS, and callers with certificates of all kinds."""

    def __init__(self, mongodb_uri: str, keys: Path, folder: Path) -> None:
        self.keys = keys
        self.folder = folder
        self.authority = Authority.new()
        self.server_files = Files(folder / "server", self.authority, "logistics")
        self.open_target, self.health_target, self.metrics = (f"127.0.0.1:{free_port()}" for _ in range(3))
        chain, key, authorities = map(str, self.server_files.paths())
        self.process = ServiceProcess(
            "logistics",
            mongodb_uri,
            keys,
            folder / "logistics.log",
            ALLIANCE_PLAINTEXT="false",
            ALLIANCE_TLS_CERTIFICATE_FILE=chain,
            ALLIANCE_TLS_KEY_FILE=key,
            ALLIANCE_TLS_AUTHORITIES_FILE=authorities,
            ALLIANCE_OPEN_LISTEN=self.open_target,
            ALLIANCE_HEALTH_LISTEN=self.health_target,
            ALLIANCE_METRICS_LISTEN=self.metrics,
        )
        self._clients: list[Client[Any]] = []

    def client(self, files: CertificateFiles | None, process: str = "gateway") -> Client[LogisticsServiceStub]:
        """A caller that has the process's token, and those files."""
        signer = Signer.from_file(process, identity_key(self.keys, process))
        client = Client(self.process.target, LogisticsServiceStub, signer, timeout_seconds=PATIENCE_SECONDS, tls=files)
        self._clients.append(client)
        return client

    def files(self, name: str, authority: Authority | None = None, until: datetime | None = None) -> Files:
        made = Files(self.folder / os.urandom(4).hex(), authority or self.authority, name, until)
        made.authorities = self.authority.pem()
        made.put(authority or self.authority, name, until)
        return made

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        self.process.kill()


@pytest.fixture(scope="module")
async def logistics(mongodb_uri: str, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Encrypted]:
    encrypted = Encrypted(mongodb_uri, keys, tmp_path_factory.mktemp("tls"))
    encrypted.process.launch()
    async with asyncio.timeout(60):
        while not serving(encrypted.health_target):
            await asyncio.sleep(0.05)
    yield encrypted
    await encrypted.close()


async def read(client: Client[LogisticsServiceStub]) -> None:
    """A call that is answered if the caller is known."""
    await client.call(client.stub.BatchGetDropOffs, pb.BatchGetDropOffsRequest(ids=[]))


async def refusal(client: Client[LogisticsServiceStub]) -> DomainError:
    with pytest.raises(DomainError) as refused:
        await read(client)
    return refused.value


async def test_a_process_with_its_certificate_is_answered(logistics: Encrypted):
    await read(logistics.client(logistics.files("gateway").open()))


async def test_whoever_shows_no_certificate_is_refused_before_the_call(logistics: Encrypted):
    assert isinstance(await refusal(logistics.client(None)), Unavailable)
    credentials = grpc.ssl_channel_credentials(logistics.authority.pem())
    async with aio.secure_channel(logistics.process.target, credentials) as channel:
        with pytest.raises(aio.AioRpcError) as refused:
            await LogisticsServiceStub(channel).BatchGetDropOffs(pb.BatchGetDropOffsRequest(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_authority_is_refused(logistics: Encrypted):
    forged = logistics.files("gateway", Authority.new())
    assert isinstance(await refusal(logistics.client(forged.open())), Unavailable)


async def test_an_expired_certificate_is_refused(logistics: Encrypted):
    expired = logistics.files("gateway", until=datetime.now(UTC) - timedelta(minutes=1))
    assert isinstance(await refusal(logistics.client(expired.open())), Unavailable)


async def test_a_token_on_another_processs_connection_is_refused(logistics: Encrypted):
    """Whoever stole the gateway's token key, and has a certificate of accounts, is not the gateway."""
    refused = await refusal(logistics.client(logistics.files("accounts").open(), "gateway"))
    assert isinstance(refused, Unavailable)
    assert refused.reason == "NOT_LET_IN"
    assert "not that of the connection's certificate" in refused.message


async def test_that_a_process_is_not_believed_is_no_fault_of_whom_it_calls_for(logistics: Encrypted):
    """Whose key is not trusted cannot do its work; its own callers are told that, and not that they are nobody."""
    stranger = Signer("gateway", OKPKey.generate_key("Ed25519", {"kid": "gateway"}))
    client = Client(logistics.process.target, LogisticsServiceStub, stranger, tls=logistics.files("gateway").open())
    with capture_logs() as logged:
        refusals = [await refusal(client) for _ in range(3)]
    await client.close()
    assert {(type(each), each.reason) for each in refusals} == {(Unavailable, "NOT_LET_IN")}
    # For whoever looks why: once, however many calls there are.
    assert [(line["event"], line["reason"]) for line in logged] == [("not let in", "PROCESS_TOKEN_INVALID")]


async def test_a_server_with_another_authoritys_certificate_is_not_called(logistics: Encrypted):
    mistrusting = logistics.files("gateway")
    mistrusting.authorities = Authority.new().pem()
    mistrusting.put(logistics.authority, "gateway")
    assert isinstance(await refusal(logistics.client(mistrusting.open())), Unavailable)


async def test_machines_need_no_certificate_at_their_own_port_and_get_no_further_than_machines_do(logistics: Encrypted):
    credentials = grpc.ssl_channel_credentials(logistics.authority.pem())
    async with aio.secure_channel(logistics.open_target, credentials) as channel:
        stub = LogisticsServiceStub(channel)
        with pytest.raises(aio.AioRpcError) as unsigned:
            await stub.CaptureItems(pb.CaptureItemsRequest(machine_id="machine_1"), timeout=30)
        # It was read, and found wanting.
        assert unsigned.value.code() in (NotFound.code, InvalidArgument.code, Unauthenticated.code)
        assert "TOKEN_MISSING" not in str(unsigned.value.trailing_metadata())
        token = Signer.from_file("gateway", identity_key(logistics.keys, "gateway")).token()
        metadata = (("authorization", f"Bearer {token}"), ("alliance-caller", OPERATOR.to_header()))
        with pytest.raises(aio.AioRpcError) as stolen:
            await stub.BatchGetDropOffs(pb.BatchGetDropOffsRequest(), timeout=30, metadata=metadata)
    assert stolen.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with aio.insecure_channel(logistics.open_target) as channel:
        with pytest.raises(aio.AioRpcError) as plain:
            await LogisticsServiceStub(channel).CaptureItems(pb.CaptureItemsRequest(), timeout=30)
    assert plain.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_probes_learn_without_tls_whether_it_is_well_and_nothing_else(logistics: Encrypted):
    async with aio.insecure_channel(logistics.health_target) as channel:
        answer: Any = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(aio.AioRpcError) as refused:
            await LogisticsServiceStub(channel).BatchGetDropOffs(pb.BatchGetDropOffsRequest(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_certificates_are_renewed_on_both_sides_without_losing_a_call(logistics: Encrypted):
    mine = logistics.files("gateway")
    client = logistics.client(mine.open())
    answered = 0
    stop = asyncio.Event()

    async def calls() -> None:
        nonlocal answered
        while not stop.is_set():
            await read(client)
            answered += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(calls())
        before = await shown(logistics.process.target)
        mine.put(logistics.authority, "gateway")
        logistics.server_files.put(logistics.authority, "logistics")
        async with asyncio.timeout(60):
            while await shown(logistics.process.target) == before:
                await asyncio.sleep(0.1)
        first = answered
        while answered < first + 20:
            await asyncio.sleep(0.02)
        stop.set()
    assert answered >= 20


async def test_when_the_certificate_runs_out_is_told_and_follows_each_renewal(logistics: Encrypted):
    for hours in (2, 9):
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
        logistics.server_files.put(logistics.authority, "logistics", until)

        def runs_out(metrics: Metrics, at: float = until.timestamp()) -> bool:
            return metrics.value("alliance_tls_certificate_expires_time_seconds") == at

        await metrics_when(logistics.metrics, runs_out)


async def test_a_key_that_is_not_the_certificates_changes_nothing(logistics: Encrypted):
    mine = logistics.files("gateway")
    files = mine.open()
    good = files.current()
    mine.paths()[1].write_bytes(logistics.authority.certify("gateway")[1])
    files._look_at = 0
    assert files.current() is good


async def shown(target: str) -> int:
    """The serial number of the certificate that the server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = target.partition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(certificate).serial_number


@pytest.fixture
def undecided(mongodb_uri: str, keys: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess("logistics", mongodb_uri, keys, tmp_path / "log", ALLIANCE_PLAINTEXT="false")
    yield process
    process.kill()


def test_a_service_without_a_certificate_does_not_start_unless_it_is_told_to_do_without(undecided: ServiceProcess):
    undecided.launch()
    assert undecided.wait() != 0
    assert "set ALLIANCE_TLS_CERTIFICATE_FILE" in undecided.log_text()


def test_the_local_authority_renews_what_is_soon_too_old(tmp_path: Path):
    certificates.ensure_certificates(tmp_path)
    path = certificates.certificate_file(tmp_path, "rewards")
    first = path.read_bytes()
    certificates.ensure_certificates(tmp_path)
    assert path.read_bytes() == first
    authority = certificates._authority(tmp_path)
    chain, key = authority.certify("rewards", datetime.now(UTC) + timedelta(days=5))
    path.write_bytes(chain)
    certificates.key_file(tmp_path, "rewards").write_bytes(key)
    certificates.ensure_certificates(tmp_path)
    assert path.read_bytes() not in (first, chain)


async def answering(database: Database) -> None:
    """Waits until the database answers: it listens a little before that."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await database.ping()
            except PyMongoError:
                await asyncio.sleep(0.1)


async def test_the_database_is_reached_by_tls_as_its_address_says(tmp_path: Path):
    authority = Authority.new()
    chain, key = authority.certify("mongodb")
    for name, content in (("tls.crt", chain), ("tls.key", key), ("ca.crt", authority.pem())):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "other.crt").write_bytes(Authority.new().pem())
    port = free_port()
    files = ["--tls-cert-file", str(tmp_path / "tls.crt"), "--tls-key-file", str(tmp_path / "tls.key")]
    with (tmp_path / "log").open("wb") as log:
        command = [*embedded.command(tmp_path / "database", port), *files]
        server = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(60):
            while not embedded.accepts(port):
                await asyncio.sleep(0.05)
        for authorities, trusted in (("ca.crt", True), ("other.crt", False)):
            database = Database(f"{embedded.uri(port)}&tls=true&tlsCAFile={tmp_path / authorities}", "tls")
            try:
                if trusted:
                    await answering(database)
                else:
                    with pytest.raises(PyMongoError):
                        await database.ping()
            finally:
                database.close()
    finally:
        server.kill()
        await server.wait()
