"""The whole alliance on one machine: the database, four services and the gateway, each a process of its own."""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import certificates, embedded, keys
from deploy.local.lock import Lock, Locked
from deploy.local.options import Options
from deploy.local.processes import Process, Program

SERVICES = ("accounts", "partners", "logistics", "rewards")
OPERATOR_CLIENT_ID = "operator"

_HEALTHY_WITHIN_SECONDS = 60.0
_HEALTH_TIMEOUT_SECONDS = 1.0
_GRACE_SECONDS = {"gateway": 8.0, "database": 10.0}
_SERVICE_GRACE_SECONDS = 8.0
_WATCH_SECONDS = 0.2
# After a stop the kernel may hold on to a port for a moment.
_PORT_PATIENCE_SECONDS = 1.0

Healthy = Callable[[str, float], None]
Died = Callable[[Process], None]


class CannotStart(Exception):
    """The alliance cannot be started; the message says why and what to do."""


class Alliance:
    """Starts, watches and stops all processes; nothing of it outlives the process that started it.

    Everything that it keeps is below `options.data`: database, keys, logs, and in `run` a script per process by which
    that process can be started again by hand.
    """

    def __init__(self, options: Options, fronts: Mapping[str, str] | None = None) -> None:
        """`fronts` are the addresses (host:port) under which others reach a process that stands behind something."""
        self.options = options
        self._fronts = dict(fronts or {})
        self.data = options.data.resolve()
        self._ports = {name: port or embedded.reserved_port(self) for name, port in _ports(options).items()}
        first = options.metrics_port
        self._metrics = {
            name: f"127.0.0.1:{first + place if first else embedded.reserved_port(self)}"
            for place, name in enumerate(("gateway", *SERVICES) if first is not None else ())
        }
        # Machines have no certificate, so that with TLS they have a port of their own.
        self._machines_port = embedded.reserved_port(self) if options.tls else self._ports["logistics"]
        self._health_ports = {
            name: embedded.reserved_port(self) if options.tls else self._ports[name] for name in SERVICES
        }
        self._processes: dict[str, Process] = {}
        self._lock = Lock(self._run / "lock")
        self.startup_seconds = 0.0

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://{self.target('gateway')}"

    def target(self, name: str) -> str:
        """Where others reach a process, as host:port."""
        return self._fronts.get(name, self.address(name))

    @property
    def machines_target(self) -> str:
        """Where machines upload, as host:port."""
        return f"127.0.0.1:{self._machines_port}" if self.options.tls else self.target("logistics")

    @property
    def machines_authorities(self) -> bytes | None:
        """By which machines know that it is the alliance to which they upload; None without TLS."""
        return certificates.authorities_file(self._keys).read_bytes() if self.options.tls else None

    def health_address(self, service: str) -> str:
        """Where a service tells whether it is well, as host:port."""
        return f"127.0.0.1:{self._health_ports[service]}"

    def address(self, name: str) -> str:
        """Where a process listens, as host:port."""
        return f"127.0.0.1:{self._ports[name]}"

    def metrics(self, name: str) -> str:
        """Where Prometheus reads a process, as host:port; empty for nowhere."""
        return self._metrics.get(name, "")

    @property
    def database_uri(self) -> str:
        """Where the database is, for a client."""
        given = self.options.mongodb_uri
        return given.get_secret_value() if given else embedded.uri(self._ports["database"])

    @property
    def operator_secret(self) -> str:
        """The secret of the client `operator` at the gateway's token endpoint."""
        return keys.operator_secret(self._keys)

    @property
    def processes(self) -> Mapping[str, Process]:
        """By name, in the order in which they are started."""
        return self._processes

    async def start(self, healthy: Healthy = lambda name, seconds: None) -> None:
        """Starts everything at once and waits until all of it is well; tells `healthy` of each, with its seconds.

        CannotStart, with nothing left running, if it does not come to that.
        """
        began = time.monotonic()
        for folder in (self.data, self._run, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.take()
        except Locked as holder:
            raise CannotStart(
                f"An alliance runs on {self.data} already (pid {holder}). Stop it, or use another folder with --data."
            ) from None
        try:
            keys.ensure_keys(self._keys)
            if self.options.tls:
                certificates.ensure_certificates(self._keys)
            self._processes = {p.name: Process(p, self._run, self._logs) for p in self._programs()}
            await self._check_ports()
            for process in self._processes.values():
                process.start()
            async with asyncio.TaskGroup() as group:
                for process in self._processes.values():
                    group.create_task(_report_when_healthy(process, began, healthy))
        except ExceptionGroup as group_error:
            await self.stop()
            raise CannotStart(str(group_error.exceptions[0])) from group_error.exceptions[0]
        except RuntimeError as error:
            await self.stop()
            raise CannotStart(str(error)) from error
        except BaseException:
            await self.stop()
            raise
        self.startup_seconds = time.monotonic() - began

    async def watch(self, died: Died, back: Callable[[Process], None]) -> None:
        """Tells of processes that end and of those that somebody started again, until cancelled."""
        pids = {name: process.pid for name, process in self._processes.items()}
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for name, process in self._processes.items():
                pid = process.pid
                if pid != pids[name]:
                    (died if pid is None else back)(process)
                    pids[name] = pid

    async def stop(self) -> None:
        """Ends everything, in order: the gateway, the services, the database. Also what was started by hand."""
        for names in (["gateway"], list(SERVICES), ["database"]):
            running = [self._processes[name] for name in names if name in self._processes]
            await asyncio.gather(*(p.stop(_GRACE_SECONDS.get(p.name, _SERVICE_GRACE_SECONDS)) for p in running))
        self._lock.give_up()

    def kill(self) -> None:
        """Ends everything at once."""
        for process in self._processes.values():
            process.kill()

    @property
    def _run(self) -> Path:
        return self.data / "run"

    @property
    def _logs(self) -> Path:
        return self.data / "logs"

    @property
    def _keys(self) -> Path:
        return self.data / "keys"

    def _programs(self) -> list[Program]:
        common = {
            "ALLIANCE_TRUST_FILE": str(keys.trust_file(self._keys)),
            "ALLIANCE_LOG_LEVEL": self.options.log_level,
            **{f"ALLIANCE_{name.upper()}_TARGET": self.target(name) for name in SERVICES},
        }
        programs = [] if self.options.mongodb_uri else [self._database()]
        for name in SERVICES:
            own = {
                "MONGODB_URI": self.database_uri,
                "ALLIANCE_MONGODB_DATABASE": f"{self.options.database_prefix}_{name}",
                "ALLIANCE_LISTEN": self.address(name),
                "ALLIANCE_METRICS_LISTEN": self.metrics(name),
                "ALLIANCE_IDENTITY_KEY_FILE": str(keys.identity_key(self._keys, name)),
                **self._connections(name),
            }
            if name == "partners":
                own["ALLIANCE_OPERATOR_CLIENT_ID"] = OPERATOR_CLIENT_ID
                own["ALLIANCE_OPERATOR_CLIENT_SECRET"] = self.operator_secret
            programs.append(
                Program(
                    name,
                    (sys.executable, "-m", f"services.{name}"),
                    {**common, **own},
                    self._ports[name],
                    service_ready(self.health_address(name)),
                )
            )
        gateway = {
            "ALLIANCE_LISTEN": self.address("gateway"),
            "ALLIANCE_METRICS_LISTEN": self.metrics("gateway"),
            "ALLIANCE_ISSUER": self.url,
            "ALLIANCE_TOKEN_KEY_FILE": str(keys.token_key(self._keys)),
            "ALLIANCE_IDENTITY_KEY_FILE": str(keys.identity_key(self._keys, "gateway")),
            **self._connections("gateway"),
        }
        command = (sys.executable, "-m", "gateway")
        port = self._ports["gateway"]
        ready = gateway_ready(f"http://{self.address('gateway')}")
        programs.append(Program("gateway", command, {**common, **gateway}, port, ready))
        return programs

    def _connections(self, name: str) -> Mapping[str, str]:
        """Whether a process's connections are encrypted. With TLS, its health is asked at a port of its own, and
        machines have one at logistics.
        """
        if not self.options.tls:
            return {"ALLIANCE_PLAINTEXT": "true"}
        own = {"ALLIANCE_HEALTH_LISTEN": self.health_address(name)} if name in SERVICES else {}
        if name == "logistics":
            own["ALLIANCE_OPEN_LISTEN"] = self.machines_target
        return {**certificates.environment(self._keys, name), **own}

    def _database(self) -> Program:
        port = self._ports["database"]

        async def healthy() -> bool:
            return embedded.accepts(port)

        folder = self.data / "database"
        folder.mkdir(parents=True, exist_ok=True)
        return Program("database", tuple(embedded.command(folder, port)), {}, port, healthy)

    async def _check_ports(self) -> None:
        until = time.monotonic() + _PORT_PATIENCE_SECONDS
        while taken := [p for p in self._processes.values() if not _free(p.program.port)]:
            if time.monotonic() > until:
                raise RuntimeError("\n".join(_taken(process) for process in taken))
            await asyncio.sleep(0.1)


def _ports(options: Options) -> dict[str, int]:
    names = (*SERVICES, "gateway", "database")
    return {name: getattr(options, f"{name}_port") for name in names}


def _taken(process: Process) -> str:
    port = process.program.port
    if (pid := process.pid) is not None:
        return f"Port {port} is taken: {process.name} still runs, started by hand. Stop it with `kill {pid}`."
    return (
        f"Port {port}, which {process.name} needs, is taken by another program. "
        f"Stop that program, or choose another port with --{process.name}-port."
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection of an earlier run that lingers is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _report_when_healthy(process: Process, began: float, healthy: Healthy) -> None:
    await process.wait_until_healthy(_HEALTHY_WITHIN_SECONDS)
    healthy(process.name, time.monotonic() - began)


def service_ready(target: str) -> Callable[[], Awaitable[bool]]:
    """Asks a service whether it is well."""
    return partial(_serving, target)


def gateway_ready(url: str) -> Callable[[], Awaitable[bool]]:
    """Asks a gateway whether it is well, and all that it needs."""
    return partial(_ready, url)


def _listens(address: str) -> bool:
    """Whether it is worth asking. While everything starts, this costs the machine next to nothing."""
    return embedded.accepts(int(address.rpartition(":")[2]))


async def _serving(target: str) -> bool:
    """Whether the service's own health says SERVING."""
    if not _listens(target):
        return False
    async with aio.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _ready(url: str) -> bool:
    """Whether the gateway says that it and all that it needs can answer."""
    if not _listens(url.removeprefix("http://")):
        return False
    with suppress(httpx.HTTPError):
        # There is no TLS: to load the authorities' certificates each time would be most of the work.
        async with httpx.AsyncClient(timeout=_HEALTH_TIMEOUT_SECONDS, trust_env=False, verify=False) as client:  # noqa: S501
            return (await client.get(f"{url}/readyz")).status_code == 200
    return False
