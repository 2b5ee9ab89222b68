"""Settlements that are killed, discarded, or made by replicas whose clocks differ; on a real database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.rewards.domain.moments import moment
from services.rewards.domain.settlement import Settlement
from services.rewards.ledger.commands import Allot, Capture, Command, Place
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.postings import Spend
from services.rewards.service import settlements
from services.rewards.service.settlements import Settlements
from services.rewards.store.settlements import INDEXES, SettlementStore
from services.shared.mongo import Database
from tests.contract.test_ledger import FAR, Time, done, issue, running

BRAND, SHOP = "partner_a", "partner_b"
SPENDS = 25
AT_ONCE = 10  # lines are stored


async def nothing() -> None:
    """There is nothing to sweep."""


async def settled(replica: Settlements, database: Database) -> Settlement:
    return (await database.transaction(replica.run))[0]


@pytest.fixture
async def ledger(database: Database, time: Time, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    """With spends at a shop, by one member."""
    monkeypatch.setattr(settlements, "_LINES_AT_ONCE", AT_ONCE)
    await database.create_indexes(INDEXES)
    async with running(database, time, partitions=1) as ledger:
        await done(ledger, Allot("block", BRAND, SPENDS), issue("member_1", SPENDS, BRAND))
        steps: list[Callable[[int], Command]] = [
            lambda n: Place(f"hold_{n}", "member_1", 1, FAR),
            lambda n: Capture(f"capture_{n}", "member_1", f"hold_{n}", 1, SHOP),
        ]
        for step in steps:
            await done(ledger, *(step(n) for n in range(SPENDS)))
        yield ledger


@pytest.fixture
def time() -> Time:
    return Time()


def replica(ledger: Ledger, database: Database, time: Time) -> Settlements:
    return Settlements(SettlementStore(database), ledger, nothing, lambda: moment(time()))


class Stalling:
    """A ledger whose spends stop coming after so many, until they may go on."""

    def __init__(self, ledger: Ledger, after: int) -> None:
        self._ledger = ledger
        self._after = after
        self.stalled = asyncio.Event()
        self.may_go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def spends(self, after: Mapping[str, int], until: Mapping[str, int]) -> AsyncIterator[Spend]:
        number = 0
        async for spend in self._ledger.spends(after, until):
            if (number := number + 1) == self._after:
                self.stalled.set()
                await self.may_go_on.wait()
            yield spend


def stalling(ledger: Ledger, after: int) -> Any:
    return Stalling(ledger, after)


async def stored(database: Database) -> tuple[int, int]:
    """Lines and drafts."""
    return (
        await database["settlement_lines"].count_documents({}),
        await database["settlement_drafts"].count_documents({}),
    )


async def discarded(database: Database, before: datetime) -> int:
    return await SettlementStore(database).discard(before)


async def test_p5_what_a_settlement_stored_that_was_killed_is_removed_and_the_next_one_is_whole(
    database: Database, ledger: Ledger, time: Time
):
    slow = stalling(ledger, 21)
    task = asyncio.create_task(settled(replica(slow, database, time), database))
    await slow.stalled.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await stored(database) == (20, 1), "lines of a settlement that there is not"

    made = await settled(replica(ledger, database, time), database)
    assert (made.number, made.lines) == (1, SPENDS)
    assert await discarded(database, moment(time()) - timedelta(minutes=10)) == 0, "it might be going on"
    assert await discarded(database, moment(time())) == 1
    assert await stored(database) == (SPENDS, 0)
    assert await database["settlement_lines"].count_documents({"lists": made.id}) == SPENDS
    assert await discarded(database, moment(time())) == 0


@pytest.mark.parametrize("after", [15, SPENDS])
async def test_p5_a_settlement_that_was_discarded_while_it_was_being_made_is_made_anew(
    database: Database, ledger: Ledger, time: Time, after: int
):
    """A process that was frozen for long goes on."""
    slow = stalling(ledger, after)
    task = asyncio.create_task(settled(replica(slow, database, time), database))
    await slow.stalled.wait()
    assert await discarded(database, moment(time())) == 1
    slow.may_go_on.set()
    made = await task
    assert (made.number, made.lines) == (1, SPENDS)
    assert await database["settlement_lines"].count_documents({"lists": made.id}) == SPENDS


async def test_p5_a_replica_whose_clock_is_behind_begins_where_the_last_settlement_ended(
    database: Database, ledger: Ledger, time: Time
):
    ahead = Time()
    ahead.now = time.now + 30_000
    async with running(database, ahead, partitions=1) as other:
        first = await settled(replica(other, database, ahead), database)
    second = await settled(replica(ledger, database, time), database)
    assert (first.until, second.since) == (moment(ahead.now), moment(ahead.now))
    assert second.until >= second.since
    assert (first.lines, second.lines) == (SPENDS, 0)
