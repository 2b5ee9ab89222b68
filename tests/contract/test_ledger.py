"""The ledger on a real database: blocks, races, restarts, and what `verify` finds."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from services.rewards.ledger import engine as engine_module
from services.rewards.ledger.commands import Allot, Capture, Command, Issue, Place, Send, Sweep, Void
from services.rewards.ledger.draft import Outcome, RequestIdReused
from services.rewards.ledger.engine import BlockTooLarge, LedgerBusy
from services.rewards.ledger.ledger import INDEXES, Ledger
from services.rewards.ledger.log import PartitionCountChanged
from services.rewards.ledger.model import Lot
from services.rewards.ledger.store import Shape
from services.shared.mongo import Database

A, B, SHOP = "partner_a", "partner_b", "partner_shop"
FAR = 4_000_000_000_000
Start = Callable[..., Awaitable[Ledger]]


class Time:
    """Milliseconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_750_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@asynccontextmanager
async def running(database: Database, time: Time, partitions: int = 2, **options: Any) -> AsyncIterator[Ledger]:
    """A ledger in use, as one process has it."""
    await database.create_indexes(INDEXES)
    ledger = Ledger(database, partitions, time, **options)
    await ledger.open()
    job = asyncio.create_task(ledger.run())
    yield ledger
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


