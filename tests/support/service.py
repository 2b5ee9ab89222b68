"""Real service processes for tests, and clients that call them as anybody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.embedded import accepts, reserved_port
from deploy.local.guard import guarded
from deploy.local.keys import identity_key, operator_secret, trust_file
from services.shared.client import Client
from services.shared.errors import Aborted
from services.shared.identity import Caller, CallerKind, Signer
from tests.support.queries import scans

Stub = TypeVar("Stub")

# Nothing takes as long as that: who waits so long is told what hangs, on however busy a machine.
PATIENCE_SECONDS = 60.0

OPERATOR = Caller(CallerKind.OPERATOR, "operator")
ANYONE = Caller(CallerKind.ANYONE)


def partner(partner_id: str) -> Caller:
    return Caller(CallerKind.PARTNER, partner_id, partner_id)


def member(member_id: str, partner_id: str = "") -> Caller:
    return Caller(CallerKind.MEMBER, member_id, partner_id)


def request_id() -> str:
    return uuid4().hex


class Insisting(Client[Stub]):
    """Calls again when told to because too many change the same, as on a busy machine they do for long."""

    async def call(self, *arguments: Any, **options: Any) -> Any:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await super().call(*arguments, **options)
            except Aborted as error:
                if error.reason != "TOO_MANY_CONFLICTS" or time.monotonic() > until:
                    raise


class ServiceProcess:
    """`python -m services.<name>` on a free port, with a database of its own."""

    def __init__(self, name: str, mongodb_uri: str, keys: Path, log: Path, **environment: str) -> None:
        self.name = name
        self.target = f"127.0.0.1:{reserved_port(self)}"
        self._log = log
        self._mongodb_uri = mongodb_uri
        self._keys = keys
        self._environment: Mapping[str, str] = {
            **os.environ,
            "MONGODB_URI": mongodb_uri,
            "ALLIANCE_LOG_LEVEL": "DEBUG",
            "ALLIANCE_MONGODB_DATABASE": f"test_{name}_{uuid4().hex[:8]}",
            "ALLIANCE_LISTEN": self.target,
            "ALLIANCE_IDENTITY_KEY_FILE": str(identity_key(keys, name)),
            "ALLIANCE_TRUST_FILE": str(trust_file(keys)),
            "ALLIANCE_OPERATOR_CLIENT_SECRET": operator_secret(keys),
            "ALLIANCE_PLAINTEXT": "true",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Starts it, and does not wait. It ends with whoever tests it."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                guarded(sys.executable, "-m", f"services.{self.name}"),
                env=dict(self._environment),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Starts it and waits until it says SERVING."""
        self.launch()
        self.wait_until_serving()

    def wait_until_serving(self) -> None:
        """Of one that was launched."""
        assert self._process is not None
        until = time.monotonic() + PATIENCE_SECONDS
        while not serving(self.target):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Asks it to end; its exit status. Fails if it made a query that no index serves."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(PATIENCE_SECONDS)
        found = scans(self._mongodb_uri, self._log)
        assert not found, found
        return status

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Ends it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log_text(self) -> str:
        return self._log.read_text()

    def client(self, stub: type[Stub], process: str = "gateway") -> Client[Stub]:
        """A client that proves to be that process, and has time."""
        signer = Signer.from_file(process, identity_key(self._keys, process))
        return Insisting(self.target, stub, signer, timeout_seconds=PATIENCE_SECONDS)


def serving(target: str) -> bool:
    """Whether the health service there says SERVING."""
    if not accepts(int(target.rpartition(":")[2])):
        return False
    with grpc.insecure_channel(target) as channel:
        try:
            answer: Any = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
