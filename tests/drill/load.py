"""The load during a drill: machines upload, a brand reports, members redeem and the till captures, all at the same time
and all through the public doors, each request with an id and repeated until it is answered; and what was answered.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import uuid4

from alliance.logistics.v1 import logistics_pb2
from deploy.local.day.doors import Passing, Refused
from tests.support.alliance import POLL_SECONDS, Brand, Machine, Member, World, item

_MEMBERS = 12
_MACHINES = 2
_REWARDS = 6
_REWARD_POINTS = 2
_FIRST_POINTS = 5_000
_CALLERS = {"upload": 2, "report": 2, "redeem": 3}
_PAUSE_SECONDS = 0.02
_RECOVERY_SECONDS = 90.0
_STORED = (
    logistics_pb2.CaptureItemsResponse.ITEM_STATUS_ACCEPTED,
    logistics_pb2.CaptureItemsResponse.ITEM_STATUS_DUPLICATE,
)


@dataclass
class Acknowledged:
    """What the callers were told, by member: the ids of what is now in the alliance's hands."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    drop_offs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    acts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    redemptions: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


@dataclass
class Cast:
    """Who takes part: a brand, its machines and rewards, and members who have points to spend."""

    world: World
    brand: Brand
    machines: Sequence[Machine]
    rewards: Sequence[str]
    members: Sequence[Member]

    @classmethod
    async def assemble(cls, world: World, members: int = _MEMBERS) -> "Cast":
        """All new, so that whatever is found with them later was caused by this drill."""
        brand = await world.brand(earns={"METRO_TRIP": 1, "PET_RECYCLING": 1, "BUS_TRIP": _FIRST_POINTS})
        machines = [await brand.machine() for _ in range(_MACHINES)]
        rewards = [await brand.reward(_REWARD_POINTS, 1_000_000, f"Soup {n}") for n in range(_REWARDS)]
        enrolled = [await brand.enrol(f"Member {n}") for n in range(members)]
        return cls(world, brand, machines, rewards, enrolled)


class Load:
    """Callers who go on until they are told to stop, and then finish what they have begun."""

    def __init__(self, cast: Cast, pause_seconds: float) -> None:
        self.told = Acknowledged()
        self._pause_seconds = pause_seconds
        self._cast = cast
        self._random = Random(1)
        self._stop = asyncio.Event()
        # When the latest answered request of each kind was begun.
        self._begun: dict[str, float] = {}
        self._answered = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def on(cls, cast: Cast, pause_seconds: float = _PAUSE_SECONDS) -> AsyncIterator["Load"]:
        """The load runs within; at the end all that was begun has been answered, or given up by its caller."""
        load = cls(cast, pause_seconds)
        await load._grant()
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "upload": load._upload,
            "report": load._report,
            "redeem": load._redeem,
        }
        async with asyncio.TaskGroup() as group:
            for kind, send in kinds.items():
                for _ in range(_CALLERS[kind]):
                    group.create_task(load._call(kind, send))
            try:
                await load.recovered(time.monotonic())
                yield load
            finally:
                load._stop.set()

    async def recovered(self, since: float) -> float:
        """Waits until a request of each kind that was begun after that moment is answered; the seconds from then."""
        async with asyncio.timeout(_RECOVERY_SECONDS), self._answered:
            await self._answered.wait_for(lambda: all(self._begun.get(kind, 0) >= since for kind in _CALLERS))
        return time.monotonic() - since

    async def _grant(self) -> None:
        """Points to spend. The acts behind them are part of what has to be found."""
        brand, members = self._cast.brand, self._cast.members
        acts = await brand.report_acts(*(member.act(brand, "BUS_TRIP") for member in members))
        for member, act in zip(members, acts, strict=True):
            self.told.acts[member.id].add(act["id"])
        for member in members:
            async with asyncio.timeout(_RECOVERY_SECONDS):
                while not (await member.wallet())["available"]:
                    await asyncio.sleep(POLL_SECONDS)

    async def _call(self, kind: str, send: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                await send()
            except (Passing, Refused) as error:
                self.told.failed.append(f"{kind}: {error}")
            else:
                async with self._answered:
                    self._begun[kind] = max(begun, self._begun.get(kind, 0))
                    self._answered.notify_all()
            await asyncio.sleep(self._pause_seconds)

    async def _upload(self) -> None:
        machine = self._random.choice(self._cast.machines)
        members = self._random.choices(self._cast.members, k=self._random.randint(1, 5))
        items = [item(member, grams=self._random.randint(10, 60), code=uuid4().hex) for member in members]
        answer = await machine.capture(*items, batch_id=uuid4().hex)
        self.told.requests += 1
        for member, result in zip(members, answer.results, strict=True):
            if result.status in _STORED:
                self.told.drop_offs[member.id].add(result.drop_off_id)
            else:
                self.told.failed.append(f"upload: {result.reason} {result.message}")

    async def _report(self) -> None:
        members = self._random.choices(self._cast.members, k=self._random.randint(1, 4))
        brand = self._cast.brand
        acts = await brand.report_acts(*(member.act(brand, "METRO_TRIP") for member in members))
        self.told.requests += 1
        for member, act in zip(members, acts, strict=True):
            self.told.acts[member.id].add(act["id"])

    async def _redeem(self) -> None:
        member = self._random.choice(self._cast.members)
        redemption = await member.redeem(self._random.choice(self._cast.rewards))
        self.told.requests += 1
        self.told.redemptions[member.id][redemption["id"]] = "HELD"
        captured = await self._cast.brand.capture(redemption["voucherCode"])
        self.told.requests += 1
        self.told.redemptions[member.id][redemption["id"]] = captured["status"]
