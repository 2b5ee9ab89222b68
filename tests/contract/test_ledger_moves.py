"""Reversals, pending points and gifts in the ledger on a real database: once each, and whole after a crash."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import TypeVar

import pytest

from services.rewards.domain.moments import moment
from services.rewards.domain.settlement import lines, positions
from services.rewards.ledger.commands import Allot, Capture, Command, Give, Issue, Place, Sweep, Take, Void
from services.rewards.ledger.draft import Outcome, RequestIdReused
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.machine import DAY
from services.rewards.ledger.model import Lot
from services.rewards.ledger.postings import EntryKind
from services.rewards.ledger.reversal import ReversalOutOfRange
from services.rewards.service.wallets import Wallets
from services.shared.mongo import Database
from services.shared.pages import PageQuery
from tests.contract.test_ledger import FAR, SHOP, A, B, Time, balance, done, issue, new, running

T = TypeVar("T")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def ledger(database: Database, time: Time) -> AsyncIterator[Ledger]:
    async with running(database, time, partitions=3) as ledger:
        await done(ledger, Allot(new(), A, 10_000), Allot(new(), B, 10_000))
        yield ledger
        assert (await ledger.verify()).finding == ""


def elsewhere(ledger: Ledger, member: str) -> str:
    """A member in another partition."""
    return next(m for n in range(99) if ledger.partition(m := f"member_{n}") != ledger.partition(member))


async def spend(ledger: Ledger, member: str, points: int) -> str:
    """At the shop; the capture's id."""
    await done(
        ledger, Place(hold := new("hold"), member, points, FAR), Capture(id := new(), member, hold, points, SHOP)
    )
    return id


async def kinds(ledger: Ledger, member: str) -> list[tuple[EntryKind, int]]:
    """A member's entries, oldest first."""
    records = await ledger.entries(member, None, 50)
    return [(entry.kind, entry.points) for record in reversed(records) for entry in record.entries]


def gift(giver: str, to: str, points: int, most_points: int = 1_000, most_gifts: int = 10) -> Give:
    return Give(new("gift"), giver, to, points, most_points, most_gifts)


async def test_r7_a_capture_is_reversed_once_with_its_lots_as_they_were(ledger: Ledger, time: Time):
    soon = time.now + 1_000
    await done(ledger, issue("member_1", 50, A, soon), issue("member_1", 50, B, FAR))
    before = (await ledger.members(["member_1"]))["member_1"]
    capture = await spend(ledger, "member_1", 80)
    for points in (-1, 81):
        with pytest.raises(ReversalOutOfRange):
            await ledger.reverse(capture, "member_1", points)
    first = await ledger.reverse(capture, "member_1", 0)
    assert first is not None
    assert (await ledger.members(["member_1"]))["member_1"] == before
    assert await ledger.reverse(capture, "member_1", 80) == first
    with pytest.raises(RequestIdReused):
        await ledger.reverse(capture, "member_1", 10)
    assert await ledger.reverse(capture, "member_2", 0) is None
    assert await ledger.reverse("unknown", "member_1", 0) is None
    (shop,) = await ledger.partner_totals([SHOP])
    assert shop.accepted == 0


async def test_r7_lots_whose_time_has_passed_meanwhile_expire_at_once_and_are_seen_to(ledger: Ledger, time: Time):
    await done(ledger, issue("member_1", 50, A, time.now + 1_000), issue("member_1", 50, B, FAR))
    capture = await spend(ledger, "member_1", 80)
    time.now += 2_000
    await ledger.reverse(capture, "member_1", 0)
    assert await balance(ledger, "member_1") == 50
    assert await kinds(ledger, "member_1") == [
        (EntryKind.EARN, 50),
        (EntryKind.EARN, 50),
        (EntryKind.SPEND, -80),
        (EntryKind.REVERSE, 80),
        (EntryKind.EXPIRE, -50),
    ]
    issuer, _ = await ledger.partner_totals([A, B])
    assert (issuer.spent, issuer.expired) == (0, 50)


async def test_r7_a_spend_that_is_settled_is_paid_back_in_the_next_settlement(ledger: Ledger, time: Time):
    await done(ledger, issue("member_1", 50, A), issue("member_1", 50, B))
    capture = await spend(ledger, "member_1", 80)
    first = await ledger.cut(time.now)
    await ledger.reverse(capture, "member_1", 30)
    second = await ledger.cut(time.now)
    early = positions(lines([spend async for spend in ledger.spends({}, first.heads)]), {})
    late = positions(lines([spend async for spend in ledger.spends(first.heads, second.heads)]), {})
    assert {p.partner_id: p.net_micros for p in early} == {A: -500_000, B: -300_000, SHOP: 800_000}
    assert {p.partner_id: p.net_micros for p in late} == {B: 300_000, SHOP: -300_000}, "b's points expire last"
    both = lines([spend async for spend in ledger.spends({}, second.heads)])
    assert [(row.debtor_partner_id, row.creditor_partner_id, row.reverses) for row in both] == [
        (A, SHOP, False),
        (B, SHOP, False),
        (SHOP, B, True),
    ]


