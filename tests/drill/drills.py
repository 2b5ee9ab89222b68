"""The drills: what is done to the alliance under load. Each answers rows of its table."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from tests.drill.ground import PROCESSES, Ground
from tests.drill.load import Load

_FULL_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.1
BEHIND_LINKS = tuple(name for name in PROCESSES if name != "database")


@dataclass(frozen=True)
class Row:
    """One thing that was done. `recovery_s` is from when its cause was gone until a request of each kind that was begun
    after that was answered; `requests` were acknowledged meanwhile, `repeated` attempts had to be sent again.
    """

    what: str
    recovery_s: float
    requests: int
    repeated: int


@dataclass(frozen=True)
class Scale:
    """How much of it: which processes are killed and held, which are replaced, and for how long things last."""

    processes: Sequence[str]
    replaced: Sequence[str]
    held_seconds: float
    network_seconds: float
    disk_full_seconds: float
    peak_seconds: float = 0


FULL = Scale(PROCESSES, PROCESSES, 20, 15, 10, 10)
QUICK = Scale(("rewards", "gateway", "database"), PROCESSES, 8, 5, 4, 4)

Drill = Callable[[Ground, Load, Scale], AsyncIterator[Row]]


async def killed(ground: Ground, load: Load, scale: Scale) -> AsyncIterator[Row]:
    """`kill -9`, and started again at once, as Kubernetes does."""
    for name in scale.processes:
        watch = _Watch(ground, load)
        ground.kill(name)
        since = time.monotonic()
        await ground.start(name)
        yield await watch.row(f"kill -9 {name}", since)


async def held(ground: Ground, load: Load, scale: Scale) -> AsyncIterator[Row]:
    """SIGSTOP: the process is there, its connections are open, and nothing moves."""
    for name in scale.processes:
        watch = _Watch(ground, load)
        with ground.held(name):
            await asyncio.sleep(scale.held_seconds)
        yield await watch.row(f"{name} stands still for {scale.held_seconds:.0f} s", time.monotonic())


async def full_disk(ground: Ground, load: Load, scale: Scale) -> AsyncIterator[Row]:
    """The database's folder takes nothing more; then there is room again, and a database that gave up is started."""
    watch = _Watch(ground, load)
    repeated = ground.world.doors.traffic.retried
    with ground.full_disk() as how:
        until = time.monotonic() + _FULL_WITHIN_SECONDS
        # What the database has reserved is used up first.
        while ground.world.doors.traffic.retried == repeated and time.monotonic() < until:
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.sleep(scale.disk_full_seconds)
    since = time.monotonic()
    fate = "went on"
    if not await ground.database_writes():
        fate = "was started again"
        await ground.restart("database")
    yield await watch.row(f"disk full for {scale.disk_full_seconds:.0f} s ({how}); the database {fate}", since)


async def bad_network(ground: Ground, load: Load, scale: Scale) -> AsyncIterator[Row]:
    """Between all processes and their callers: slow, then connections that break, then silence."""
    links = [ground.links[name] for name in BEHIND_LINKS]
    watch = _Watch(ground, load)
    for link in links:
        link.delay_seconds = 0.03
    await asyncio.sleep(scale.network_seconds)
    for link in links:
        link.delay_seconds = 0.0
    yield await watch.row("each piece of data up to 60 ms late", time.monotonic())

    watch = _Watch(ground, load)
    until = time.monotonic() + scale.network_seconds
    while time.monotonic() < until:
        random.choice(links).cut()
        await asyncio.sleep(0.5)
    yield await watch.row("all connections of some process broken, twice a second", time.monotonic())

    for name in ("rewards", "gateway"):
        watch = _Watch(ground, load)
        ground.links[name].silence()
        await asyncio.sleep(scale.network_seconds)
        ground.links[name].speak()
        yield await watch.row(f"nothing to or from {name} for {scale.network_seconds:.0f} s", time.monotonic())


async def rolling(ground: Ground, load: Load, scale: Scale) -> AsyncIterator[Row]:
    """Everything is replaced, one after the other: the successor is well before the old process goes."""
    for name in scale.replaced:
        watch = _Watch(ground, load)
        if name == "database":
            # There is one; production has a replica set.
            await ground.restart(name)
            yield await watch.row("database restarted in order", time.monotonic())
        else:
            await ground.replace(name)
            yield await watch.row(f"{name} replaced by its successor", time.monotonic())


DRILLS: dict[str, Drill] = {
    "sudden death": killed,
    "standstill": held,
    "full disk": full_disk,
    "bad network": bad_network,
    "rolling update": rolling,
}


class _Watch:
    """Counts from when it is made."""

    def __init__(self, ground: Ground, load: Load) -> None:
        self._traffic = ground.world.doors.traffic
        self._load = load
        self._requests, self._repeated = load.told.requests, self._traffic.retried

    async def row(self, what: str, since: float) -> Row:
        """Waits until all is well again after that moment."""
        recovery = await self._load.recovered(since)
        return Row(what, recovery, self._load.told.requests - self._requests, self._traffic.retried - self._repeated)
