"""Settlement over gRPC, and the service as a whole under sudden death: a real rewards process on a real database."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from alliance.rewards.v1 import ledger_pb2
from alliance.rewards.v1 import rewards_pb2 as pb
from alliance.rewards.v1.ledger_pb2_grpc import LedgerServiceStub
from services.shared.errors import (
    Aborted,
    DeadlineExceeded,
    DomainError,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.contract.rewards_world import CENT, LATER, World, claim, rewards_world
from tests.support.errors import refused
from tests.support.service import OPERATOR, PATIENCE_SECONDS, member, partner, request_id


@pytest.fixture(scope="module")
async def world(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[World]:
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-settlement.log") as world:
        await world.settle()  # whatever came before is nobody's business here
        yield world


async def lines(world: World, settlement_id: str, partner_id: str = "", first: int = 3) -> list[pb.SettlementLine]:
    """All, a page at a time."""
    found: list[pb.SettlementLine] = []
    after = ""
    while True:
        request = pb.BatchListSettlementLinesRequest(
            settlement_ids=[settlement_id], partner_id=partner_id, page={"first": first, "after": after}
        )
        page = (await world.call("BatchListSettlementLines", request)).settlements[0]
        found += page.lines
        if not page.page_info.has_next_page:
            return found
        after = page.page_info.cursors[-1]


def positions(settlement: pb.Settlement) -> dict[str, int]:
    """Net, of the partners with a line; others may still carry a fraction from before."""
    active = [p for p in settlement.positions if p.receivable.micros or p.payable.micros]
    return {position.partner_id: position.net.micros for position in active}


async def test_p5_spends_are_netted_between_partners(world: World):
    a, b, c = [await world.new_partner(unit_value=value) for value in (10_000, 8_000, 12_500)]
    person = new_id("member")
    for brand in (a, b, c):
        await world.earn(person, brand, 1_000)
    await world.spend(person, b, 100)  # a's points, since a's id sorts first among equals
    spent = await world.spend(person, c, 950)  # 900 of a, 50 of b
    home = await world.spend(person, b, 10)  # b's own: nobody owes
    assert {lot.issuer_partner_id: lot.points for lot in spent.lots} == {a: 900, b: 50}
    settlement = await world.settle()
    assert positions(settlement) == {
        a: -1_000 * 10_000,
        b: 100 * 10_000 - 50 * 8_000,
        c: 900 * 10_000 + 50 * 8_000,
    }
    assert sum(positions(settlement).values()) == 0
    assert sum(position.due.micros for position in settlement.positions) == 0
    found = await lines(world, settlement.id)
    assert [(row.debtor_partner_id, row.creditor_partner_id, row.points, row.unit_value.micros) for row in found] == [
        (a, b, 100, 10_000),
        (a, c, 900, 10_000),
        (b, c, 50, 8_000),
    ]
    assert settlement.lines == 3
    assert all(row.amount.micros == row.points * row.unit_value.micros for row in found)
    assert found[1].redemption_id == spent.id
    assert home.id not in {row.redemption_id for row in found}
    net: defaultdict[str, int] = defaultdict(int)
    for row in found:
        net[row.creditor_partner_id] += row.amount.micros
        net[row.debtor_partner_id] -= row.amount.micros
    assert dict(net) == positions(settlement), "each position follows from the lines"
    assert len(await lines(world, settlement.id, a)) == 2
    assert len(await lines(world, settlement.id, b)) == 2
    assert await lines(world, settlement.id, await world.new_partner()) == []


async def test_p5_a_rerun_gives_the_stored_settlement_and_the_next_one_begins_where_it_ended(world: World):
    brand, shop = await world.new_partner(), await world.new_partner()
    person = await world.new_member(points=100, partner_id=brand)
    await world.spend(person, shop, 40)
    request = pb.RunSettlementRequest(request_id=request_id())
    first = (await world.call("RunSettlement", request, OPERATOR)).settlement
    await world.spend(person, shop, 7)
    assert (await world.call("RunSettlement", request, OPERATOR)).settlement == first
    second = await world.settle()
    assert second.number == first.number + 1
    assert getattr(second, "from") == first.until
    assert positions(second) == {brand: -7 * CENT, shop: 7 * CENT}
    third = await world.settle()
    assert (third.lines, positions(third)) == (0, {})
    assert third.lines_hash != second.lines_hash
    listed = (await world.call("ListSettlements", pb.ListSettlementsRequest(page={"first": 3}), OPERATOR)).settlements
    assert list(listed) == [third, second, first]
    got = (await world.call("BatchGetSettlements", pb.BatchGetSettlementsRequest(ids=[first.id, "x"]))).settlements
    assert list(got) == [first]


async def test_p5_a_settlement_that_takes_longer_than_a_call_is_made_all_the_same(world: World):
    brand, shop = await world.new_partner(), await world.new_partner()
    ledger = world.process.client(LedgerServiceStub)
    people = [new_id("member") for _ in range(1_000)]
    lot = pb.Lot(
        issuer_partner_id=brand, points=1, unit_value={"currency": "EUR", "micros": CENT}, expires_at=timestamp(LATER)
    )
    last = await world.settle()
    for kind, fields in (
        ("issue", {"lots": [lot]}),
        ("hold", {"points": 1, "expires_at": timestamp(LATER)}),
        ("capture", {"points": 1, "partner_id": shop}),
    ):
        commands = []
        for id in people:
            of_hold = {"hold_id": f"hold/{id}"} if kind == "capture" else {}
            commands.append(
                ledger_pb2.Command(request_id=f"{kind}/{id}", **{kind: {"member_id": id, **fields, **of_hold}})
            )
        posted = await ledger.call(
            ledger.stub.BatchPost, ledger_pb2.BatchPostRequest(commands=commands), caller=OPERATOR
        )
        assert not any(outcome.HasField("refusal") for outcome in posted.outcomes)
    await ledger.close()
    request = pb.RunSettlementRequest(request_id=request_id())
    reasons = set()

    async def latest() -> pb.Settlement:
        listed = await world.call("ListSettlements", pb.ListSettlementsRequest(page={"first": 1}), OPERATOR)
        return listed.settlements[0]

    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await latest()).number == last.number:
            try:
                await world.call("RunSettlement", request, OPERATOR, timeout_seconds=0.05)
            except (Unavailable, DeadlineExceeded) as error:
                reasons.add(error.reason)
    no_time = {"SETTLEMENT_RUNNING", "DEADLINE_EXCEEDED"}
    assert reasons & no_time, "no call had time enough"
    assert reasons <= no_time | {"DATABASE_UNAVAILABLE"}, "which a busy database may be, too"
    made = (await world.call("RunSettlement", request, OPERATOR)).settlement
    assert made == await latest()
    assert (made.number, made.lines) == (last.number + 1, 1_000)
    assert positions(made) == {brand: -1_000 * CENT, shop: 1_000 * CENT}


async def test_p5_settlements_at_once_settle_each_spend_once(world: World):
    brand, shop = await world.new_partner(), await world.new_partner()
    people = [await world.new_member(points=10, partner_id=brand) for _ in range(6)]

    async def spend_all() -> None:
        for person in people:
            await world.spend(person, shop, 10)

    *settlements, _ = await asyncio.gather(*(world.settle() for _ in range(10)), spend_all())
    settlements.append(await world.settle())
    numbers = sorted(settlement.number for settlement in settlements)
    assert numbers == list(range(numbers[0], numbers[0] + 11)), "each was answered"
    found = [row for settlement in settlements for row in await lines(world, settlement.id)]
    assert sorted(row.points for row in found) == [10] * 6
    assert len({row.redemption_id for row in found}) == 6


async def test_p5_fractions_of_cents_are_carried(world: World):
    brand = await world.new_partner(unit_value=3_333)
    shops = [await world.new_partner() for _ in range(3)]
    person = await world.new_member(points=1_000, partner_id=brand)
    owed: defaultdict[str, int] = defaultdict(int)
    due: defaultdict[str, int] = defaultdict(int)
    for points in (10, 7, 1):
        for shop in shops:
            await world.spend(person, shop, points)
        settlement = await world.settle()
        for position in settlement.positions:
            owed[position.partner_id] += position.net.micros
            due[position.partner_id] += position.due.micros
            assert position.due.micros % CENT == 0
            assert owed[position.partner_id] - due[position.partner_id] == position.carried.micros
            assert abs(position.carried.micros) < CENT
        assert sum(position.due.micros for position in settlement.positions) == 0
    assert owed[brand] == -3 * 18 * 3_333


async def test_p6_a_spend_is_settled_at_the_value_its_points_were_issued_at(world: World):
    brand, shop = await world.new_partner(unit_value=10_000), await world.new_partner()
    person = await world.new_member(points=100, partner_id=brand)
    world.partners.values[brand] = 15_000
    await world.earn(person, brand, 100)
    await world.spend(person, shop, 150)
    settlement = await world.settle()
    assert positions(settlement)[shop] == 100 * 10_000 + 50 * 15_000


async def test_p5_points_that_repay_a_shortfall_are_settled_too(world: World):
    brand, shop, other = [await world.new_partner() for _ in range(3)]
    person = new_id("member")
    earning = await world.earn(person, brand, 50)
    await world.spend(person, shop, 50)
    await world.cancel(earning.claim_id)
    await world.earn(person, other, 80)
    settlement = await world.settle()
    assert positions(settlement) == {brand: 0, shop: 50 * CENT, other: -50 * CENT}
    assert [(row.redemption_id != "", row.claim_id) for row in await lines(world, settlement.id)] == [
        (True, ""),
        (False, earning.claim_id),
    ]


async def test_only_operators_settle_and_verify(world: World):
    for caller in (partner(await world.new_partner()), member(new_id("member")), None):
        for method, request in (
            ("RunSettlement", pb.RunSettlementRequest(request_id=request_id())),
            ("VerifyLedger", pb.VerifyLedgerRequest()),
            ("SummarizeEarnings", pb.SummarizeEarningsRequest()),
        ):
            await refused(PermissionDenied, world.call(method, request, caller))
    request = pb.RunSettlementRequest(request_id="has space")
    assert (await refused(InvalidArgument, world.call("RunSettlement", request, OPERATOR))).reason == (
        "REQUEST_ID_MALFORMED"
    )


async def test_r1_after_all_of_this_the_books_sum_to_zero(world: World):
    assert await world.verify() == ""


async def insist(call: Any) -> Any:
    """The answer, as a caller gets it who sends the same request until there is one."""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        while True:
            try:
                return await call()
            except (Unavailable, DeadlineExceeded, Aborted):
                await asyncio.sleep(0.05)
            except DomainError as error:
                return error.reason


async def test_a_process_that_is_killed_under_load_loses_nothing_and_does_nothing_twice(
    mongodb_uri: str, keys: Path, workspace: Path
):
    random = Random(9)
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-killed.log") as world:
        brand, shop = await world.new_partner(points=100_000), await world.new_partner()
        reward = await world.reward(shop, 30, stock=1_000)
        people = [new_id("member") for _ in range(8)]
        codes = [await world.gift_code(person) for person in people]
        for _ in range(2):
            claims = [claim(random.choice(people), brand, random.randint(20, 60)) for _ in range(60)]
            redeems = [(p, pb.RedeemRequest(request_id=request_id(), reward_id=reward.id)) for p in people * 2]
            calls = [lambda event=event: world.record(event) for event in claims]
            calls += [lambda p=p, r=r: world.call("Redeem", r, member(p)) for p, r in redeems]
            gifts = [
                (p, pb.GiftPointsRequest(request_id=request_id(), code=code, points=random.randint(1, 30)))
                for p, code in zip(people * 2, codes[3:] + codes + codes[:3], strict=True)
            ]
            calls += [lambda p=p, r=r: world.call("GiftPoints", r, member(p)) for p, r in gifts]
            load = asyncio.gather(*(insist(call) for call in calls))
            await asyncio.sleep(random.uniform(0.1, 0.5))
            world.process.kill()
            await asyncio.to_thread(world.process.start)
            answers = await load
            earned = [answer[0] for answer in answers[: len(claims)]]
            assert {earning.status for earning in earned} == {pb.EARNING_STATUS_ISSUED}
            assert await world.record(*claims) == earned
            asked = [("Redeem", *row) for row in redeems] + [("GiftPoints", *row) for row in gifts]
            for (method, person, request), answer in zip(asked, answers[len(claims) :], strict=True):
                if not isinstance(answer, str):  # the reason of a refusal
                    assert await world.call(method, request, member(person)) == answer
        points = await world.points(brand)
        wallets = [await world.wallet(person) for person in people]
        assert points.outstanding == sum(wallet.balance for wallet in wallets)
        pages = [(await world.call("BatchListRedemptions", pb.BatchListRedemptionsRequest(member_ids=people))).members]
        held = {page.member_id: sum(row.points for row in page.redemptions) for page in pages[0]}
        assert {wallet.member_id: wallet.held for wallet in wallets} == held
        left = (await world.call("BatchGetRewards", pb.BatchGetRewardsRequest(ids=[reward.id]))).rewards[0].stock
        assert left == 1_000 - sum(held.values()) // 30
        assert await world.verify() == ""
