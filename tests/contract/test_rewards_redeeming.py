"""Rewards, holds and vouchers over gRPC: a real rewards process on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from alliance.rewards.v1 import ledger_pb2
from alliance.rewards.v1 import rewards_pb2 as pb
from alliance.rewards.v1.ledger_pb2_grpc import LedgerServiceStub
from services.rewards.domain.moments import millis
from services.rewards.domain.redemptions import Reward
from services.rewards.ledger.commands import Allot
from services.rewards.ledger.ledger import Ledger
from services.rewards.service.redemptions import Redemptions
from services.rewards.store.redemptions import RedemptionStore
from services.shared import clock
from services.shared.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from services.shared.idempotency import Idempotency
from services.shared.ids import new_id
from services.shared.mongo import Database
from services.shared.proto import timestamp
from tests.contract.rewards_world import LATER, Price, World, rewards_world
from tests.contract.test_ledger import Time, done, issue, running
from tests.support.errors import refused
from tests.support.moments import in_time
from tests.support.service import OPERATOR, member, partner, request_id

HASTY_SECONDS = 3


@pytest.fixture(scope="module")
async def world(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[World]:
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-redeeming.log") as world:
        yield world


@pytest.fixture(scope="module")
async def hasty(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[World]:
    """Where vouchers are good for a moment only."""
    settings = {"ALLIANCE_REDEMPTION_TTL_SECONDS": str(HASTY_SECONDS), "ALLIANCE_SWEEP_PERIOD_SECONDS": "0.1"}
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-hasty.log", **settings) as world:
        yield world


async def stock(world: World, reward_id: str) -> int:
    return int((await world.call("BatchGetRewards", pb.BatchGetRewardsRequest(ids=[reward_id]))).rewards[0].stock)


async def found(world: World, redemption_id: str) -> pb.Redemption:
    request = pb.BatchGetRedemptionsRequest(ids=[redemption_id])
    return (await world.call("BatchGetRedemptions", request)).redemptions[0]


async def test_r13_a_reward_is_held_captured_and_lists_whose_points_it_took(world: World):
    one, other, shop = [await world.new_partner() for _ in range(3)]
    person = await world.new_member(points=60, partner_id=one)
    await world.earn(person, other, 60)
    reward = await world.reward(shop, 100, stock=3)
    held = await world.redeem(person, reward.id)
    assert (held.status, held.points, held.partner_id) == (pb.REDEMPTION_STATUS_HELD, 100, shop)
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held, wallet.available) == (120, 100, 20)
    assert await stock(world, reward.id) == 2
    captured = await world.capture(shop, held.voucher_code)
    assert (captured.status, captured.points) == (pb.REDEMPTION_STATUS_CAPTURED, 100)
    assert {lot.issuer_partner_id: lot.points for lot in captured.lots} == dict(
        zip(sorted([one, other]), (60, 40), strict=True)
    )
    assert captured.voucher_code == "", "the till has it"
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held) == (20, 0)
    entry = (await world.entries(person)).entries[0]
    assert (entry.kind, entry.points, entry.redemption_id) == (pb.ENTRY_KIND_SPEND, -100, held.id)
    for lot in entry.lots:
        lot.id = ""  # which names the wallet, and is not for the partner
    assert list(entry.lots) == list(captured.lots)
    assert (await world.points(shop)).accepted == 100


async def test_r3_a_part_is_captured_and_the_rest_is_free_again(world: World):
    shop = await world.new_partner()
    person = await world.new_member(points=100)
    held = await world.redeem(person, (await world.reward(shop, 80)).id)
    captured = await world.capture(shop, held.voucher_code, points=30)
    assert captured.points == 30
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held, wallet.available) == (70, 0, 70)


async def test_r3_a_second_resolution_is_refused(world: World):
    shop = await world.new_partner()
    person = await world.new_member(points=100)
    reward = await world.reward(shop, 10, stock=10)
    captured, voided = await world.redeem(person, reward.id), await world.redeem(person, reward.id)
    await world.capture(shop, captured.voucher_code)
    assert (await world.void(voided.id, member(person))).status == pb.REDEMPTION_STATUS_VOIDED
    for redemption in (captured, voided):
        for attempt in (
            world.capture(shop, redemption.voucher_code),
            world.void(redemption.id, member(person)),
            world.void(redemption.id, partner(shop)),
        ):
            assert (await refused(FailedPrecondition, attempt)).reason == "REDEMPTION_ALREADY_RESOLVED"
    assert await stock(world, reward.id) == 9
    assert (await world.wallet(person)).balance == 90


async def test_r3_of_many_resolutions_at_once_one_counts(world: World):
    shop = await world.new_partner()
    person = await world.new_member(points=100)
    reward = await world.reward(shop, 40, stock=5)
    held = await world.redeem(person, reward.id)
    attempts = [world.capture(shop, held.voucher_code) for _ in range(5)]
    attempts += [world.void(held.id, member(person)) for _ in range(5)]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    (won,) = [answer for answer in answers if isinstance(answer, pb.Redemption)]
    losers = {error.reason for error in answers if isinstance(error, FailedPrecondition)}
    assert losers == {"REDEMPTION_ALREADY_RESOLVED"}
    assert len(answers) == 10
    spent = won.status == pb.REDEMPTION_STATUS_CAPTURED
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held) == (60 if spent else 100, 0)
    assert await stock(world, reward.id) == (4 if spent else 5)


async def test_r4_the_sixth_hold_of_1000_on_5000_is_refused(world: World):
    person = await world.new_member(points=5_000)
    reward = await world.reward(await world.new_partner(), 1_000)
    for _ in range(5):
        await world.redeem(person, reward.id)
    error = await refused(FailedPrecondition, world.redeem(person, reward.id))
    assert error.reason == "INSUFFICIENT_POINTS"
    assert (error.metadata["available"], error.metadata["required"]) == ("0", "1000")
    assert await stock(world, reward.id) == 995


async def test_r5_of_100_parallel_spends_none_goes_below_zero(world: World):
    shop = await world.new_partner()
    person = await world.new_member(points=1_000)
    reward = await world.reward(shop, 30, stock=1_000)

    async def spend() -> pb.Redemption:
        held = await world.redeem(person, reward.id)
        return await world.capture(shop, held.voucher_code)

    answers = await asyncio.gather(*(spend() for _ in range(100)), return_exceptions=True)
    assert sum(isinstance(answer, pb.Redemption) for answer in answers) == 33
    refusals = [answer.reason for answer in answers if isinstance(answer, FailedPrecondition)]
    assert refusals == ["INSUFFICIENT_POINTS"] * 67
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held, wallet.available) == (10, 0, 10)
    assert await stock(world, reward.id) == 1_000 - 33
    assert await world.verify() == ""


class Everybody:
    """The partners service, to which all are welcome."""

    async def active(self, partner_id: str) -> bool:
        return True


async def test_r4_points_that_another_replica_has_just_given_can_be_spent_at_once(database: Database):
    async with running(database, Time(), partitions=1) as ledger:
        behind = Ledger(database, 1, Time())  # does nothing by itself
        await behind.open()
        await done(ledger, Allot("block", "partner_a", 100), issue("member_1", 100, "partner_a", millis(LATER)))
        store = RedemptionStore(database)
        reward = Reward("reward_1", "partner_a", "Coffee", "", 100, 1, clock.now())
        await database.transaction(lambda tx: store.add_reward(tx, reward))
        partners: Any = Everybody()
        replica = Redemptions(store, behind, partners, Idempotency(database), clock.now, timedelta(days=1))
        id, _ = await database.transaction(lambda tx: replica.redeem(tx, "member_1", reward.id))
        assert id.startswith("redemption_")


async def test_r4_a_wallet_has_1000_open_redemptions_at_most(world: World):
    brand = await world.new_partner()
    person = await world.new_member(points=2_000, partner_id=brand)
    reward = await world.reward(brand, 1, stock=2_000)
    holds = [
        ledger_pb2.Command(request_id=f"{n}", hold={"member_id": person, "points": 1, "expires_at": timestamp(LATER)})
        for n in range(1_000)
    ]
    ledger = world.process.client(LedgerServiceStub)
    request = ledger_pb2.BatchPostRequest(commands=holds)
    posted = await ledger.call(ledger.stub.BatchPost, request, caller=OPERATOR, timeout_seconds=30)
    await ledger.close()
    assert not any(outcome.HasField("refusal") for outcome in posted.outcomes)
    error = await refused(FailedPrecondition, world.redeem(person, reward.id))
    assert error.reason == "HOLD_LIMIT_REACHED"
    assert await stock(world, reward.id) == 2_000


async def test_r18_stock_never_oversells(world: World):
    reward = await world.reward(await world.new_partner(), 10, stock=7)
    brand = await world.new_partner()
    people = [await world.new_member(points=10, partner_id=brand) for _ in range(30)]
    answers = await asyncio.gather(*(world.redeem(p, reward.id) for p in people), return_exceptions=True)
    assert sum(isinstance(answer, pb.Redemption) for answer in answers) == 7
    assert {e.reason for e in answers if isinstance(e, FailedPrecondition)} == {"REWARD_OUT_OF_STOCK"}
    assert await stock(world, reward.id) == 0
    winner = next(answer for answer in answers if isinstance(answer, pb.Redemption))
    await world.void(winner.id, member(winner.member_id))
    assert await stock(world, reward.id) == 1, "what is given up can be had by another"


async def test_r2_each_mutation_gives_the_same_answer_twice_and_refuses_another_input(world: World):
    shop = await world.new_partner()
    person = await world.new_member(points=500)
    cheap, dear = await world.reward(shop, 10), await world.reward(shop, 20)

    async def twice(method: str, request: Any, caller: Any, **change: Any) -> Any:
        first = await world.call(method, request, caller)
        assert await world.call(method, request, caller) == first
        other = type(request)()
        other.CopyFrom(request)
        for name, value in change.items():
            setattr(other, name, value)
        error = await refused(AlreadyExists, world.call(method, other, caller))
        assert error.reason == "REQUEST_ID_REUSED"
        return first

    new = pb.CreateRewardRequest(request_id=request_id(), title="Tea", points=5, stock=5)
    created = await twice("CreateReward", new, partner(shop), points=6)
    assert await stock(world, created.reward.id) == 5
    redeem = pb.RedeemRequest(request_id=request_id(), reward_id=cheap.id)
    held = (await twice("Redeem", redeem, member(person), reward_id=dear.id)).redemption
    assert (await world.wallet(person)).held == 10
    capture = pb.CaptureRedemptionRequest(request_id=request_id(), voucher_code=held.voucher_code)
    await twice("CaptureRedemption", capture, partner(shop), points=1)
    assert (await world.call("Redeem", redeem, member(person))).redemption == held, "the answer as it was given"
    other = await world.redeem(person, dear.id)
    void = pb.VoidRedemptionRequest(request_id=request_id(), redemption_id=other.id)
    await twice("VoidRedemption", void, member(person), redemption_id=held.id)
    settle = pb.RunSettlementRequest(request_id=request_id())
    assert await world.call("RunSettlement", settle, OPERATOR) == await world.call("RunSettlement", settle, OPERATOR)
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held) == (490, 0)


async def test_r2_one_request_sent_many_times_at_once_holds_once(world: World):
    person = await world.new_member(points=500)
    reward = await world.reward(await world.new_partner(), 100, stock=50)
    request = pb.RedeemRequest(request_id=request_id(), reward_id=reward.id)
    answers = await asyncio.gather(*(world.call("Redeem", request, member(person)) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert (await world.wallet(person)).held == 100
    assert await stock(world, reward.id) == 49


async def test_a_voucher_is_read_however_it_is_typed_and_by_its_partner_alone(world: World):
    shop, other = await world.new_partner(), await world.new_partner()
    person = await world.new_member(points=100)
    reward = await world.reward(shop, 10)
    held = await world.redeem(person, reward.id)
    assert len(held.voucher_code.replace("-", "")) == 26
    error = await refused(NotFound, world.capture(other, held.voucher_code))
    assert error.reason == "VOUCHER_NOT_FOUND"
    for code in ("", "x", '{"$gt": ""}', "0" * 26, "é" * 26, "0" * 5_000):
        assert (await refused(NotFound, world.capture(shop, code))).reason == "VOUCHER_NOT_FOUND"
    typed = f" {held.voucher_code.lower().replace('-', ' ').replace('1', 'l').replace('0', 'o')} "
    assert (await world.capture(shop, typed)).id == held.id


async def test_vouchers_are_not_in_the_log_nor_stored_twice(world: World):
    person = await world.new_member(points=100)
    shop = await world.new_partner()
    held = await world.redeem(person, (await world.reward(shop, 10)).id)
    assert held.voucher_code not in world.process.log_text()
    assert (await found(world, held.id)).voucher_code == held.voucher_code
    assert (await world.void(held.id, partner(shop))).voucher_code == ""


@pytest.mark.parametrize("points", [-1, 81, 2**63 - 1, -(2**63)])
async def test_a_capture_takes_what_is_held_and_no_more(world: World, points: int):
    shop = await world.new_partner()
    person = await world.new_member(points=100)
    held = await world.redeem(person, (await world.reward(shop, 80)).id)
    error = await refused(InvalidArgument, world.capture(shop, held.voucher_code, points=points))
    assert error.reason == "CAPTURE_OUT_OF_RANGE"
    assert (await world.wallet(person)).held == 80


async def test_others_redemptions_are_not_found(world: World):
    person, stranger = await world.new_member(points=100), new_id("member")
    shop, other = await world.new_partner(), await world.new_partner()
    held = await world.redeem(person, (await world.reward(shop, 80)).id)
    # A brand through whose frontend the member comes is not the brand of the reward.
    for caller in (member(stranger), member(stranger, shop), partner(other)):
        assert (await refused(NotFound, world.void(held.id, caller))).reason == "REDEMPTION_NOT_FOUND"
    assert (await refused(NotFound, world.void("redemption_x", member(person)))).reason == "REDEMPTION_NOT_FOUND"
    assert (await refused(NotFound, world.redeem(person, new_id("reward")))).reason == "REWARD_NOT_FOUND"
    assert (await refused(NotFound, world.redeem(person, '{"$gt": ""}'))).reason == "REWARD_NOT_FOUND"
    request = pb.RedeemRequest(request_id=request_id(), reward_id="x")
    for caller in (partner(shop), OPERATOR, None):
        await refused(PermissionDenied, world.call("Redeem", request, caller))


@pytest.mark.parametrize("id", ["x" * 9_000, "\u00e9" * 30_000])
async def test_an_id_of_any_length_is_told_not_to_be_there(world: World, id: str):
    error = await refused(NotFound, world.redeem(new_id("member"), id))
    assert error.reason == "REWARD_NOT_FOUND"
    assert error.message == "There is no reward with that id."
    assert id.startswith(error.metadata["reward_id"][:-1])


async def test_a_partner_that_is_closed_neither_offers_nor_accepts(world: World):
    shop = await world.new_partner()
    person = await world.new_member(points=100)
    reward = await world.reward(shop, 10, stock=4)
    world.partners.inactive.add(shop)
    await asyncio.sleep(1.05)  # a yes is remembered for a second
    for attempt in (world.redeem(person, reward.id), world.reward(shop, 10)):
        assert (await refused(FailedPrecondition, attempt)).reason == "PARTNER_NOT_ACTIVE"
    assert await stock(world, reward.id) == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "x"),
        ("title", "x" * 81),
        ("title", "a\x00b"),
        ("description", "x" * 501),
        ("points", 0),
        ("points", -5),
        ("points", 1_000_000_001),
        ("points", 2**63 - 1),
        ("stock", -1),
        ("stock", 2**63 - 1),
    ],
)
async def test_a_reward_that_cannot_be_is_refused(world: World, field: str, value: Any):
    shop = await world.new_partner()
    fields = {"title": "Coffee", "points": 5, "stock": 5, field: value}
    request = pb.CreateRewardRequest(request_id=request_id(), **fields)
    error = await refused(InvalidArgument, world.call("CreateReward", request, partner(shop)))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", field)


async def test_the_catalogue_lists_the_cheapest_first(world: World):
    shop = await world.new_partner()
    for points in (300, 20, 1_000):
        await world.reward(shop, points)
    seen: list[int] = []
    after = ""
    while True:
        request = pb.ListRewardsRequest(partner_id=shop, page={"first": 2, "after": after})
        answer = await world.call("ListRewards", request)
        seen += [reward.points for reward in answer.rewards]
        if not answer.page_info.has_next_page:
            break
        after = answer.page_info.cursors[-1]
    assert seen == [20, 300, 1_000]
    everything = (await world.call("ListRewards", pb.ListRewardsRequest(page={"first": 100}))).rewards
    prices = [reward.points for reward in everything]
    assert prices == sorted(prices)
    wrong = pb.ListRewardsRequest(partner_id='{"$gt": ""}')
    assert (await refused(InvalidArgument, world.call("ListRewards", wrong))).reason == "FIELD_INVALID"


async def test_redemptions_are_listed_newest_first_for_many_members(world: World):
    reward = await world.reward(await world.new_partner(), 1)
    brand = await world.new_partner()
    people = [await world.new_member(points=10, partner_id=brand) for _ in range(3)]
    made = {person: [(await world.redeem(person, reward.id)).id for _ in range(3)] for person in people}
    request = pb.BatchListRedemptionsRequest(member_ids=[*people, new_id("member")], page={"first": 2})
    pages = (await world.call("BatchListRedemptions", request)).members
    for person, page in zip(people, pages, strict=False):
        assert [row.id for row in page.redemptions] == made[person][:0:-1]
        assert page.page_info.has_next_page
    assert (len(pages), list(pages[3].redemptions)) == (4, [])


async def test_a_partner_lists_what_was_redeemed_of_its_rewards(world: World):
    shop, other = await world.new_partner(), await world.new_partner()
    reward, elsewhere = await world.reward(shop, 1), await world.reward(other, 1)
    people = [await world.new_member(points=10, partner_id=other) for _ in range(2)]
    made = [await world.redeem(person, reward.id) for person in (*people, *people)]
    await world.redeem(people[0], elsewhere.id)
    await world.capture(shop, made[1].voucher_code)
    await world.void(made[2].id, member(made[2].member_id))
    ids = [redemption.id for redemption in made]

    async def listed(**wanted: Any) -> list[str]:
        request = pb.BatchListPartnerRedemptionsRequest(partner_ids=[shop], **wanted)
        (page,) = (await world.call("BatchListPartnerRedemptions", request)).partners
        assert [row.voucher_code for row in page.redemptions] == [""] * len(page.redemptions)
        return [row.id for row in page.redemptions]

    assert await listed() == ids[::-1]
    assert await listed(status=pb.REDEMPTION_STATUS_HELD) == [ids[3], ids[0]]
    assert await listed(status=pb.REDEMPTION_STATUS_CAPTURED) == [ids[1]]
    assert await listed(status=pb.REDEMPTION_STATUS_REVERSED) == []
    assert await listed(period={"since": made[2].created_at}) == ids[:1:-1]
    assert await listed(period={"until": made[2].created_at}) == ids[1::-1]
    assert await listed(period={"since": made[1].created_at}, status=pb.REDEMPTION_STATUS_HELD) == [ids[3]]
    assert await listed(page={"first": 2}) == ids[:1:-1]
    request = pb.BatchListRedemptionsRequest(member_ids=people[:1], status=pb.REDEMPTION_STATUS_HELD, page={"first": 5})
    (page,) = (await world.call("BatchListRedemptions", request)).members
    assert [row.id for row in page.redemptions][1:] == [ids[0]], "and the one elsewhere"
    wrong: Any = 99
    assert (await refused(InvalidArgument, listed(status=wrong))).reason == "FIELD_INVALID"


async def test_what_the_ledger_would_not_hold_is_in_nobody_s_list(world: World, mongodb_uri: str):
    shop = await world.new_partner()
    reward, person = await world.reward(shop, 7), await world.new_member(points=10)
    kept = await world.redeem(person, reward.id)
    await refused(FailedPrecondition, world.redeem(person, reward.id))
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    rows = client[world.database]["redemptions"]
    row = rows.find_one({"_id": kept.id})
    assert row is not None
    del row["shown_to"], row["order"]
    rows.insert_one({**row, "_id": new_id("redemption"), "voucher_hash": b"refused", "status": "refused"})
    client.close()
    request = pb.BatchListPartnerRedemptionsRequest(partner_ids=[shop])
    (page,) = (await world.call("BatchListPartnerRedemptions", request)).partners
    assert [one.id for one in page.redemptions] == [kept.id]


async def test_a_till_looks_up_what_a_voucher_is_good_for(world: World):
    shop, other = await world.new_partner(), await world.new_partner()
    person = await world.new_member(points=10)
    held = await world.redeem(person, (await world.reward(shop, 4)).id)
    typed = held.voucher_code.lower().replace("-", " ")

    async def looked_up(*keys: tuple[str, str]) -> list[tuple[str, str, str]]:
        asked = [{"partner_id": partner_id, "voucher_code": code} for partner_id, code in keys]
        answer = await world.call("BatchFindRedemptions", pb.BatchFindRedemptionsRequest(keys=asked))  # type: ignore[arg-type]
        return [(one.partner_id, one.voucher_code, one.redemption_id) for one in answer.found]

    assert await looked_up((shop, typed)) == [(shop, typed, held.id)]
    assert await looked_up((other, typed), (shop, "no code"), (shop, "0" * 26), (shop, "")) == []
    await world.capture(shop, held.voucher_code)
    assert await looked_up((shop, held.voucher_code)) == [(shop, held.voucher_code, held.id)], "though it is over"


async def test_r3_a_hold_that_nobody_resolves_ends_by_itself(hasty: World):
    shop = await hasty.new_partner()

    async def held_for_a_moment(_: datetime) -> tuple[pb.Reward, pb.Redemption]:
        person = await hasty.new_member(points=100)
        reward = await hasty.reward(shop, 60, stock=1)
        held = await hasty.redeem(person, reward.id)
        assert (await refused(FailedPrecondition, hasty.redeem(person, reward.id))).reason == "INSUFFICIENT_POINTS"
        return reward, held

    reward, held = await in_time(held_for_a_moment, HASTY_SECONDS, times_longer=1)
    person = held.member_id
    async with asyncio.timeout(60):
        while (await found(hasty, held.id)).status != pb.REDEMPTION_STATUS_EXPIRED:
            await asyncio.sleep(0.05)
    wallet = await hasty.wallet(person)
    assert (wallet.balance, wallet.held) == (100, 0)
    assert await stock(hasty, reward.id) == 1
    for attempt in (hasty.capture(shop, held.voucher_code), hasty.void(held.id, member(person))):
        assert (await refused(FailedPrecondition, attempt)).reason == "REDEMPTION_ALREADY_RESOLVED"


async def test_r6_points_whose_time_is_up_expire_and_spent_ones_do_not(hasty: World):
    shop = await hasty.new_partner()

    async def spent_before(soon: datetime) -> tuple[str, str]:
        brand, person = await hasty.new_partner(), new_id("member")
        await hasty.earn(person, brand, 1, price=Price([(100, LATER), (50, soon)]))
        await hasty.spend(person, shop, 30)
        return brand, person

    brand, person = await in_time(spent_before, HASTY_SECONDS, times_longer=1)
    async with asyncio.timeout(60):
        while (await hasty.points(brand)).expired == 0:
            await asyncio.sleep(0.05)
    points = await hasty.points(brand)
    assert (await hasty.wallet(person)).balance == 100
    assert (points.spent, points.expired, points.outstanding) == (30, 20, 100)
    assert [entry.points for entry in (await hasty.entries(person)).entries] == [-20, -30, 150]
    assert await hasty.verify() == ""


async def test_what_cannot_be_completed_holds_up_neither_the_others_nor_the_settlement(hasty: World, mongodb_uri: str):
    shop = await hasty.new_partner()
    person = await hasty.new_member(points=1_000)
    broken = await in_time(lambda _: hasty.spend(person, shop, 40), HASTY_SECONDS, times_longer=1)
    await hasty.reverse(shop, broken.id, 10)
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    rows = client[hasty.database]["redemptions"]
    # As if somebody else had decided on other points: the ledger will have none of it.
    damage = {"status": "captured", "intent": "reverse", "reversed_points": 20, "due": datetime(2020, 1, 1, tzinfo=UTC)}
    rows.update_one({"_id": broken.id}, {"$set": damage})
    held = await hasty.redeem(person, (await hasty.reward(shop, 30)).id)
    async with asyncio.timeout(60):
        while (await found(hasty, held.id)).status != pb.REDEMPTION_STATUS_EXPIRED:
            await asyncio.sleep(0.05)
    assert (await hasty.settle()).number > 0
    rows.update_one({"_id": broken.id}, {"$unset": {"due": ""}})
    client.close()
    assert "cannot be completed" in (log := hasty.process.log_text())
    assert broken.id in log


async def test_what_a_crash_leaves_half_done_is_completed(world: World, mongodb_uri: str):
    """Decisions are noted before the ledger acts: as if the process had ended in between."""
    shop = await world.new_partner()
    person = await world.new_member(points=100)
    reward = await world.reward(shop, 40, stock=5)
    request = pb.RedeemRequest(request_id=request_id(), reward_id=reward.id)
    captured = await world.redeem(person, reward.id)
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    name = world.database
    past = datetime(2020, 1, 1, tzinfo=UTC)
    rows = client[name]["redemptions"]
    rows.update_one({"_id": captured.id}, {"$set": {"intent": "capture", "capture_points": 25, "due": past}})
    pending = (await world.call("Redeem", request, member(person))).redemption
    rows.update_one(
        {"_id": pending.id}, {"$set": {"status": "pending", "due": past}, "$unset": {"shown_to": "", "order": ""}}
    )
    async with asyncio.timeout(60):
        while (await found(world, captured.id)).status != pb.REDEMPTION_STATUS_CAPTURED:
            await asyncio.sleep(0.05)
        while not rows.find_one({"_id": pending.id, "status": "held"}):
            await asyncio.sleep(0.05)
    client.close()
    assert (await found(world, captured.id)).points == 25
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held) == (75, 40)
    assert (await world.call("Redeem", request, member(person))).redemption == pending
    assert await stock(world, reward.id) == 3
