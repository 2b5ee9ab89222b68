"""What services tell of changes, on the real server: all of them, by whichever replica they were made, each once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from services.accounts.domain.acts import ActKind, Claim, KindImpact
from services.accounts.service.impact import Impact
from services.accounts.store import INDEXES as ACCOUNTS
from services.accounts.store.impact import COUNTERS, ImpactStore
from services.logistics.domain.capture import Batch, Captured, DropOff, ItemResult, ItemStatus, Mode
from services.logistics.domain.points import Machine, Material
from services.logistics.service.feed import Accepted, CursorTooOld, Feed
from services.logistics.store import INDEXES as LOGISTICS
from services.logistics.store.captures import CaptureStore
from services.logistics.store.feed import FeedStore
from services.rewards.ledger.commands import Allot, Issue
from services.rewards.ledger.ledger import INDEXES as LEDGER
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.log import BLOCKS
from services.rewards.ledger.model import Lot
from services.rewards.service.changes import Changed, Changes
from services.shared.ids import new_id
from services.shared.mongo import Database
from services.shared.tail import Tail

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHOP = new_id("partner")


@asynccontextmanager
async def jobs(*running: Callable[[], Any]) -> AsyncIterator[None]:
    """Beside the test, as a server has them."""
    tasks = [asyncio.create_task(job()) for job in running]
    yield
    for task in tasks:
        task.cancel()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(failure, asyncio.CancelledError), failure


@asynccontextmanager
async def feed(database: Database, *, placing: bool = True) -> AsyncIterator[Feed]:
    """One of several processes; one that does not place has been killed before it could."""
    tail = Tail(database["batches"])
    made = Feed(FeedStore(database), CaptureStore(database), tail)
    async with jobs(tail.run, *([made.run] if placing else [])):
        yield made


async def store(database: Database, into: Feed, member: str, *grams: int, partner: str = SHOP) -> None:
    """A batch of drop-offs, as capturing stores it."""
    machine = Machine(new_id("machine"), new_id("point"), partner, b"", False, NOW)
    batch = Batch(machine, new_id("batch"), Mode.PROCEED, (), b"")
    drop_offs = tuple(
        DropOff(new_id("dropoff"), member, machine.id, "", partner, Material.PET, each, "", NOW, NOW, new_id("hash"))
        for each in grams
    )
    captured = Captured(tuple(ItemResult(ItemStatus.ACCEPTED, one.id) for one in drop_offs), drop_offs)
    await database.transaction(lambda tx: CaptureStore(database).record(tx, batch, captured))
    into.stored(batch.key)


async def take(stream: AsyncIterator[Accepted], count: int) -> tuple[list[int], int]:
    """The grams of so many drop-offs, and the place of the last."""
    grams: list[int] = []
    place = 0
    async with asyncio.timeout(60):
        while len(grams) < count:
            accepted = await anext(stream)
            assert accepted.place == place + 1 or not place, "places have no gaps"
            place = accepted.place
            grams += [one.weight_grams for one in accepted.drop_offs]
    return grams, place


@pytest.fixture
async def logistics(database: Database) -> Database:
    await database.create_indexes(LOGISTICS)
    return database


async def test_drop_offs_of_all_replicas_have_one_order_and_each_listener_hears_it(logistics: Database):
    member = new_id("member")
    async with feed(logistics) as one, feed(logistics) as other:
        async with aclosing(one.watch(None)) as first, aclosing(other.watch(None)) as second:
            assert [(await anext(stream)).place for stream in (first, second)] == [0, 0]
            await asyncio.gather(*(store(logistics, (one, other)[n % 2], member, n) for n in range(20)))
            heard, last = await take(first, 20)
            assert (sorted(heard), last) == (list(range(20)), 20)
            assert await take(second, 20) == (heard, last)
        async with aclosing(other.watch(15)) as resumed:
            assert (await anext(resumed)).place == 15
            assert await take(resumed, 5) == (heard[15:], 20)


async def test_what_a_crash_left_without_a_place_gets_one_from_another_process(logistics: Database):
    async with feed(logistics, placing=False) as killed:
        await store(logistics, killed, new_id("member"), 1, 2)
    async with feed(logistics) as living, aclosing(living.watch(0)) as stream:
        await anext(stream)
        assert await take(stream, 2) == ([1, 2], 1)


async def test_what_a_crash_left_comes_before_all_that_is_stored_after_it(logistics: Database):
    member = new_id("member")
    async with feed(logistics, placing=False) as killed:
        await store(logistics, killed, member, 1, 2)
    async with feed(logistics) as living, aclosing(living.watch(0)) as stream:
        await anext(stream)
        await store(logistics, living, member, 3)
        assert await take(stream, 3) == ([1, 2, 3], 2)


async def test_what_was_missed_is_found_by_member_and_by_partner(logistics: Database):
    ada, bob, other = new_id("member"), new_id("member"), new_id("partner")
    async with feed(logistics) as living, aclosing(living.watch(0)) as stream:
        await anext(stream)
        for number in range(8):
            await store(logistics, living, (ada, bob)[number % 2], number, partner=(SHOP, other)[number // 4])
        await take(stream, 8)

        async def missed(after: int, **of: str) -> list[int]:
            page = await living.missed(after, **of)
            assert (page.until, page.last) == (8, 8)
            return [one.weight_grams for accepted in page.accepted for one in accepted.drop_offs]

        assert len(await missed(0)) == 8
        assert {n % 2 for n in await missed(0, member_id=ada)} == {0}
        assert sorted(await missed(0, partner_id=other)) == [4, 5, 6, 7]
        assert await missed(8) == []
        await logistics["batches"].insert_one({"_id": "far", "place": 200_000})
        living._last = 200_000
        with pytest.raises(CursorTooOld):
            await living.missed(3)


async def told(stream: AsyncIterator[Changed], member: str) -> Changed:
    async with asyncio.timeout(60):
        while member not in (changed := await anext(stream)).member_ids:
            continue
    return changed


@asynccontextmanager
async def ledger(database: Database) -> AsyncIterator[tuple[Ledger, Changes]]:
    """A replica."""
    ledger = Ledger(database, 2, lambda: 1_750_000_000_000)
    await ledger.open()
    tail = Tail(database[BLOCKS])
    changes = Changes(ledger, tail)
    async with jobs(tail.run, changes.run), asyncio.TaskGroup() as group:
        running = group.create_task(ledger.run())
        yield ledger, changes
        running.cancel()


async def test_a_wallet_that_changes_is_told_by_every_replica_and_can_be_read_so(database: Database):
    await database.create_indexes(LEDGER)
    async with ledger(database) as (one, _), ledger(database) as (other, changes):
        await one.post_one(Allot("allot", SHOP, 1_000))
        async with aclosing(changes.watch()) as stream:
            first = await anext(stream)
            assert first.any
            assert max(first.heads.values()) > 0, "the log's true end, whoever wrote it"
            for number in range(5):
                member = new_id("member")
                await one.post_one(Issue(f"issue-{number}", member, (Lot(9**14, SHOP, 10_000, 7),)))
                changed = await told(stream, member)
                assert changed.heads[other.partition(member)] >= one.heads()[one.partition(member)]
                (account,) = (await other.members([member])).values()
                assert sum(lot.points for lot in account.lots) == 7


def claims(count: int, kind: ActKind = ActKind.OWN_CUP) -> list[Claim]:
    return [Claim(new_id("claim"), new_id("key"), "", "", SHOP, kind, 1, 10, "factor", NOW, NOW) for _ in range(count)]


async def test_the_impact_counts_every_claim_once_and_is_told_by_every_replica(database: Database):
    await database.create_indexes(ACCOUNTS)
    before = claims(3, ActKind.METRO_TRIP)
    await database["claims"].insert_many(
        [{"_id": each.id, "key": each.key, "kind": each.kind, "co2e_mg": each.co2e_mg} for each in before]
    )
    one, other = ImpactStore(database), ImpactStore(database)
    await asyncio.gather(one.prepare(), other.prepare())
    tail = Tail(database[COUNTERS])
    impact = Impact(other, tail)
    async with jobs(tail.run, impact.run), aclosing(impact.watch()) as stream:
        assert await anext(stream) == [KindImpact(ActKind.METRO_TRIP, 3, 30)]
        await asyncio.gather(*(database.transaction(lambda tx: one.add(tx, claims(2))) for _ in range(10)))
        async with asyncio.timeout(60):
            while KindImpact(ActKind.OWN_CUP, 20, 200) not in (total := await anext(stream)):
                continue
    assert len(total) == 2
    await one.prepare()
    assert await one.total() == total, "what was there before is counted once"


async def test_without_change_streams_listeners_are_told_to_look(database: Database, monkeypatch: pytest.MonkeyPatch):
    rung = asyncio.Event()
    collection: Any = database["things"]

    class Refusing:
        name = "things"

        def watch(self, *_: Any, **__: Any) -> Any:
            raise OperationFailure("not here")

    async def heard() -> None:
        async with asyncio.timeout(60):
            await rung.wait()
        rung.clear()

    failing: Any = Refusing()
    tail = Tail(failing)
    async with jobs(tail.run):
        with tail.listening(lambda _: rung.set()):
            await heard()
            await heard()
            monkeypatch.setattr(tail, "_collection", collection)
            await heard()
            await collection.insert_one({"_id": "x"})
            await heard()
