"""What the gateway's bench runs: two back ends and three gateways, each a process of its own.

The real back end is the four services on the embedded database with seeded data. The recorded one is a process that
answers just what they did, from memory, so that nothing but the gateway can be the limit.
"""

import asyncio
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from deploy.local.alliance import SERVICES, Alliance
from deploy.local.embedded import EmbeddedServer, free_port
from deploy.local.keys import identity_key, token_key
from deploy.local.options import Options
from gateway.tokens import TokenKeys, Tokens
from services.shared.identity import GATEWAY, Signer
from tests.bench.load import Target
from tests.bench.query import ONE_MEMBER
from tests.bench.recorded import record
from tests.bench.seed import DROP_OFFS, seed

ISSUER = "http://gateway.bench"
_PREFIX = "bench"
_WAIT_SECONDS = 20


@dataclass(frozen=True)
class Backend:
    """Four services that answer."""

    keys: Path
    targets: Mapping[str, str]
    members: Sequence[str]

    def environment(self) -> dict[str, str]:
        """Of a gateway over it."""
        return {
            **os.environ,
            **{f"ALLIANCE_{name.upper()}_TARGET": target for name, target in self.targets.items()},
            "ALLIANCE_ISSUER": ISSUER,
            "ALLIANCE_TOKEN_KEY_FILE": str(token_key(self.keys)),
            "ALLIANCE_IDENTITY_KEY_FILE": str(identity_key(self.keys, "gateway")),
            "ALLIANCE_PLAINTEXT": "true",
            "ALLIANCE_LOG_LEVEL": "WARNING",
        }


@contextmanager
def real(folder: Path, members: int, tracing: Mapping[str, str]) -> Iterator[Backend]:
    """The four services as `make up` starts them, with so many members."""
    server = EmbeddedServer(folder / "database", folder / "database.log")
    server.start()
    os.environ.update(tracing)
    try:
        ids = asyncio.run(seed(server.uri, _PREFIX, members))
        ports = {f"{name}_port": 0 for name in (*SERVICES, "gateway", "database")}
        alliance = Alliance(
            Options(
                data=folder / "alliance",
                database_prefix=_PREFIX,
                mongodb_uri=SecretStr(server.uri),
                log_level="WARNING",
                **ports,  # type: ignore[arg-type]
            )
        )
        asyncio.run(alliance.start())
        try:
            yield Backend(alliance.data / "keys", {name: alliance.target(name) for name in SERVICES}, ids)
        finally:
            asyncio.run(alliance.stop())
    finally:
        for name in tracing:
            os.environ.pop(name)
        server.stop()


def recording(backend: Backend, folder: Path) -> Path:
    """The answers of a back end, as a file."""
    file = folder / "answers"
    signer = Signer.from_file(GATEWAY, identity_key(backend.keys, "gateway"))
    file.write_bytes(pickle.dumps(asyncio.run(record(backend.targets, signer, backend.members))))
    return file


@contextmanager
def recorded(answers: Path, of: Backend) -> Iterator[Backend]:
    """The answers of a back end, which may be gone by now, from one process."""
    port = free_port()
    with process([sys.executable, "-m", "tests.bench.recorded", str(port), str(answers)], dict(os.environ)):
        targets = dict.fromkeys(SERVICES, f"127.0.0.1:{port}")
        yield Backend(of.keys, targets, of.members)


@contextmanager
def collector() -> Iterator[str]:
    """Where traces can be sent."""
    port = free_port()
    with process([sys.executable, "-m", "tests.bench.collector", str(port)], dict(os.environ)):
        yield f"127.0.0.1:{port}"


def traced(collector: str, share: float) -> dict[str, str]:
    """The environment of a process that traces a share of the requests."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector}",
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(share),
    }


def keep_off_the_gateways_core() -> None:
    """Leaves the last core to gateways, if there are two or more: this process, and what it starts from now on."""
    os.sched_setaffinity(0, _cores()[0])


def _cores() -> tuple[set[int], set[int]]:
    """Those for everything else, and those for gateways."""
    cores = sorted(range(os.cpu_count() or 1))
    return set(cores[:-1] or cores), set(cores[-1:])


def _uvicorn(app: str, port: int) -> list[str]:
    options = f"--port {port} --loop uvloop --http httptools --log-level warning --no-access-log --lifespan off"
    return [sys.executable, "-m", "uvicorn", app, *options.split()]


_COMMANDS = {
    "engine": lambda _: [sys.executable, "-m", "gateway"],
    "stock": lambda port: _uvicorn("tests.bench.stock:app", port),
    "handwritten": lambda port: _uvicorn("tests.bench.handwritten:app", port),
}
GATEWAYS = tuple(_COMMANDS)


@contextmanager
def gateway(name: str, backend: Backend, *, alone: bool = False, **environment: str) -> Iterator[Target]:
    """A gateway that answers the query already; if `alone`, on the core that others keep off."""
    port = free_port()
    tokens = Tokens(TokenKeys.from_file(token_key(backend.keys)), ISSUER, partner_seconds=3_600, member_seconds=600)
    whole = {**backend.environment(), "ALLIANCE_LISTEN": f"127.0.0.1:{port}", **environment}
    with process(_COMMANDS[name](port), whole) as started:
        if alone:
            os.sched_setaffinity(started.pid, _cores()[1])
        path = "/graphql" if name == "engine" else "/"
        token = tokens.for_operator("operator").text
        target = Target(name, f"http://127.0.0.1:{port}{path}", started.pid, token, backend.members)
        _wait_for(target)
        yield target


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, as long as it is needed."""
    started = subprocess.Popen(command, env=environment)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(10)


def _wait_for(target: Target) -> None:
    headers = {"authorization": f"Bearer {target.token}", "accept": "application/json"}
    body = {"query": ONE_MEMBER, "variables": {"id": target.members[0]}}
    until = time.monotonic() + _WAIT_SECONDS
    told = ""
    while time.monotonic() < until:
        try:
            answer = httpx.post(target.url, json=body, headers=headers)
            told = answer.text
            if len(answer.json()["data"]["member"]["dropOffs"]["nodes"]) == DROP_OFFS:
                return
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"{target.name} does not answer at {target.url}: {told[:500]}")
