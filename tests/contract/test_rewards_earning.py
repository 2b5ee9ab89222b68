"""Earning over gRPC: a real rewards process on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alliance.accounts.v1.accounts_pb2 import ACT_KIND_BUS_TRIP, ACT_KIND_OWN_CUP
from alliance.rewards.v1 import rewards_pb2 as pb
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from services.shared.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from services.shared.ids import new_id
from tests.contract.rewards_world import CENT, LATER, Price, World, claim, rewards_world
from tests.support.errors import refused
from tests.support.service import OPERATOR, ServiceProcess, member, partner, request_id


@pytest.fixture(scope="module")
async def world(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[World]:
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-earning.log") as world:
        yield world


async def test_a_claim_earns_points_by_its_partners_rules(world: World):
    brand, person = await world.new_partner(unit_value=8_000), new_id("member")
    soon = datetime(2099, 6, 30, tzinfo=UTC)
    earning = await world.earn(person, brand, 1, price=Price([(120, LATER), (30, soon)], unit_value=8_000))
    assert (earning.status, earning.points, earning.partner_id) == (pb.EARNING_STATUS_ISSUED, 150, brand)
    assert [(lot.points, lot.rule_id, lot.unit_value.micros) for lot in earning.lots] == [
        (120, "rule_0", 8_000),
        (30, "rule_1", 8_000),
    ]
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.held, wallet.available, wallet.shortfall) == (150, 0, 150, 0)
    assert [(lot.points, lot.issuer_partner_id) for lot in wallet.lots] == [(30, brand), (120, brand)]
    assert wallet.next_expiry_at.ToDatetime(UTC) == soon
    assert wallet.points_expiring_next == 30
    (entry,) = (await world.entries(person)).entries
    assert (entry.kind, entry.points, entry.claim_id) == (pb.ENTRY_KIND_EARN, 150, earning.claim_id)


async def test_a_lot_of_an_earning_says_for_which_claim_and_by_which_agreement(world: World):
    brand = await world.new_partner()
    earning = await world.earn(new_id("member"), brand, 7)
    (lot,) = earning.lots
    assert (lot.claim_id, lot.agreement_id, lot.id) == (earning.claim_id, f"agreement of {brand}", "")


async def test_a_lot_lists_what_went_into_it_newest_first_whatever_became_of_it(world: World):
    brand, other, person = await world.new_partner(), await world.new_partner(), new_id("member")
    soon = datetime(2099, 6, 30, tzinfo=UTC)
    mine = [await world.earn(person, brand, points) for points in (5, 6, 7)]
    both = await world.earn(person, brand, 1, price=Price([(8, LATER), (2, soon)]))
    await world.earn(person, other, 9)
    await world.earn(new_id("member"), brand, 10)
    await world.cancel(mine[0].claim_id)
    lots = {(lot.issuer_partner_id, lot.points): lot.id for lot in (await world.wallet(person)).lots}
    assert set(lots) == {(brand, 2), (brand, 21), (other, 9)}

    async def page(*lot_ids: str, **page: Any) -> Any:
        request = pb.BatchListLotEarningsRequest(lot_ids=lot_ids, page=page)
        return (await world.call("BatchListLotEarnings", request)).lots

    soonest, large = await page(lots[brand, 2], lots[brand, 21])
    assert [earning.claim_id for earning in soonest.earnings] == [both.claim_id]
    newest_first = sorted((earning.claim_id for earning in (*mine, both)), reverse=True)
    assert [earning.claim_id for earning in large.earnings] == newest_first
    (first,) = await page(lots[brand, 21], first=3)
    assert first.page_info.has_next_page
    (rest,) = await page(lots[brand, 21], first=3, after=first.page_info.cursors[-1])
    assert [earning.claim_id for earning in (*first.earnings, *rest.earnings)] == newest_first
    (entry,) = [entry for entry in (await world.entries(person)).entries if entry.claim_id == both.claim_id]
    assert {lot.id for lot in entry.lots} == {lots[brand, 2], lots[brand, 21]}


@pytest.mark.parametrize("id", ["", "lot:", "lot:member_x:partner_y:1:1", "lot_" + "9" * 90])
async def test_what_is_no_id_of_a_lot_is_said(world: World, id: str):
    request = pb.BatchListLotEarningsRequest(lot_ids=[id])
    error = await refused(InvalidArgument, world.call("BatchListLotEarnings", request))
    assert error.reason == "LOT_ID_MALFORMED"


async def test_r2_a_claim_that_is_delivered_again_earns_the_same_once(world: World):
    brand, person = await world.new_partner(), new_id("member")
    events = [claim(person, brand, points) for points in (10, 20, 30)]
    first = await world.record(*events)
    asked = len(world.partners.questions)
    again = await world.record(*reversed(events), claim(person, brand, 5))
    assert list(reversed(first)) == again[:3]
    assert len(world.partners.questions) == asked + 1, "only the new one is asked about"
    assert (await world.wallet(person)).balance == 65


async def test_r2_one_claim_delivered_many_times_at_once_earns_once(world: World):
    brand, person = await world.new_partner(), new_id("member")
    event = claim(person, brand, 40)
    answers = await asyncio.gather(*(world.record(event, event) for _ in range(12)))
    assert all(answer == answers[0] for answer in answers)
    assert (await world.wallet(person)).balance == 40


async def test_p3_a_block_is_used_to_its_last_point_and_a_cancel_refills_it(world: World):
    brand, people = await world.new_partner(points=1_000), [new_id("member") for _ in range(12)]
    earnings = await world.record(*(claim(person, brand, 90) for person in people))
    issued = [earning for earning in earnings if earning.status == pb.EARNING_STATUS_ISSUED]
    reasons = [earning.reason for earning in earnings if earning.status == pb.EARNING_STATUS_REFUSED]
    assert (len(issued), reasons) == (11, ["PREPAID_BLOCK_EXHAUSTED"])
    refusal = next(earning for earning in earnings if earning.status == pb.EARNING_STATUS_REFUSED)
    await world.partners.gives_back(refusal.claim_id)  # for the campaigns
    assert (await world.points(brand)).allotment_left == 10
    await world.allot(brand, 50)
    (again,) = await world.record(claim_of(refusal))
    assert again == refusal, "the first outcome stands"
    await world.cancel(issued[0].claim_id, partner(brand))
    assert (await world.points(brand)).allotment_left == 150
    await world.partners.gives_back(issued[0].claim_id)
    assert (await world.earn(people[0], brand, 150)).status == pb.EARNING_STATUS_ISSUED
    assert (await world.earn(people[0], brand, 1)).reason == "PREPAID_BLOCK_EXHAUSTED"


def claim_of(earning: pb.Earning) -> pb.ClaimRecorded:
    event = claim(earning.member_id, earning.partner_id, 90)
    event.claim_id = earning.claim_id
    return event


async def test_p3_a_block_is_allotted_once_however_often_it_is_said(world: World):
    brand = new_id("partner")
    event = pb.PrepaidBlockPaid(event_id="e", block_id=new_id("block"), partner_id=brand, points=500)
    client = world.partners_service
    request = pb.AllotPrepaidBlocksRequest(events=[event, event])
    await asyncio.gather(*(client.call(client.stub.AllotPrepaidBlocks, request) for _ in range(5)))
    assert (await world.points(brand)).allotted == 500
    event.points = 501
    changed = pb.AllotPrepaidBlocksRequest(events=[event])
    error = await refused(AlreadyExists, client.call(client.stub.AllotPrepaidBlocks, changed))
    assert error.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (Price(reason="PARTNER_SUSPENDED"), "PARTNER_SUSPENDED"),
        (Price(reason="NO_EARN_RULE"), "NO_EARN_RULE"),
        (Price(), "RULE_GIVES_ZERO"),
    ],
)
async def test_a_claim_that_earns_nothing_says_why(world: World, price: Price, reason: str):
    person = new_id("member")
    earning = await world.earn(person, await world.new_partner(), 1, price=price)
    assert (earning.status, earning.reason, earning.points) == (pb.EARNING_STATUS_REFUSED, reason, 0)
    assert (await world.wallet(person)).balance == 0
    (found,) = (await world.call("BatchGetEarnings", pb.BatchGetEarningsRequest(claim_ids=[earning.claim_id]))).earnings
    assert found == earning


async def test_p6_a_later_value_leaves_old_lots_as_they_were(world: World):
    brand, person = await world.new_partner(unit_value=10_000), new_id("member")
    await world.earn(person, brand, 100)
    world.partners.values[brand] = 12_000
    await world.earn(person, brand, 50)
    assert [(lot.unit_value.micros, lot.points) for lot in (await world.wallet(person)).lots] == [
        (10_000, 100),
        (12_000, 50),
    ]
    assert (await world.points(brand)).liability.micros == 100 * 10_000 + 50 * 12_000


async def test_r8_points_that_were_spent_become_a_shortfall_that_the_next_points_repay(world: World):
    brand, shop, other = [await world.new_partner() for _ in range(3)]
    person = new_id("member")
    earning = await world.earn(person, brand, 100)
    await world.spend(person, shop, 70)
    answer = await world.cancel(earning.claim_id, partner(brand))
    assert (answer.returned_points, answer.shortfall_points) == (30, 70)
    assert answer.earning.status == pb.EARNING_STATUS_CANCELLED
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.shortfall) == (0, 70)
    await world.earn(person, other, 50)
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.shortfall) == (0, 20)
    await world.earn(person, other, 50)
    wallet = await world.wallet(person)
    assert (wallet.balance, wallet.shortfall) == (30, 0)
    entries = (await world.entries(person)).entries
    kinds = [(pb.EntryKind.Name(entry.kind).removeprefix("ENTRY_KIND_"), entry.points) for entry in entries]
    assert kinds == [
        ("REPAY", -20),
        ("EARN", 50),
        ("REPAY", -50),
        ("EARN", 50),
        ("CANCEL", -30),
        ("SPEND", -70),
        ("EARN", 100),
    ]
    assert {entry.claim_id for entry in entries if entry.kind == pb.ENTRY_KIND_REPAY} == {earning.claim_id}
    assert sum(entry.points for entry in entries) == wallet.balance
    assert (await world.points(brand)).accepted == 70, "it gets the points that repay what it lost"
    assert (await world.points(other)).spent == 70


async def test_a_cancel_happens_once(world: World):
    brand = await world.new_partner()
    person = await world.new_member(points=40, partner_id=brand)
    earning = await world.earn(person, brand, 60)
    request = pb.CancelEarningRequest(request_id=request_id(), claim_id=earning.claim_id)
    first = await world.call("CancelEarning", request, partner(brand))
    assert await world.call("CancelEarning", request, partner(brand)) == first
    error = await refused(FailedPrecondition, world.cancel(earning.claim_id, OPERATOR))
    assert error.reason == "EARNING_NOT_ISSUED"
    assert (await world.wallet(person)).balance == 40
    other = await world.earn(person, brand, 5)
    request.claim_id = other.claim_id
    error = await refused(AlreadyExists, world.call("CancelEarning", request, partner(brand)))
    assert error.reason == "REQUEST_ID_REUSED"
    racing = [world.cancel(other.claim_id, OPERATOR) for _ in range(6)]
    answers = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(isinstance(answer, pb.CancelEarningResponse) for answer in answers) == 1


async def test_another_partners_earning_is_not_found(world: World):
    brand = await world.new_partner()
    earning = await world.earn(new_id("member"), brand, 10)
    for claim_id, caller in ((earning.claim_id, partner(await world.new_partner())), (new_id("claim"), OPERATOR)):
        error = await refused(NotFound, world.cancel(claim_id, caller))
        assert error.reason == "EARNING_NOT_FOUND"
    nothing = await world.earn(new_id("member"), brand, 1, price=Price(reason="NO_EARN_RULE"))
    error = await refused(FailedPrecondition, world.cancel(nothing.claim_id, partner(brand)))
    assert error.reason == "EARNING_NOT_ISSUED"


async def test_the_summary_counts_points_by_kind_and_refusals_by_reason(world: World):
    async def summary() -> tuple[dict[int, tuple[int, int]], dict[str, int]]:
        answer = await world.call("SummarizeEarnings", pb.SummarizeEarningsRequest(), OPERATOR)
        kinds = {total.kind: (total.earnings, total.points) for total in answer.kinds}
        return kinds, {total.reason: total.earnings for total in answer.refusals}

    brand, person = await world.new_partner(points=100), new_id("member")
    kinds, reasons = await summary()
    events = [claim(person, brand, 30, ACT_KIND_BUS_TRIP), claim(person, brand, 20, ACT_KIND_OWN_CUP)]
    over = claim(person, brand, 51, ACT_KIND_OWN_CUP)
    earnings = await world.record(*events, over)
    await world.record(*events, over)
    await world.cancel(earnings[1].claim_id)
    now_kinds, now_reasons = await summary()
    bus, cup = kinds.get(ACT_KIND_BUS_TRIP, (0, 0)), kinds.get(ACT_KIND_OWN_CUP, (0, 0))
    assert now_kinds[ACT_KIND_BUS_TRIP] == (bus[0] + 1, bus[1] + 30)
    assert now_kinds[ACT_KIND_OWN_CUP] == cup, "what is taken back does not count"
    assert now_reasons["PREPAID_BLOCK_EXHAUSTED"] == reasons.get("PREPAID_BLOCK_EXHAUSTED", 0) + 1


async def test_entries_are_paged_newest_first_even_within_one_command(world: World):
    brand, person = await world.new_partner(), new_id("member")
    earning = await world.earn(person, brand, 10)
    await world.spend(person, brand, 10)
    await world.cancel(earning.claim_id)
    for points in (4, 3, 20):  # each repays first, so that each makes two entries
        await world.earn(person, brand, points)
    whole = await world.entries(person)
    seen: list[pb.Entry] = []
    after = ""
    while True:
        page = await world.entries(person, first=2, after=after)
        seen += page.entries
        if not page.page_info.has_next_page:
            break
        after = page.page_info.cursors[-1]
    assert seen == list(whole.entries)
    assert len({entry.id for entry in seen}) == len(seen) == 9
    assert [entry.points for entry in seen] == [-3, 20, -3, 3, -4, 4, 0, -10, 10]


async def test_many_wallets_and_entry_pages_in_one_call(world: World):
    brand = await world.new_partner()
    people = [new_id("member") for _ in range(30)]
    await world.record(*(claim(person, brand, number + 1) for number, person in enumerate(people)))
    wallets = (await world.call("BatchGetWallets", pb.BatchGetWalletsRequest(member_ids=people))).wallets
    assert {wallet.member_id: wallet.balance for wallet in wallets} == {p: n + 1 for n, p in enumerate(people)}
    pages = (await world.call("BatchListEntries", pb.BatchListEntriesRequest(member_ids=people))).members
    assert [(page.member_id, [e.points for e in page.entries]) for page in pages] == [
        (person, [number + 1]) for number, person in enumerate(people)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"claim_id": "claim_1"},
        {"claim_id": ""},
        {"member_id": '{"$gt": ""}'},
        {"partner_id": "member_01h00000000000000000000000"},
        {"kind": 0},
        {"kind": 99},
        {"quantity": 0},
        {"quantity": -(2**63)},
        {"quantity": 2**63 - 1},
        {"occurred_at": {"seconds": 2**62}},
        {"occurred_at": {"seconds": 1, "nanos": -5}},
        {"occurred_at": {}},
    ],
)
async def test_a_claim_that_cannot_be_is_refused_whole(world: World, change: dict):
    brand, person = await world.new_partner(), new_id("member")
    event = claim(person, brand, 10)
    wrong = pb.ClaimRecorded()
    wrong.CopyFrom(event)
    for name, value in change.items():
        wrong.ClearField(name)
        wrong.MergeFrom(pb.ClaimRecorded(**{name: value}))
    error = await refused(InvalidArgument, world.record(event, wrong))
    assert error.reason == "FIELD_INVALID"
    assert error.metadata["field"] == f"events[1].{next(iter(change))}"
    assert (await world.wallet(person)).balance == 0


async def test_too_many_at_once_are_refused(world: World):
    too_many = [
        ("RecordClaims", pb.RecordClaimsRequest(events=[pb.ClaimRecorded()] * 501), world.accounts),
        (
            "AllotPrepaidBlocks",
            pb.AllotPrepaidBlocksRequest(events=[pb.PrepaidBlockPaid()] * 501),
            world.partners_service,
        ),
        ("BatchGetEarnings", pb.BatchGetEarningsRequest(claim_ids=["x"] * 10_001), world.gateway),
        ("BatchGetWallets", pb.BatchGetWalletsRequest(member_ids=["x"] * 1_001), world.gateway),
        ("BatchListEntries", pb.BatchListEntriesRequest(member_ids=["x"] * 201), world.gateway),
        ("BatchGetPartnerPoints", pb.BatchGetPartnerPointsRequest(partner_ids=["x"] * 1_001), world.gateway),
    ]
    for method, request, client in too_many:
        error = await refused(InvalidArgument, client.call(getattr(client.stub, method), request))
        assert error.reason == "BATCH_TOO_LARGE"
    for method, request, client in too_many[:-1]:
        empty = type(request)()
        assert await client.call(getattr(client.stub, method), empty) is not None


@pytest.mark.parametrize("after", ["?", "MDAw", "e30", "x" * 3_000])
async def test_a_cursor_of_another_list_is_refused(world: World, after: str):
    error = await refused(InvalidArgument, world.entries(new_id("member"), after=after))
    assert error.reason == "CURSOR_MALFORMED"


async def test_who_may_not_call_is_told_so(world: World):
    request = pb.RecordClaimsRequest()
    for client, caller in ((world.partners_service, None), (world.gateway, OPERATOR), (world.gateway, None)):
        error = await refused(PermissionDenied, client.call(client.stub.RecordClaims, request, caller=caller))
        assert error.reason == "CALLER_NOT_ALLOWED"
    cancel = pb.CancelEarningRequest(request_id=request_id(), claim_id=new_id("claim"))
    await refused(PermissionDenied, world.call("CancelEarning", cancel, member(new_id("member"))))


async def test_without_the_partners_service_nothing_is_decided(
    world: World, mongodb_uri: str, keys: Path, workspace: Path
):
    alone = ServiceProcess(
        "rewards", mongodb_uri, keys, workspace / "rewards-alone.log", ALLIANCE_PARTNERS_TARGET="127.0.0.1:1"
    )
    alone.start()
    accounts = alone.client(RewardsServiceStub, "accounts")
    event = claim(new_id("member"), new_id("partner"), 10)
    await refused(Unavailable, accounts.call(accounts.stub.RecordClaims, pb.RecordClaimsRequest(events=[event])))
    assert alone.stop() == 0


async def test_p8_the_report_equals_the_ledger(world: World):
    brand = await world.new_partner(points=10_000)
    people = [await world.new_member(points=100, partner_id=brand) for _ in range(5)]
    shop = await world.new_partner()
    await world.spend(people[0], shop, 60)
    held = await world.redeem(people[1], (await world.reward(shop, 50)).id)
    gone = datetime.now(UTC) + timedelta(seconds=3)
    await world.earn(people[2], brand, 1, price=Price([(7, gone)]))
    await asyncio.sleep(max(0.0, (gone - datetime.now(UTC)).total_seconds()))
    await world.settle()
    points = await world.points(brand)
    assert (points.allotted, points.issued, points.spent, points.expired) == (10_000, 507, 60, 7)
    assert points.outstanding == sum([(await world.wallet(person)).balance for person in people]) == 440
    assert points.liability.micros == 440 * CENT
    assert held.points == 50, "held points are outstanding still"
    all_partners = (await world.call("BatchGetPartnerPoints", pb.BatchGetPartnerPointsRequest())).partners
    assert points in all_partners
    assert sum(p.accepted for p in all_partners) == sum(p.spent for p in all_partners)
    nobody = await world.points(new_id("partner"))
    assert (nobody.allotted, nobody.issued, nobody.liability.micros) == (0, 0, 0)
    assert await world.verify() == ""
