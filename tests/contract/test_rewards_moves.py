"""Reversals, return windows and gifts over gRPC: a real rewards process on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alliance.rewards.v1 import rewards_pb2 as pb
from services.shared.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.contract.rewards_world import CENT, LATER, Price, World, rewards_world
from tests.support.errors import refused
from tests.support.moments import in_time
from tests.support.service import OPERATOR, member, partner, request_id

SETTINGS = {
    "ALLIANCE_GIFT_POINTS_PER_DAY": "100",
    "ALLIANCE_GIFT_COUNT_PER_DAY": "3",
    "ALLIANCE_SWEEP_PERIOD_SECONDS": "0.1",
}


@pytest.fixture(scope="module")
async def world(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[World]:
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-moves.log", **SETTINGS) as world:
        await world.settle()
        yield world
        assert await world.verify() == ""


async def seen(world: World, member_id: str) -> list[tuple[str, int]]:
    """Entries, oldest first."""
    rows = (await world.entries(member_id)).entries
    return [(pb.EntryKind.Name(row.kind).removeprefix("ENTRY_KIND_"), row.points) for row in reversed(rows)]


async def test_r7_a_spend_is_taken_back_once_and_its_lots_are_as_they_were(world: World):
    one, other, shop = [await world.new_partner() for _ in range(3)]
    person = await world.new_member(60, one)
    await world.earn(person, other, 60)
    before = await world.wallet(person)
    spent = await world.spend(person, shop, 100)
    first = await world.settle()
    for points in (-1, 101):
        error = await refused(InvalidArgument, world.reverse(shop, spent.id, points))
        assert (error.reason, error.metadata["captured"]) == ("REVERSAL_OUT_OF_RANGE", "100")
    request = pb.ReverseRedemptionRequest(request_id=request_id(), redemption_id=spent.id)
    answer = await world.call("ReverseRedemption", request, partner(shop))
    assert await world.call("ReverseRedemption", request, partner(shop)) == answer
    done = answer.redemption
    assert (done.status, done.points, done.reversed_points) == (pb.REDEMPTION_STATUS_REVERSED, 100, 100)
    assert list(done.reversed_lots) == list(done.lots) == list(spent.lots)
    assert await world.wallet(person) == before
    assert (await refused(FailedPrecondition, world.reverse(shop, spent.id))).reason == "REDEMPTION_ALREADY_REVERSED"
    assert await seen(world, person) == [("EARN", 60), ("EARN", 60), ("SPEND", -100), ("REVERSE", 100)]
    assert (await world.points(shop)).accepted == 0
    second = await world.settle()
    nets = [{p.partner_id: p.net.micros for p in s.positions if p.net.micros} for s in (first, second)]
    assert nets[0] == {id: -micros for id, micros in nets[1].items()}, "what was paid is paid back"
    assert sum(nets[0].values()) == 0
    assert nets[0][shop] == 100 * CENT
    lines = pb.BatchListSettlementLinesRequest(settlement_ids=[second.id])
    (page,) = (await world.call("BatchListSettlementLines", lines)).settlements
    assert {(row.redemption_id, row.debtor_partner_id, row.reverses) for row in page.lines} == {(spent.id, shop, True)}


async def test_r7_a_part_comes_back_and_the_reward_is_in_stock_again_if_the_partner_says_so(world: World):
    shop = await world.new_partner()
    person = await world.new_member(100)
    reward = await world.reward(shop, 40, stock=5)
    for restock, left in ((False, 4), (True, 4)):
        held = await world.redeem(person, reward.id)
        captured = await world.capture(shop, held.voucher_code, points=30)
        done = await world.reverse(shop, captured.id, 10, restock=restock)
        assert (done.points, done.reversed_points) == (30, 10)
        found = (await world.call("BatchGetRewards", pb.BatchGetRewardsRequest(ids=[reward.id]))).rewards[0]
        assert found.stock == left
    assert (await world.wallet(person)).balance == 60


async def test_r7_of_many_reversals_at_once_one_counts(world: World):
    shop = await world.new_partner()
    person = await world.new_member(100)
    spent = await world.spend(person, shop, 60)
    done = await asyncio.gather(*(world.reverse(shop, spent.id, 10 + n) for n in range(6)), return_exceptions=True)
    (won,) = [answer for answer in done if isinstance(answer, pb.Redemption)]
    losers = {error.reason for error in done if isinstance(error, FailedPrecondition)}
    assert losers == {"REDEMPTION_ALREADY_REVERSED"}
    assert (await world.wallet(person)).balance == 40 + won.reversed_points


async def test_r7_only_the_partner_takes_back_and_only_what_was_spent(world: World):
    shop, other = await world.new_partner(), await world.new_partner()
    person = await world.new_member(100)
    held = await world.redeem(person, (await world.reward(shop, 40)).id)
    assert (await refused(FailedPrecondition, world.reverse(shop, held.id))).reason == "REDEMPTION_NOT_CAPTURED"
    await world.capture(shop, held.voucher_code)
    assert (await refused(NotFound, world.reverse(other, held.id))).reason == "REDEMPTION_NOT_FOUND"
    request = pb.ReverseRedemptionRequest(request_id=request_id(), redemption_id=held.id)
    for caller in (member(person), member(person, shop), OPERATOR, None):
        await refused(PermissionDenied, world.call("ReverseRedemption", request, caller))


async def test_r2_a_capture_is_answered_as_it_was_after_its_reversal(world: World):
    shop = await world.new_partner()
    person = await world.new_member(100)
    held = await world.redeem(person, (await world.reward(shop, 40)).id)
    request = pb.CaptureRedemptionRequest(request_id=request_id(), voucher_code=held.voucher_code)
    captured = await world.call("CaptureRedemption", request, partner(shop))
    await world.reverse(shop, held.id)
    assert await world.call("CaptureRedemption", request, partner(shop)) == captured


async def test_r9_points_are_pending_until_due_then_there(world: World):
    reward = await world.reward(await world.new_partner(), 100)

    async def pending_until(due: datetime) -> tuple[str, datetime]:
        brand = await world.new_partner(points=1_000)
        person = await world.new_member(50, brand)
        earning = await world.earn(person, brand, 70, price=Price([(70, LATER)], available_at=due))
        assert (earning.status, earning.points) == (pb.EARNING_STATUS_ISSUED, 70)
        assert earning.available_at == timestamp(due)
        wallet = await world.wallet(person)
        assert (wallet.balance, wallet.available, wallet.pending) == (50, 50, 70)
        (pending,) = wallet.pending_earnings
        assert (pending.claim_id, pending.points, pending.available_at) == (earning.claim_id, 70, timestamp(due))
        assert (await refused(FailedPrecondition, world.redeem(person, reward.id))).reason == "INSUFFICIENT_POINTS"
        points = await world.points(brand)
        assert (points.outstanding, points.liability.micros, points.allotment_left) == (120, 120 * CENT, 880)
        return person, due

    person, due = await in_time(pending_until)
    async with asyncio.timeout(60):
        while (wallet := await world.wallet(person)).available != 120:
            await asyncio.sleep(0.1)
    assert datetime.now(UTC) >= due
    assert (wallet.pending, list(wallet.pending_earnings)) == (0, [])
    async with asyncio.timeout(60):
        while (await seen(world, person))[-1] != ("EARN", 70):  # swept, though nobody came by
            await asyncio.sleep(0.1)
    assert (await world.redeem(person, reward.id)).status == pb.REDEMPTION_STATUS_HELD


async def test_r9_what_is_pending_can_be_taken_back_whole_and_leaves_no_shortfall(world: World):
    brand, shop = await world.new_partner(points=1_000), await world.new_partner()
    person = await world.new_member(50, brand)
    price = Price([(70, LATER)], available_at=datetime.now(UTC) + timedelta(days=14))
    earning = await world.earn(person, brand, 70, price=price)
    await world.spend(person, shop, 50)
    cancelled = await world.cancel(earning.claim_id, partner(brand))
    assert (cancelled.returned_points, cancelled.shortfall_points) == (70, 0)
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.pending, wallet.shortfall) == (0, 0, 0)
    points = await world.points(brand)
    assert (points.allotment_left, points.outstanding, points.cancelled) == (950, 0, 70)
    (earned,) = (
        await world.call("BatchGetEarnings", pb.BatchGetEarningsRequest(claim_ids=[earning.claim_id]))
    ).earnings
    assert earned.status == pb.EARNING_STATUS_CANCELLED


async def test_r9_points_that_come_after_the_window_are_there_at_once(world: World):
    brand = await world.new_partner()
    person = new_id("member")
    price = Price([(70, LATER)], available_at=datetime.now(UTC) - timedelta(days=1))
    earning = await world.earn(person, brand, 70, price=price)
    assert not earning.HasField("available_at")
    assert (await world.wallet(person)).available == 70


async def test_r21_a_gift_keeps_issuer_value_and_expiry_and_is_seen_on_both_sides(world: World):
    brand = await world.new_partner(unit_value=7_001)
    giver, friend = await world.new_member(80, brand), new_id("member")
    lots = list((await world.wallet(giver)).lots)
    code = await world.gift_code(friend)
    request = pb.GiftPointsRequest(request_id=request_id(), code=code.lower().replace("-", " "), points=30)
    given = (await world.call("GiftPoints", request, member(giver))).gift
    assert (await world.call("GiftPoints", request, member(giver))).gift == given
    (lot,) = (await world.wallet(friend)).lots
    assert (lot.points, lot.issuer_partner_id, lot.unit_value) == (30, brand, lots[0].unit_value)
    assert lot.expires_at == lots[0].expires_at
    lot.id = ""  # which names the wallet: a gift names nobody
    assert list(given.lots) == [lot]
    assert await seen(world, giver) == [("EARN", 80), ("GIVE", -30)]
    assert await seen(world, friend) == [("TAKE", 30)]
    for person in (giver, friend):
        assert (await world.entries(person)).entries[0].gift_id == given.id
    assert list((await world.call("BatchGetGifts", pb.BatchGetGiftsRequest(ids=[given.id, "x"]))).gifts) == [given]
    points = await world.points(brand)
    assert (points.issued, points.outstanding, points.liability.micros) == (80, 80, 80 * 7_001)
    request.points = 31
    error = await refused(AlreadyExists, world.call("GiftPoints", request, member(giver)))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_r21_a_day_has_limits_and_the_refusal_says_what_is_left(world: World):
    giver = await world.new_member(500)
    code = await world.gift_code(new_id("member"))
    await world.give(giver, code, 60)
    error = await refused(ResourceExhausted, world.give(giver, code, 41))
    assert (error.reason, error.metadata["left"], error.metadata["limit"]) == ("GIFT_POINTS_LIMIT_REACHED", "40", "100")
    assert "40 more points today" in str(error)
    await world.give(giver, code, 10)
    await world.give(giver, code, 10)
    error = await refused(ResourceExhausted, world.give(giver, code, 1))
    assert (error.reason, error.metadata["left"]) == ("GIFT_COUNT_LIMIT_REACHED", "0")
    generous = await world.new_member(500)
    done = await asyncio.gather(*(world.give(generous, code, 40) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, pb.Gift) for answer in done) == 2, "at once, too"
    assert (await world.wallet(generous)).balance == 420


async def test_r21_what_cannot_be_given(world: World):
    shop = await world.new_partner()
    giver, friend = await world.new_member(50), new_id("member")
    code = await world.gift_code(friend)
    await world.redeem(giver, (await world.reward(shop, 30)).id)
    error = await refused(FailedPrecondition, world.give(giver, code, 21))
    assert (error.reason, error.metadata["available"]) == ("INSUFFICIENT_POINTS", "20"), "held points are not free"
    own = await world.gift_code(giver)
    assert (await refused(InvalidArgument, world.give(giver, own, 5))).reason == "GIFT_TO_SELF"
    for wrong in ("", "AAAA-AAAA-AAAA", "x" * 5_000, '{"$gt": ""}'):
        assert (await refused(NotFound, world.give(giver, wrong, 5))).reason == "GIFT_CODE_NOT_FOUND"
    renewed = await world.gift_code(friend)
    assert (await refused(NotFound, world.give(giver, code, 5))).reason == "GIFT_CODE_NOT_FOUND", "the one before"
    for points in (0, -1, 2**53, -(2**63)):
        assert (await refused(InvalidArgument, world.give(giver, renewed, points))).reason == "FIELD_INVALID"
    debtor = new_id("member")
    earning = await world.earn(debtor, shop, 40)
    await world.spend(debtor, shop, 40)
    held = await world.earn(debtor, shop, 20)
    assert held.points == 20
    await world.cancel(earning.claim_id)
    assert (await refused(FailedPrecondition, world.give(debtor, renewed, 5))).reason == "SHORTFALL_OPEN"
    request = pb.GiftPointsRequest(request_id=request_id(), code=renewed, points=5)
    for caller in (partner(shop), OPERATOR, None):
        await refused(PermissionDenied, world.call("GiftPoints", request, caller))
        await refused(PermissionDenied, world.call("CreateGiftCode", pb.CreateGiftCodeRequest(request_id="x"), caller))
    assert (await world.wallet(friend)).balance == 0


async def test_r21_codes_are_not_stored_and_not_shown_twice(world: World):
    friend = new_id("member")
    request = pb.CreateGiftCodeRequest(request_id=request_id())
    first = await world.call("CreateGiftCode", request, member(friend))
    assert len(first.code) == 14
    again = await world.call("CreateGiftCode", request, member(friend))
    assert (again.code, again.expires_at) == ("", first.expires_at)
    assert first.code not in world.process.log_text()


async def test_r8_points_of_a_cancelled_claim_that_were_held_meanwhile_go_back_when_the_hold_is_given_up(world: World):
    issuer, shop = await world.new_partner(1_000), await world.new_partner()
    person = await world.new_member()
    earning = await world.earn(person, issuer, 100)
    held = await world.redeem(person, (await world.reward(shop, 100)).id)
    cancelled = await world.cancel(earning.claim_id)
    assert (cancelled.returned_points, cancelled.shortfall_points) == (0, 100)
    await world.void(held.id, member(person))
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.available, wallet.shortfall) == (0, 0, 0)
    assert await seen(world, person) == [("EARN", 100), ("CANCEL", 0), ("REPAY", -100)]
    points = await world.points(issuer)
    assert (points.allotment_left, points.cancelled, points.outstanding) == (1_000, 100, 0), "as if never issued"


async def test_r8_what_repays_a_shortfall_is_settled_for_no_more_than_what_it_replaces(world: World):
    cheap, dear, shop = [await world.new_partner(unit_value=value) for value in (5_000, 20_000, 10_000)]
    for lender, payer in ((cheap, dear), (dear, cheap)):
        person = new_id("member")
        earning = await world.earn(person, lender, 50)
        await world.spend(person, shop, 50)
        await world.settle()
        await world.cancel(earning.claim_id)
        await world.earn(person, payer, 80)
        assert (await world.wallet(person)).balance == 30, "one point for one"
        settlement = await world.settle()
        nets = {p.partner_id: p.net.micros for p in settlement.positions if p.net.micros}
        assert nets == {lender: 50 * 5_000, payer: -50 * 5_000}, "the lesser of the two values, either way"