@pytest.fixture
async def start(database: Database, time: Time) -> AsyncIterator[Start]:
    """Starts ledgers on one database, as replicas are."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Ledger:
            return await stack.enter_async_context(running(database, time, **options))

        yield start


@pytest.fixture
async def ledger(start: Start) -> Ledger:
    return await start()


ids = count()


def new(kind: str = "command") -> str:
    return f"{kind}_{next(ids)}"


def issue(member: str, points: int, issuer: str = A, expires: int = FAR) -> Issue:
    return Issue(new("claim"), member, (Lot(expires, issuer, 10_000, points),))


async def done(ledger: Ledger, *commands: Command) -> list[Outcome]:
    outcomes = await ledger.post(commands)
    assert [outcome.refusal for outcome in outcomes if outcome.refusal] == []
    return outcomes


async def balance(ledger: Ledger, member: str) -> int:
    return (await ledger.members([member]))[member].balance


async def test_what_is_acknowledged_can_be_read_at_once(ledger: Ledger):
    await done(ledger, Allot(new(), A, 1_000))
    claim = issue("member_1", 100)
    await done(ledger, claim)
    assert await balance(ledger, "member_1") == 100
    (record,) = await ledger.entries("member_1", None, 10)
    assert [(entry.points, entry.reference) for entry in record.entries] == [(100, claim.id)]


async def test_r2_the_same_id_gives_the_same_outcome_for_ever(start: Start, time: Time):
    first = await start()
    commands = [Allot(new(), A, 1_000), claim := issue("member_1", 100), Place(new(), "member_1", 500, FAR)]
    outcomes = [await first.post_one(command) for command in commands]
    assert outcomes[2].refusal, "a refusal is an outcome too"
    assert [await first.post_one(command) for command in commands] == outcomes
    time.now += 366 * 86_400_000
    later = await start()
    assert await later.post(commands) == outcomes, "a year later, in another process"
    with pytest.raises(RequestIdReused):
        await later.post_one(claim._replace(lots=(claim.lots[0]._replace(points=101),)))
    assert await balance(later, "member_1") == 100


async def test_r10_linked_commands_post_together_or_not_at_all(ledger: Ledger):
    await done(ledger, Allot(new(), A, 1_000), issue("member_1", 100))
    chain = [Place(new(), "member_1", points, FAR) for points in (40, 40, 40)]
    outcomes = await ledger.post_linked(chain)
    assert [o.refusal.reason for o in outcomes if o.refusal] == [
        "LINKED_COMMAND_FAILED",
        "LINKED_COMMAND_FAILED",
        "INSUFFICIENT_POINTS",
    ]
    assert (await ledger.members(["member_1"]))["member_1"].held == 0
    assert await ledger.post_linked(chain) == outcomes
    assert all(o.refusal is None for o in await ledger.post_linked([c._replace(id=new()) for c in chain[:2]]))
    assert (await ledger.verify()).finding == ""


async def test_r5_of_parallel_spends_none_goes_below_zero(ledger: Ledger):
    await done(ledger, Allot(new(), A, 1_000), issue("member_1", 1_000))
    outcomes = await asyncio.gather(*(ledger.post_one(Place(new(), "member_1", 30, FAR)) for _ in range(100)))
    assert sum(outcome.refusal is None for outcome in outcomes) == 33
    account = (await ledger.members(["member_1"]))["member_1"]
    assert (account.balance, account.held) == (1_000, 990)


@pytest.mark.parametrize("partitions", [1, 4])
async def test_p3_a_block_is_used_to_its_last_point_and_no_further(start: Start, partitions: int):
    ledger = await start(partitions=partitions)
    await done(ledger, Allot(new(), A, 1_000))
    claims = [issue(f"member_{number}", 30) for number in range(50)]
    outcomes = await asyncio.gather(*(ledger.post_one(claim) for claim in claims))
    assert sum(outcome.refusal is None for outcome in outcomes) == 33
    assert {o.refusal.reason for o in outcomes if o.refusal} == {"PREPAID_BLOCK_EXHAUSTED"}
    (totals,) = await ledger.partner_totals([A])
    assert (totals.issued, totals.left) == (990, 10)
    served = next(claim for claim, outcome in zip(claims, outcomes, strict=True) if not outcome.refusal)
    await ledger.cancel(served.id, served.member)
    await done(ledger, *(issue(f"member_{number}", 10) for number in range(4)))
    (totals,) = await ledger.partner_totals([A])
    assert (totals.cancelled, totals.issued, totals.left) == (30, 1_030, 0)
    assert totals.allotted + totals.cancelled == totals.issued + totals.left
    assert totals.issued == totals.cancelled + totals.spent + totals.expired + totals.outstanding
    assert (await ledger.verify()).finding == ""


async def test_a_cancel_is_done_once_and_only_of_what_was_issued(ledger: Ledger):
    await done(ledger, Allot(new(), A, 1_000), claim := issue("member_1", 100))
    first = await ledger.cancel(claim.id, "member_1")
    assert first is not None
    assert await ledger.cancel(claim.id, "member_1") == first
    assert await ledger.cancel("claim_unknown", "member_1") is None
    assert await ledger.cancel(claim.id, "member_2") is None
    assert await balance(ledger, "member_1") == 0


async def test_a_block_is_no_larger_than_a_document_may_be(start: Start):
    ledger = await start(partitions=1)
    (engine,) = ledger.engines
    engine.largest_payload = 2_000  # a dozen commands
    await done(ledger, Allot(new(), A, 1_000))
    issues = [issue(f"member_{n}", n) for n in range(1, 41)]
    many, *single = await asyncio.gather(ledger.post(issues[:20]), *(ledger.post_one(each) for each in issues[20:]))
    assert [outcome.command for outcome in [*many, *single]] == issues
    assert not any(outcome.refusal for outcome in [*many, *single])
    blocks = [block for seq in range(1, engine.head + 1) if (block := await ledger.log.block(0, seq))]
    assert max(len(block.payload) for block in blocks) <= 2_000
    with pytest.raises(BlockTooLarge):
        await ledger.post_linked([issue("member_1", 1) for _ in range(20)])
    assert (await ledger.verify()).finding == ""


async def test_engines_that_race_lose_nothing_and_do_nothing_twice(start: Start):
    engines = [await start(partitions=1) for _ in range(3)]
    await done(engines[0], Allot(new(), A, 100_000))
    random = Random(5)
    claims = [issue(f"member_{random.randrange(20)}", random.randint(1, 50)) for _ in range(150)]
    # Every command goes to two of the three, at about the same time.
    sent = [(engine, claim) for claim in claims for engine in random.sample(engines, 2)]
    outcomes = await asyncio.gather(*(engine.post_one(claim) for engine, claim in sent))
    by_id: dict[str, set[tuple[int, int]]] = {}
    for (_, claim), outcome in zip(sent, outcomes, strict=True):
        assert outcome.refusal is None
        by_id.setdefault(claim.id, set()).add((outcome.seq, outcome.place))
    assert all(len(places) == 1 for places in by_id.values()), "both were told the same place in the log"
    total = sum(claim.lots[0].points for claim in claims)
    for engine in engines:
        await engine.post_one(Sweep(new(), "member_0"))  # sees the others' last blocks
        (totals,) = await engine.partner_totals([A])
        assert totals.issued == totals.outstanding == total
    assert (await engines[0].verify()).finding == ""


async def test_replicas_race_for_the_last_points(start: Start):
    one, two = [await start(partitions=3) for _ in range(2)]
    await done(one, Allot(new(), A, 500))
    claims = [issue(f"member_{number}", 10) for number in range(70)]
    outcomes = await asyncio.gather(*((one, two)[n % 2].post_one(claim) for n, claim in enumerate(claims)))
    issued = 10 * sum(outcome.refusal is None for outcome in outcomes)
    assert issued <= 500, "never past the block"
    while (await one.post_one(issue("member_1", 10))).refusal is None:
        issued += 10
    await one.complete_passages()
    (totals,) = await one.partner_totals([A])
    assert (totals.issued, totals.left) == (issued, 500 - issued)
    assert (await two.verify()).finding == ""


class Interrupted(Exception):
    pass


async def test_a_restart_goes_on_behind_what_the_read_models_lack(database: Database, time: Time):
    async with running(database, time) as first:
        await done(first, Allot(new(), A, 10_000), issue("member_1", 100))
        await first.project()
        for engine in first.engines:
            engine.projector._views = Broken()  # type: ignore[assignment]
        await done(first, issue("member_1", 11), issue("member_2", 22))
        held = await first.post_one(hold := Place(new(), "member_1", 50, FAR))
        assert await stored_balance(first, "member_1") == 100
        assert await stored_balance(first, "member_2") is None
    async with running(database, time) as second:
        assert await balance(second, "member_1") == 111
        assert await balance(second, "member_2") == 22
        assert (await second.post_one(hold)) == held
        assert len(await second.entries("member_1", None, 10)) == 2
        report = await second.verify()
        assert report.finding == ""


class Broken:
    """Read models that cannot be written."""

    async def note_due(self, *_: object) -> None:
        raise Interrupted


async def stored_balance(ledger: Ledger, member: str) -> int | None:
    """As it is in the read models."""
    partition, number = ledger.partition(member), ledger.views.shape.bucket_of(member)
    buckets = await ledger.views.buckets(partition, [number])
    stored = buckets[number].find(member) if number in buckets else None
    return stored.account.balance if stored else None


async def test_a_projection_that_was_cut_off_in_the_middle_is_completed(database: Database, time: Time):
    async with running(database, time, partitions=1) as first:
        await done(first, Allot(new(), A, 10_000), issue("member_1", 100), issue("member_2", 100))
        await first.project()
    accounts, checkpoints = database["ledger_accounts"], database["ledger_checkpoints"]
    bucket = await accounts.find_one({"_id": f"0000/00128/{Shape(1, 128).bucket_of('member_2'):05d}"})
    checkpoint = await checkpoints.find_one({"_id": "0000/00128"})
    async with running(database, time, partitions=1) as first:
        await done(first, issue("member_1", 5), issue("member_2", 6))
        await first.project()
        # As if the process had ended between one write and the next.
        assert bucket
        assert checkpoint
        await accounts.replace_one({"_id": bucket["_id"]}, bucket)
        await checkpoints.replace_one({"_id": checkpoint["_id"]}, checkpoint)
    async with running(database, time, partitions=1) as second:
        assert (await second.members(["member_1", "member_2"]))["member_2"].balance == 106
        assert await balance(second, "member_1") == 105
        assert (await second.verify()).finding == ""
        await second.project()
        assert await stored_balance(second, "member_1") == 105
        assert (await second.verify()).finding == ""


async def test_lost_read_models_are_made_again_from_the_log(database: Database, start: Start, time: Time):
    async with running(database, time) as first:
        await busy(first)
        members = [f"member_{number}" for number in range(3)]
        accounts, totals = await first.members(members), await first.partner_totals()
    for name in ("ledger_accounts", "ledger_checkpoints", "ledger_due"):
        await database[name].drop()
    second = await start()
    assert await second.members(members) == accounts
    assert await second.partner_totals() == totals
    await second.project()
    assert (await second.verify()).finding == ""


async def test_accounts_are_taken_over_into_more_buckets(start: Start, time: Time):
    first = await start(buckets=2)
    await busy(first)
    members = [f"member_{number}" for number in range(40)]
    await done(first, *(issue(member, 5) for member in members))
    await first.project()
    more = await start(buckets=16)
    assert [engine.projector.done for engine in more.engines] == [engine.head for engine in first.engines]
    assert await more.members(members) == await first.members(members)
    await done(first, issue("member_1", 1))  # a replica that has not been changed yet
    await done(more, issue("member_1", 2), issue("member_2", 3))
    await first.look()
    assert await more.members(members) == await first.members(members)
    for each in (first, more):
        await each.project()
        assert (await each.verify()).finding == ""
    again = await start(buckets=64)
    assert await again.members(members) == await more.members(members)


async def test_a_log_of_the_first_version_is_carried_over(database: Database, start: Start, time: Time):
    """As it wrote it: payloads as JSON arrays, neither ids nor links, debts without a value."""
    written = json.loads((Path(__file__).parent / "first_layout.json").read_text())
    for row in written["blocks"]:
        content = {field: b64decode(row[field]) for field in ("previous", "payload", "hash")}
        await database["ledger_blocks"].insert_one({**row, **content})
    time.now = max(row["at"] for row in written["blocks"])
    one, two = await asyncio.gather(start(), start())
    for ledger in (one, two):
        accounts = await ledger.members(list(written["balances"]))
        assert {id: account.balance for id, account in accounts.items()} == written["balances"]
        assert {id: account.shortfall for id, account in accounts.items()} == written["shortfalls"]
        assert {totals.partner: list(totals[1:]) for totals in await ledger.partner_totals()} == written["partners"]
        assert (await ledger.verify()).finding == ""
    for member, points in written["balances"].items():
        records = await one.entries(member, None, 100)
        assert sum(entry.points for record in records for entry in record.entries) == points
    again = Issue("claim_6", "member_0", (Lot(FAR, B, 10_000, 100),))
    assert (await one.post_one(again)).seq == 11, "known for ever"
    await done(one, issue("member_0", 1))
    await one.project()
    assert (await one.verify()).finding == ""


async def test_a_passage_that_a_crash_left_half_way_is_completed(start: Start):
    ledger = await start(partitions=2)
    home = ledger.partition(A)
    await done(ledger, Allot(new(), A, 100))
    await ledger.engines[home].post([Send("passage_1", A, 60, 1 - home)])
    (totals,) = await ledger.partner_totals([A])
    assert totals.left == 100, "points in transit are still the partner's"
    later = await start(partitions=2)
    await later.complete_passages()
    await later.complete_passages()
    assert sorted(engine.accounts.partners[A].left for engine in later.engines) == [40, 60]
    assert (await later.verify()).finding == ""


async def test_another_number_of_partitions_is_refused(start: Start):
    await start(partitions=2)
    with pytest.raises(PartitionCountChanged, match="LEDGER_PARTITIONS=2"):
        await start(partitions=3)


async def test_a_clock_that_goes_back_does_not_take_the_ledger_back(ledger: Ledger, time: Time):
    await done(ledger, Allot(new(), A, 100))
    first = await ledger.post_one(issue("member_1", 10))
    time.now -= 60_000
    second = await ledger.post_one(issue("member_1", 10))
    assert second.at >= first.at


async def test_r6_what_is_due_expires_when_swept(ledger: Ledger, time: Time):
    await done(ledger, Allot(new(), A, 100), issue("member_1", 10, expires=time.now + 1_000), issue("member_2", 10))
    await done(ledger, Place(hold := new(), "member_2", 5, time.now + 500))
    assert await ledger.due(time.now, 10) == []
    time.now += 1_000
    assert await ledger.due(time.now, 10) == ["member_2", "member_1"], "longest overdue first"
    await done(ledger, Sweep(new(), "member_1"), Sweep(new(), "member_2"))
    assert await ledger.due(time.now, 10) == []
    assert await balance(ledger, "member_1") == 0
    assert (await ledger.post_one(Void(new(), "member_2", hold))).refusal


async def test_r6_what_is_due_is_found_after_a_restart_and_its_list_goes_with_its_time(
    database: Database, start: Start, time: Time
):
    async with running(database, time) as first:
        await done(first, Allot(new(), A, 100))
        await done(first, *(issue(f"member_{n}", 10, expires=time.now + 1_000 * (9 - n)) for n in range(3)))
        await done(first, Place(new(), "member_0", 5, time.now + 500))
        await first.project()
        await done(first, issue("member_0", 1))
        await first.project()
    ledger = await start()
    assert await ledger.due(time.now, 10) == []
    time.now += 8_000
    assert await ledger.due(time.now, 10) == ["member_0", "member_2", "member_1"]
    assert await ledger.due(time.now, 2) == ["member_0", "member_2"]
    await done(ledger, *(Sweep(new(), f"member_{n}") for n in range(3)))
    assert await ledger.due(time.now, 10) == []
    lists = database["ledger_due"].count_documents
    assert await lists({}) > 0, "it is still the minute"
    time.now += 60_000
    assert await ledger.due(time.now, 10) == ["member_0"]
    await done(ledger, Sweep(new(), "member_0"))
    assert await ledger.due(time.now, 10) == []
    time.now += 60_000
    assert await ledger.due(time.now, 10) == []
    assert await lists({"minute": {"$lt": time.now // 60_000}}) == 0
    await ledger.project()
    assert (await ledger.verify()).finding == ""


async def test_callers_are_sent_back_before_too_much_waits_for_the_read_models(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_module, "LARGEST_LAG", 30)
    monkeypatch.setattr(engine_module, "_LARGEST_QUEUE", 50)
    await done(ledger, Allot(new(), A, 100_000), issue("member_1", 1))
    engine = ledger.engines[ledger.partition("member_1")]
    views = engine.projector._views
    engine.projector._views = Broken()  # type: ignore[assignment]
    written = 0
    while engine.projector.lag <= 30:
        written += len(await done(ledger, *(issue("member_1", 1) for _ in range(10))))
    lag = engine.projector.lag
    waiting: list[asyncio.Task[Outcome]] = []
    while not any(task.done() for task in waiting):
        waiting += [asyncio.create_task(ledger.post_one(issue("member_1", 1))) for _ in range(10)]
        await asyncio.wait(waiting, timeout=0.1)
    assert engine.projector.lag == lag, "some were written, now it waits for the read models"
    assert sum(not task.done() for task in waiting) >= 50, "and more wait for a block"
    engine.projector._views = views
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    answered = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    refused = [outcome for outcome in outcomes if outcome not in answered]
    assert refused
    assert all(isinstance(outcome, LedgerBusy) for outcome in refused)
    assert await balance(ledger, "member_1") == 1 + written + len(answered)


async def test_r11_the_balance_as_of_any_date_is_the_replay_of_the_log(ledger: Ledger, time: Time):
    await done(ledger, Allot(new(), A, 10_000))
    random = Random(11)
    moments: list[tuple[int, int]] = []
    for _ in range(12):
        time.now += 1_000
        await done(ledger, issue("member_1", random.randint(10, 50), expires=time.now + random.choice([2_500, 90_000])))
        outcome = await ledger.post_one(Place(hold := new(), "member_1", random.randint(1, 40), FAR))
        if not outcome.refusal:
            await ledger.post_one(Capture(new(), "member_1", hold, 1, SHOP))
        moments.append((time.now, await balance(ledger, "member_1")))
    assert len({points for _, points in moments}) > 6
    for at, points in moments:
        assert await ledger.balance_at("member_1", at) == points
        assert await ledger.balance_at("member_1", at + 999) == points
    assert await ledger.balance_at("member_1", 253_402_300_799_999) == moments[-1][1], "in the year 9999"
    assert await ledger.balance_at("member_1", moments[0][0] - 1) == 0


async def test_memory_is_bounded_and_nothing_is_lost_by_it(start: Start):
    ledger = await start(partitions=1, cached_members=10, cached_bytes=1_000)
    await done(ledger, Allot(new(), A, 10_000))
    for _ in range(3):
        await done(ledger, *(issue(f"member_{number}", 1) for number in range(60)))
        await ledger.project()
        await done(ledger, issue("member_0", 1))
    accounts_ = ledger.engines[0].accounts
    assert len(accounts_._members) <= 10
    assert accounts_._bucket_bytes == sum(len(bucket.body) for bucket in accounts_._buckets.values()) <= 1_000
    accounts = await ledger.members([f"member_{number}" for number in range(60)])
    assert sorted(account.balance for account in accounts.values()) == [3] * 59 + [6]


async def test_spends_between_two_cuts_are_the_same_whenever_asked(ledger: Ledger, time: Time):
    await done(ledger, Allot(new(), A, 1_000), *(issue(f"member_{n}", 50) for n in range(6)))

    async def spend(points: int) -> None:
        for number in range(6):
            await done(ledger, Place(hold := new(), f"member_{number}", points, FAR))
            await done(ledger, Capture(new(), f"member_{number}", hold, points, SHOP))

    await spend(10)
    first = await ledger.cut(time.now)
    await spend(7)
    second = await ledger.cut(time.now)
    early = [spend async for spend in ledger.spends({}, first.heads)]
    late = [spend async for spend in ledger.spends(first.heads, second.heads)]
    assert [sum(lot.points for lot in spend.entry.lots) for spend in early + late] == [10] * 6 + [7] * 6
    assert {spend.entry.partner for spend in early} == {SHOP}
    assert max(spend.at for spend in early) <= first.at < min(spend.at for spend in late)
    assert max(spend.at for spend in late) <= second.at
    await spend(3)
    assert [spend async for spend in ledger.spends(first.heads, second.heads)] == late


async def busy(ledger: Ledger) -> None:
    """Some of everything, in several blocks."""
    await done(ledger, Allot(new(), A, 1_000), Allot(new(), B, 1_000))
    claims = [issue(f"member_{n}", 50 + n, issuer) for n in range(3) for issuer in (A, B)]
    await done(ledger, *claims)
    for number in range(3):
        await done(ledger, Place(hold := new(), f"member_{number}", 60, FAR))
        await done(ledger, Capture(new(), f"member_{number}", hold, 55, SHOP))
    await ledger.cancel(claims[0].id, claims[0].member)
    await done(ledger, issue("member_0", 100, B))
    await ledger.project()


async def test_r12_verify_names_each_byte_that_was_changed_in_a_block(database: Database, start: Start):
    ledger = await start(partitions=2)
    await busy(ledger)
    assert (await ledger.verify()).finding == ""
    blocks = database["ledger_blocks"]
    rows = [row async for row in blocks.find({})]

    random = Random(12)
    for _ in range(60):
        row = random.choice(rows)
        field = random.choice(["payload", "payload", "payload", "hash", "previous", "at"])
        if field == "at":
            changed: Any = row["at"] ^ 1 << random.randrange(40)
        else:
            content = bytearray(row[field])
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
            changed = bytes(content)
        await blocks.replace_one({"_id": row["_id"]}, {**row, field: changed})
        report = await ledger.verify()
        partition, _, seq = row["_id"].partition("/")
        assert f"partition {int(partition)}, block {int(seq)}," in report.finding
        assert not report.clean
        if field != "payload":
            assert f"field {field}" in report.finding or field == "at"
        await blocks.replace_one({"_id": row["_id"]}, row)
    assert (await ledger.verify()).clean


async def test_r12_verify_names_what_was_changed_in_the_read_models(database: Database, start: Start):
    ledger = await start(partitions=1)
    await busy(ledger)

    async def finding_after(collection: str, id: Any, change: dict[str, Any]) -> str:
        rows = database[collection]
        row = await rows.find_one({"_id": id})
        assert row is not None
        await rows.replace_one({"_id": id}, {**row, **change})
        report = await ledger.verify()
        await rows.replace_one({"_id": id}, row)
        return report.finding

    place = f"0000/00128/{Shape(1, 128).bucket_of('member_1'):05d}"
    bucket = await database["ledger_accounts"].find_one({"_id": place})
    assert bucket is not None
    body = bucket["state"]["body"].replace(b",10000,", b",10001,", 1)
    assert "account member_1, field lots.0.value" in await finding_after(
        "ledger_accounts", place, {"state": {**bucket["state"], "body": body}}
    )
    checkpoint = await database["ledger_checkpoints"].find_one({"_id": "0000/00128"})
    assert checkpoint is not None
    body = checkpoint["state"]["body"].replace(b"[1000,", b"[1001,", 1)
    changed = {"state": {**checkpoint["state"], "body": body}}
    assert "account partner_a, field allotted" in await finding_after("ledger_checkpoints", checkpoint["_id"], changed)
    assert (await ledger.verify()).clean


async def test_r12_verify_misses_a_block_that_is_gone(database: Database, start: Start):
    ledger = await start(partitions=1)
    await busy(ledger)
    head = ledger.engines[0].head
    await database["ledger_blocks"].delete_one({"_id": f"0000/{head:012d}"})
    assert f"partition 0, block {head}, the block is missing" in (await ledger.verify()).finding


async def test_verify_may_run_while_the_ledger_is_in_use(ledger: Ledger):
    await done(ledger, Allot(new(), A, 100_000))
    stop = asyncio.Event()

    async def use(member: str) -> int:
        posted = 0
        while not stop.is_set():
            await done(ledger, issue(member, 1))
            posted += 1
        return posted

    users = [asyncio.create_task(use(f"member_{number}")) for number in range(8)]
    reports = [await ledger.verify() for _ in range(3)]
    stop.set()
    posted = await asyncio.gather(*users)
    assert [report.finding for report in reports] == ["", "", ""]
    assert min(posted) > 0