async def test_r9_points_are_pending_until_they_are_due(ledger: Ledger, time: Time):
    due = time.now + 5_000
    waits = Issue(new("claim"), "member_1", (Lot(FAR, A, 10_000, 70),), due)
    await done(ledger, waits, issue("member_1", 30))
    account = (await ledger.members(["member_1"]))["member_1"]
    assert (account.balance, account.pending_points) == (30, 70)
    assert (await ledger.post_one(Place(new(), "member_1", 31, FAR))).refusal, "pending points cannot be spent"
    (totals,) = await ledger.partner_totals([A])
    assert (totals.issued, totals.outstanding, totals.liability) == (100, 100, 1_000_000), "and are owed already"
    assert await ledger.due(due - 1, 10) == []
    assert await ledger.due(due, 10) == ["member_1"]
    time.now = due
    await done(ledger, Sweep(new(), "member_1"))
    account = (await ledger.members(["member_1"]))["member_1"]
    assert (account.balance, account.pending) == (100, ())
    (newest, *_) = await ledger.entries("member_1", None, 1)
    assert [(entry.kind, entry.reference) for entry in newest.entries] == [(EntryKind.EARN, waits.id)]


async def test_r9_a_cancel_while_points_are_pending_refills_the_block_and_leaves_no_debt(ledger: Ledger, time: Time):
    waits = Issue(new("claim"), "member_1", (Lot(FAR, A, 10_000, 70),), time.now + 5_000)
    await done(ledger, waits, issue("member_1", 30))
    await spend(ledger, "member_1", 30)
    first = await ledger.cancel(waits.id, "member_1")
    assert await ledger.cancel(waits.id, "member_1") == first
    account = (await ledger.members(["member_1"]))["member_1"]
    assert (account.balance, account.pending, account.debts) == (0, (), ())
    (totals,) = await ledger.partner_totals([A])
    assert (totals.left, totals.cancelled, totals.outstanding) == (10_000 - 30, 70, 0)
    time.now += 10_000
    await done(ledger, Sweep(new(), "member_1"))
    assert await balance(ledger, "member_1") == 0


async def test_r21_a_gift_keeps_issuer_value_and_expiry_over_partitions(ledger: Ledger):
    friend = elsewhere(ledger, "member_1")
    await done(ledger, issue("member_1", 50, A, FAR - 1), issue("member_1", 50, B))
    present = gift("member_1", friend, 70)
    assert (await ledger.give(present))[1]
    given = await ledger.give(present)
    assert given == await ledger.give(present), "sent again it is the same gift"
    assert (await ledger.members([friend]))[friend].lots == (Lot(FAR - 1, A, 10_000, 50), Lot(FAR, B, 10_000, 20))
    assert await balance(ledger, "member_1") == 30
    assert (await kinds(ledger, "member_1"))[-1] == (EntryKind.GIVE, -70)
    assert await kinds(ledger, friend) == [(EntryKind.TAKE, 70)]
    totals = await ledger.partner_totals([A, B])
    assert [(t.issued, t.outstanding, t.liability) for t in totals] == [(50, 50, 500_000)] * 2
    with pytest.raises(RequestIdReused):
        await ledger.give(present._replace(points=69))


async def test_r21_what_may_be_given_on_a_day_is_limited_and_the_refusal_says_what_is_left(ledger: Ledger, time: Time):
    friend = elsewhere(ledger, "member_1")
    await done(ledger, issue("member_1", 500))

    async def refusal(points: int, **limits: int) -> tuple[str, int, int] | None:
        outcome, arrived = await ledger.give(gift("member_1", friend, points, **limits))
        assert arrived == (outcome.refusal is None)
        return tuple(outcome.refusal) if outcome.refusal else None  # type: ignore[return-value]

    assert await refusal(60, most_points=100) is None
    assert await refusal(41, most_points=100) == ("GIFT_POINTS_LIMIT_REACHED", 40, 41)
    assert await refusal(40, most_points=100) is None
    assert await refusal(1, most_gifts=2) == ("GIFT_COUNT_LIMIT_REACHED", 0, 1)
    time.now += DAY
    assert await refusal(100, most_points=100) is None
    await done(ledger, Place(new(), "member_1", 295, FAR))
    assert await refusal(6) == ("INSUFFICIENT_POINTS", 5, 6), "what is held cannot be given"
    assert await balance(ledger, friend) == 200


