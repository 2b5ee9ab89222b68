"""Where drills take place: the whole alliance as real processes, with a link in front of each of them."""

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pymongo.errors import PyMongoError

from deploy.local import embedded
from deploy.local.alliance import SERVICES, Alliance, gateway_ready, service_ready
from deploy.local.options import Options
from deploy.local.processes import Process
from services.shared.mongo import Database
from tests.drill.cpu import cpu_seconds
from tests.drill.links import Link
from tests.support.alliance import World

PROCESSES = (*SERVICES, "gateway", "database")
_HEALTHY_WITHIN_SECONDS = 60.0
_GRACE_SECONDS = 15.0
_WRITE_SECONDS = 3.0
_VOLUME_MEGABYTES = 768
_SMALL_FILE_BYTES = 1 << 20


class Ground:
    """A running alliance whose processes can be ended, held, replaced and cut off."""

    def __init__(self, alliance: Alliance, links: dict[str, Link]) -> None:
        self.alliance = alliance
        self.links = links
        self._successors: list[Process] = []
        self._current: dict[str, Process] = {}

    @classmethod
    @asynccontextmanager
    async def prepared(cls, data: Path, *, linked: bool = True) -> AsyncIterator["Ground"]:
        """Everything runs within. Links take processor time of whoever runs the drill; without them nothing can be cut
        off or replaced.
        """
        links = {name: Link() for name in (*SERVICES, "gateway")} if linked else {}
        ports = {f"{name}_port": 0 for name in PROCESSES}
        options = Options(data=data, log_level="WARNING", **ports)  # type: ignore[arg-type]
        alliance = Alliance(options, fronts={name: link.address for name, link in links.items()})
        for link in links.values():
            await link.start()
        ground = cls(alliance, links)
        await ground.start_all()
        try:
            yield ground
        finally:
            await ground.world.close()
            await ground.stop_all()
            for link in links.values():
                await link.stop()

    async def start_all(self) -> None:
        """Starts everything; in its own place, whoever succeeded it before."""
        for name, link in self.links.items():
            link.upstream = self.alliance.address(name)
        await self.alliance.start()
        self._current = dict(self.alliance.processes)

    async def stop_all(self) -> None:
        """Stops everything, in order."""
        for process in self._successors:
            await process.stop(_GRACE_SECONDS)
        self._successors.clear()
        await self.alliance.stop()

    @cached_property
    def world(self) -> World:
        """The doors of the alliance."""
        return World.of(self.alliance)

    def process(self, name: str) -> Process:
        """Whoever is that process now."""
        return self._current[name]

    def cpu(self) -> Counter[str]:
        """The CPU seconds that each process has taken so far, and this one, which makes the load."""
        taken = Counter({name: cpu_seconds(process.pid) for name, process in self._current.items() if process.pid})
        taken["load"] = time.process_time()
        return taken

    def kill(self, name: str) -> None:
        """Ends a process as `kill -9` does."""
        self.process(name).kill()

    async def start(self, name: str) -> None:
        """Starts a process that has ended, in its place, and waits until it is well."""
        process = self.process(name)
        process.start()
        await process.wait_until_healthy(_HEALTHY_WITHIN_SECONDS)

    async def restart(self, name: str) -> None:
        """Stops a process in order or, if it does not end, by force; and starts it again in its place, for what there
        can be only one of.
        """
        await self.process(name).stop(_GRACE_SECONDS)
        await self.start(name)

    async def replace(self, name: str) -> None:
        """As a rolling update does: the successor is well before the process in office hears that it has to go; new
        connections lead to the successor, and the old process finishes what it has begun.
        """
        old = self.process(name)
        port = embedded.free_port()
        address = f"127.0.0.1:{port}"
        program = old.program
        environment = {**program.environment, "ALLIANCE_LISTEN": address}
        healthy = gateway_ready(f"http://{address}") if name == "gateway" else service_ready(address)
        generation = 1 + sum(each.name.startswith(f"{name}-") for each in self._successors)
        successor = Process(
            replace(program, name=f"{name}-{generation}", environment=environment, port=port, healthy=healthy),
            self.alliance.data / "run",
            self.alliance.data / "logs",
        )
        self._successors.append(successor)
        successor.start()
        await successor.wait_until_healthy(_HEALTHY_WITHIN_SECONDS)
        self.links[name].upstream = address
        self._current[name] = successor
        await old.stop(_GRACE_SECONDS)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """The process stands still within, as a machine that swaps or a debugger would make it."""
        pid = self.process(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def full_disk(self) -> Iterator[str]:
        """Nothing more can be written to the database's folder within; how that is done."""
        folder = self.alliance.data / "database"
        if os.path.ismount(folder):
            ballast = folder / "ballast"
            with ballast.open("wb") as file:
                space = os.statvfs(folder)
                os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
            try:
                yield f"volume of {_VOLUME_MEGABYTES} MB"
            finally:
                ballast.unlink()
            return
        pid = self.process("database").pid
        assert pid is not None
        largest = max((path.stat().st_size for path in folder.rglob("*") if path.is_file()), default=0)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(largest, _SMALL_FILE_BYTES), hard))
        try:
            yield "limit of the files' size"
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    async def database_writes(self) -> bool:
        """Whether the database takes a write: one that could not may have ended, or be of no use until it is started
        again.
        """
        database = Database(self.alliance.database_uri, "drill")
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await database["probe"].insert_one({})
        except (PyMongoError, TimeoutError):
            return False
        finally:
            database.close()
        return True


def mount_volume(data: Path) -> bool:
    """Gives the database's folder a volume of its own, small enough to be filled; False where that is not permitted."""
    folder = data / "database"
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_VOLUME_MEGABYTES}m", "alliance-drill", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
