"""Subscribers while every process is killed in turn: they reconnect, go on from their cursor, and have it all, once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.day.doors import Person
from tests.e2e.conftest import options, running
from tests.support.alliance import World, item
from tests.support.live import events

ACCEPTED = "subscription { dropOffAccepted { dropOff { weightGrams } } }"
WALLET = "subscription { walletChanged { wallet { balance } } }"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An alliance of its own, since nobody else should be there when its processes die."""
    async with running(options(tmp_path)) as alliance:
        world = World.of(alliance)
        yield world
        await world.close()


@dataclass
class Follower:
    """A frontend that opens its stream again whenever it ends, with the last id that it saw, as EventSource does."""

    world: World
    person: Person
    document: str
    seen: list[Any] = field(default_factory=list)
    opened: int = 0
    last_id: str = ""

    async def run(self) -> None:
        while True:
            with suppress(httpx.HTTPError, AssertionError):
                token = await self.world.doors.token(self.person)
                async with events(self.world.alliance.url, token, self.document, last_id=self.last_id) as stream:
                    self.opened += 1
                    while event := await stream.event():
                        assert event.kind == "next"
                        result = json.loads(event.data)
                        assert "errors" not in result
                        self.last_id = event.id
                        self.seen.append(next(iter(result["data"].values())))
            await asyncio.sleep(0.1)


async def test_g5_nothing_is_missed_or_doubled_whichever_process_is_killed(world: World):
    grocer = await world.brand(earns={"PET_RECYCLING": 1})
    machine, ada = await grocer.machine(), await grocer.enrol()
    drop_offs = Follower(world, grocer.person, ACCEPTED)
    wallet = Follower(world, ada.person, WALLET)
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(each.run()) for each in (drop_offs, wallet)]
        while not (drop_offs.opened and wallet.seen):
            await asyncio.sleep(0.05)
        grams = 0
        for name in ("logistics", "rewards", "gateway"):
            for _ in range(3):
                grams += 1
                await machine.capture(item(ada, grams=grams))
            process = world.alliance.processes[name]
            process.kill()
            process.start()
            grams += 1
            await machine.capture(item(ada, grams=grams))
            await process.wait_until_healthy(120)
        expected = list(range(1, grams + 1))
        async with asyncio.timeout(120):
            while len(drop_offs.seen) < grams or wallet.seen[-1]["wallet"]["balance"] != sum(expected):
                await asyncio.sleep(0.05)
        for task in following:
            task.cancel()
    assert [row["dropOff"]["weightGrams"] for row in drop_offs.seen] == expected
    balances = [row["wallet"]["balance"] for row in wallet.seen]
    assert balances == sorted(set(balances)), "each state is newer than the one before"
    assert drop_offs.opened > 1