async def test_r21_a_gift_that_a_crash_left_on_its_way_arrives_once(database: Database, ledger: Ledger, time: Time):
    friend = elsewhere(ledger, "member_1")
    await done(ledger, issue("member_1", 100))
    await ledger.engines[ledger.partition("member_1")].post([gift("member_1", friend, 40)])
    assert await in_transit(ledger) == 40
    (totals,) = await ledger.partner_totals([A])
    assert (totals.outstanding, totals.liability) == (100, 1_000_000), "what is on its way is still owed"
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(running(database, time, partitions=3)) for _ in range(2)]
        await asyncio.gather(*(each.complete_passages() for each in others))
        await others[0].complete_passages()
        assert await balance(others[0], friend) == 40
        assert await in_transit(others[0]) == 0
        assert all(not engine.accounts.transit.gifts for engine in others[0].engines)
    await asyncio.gather(*(engine.look() for engine in ledger.engines))


async def test_r21_a_gift_for_which_the_receiver_has_no_room_comes_back(ledger: Ledger):
    friend = elsewhere(ledger, "member_1")
    await done(ledger, issue("member_1", 100), Allot(new(), "partner_rich", 2**53 - 1))
    await done(
        ledger, issue(friend, 2**53 - 1, "partner_rich")._replace(lots=(Lot(FAR, "partner_rich", 0, 2**53 - 1),))
    )
    outcome, arrived = await ledger.give(present := gift("member_1", friend, 40))
    assert (outcome.refusal, arrived) == (None, False)
    assert await ledger.give(present) == (outcome, False)
    assert await balance(ledger, "member_1") == 100
    assert await kinds(ledger, "member_1") == [(EntryKind.EARN, 100), (EntryKind.GIVE, -40), (EntryKind.TAKE, 40)]


async def test_r12_verify_finds_a_gift_that_nobody_gave(database: Database, time: Time):
    async with running(database, time) as ledger:
        await done(ledger, Allot(new(), A, 100))
        forged = Take(new(), "member_1", "gift_forged", "member_2", (Lot(FAR, A, 10_000, 5),))
        await ledger.engines[ledger.partition("member_1")].post([forged])
        assert "passage gift_forged: was received and not sent so" in (await ledger.verify()).finding


async def in_transit(ledger: Ledger) -> int:
    """What is between partitions, by the log."""
    await asyncio.gather(*(engine.look() for engine in ledger.engines))
    return sum(engine.accounts.transit.balance for engine in ledger.engines)


async def test_r5_engines_that_race_with_all_commands_agree_on_each(database: Database, time: Time):
    random = Random(21)
    people = [f"member_{number}" for number in range(6)]
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(running(database, time, partitions=2)) for _ in range(3)]

        async def twice(do: Callable[[Ledger], Awaitable[T]]) -> T:
            """On two of the three at once: both are told the same."""
            one, other = await asyncio.gather(*(do(engine) for engine in random.sample(engines, 2)))
            assert one == other
            return one

        async def all_of(commands: Sequence[Command]) -> list[Outcome]:
            return await asyncio.gather(*(twice(lambda ledger, c=c: ledger.post_one(c)) for c in commands))

        def some(points: int, due: int) -> Issue:
            lot = Lot(time.now + random.choice([1_500, 10**9]), random.choice([A, B]), 10_000, points)
            return Issue(new("claim"), random.choice(people), (lot,), due)

        await all_of([Allot(new(), A, 10_000), Allot(new(), B, 10_000)])
        captures: list[Command] = []
        issues: list[Issue] = []
        for _ in range(2):
            fresh = [some(random.randint(5, 40), random.choice([0, time.now + 700])) for _ in range(10)]
            assert not any(outcome.refusal for outcome in await all_of(fresh))
            holds = [Place(new("hold"), random.choice(people), random.randint(1, 20), FAR) for _ in range(8)]
            held = [h for h, outcome in zip(holds, await all_of(holds), strict=True) if not outcome.refusal]
            ends: list[Command] = [Capture(new(), h.member, h.id, random.randint(1, h.points), SHOP) for h in held]
            ends += [Void(new(), h.member, h.id) for h in held[::3]]  # against a capture: one counts
            gifts = [gift(random.choice(people), random.choice(people), random.randint(1, 30)) for _ in range(6)]
            outcomes, *_ = await asyncio.gather(
                all_of(ends),
                *(
                    twice(lambda ledger, c=c: ledger.cancel(c.id, c.member))
                    for c in random.sample(issues, len(issues) // 4)
                ),
                *(twice(lambda ledger, g=g: ledger.give(g)) for g in gifts),
            )
            captures = [c for c, o in zip(ends, outcomes, strict=True) if isinstance(c, Capture) and not o.refusal]
            await asyncio.gather(*(twice(lambda ledger, c=c: ledger.reverse(c.id, c.member, 1)) for c in captures[:3]))
            issues += fresh
            time.now += 1_000
            await all_of([Sweep(new(), person) for person in people])
        assert captures
        for engine in engines:
            await asyncio.gather(*(each.look() for each in engine.engines))
            assert await in_transit(engine) == 0
        wallets = (await engines[0].members(people)).values()
        totals = await engines[1].partner_totals([A, B])
        assert sum(t.outstanding for t in totals) == sum(w.balance + w.pending_points for w in wallets)
        assert sum(t.liability for t in totals) == 10_000 * sum(t.outstanding for t in totals)
        for engine in engines:
            assert await engine.partner_totals([A, B]) == totals
        assert (await engines[2].verify()).finding == ""


async def test_r5_two_holds_captured_at_once_by_two_replicas_take_each_point_once(database: Database, time: Time):
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(running(database, time, partitions=1)) for _ in range(2)]
        await done(one, Allot(new(), A, 100), issue("member_1", 50, A, time.now + 9_000), issue("member_1", 50))
        await done(
            one, Place(first := new("hold"), "member_1", 60, FAR), Place(second := new("hold"), "member_1", 40, FAR)
        )
        outcomes = await asyncio.gather(
            one.post_one(Capture(new(), "member_1", first, 60, SHOP)),
            other.post_one(Capture(new(), "member_1", second, 40, SHOP)),
            other.post_one(Capture(new(), "member_1", first, 60, SHOP)),
        )
        refused = [outcome.refusal.reason for outcome in outcomes if outcome.refusal]
        assert refused == ["HOLD_NOT_OPEN"], "of two captures of one hold one counts"
        await asyncio.gather(*(engine.look() for ledger in (one, other) for engine in ledger.engines))
        assert await balance(one, "member_1") == await balance(other, "member_1") == 0
        spends = [entry for entry in await kinds(one, "member_1") if entry[0] is EntryKind.SPEND]
        assert sorted(spends) == [(EntryKind.SPEND, -60), (EntryKind.SPEND, -40)]


