"""What the gateway's bench runs: two back ends and three gateways, each a process of its own.

The real back end is the four services on the embedded database with seeded data. The recorded one is a process that
answers just what they did, from memory, so that nothing but the gateway can be the limit.
"""

import asyncio
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
_WAIT_SECONDS = 60
_STOLEN = 7


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
    ports = {name: free_port() for name in SERVICES}
    command = [sys.executable, "-m", "tests.bench.recorded", *map(str, ports.values()), str(answers)]
    with process(command, dict(os.environ)):
        targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
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


class Taken:
    """How much of the machine its host has given to others since this was made."""

    def __init__(self) -> None:
        self._before = self._ticks()

    def share(self) -> float:
        """Between 0 and 1."""
        gone = [now - before for before, now in zip(self._before, self._ticks(), strict=True)]
        return round(gone[_STOLEN] / max(1, sum(gone)), 3)

    def _ticks(self) -> list[int]:
        # user, nice, system, idle, iowait, irq, softirq, steal; guests' are in the first two already.
        return [int(ticks) for ticks in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]


def allow_files() -> None:
    """As many open connections as the system grants, for a crowd; what is started from here may have them too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _part(gateways: Collection[int]) -> None:
    """Leaves the last core to these processes, and the others to this one and all else that it has started."""
    cores = sorted(range(os.cpu_count() or 1))
    us = os.getpid()
    children = Path(f"/proc/{us}/task/{us}/children")
    if len(cores) < 2 or not children.exists():
        return
    for pid in (us, *map(int, children.read_text().split())):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores[-1:] if pid in gateways else cores[:-1])


def _uvicorn(app: str, port: int) -> list[str]:
    options = f"--port {port} --loop uvloop --http httptools --log-level warning --no-access-log --lifespan off"
    return [sys.executable, "-m", "uvicorn", app, *options.split()]


_COMMANDS = {
    "engine": lambda _: [sys.executable, "-m", "gateway"],
    "stock": lambda port: _uvicorn("tests.bench.stock:app", port),
    "handwritten": lambda port: _uvicorn("tests.bench.handwritten:app", port),
}


@dataclass(frozen=True)
class Gateway:
    """What to start: engine, stock or handwritten; and of the engine's requests the share that is traced."""

    kind: str
    traced: float = 0.0


@contextmanager
def gateways(
    wanted: Mapping[str, Gateway], backend: Backend, collector: str, *, alone: bool = False
) -> Iterator[dict[str, Target]]:
    """Gateways that answer the query already; if `alone`, on a core of their own."""
    tokens = Tokens(TokenKeys.from_file(token_key(backend.keys)), ISSUER, partner_seconds=3_600, member_seconds=600)
    token = tokens.for_operator("operator").text
    with ExitStack() as stack:
        targets = {}
        for name, gateway in wanted.items():
            port = free_port()
            environment = {**backend.environment(), "ALLIANCE_LISTEN": f"127.0.0.1:{port}"}
            if gateway.traced:
                environment |= traced(collector, gateway.traced)
            started = stack.enter_context(process(_COMMANDS[gateway.kind](port), environment))
            path = "/graphql" if gateway.kind == "engine" else "/"
            targets[name] = Target(name, f"http://127.0.0.1:{port}{path}", started.pid, token, backend.members)
        for target in targets.values():
            _wait_for(target)
        if alone:
            _part([target.pid for target in targets.values()])
        yield targets


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, as long as it is needed."""
    started = subprocess.Popen(command, env=environment)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


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