async def test_r2_a_reversal_and_a_gift_asked_again_a_year_later_have_their_old_outcome(database: Database, time: Time):
    async with running(database, time) as ledger:
        await done(ledger, Allot(new(), A, 1_000), issue("member_1", 100))
        capture = await spend(ledger, "member_1", 40)
        reversed_ = await ledger.reverse(capture, "member_1", 15)
        present = gift("member_1", "member_2", 20)
        given = await ledger.give(present)
    time.now += 366 * DAY
    async with running(database, time) as later:
        assert await later.reverse(capture, "member_1", 15) == reversed_
        assert await later.give(present) == given
        with pytest.raises(RequestIdReused):
            await later.reverse(capture, "member_1", 16)
        with pytest.raises(RequestIdReused):
            await later.give(present._replace(to="member_3"))
        assert (await balance(later, "member_1"), await balance(later, "member_2")) == (55, 20)
        assert (await later.verify()).finding == ""


async def test_r11_the_balance_as_of_any_date_counts_what_came_and_went_by_all_ways(ledger: Ledger, time: Time):
    moments: list[tuple[int, int]] = []

    async def note() -> None:
        moments.append((time.now, await balance(ledger, "member_1")))
        time.now += 1_000

    await done(ledger, issue("member_1", 50), issue("member_2", 50))
    await note()
    capture = await spend(ledger, "member_1", 30)
    await note()
    await ledger.reverse(capture, "member_1", 10)
    await note()
    await ledger.give(gift("member_1", "member_2", 5))
    await note()
    await ledger.give(gift("member_2", "member_1", 40))
    await done(ledger, Issue(new("claim"), "member_1", (Lot(FAR, A, 1, 7),), time.now + 500))
    await note()
    await done(ledger, Sweep(new(), "member_1"))
    await note()
    assert [points for _, points in moments] == [50, 20, 30, 25, 65, 72]
    for at, points in moments:
        assert await ledger.balance_at("member_1", at) == points


async def test_what_one_replica_has_acknowledged_is_read_at_the_other_at_once(database: Database, time: Time):
    ada = "member_01h455vb4pex5vsknk084sn02q"
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(running(database, time, partitions=1)) for _ in range(2)]
        await done(one, Allot(new(), A, 100))
        await done(other, issue(ada, 1))
        wallets = Wallets(other, lambda: moment(time.now))
        await wallets.wallets([ada])
        await other.look()  # by now it knows that it is not alone
        for points in range(2, 8):
            await done(one, issue(ada, 1))
            assert (await wallets.wallets([ada]))[ada].balance == points
            assert len((await wallets.entries([ada], PageQuery(20, "")))[ada].rows) == points
            (totals,) = await wallets.partner_totals([A])
            assert totals.issued == points
