"""Points: holds, spends, lots and the ledger's own check, through GraphQL and real processes."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from deploy.local.day.stage import iso
from tests.support.alliance import Brand, Member, World, now
from tests.support.moments import in_time
from tests.support.refusals import reason_of


@pytest.fixture
async def cafe(world: World) -> Brand:
    return await world.brand(earns={"OWN_CUP": 100})


async def rich(brand: Brand, cups: int) -> Member:
    """A member with 100 points a cup."""
    member = await brand.enrol()
    # Three a day count. The day begins where the member is, so at noon there is room on both sides.
    noon = now().replace(hour=12, minute=0) - timedelta(days=1)
    acts = [member.act(brand, "OWN_CUP", at=noon - timedelta(days=cup // 3, minutes=cup)) for cup in range(cups)]
    await member.earn(brand, *acts)
    assert (await member.wallet())["balance"] == 100 * cups
    return member


async def test_r1_the_books_sum_to_zero(world: World, cafe: Brand):
    ada = await rich(cafe, 2)
    await cafe.capture((await ada.redeem(await cafe.reward(150)))["voucherCode"])
    report = await world.report()
    assert report["ledger"]["clean"], report["ledger"]["finding"]
    for row in report["partners"]:
        assert row["issued"] == row["cancelled"] + row["spent"] + row["expired"] + row["outstanding"]
        assert row["allotted"] + row["cancelled"] == row["issued"] + row["allotmentLeft"]


async def test_r2_the_same_id_and_body_replays_and_another_body_conflicts(cafe: Brand):
    ada = await rich(cafe, 2)
    one, other = await cafe.reward(100), await cafe.reward(100, title="A cake")
    request = uuid4().hex
    first = await ada.redeem(one, requestId=request)
    assert await ada.redeem(one, requestId=request) == first
    assert await reason_of(ada.redeem(other, requestId=request)) == "REQUEST_ID_REUSED"
    assert (await ada.wallet())["held"] == 100


async def test_r3_a_hold_is_captured_in_part_or_voided_and_only_once(cafe: Brand):
    ada = await rich(cafe, 3)
    reward = await cafe.reward(100)
    part, voided = await ada.redeem(reward), await ada.redeem(reward)
    assert (await cafe.capture(part["voucherCode"], points=30))["points"] == 30
    assert (await ada.void(voided["id"]))["status"] == "VOIDED"
    wallet = await ada.wallet()
    assert (wallet["balance"], wallet["held"], wallet["available"]) == (270, 0, 270)
    for refused in (
        cafe.capture(part["voucherCode"]),
        cafe.capture(voided["voucherCode"]),
        ada.void(part["id"]),
        ada.void(voided["id"]),
    ):
        assert await reason_of(refused) == "REDEMPTION_ALREADY_RESOLVED"
    third = await ada.redeem(reward)
    assert await reason_of(cafe.capture(third["voucherCode"], points=101)) == "CAPTURE_OUT_OF_RANGE"


async def test_r3_a_voucher_is_taken_by_the_brand_that_gives_the_reward_and_by_no_other(world: World, cafe: Brand):
    other = await world.brand()
    ada = await rich(cafe, 1)
    held = await ada.redeem(await cafe.reward(50))
    assert await reason_of(other.capture(held["voucherCode"])) == "VOUCHER_NOT_FOUND"
    assert (await cafe.capture(held["voucherCode"]))["status"] == "CAPTURED"


async def test_r4_holds_reduce_what_is_available(cafe: Brand):
    ada = await rich(cafe, 5)
    reward = await cafe.reward(100)
    for _ in range(5):
        await ada.redeem(reward)
    assert await reason_of(ada.redeem(reward)) == "INSUFFICIENT_POINTS"
    wallet = await ada.wallet()
    assert (wallet["balance"], wallet["held"], wallet["available"]) == (500, 500, 0)


async def test_r5_a_hundred_spends_at_once_never_go_below_zero(cafe: Brand):
    ada = await rich(cafe, 3)
    reward = await cafe.reward(10)
    done = await asyncio.gather(*(ada.redeem(reward) for _ in range(100)), return_exceptions=True)
    held = [answer for answer in done if isinstance(answer, dict)]
    assert len(held) == 30
    assert {str(error).partition(":")[0] for error in done if not isinstance(error, dict)} == {"INSUFFICIENT_POINTS"}
    wallet = await ada.wallet()
    assert (wallet["balance"], wallet["available"]) == (300, 0)


async def test_r6_what_expires_first_is_spent_first_and_does_not_expire_again(world: World):
    cafe = await world.brand(earns={"OWN_CUP": 100})
    soon = now() + timedelta(days=3)
    ada = await cafe.enrol()
    await cafe.campaign("OWN_CUP", extraPercent=50, pointsExpireAt=iso(soon), validUntil=iso(soon))
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
    lots = (await ada.wallet())["lots"]
    assert [lot["points"] for lot in lots] == [50, 100]
    await cafe.capture((await ada.redeem(await cafe.reward(60)))["voucherCode"])
    assert [lot["points"] for lot in (await ada.wallet())["lots"]] == [90]

    async def given_until(due: datetime) -> tuple[Brand, Member]:
        brand = await world.brand(earns={"OWN_CUP": 100})
        bob = await brand.enrol()
        long_ago = now() - timedelta(days=40)
        await brand.campaign(
            "OWN_CUP",
            validFrom=iso(long_ago - timedelta(days=1)),
            validUntil=iso(long_ago + timedelta(days=1)),
            pointsExpireAt=iso(due),
        )
        await bob.earn(brand, bob.act(brand, "OWN_CUP", at=long_ago))
        await brand.capture((await bob.redeem(await brand.reward(30)))["voucherCode"])
        assert [lot["points"] for lot in (await bob.wallet())["lots"]] == [70, 100]
        return brand, bob

    brand, bob = await in_time(given_until, 5)
    async with asyncio.timeout(60):
        while (await bob.wallet())["balance"] != 100:
            await asyncio.sleep(0.1)
    for _ in range(2):
        await world.settle()
        points = await brand.points()
        assert (points["issued"], points["spent"], points["expired"], points["outstanding"]) == (200, 30, 70, 100)


async def test_r7_a_reversal_restores_the_original_lots_and_is_netted(world: World):
    grocer, shop = await world.brand(earns={"OWN_CUP": 100}), await world.brand()
    ada = await rich(grocer, 2)
    before = (await ada.wallet())["lots"]
    spent = await shop.capture((await ada.redeem(await shop.reward(150)))["voucherCode"])
    paid = await world.settle()
    request = uuid4().hex
    back = await shop.reverse(spent["id"], requestId=request)
    assert await shop.reverse(spent["id"], requestId=request) == back
    assert (back["status"], back["points"], back["reversedPoints"]) == ("REVERSED", 150, 150)
    assert (await ada.wallet())["lots"] == before
    assert await reason_of(shop.reverse(spent["id"])) == "REDEMPTION_ALREADY_REVERSED"
    assert await reason_of(grocer.reverse(spent["id"])) == "REDEMPTION_NOT_FOUND"
    kinds = [edge["node"]["kind"] for edge in (await ada.look())["entries"]["edges"]]
    assert kinds[:2] == ["REVERSE", "SPEND"]
    repaid = await world.settle()
    nets = [await net_of(world, settlement["id"], shop) for settlement in (paid, repaid)]
    assert nets == [150 * 10_000, -150 * 10_000]


async def net_of(world: World, settlement_id: str, brand: Brand) -> int:
    """What the brand gets in a settlement, in micros; the positions of all sum to zero."""
    query = "query S($id: ID!) { settlement(id: $id) { positions { partner { id } net { micros } } } }"
    found = (await world.query(world.operator, query, id=settlement_id))["settlement"]["positions"]
    assert sum(row["net"]["micros"] for row in found) == 0
    return int(next(row["net"]["micros"] for row in found if row["partner"]["id"] == brand.id))


async def test_r9_points_in_a_return_window_are_pending_and_cancellable(world: World):
    shop = await world.brand(block=1_000)
    await shop.rule("OWN_CUP", 60, return_window_days=14)
    ada = await shop.enrol()
    await ada.earn(shop, ada.act(shop, "OWN_CUP", at=now() - timedelta(minutes=5)))
    wallet = await ada.wallet()
    assert (wallet["balance"], wallet["available"], wallet["pending"]) == (0, 0, 60)
    (pending,) = wallet["pendingEarnings"]
    assert iso(now() + timedelta(days=13)) < pending["availableAt"] < iso(now() + timedelta(days=16))
    assert await reason_of(ada.redeem(await shop.reward(10))) == "INSUFFICIENT_POINTS"
    assert await reason_of(ada.give(await (await shop.enrol()).gift_code(), 10)) == "INSUFFICIENT_POINTS"
    points = await shop.points()
    assert (points["outstanding"], points["allotmentLeft"]) == (60, 940)
    cancelled = await shop.cancel(pending["claim"]["id"])
    assert (cancelled["returnedPoints"], cancelled["shortfallPoints"]) == (60, 0)
    wallet = await ada.wallet()
    assert (wallet["pending"], wallet["pendingEarnings"], wallet["shortfall"]) == (0, [], 0)
    assert (await shop.points())["allotmentLeft"] == 1_000
    await ada.earn(shop, ada.act(shop, "OWN_CUP", at=now() - timedelta(days=20)))
    assert (await ada.wallet())["available"] == 60, "what is reported after its window is there at once"


async def test_r21_a_gift_keeps_issuer_and_expiry_and_a_day_has_limits(world: World, cafe: Brand):
    ada, bob = await rich(cafe, 3), await cafe.enrol()
    lots = (await ada.wallet())["lots"]
    code, request = await bob.gift_code(), uuid4().hex
    given = await ada.give(code, 120, requestId=request)
    assert await ada.give(code, 120, requestId=request) == given
    (kept,), (got,) = (await ada.wallet())["lots"], (await bob.wallet())["lots"]
    assert (kept["points"], got["points"]) == (180, 120)
    assert {**kept, "points": 0} == {**got, "points": 0} == {**lots[0], "points": 0}
    entries = "entries(first: 1) { edges { node { kind points gift { id points } } } }"
    query = f"query E($id: ID!) {{ member(id: $id) {{ {entries} }} }}"
    for member, kind, points in ((ada, "GIVE", -120), (bob, "TAKE", 120)):
        found = (await world.query(member.person, query, id=member.id))["member"]["entries"]["edges"]
        gift = {"id": given["id"], "points": 120}
        assert [edge["node"] for edge in found] == [{"kind": kind, "points": points, "gift": gift}]
    assert await reason_of(bob.give(code, 1)) == "GIFT_TO_SELF"
    assert await reason_of(ada.give("0000-0000-0000", 1)) == "GIFT_CODE_NOT_FOUND"
    for _ in range(9):
        await ada.give(code, 1)
    assert await reason_of(ada.give(code, 1)) == "GIFT_COUNT_LIMIT_REACHED"
    assert (await bob.wallet())["balance"] == 129


async def test_r8_a_cancel_of_spent_points_is_repaid_by_the_next_ones(cafe: Brand):
    ada = await rich(cafe, 1)
    claim = (await ada.look())["acts"]["edges"][0]["node"]["claim"]
    await cafe.capture((await ada.redeem(await cafe.reward(70)))["voucherCode"])
    cancelled = await cafe.cancel(claim["id"])
    assert (cancelled["returnedPoints"], cancelled["shortfallPoints"]) == (30, 70)
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP", at=now() - timedelta(days=1)))
    assert (await ada.wallet())["balance"] == 30


async def test_r13_a_spend_lists_the_amount_per_issuer(world: World):
    grocer, cafe, shop = [await world.brand(earns={"OWN_CUP": points}) for points in (40, 70, 1)]
    ada = await grocer.enrol()
    await ada.link(cafe)
    await ada.earn(grocer, ada.act(grocer, "OWN_CUP", at=now() - timedelta(days=1)))
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
    spent = await shop.capture((await ada.redeem(await shop.reward(100)))["voucherCode"])
    by_issuer = {lot["issuer"]["id"]: lot["points"] for lot in spent["lots"]}
    assert sum(by_issuer.values()) == 100
    assert set(by_issuer) == {grocer.id, cafe.id}
    entries = [edge["node"] for edge in (await ada.look())["entries"]["edges"]]
    spend = next(entry for entry in entries if entry["kind"] == "SPEND")
    assert {lot["issuer"]["id"]: lot["points"] for lot in spend["lots"]} == by_issuer


async def test_a_reward_is_never_sold_more_often_than_there_is_stock(cafe: Brand):
    members = [await rich(cafe, 1) for _ in range(6)]
    reward = await cafe.reward(50, stock=4)
    done = await asyncio.gather(*(member.redeem(reward) for member in members), return_exceptions=True)
    assert sum(isinstance(answer, dict) for answer in done) == 4
    assert {str(e).partition(":")[0] for e in done if not isinstance(e, dict)} == {"REWARD_OUT_OF_STOCK"}
    sold = next(answer for answer in done if isinstance(answer, dict))
    owner = members[done.index(sold)]
    await owner.void(sold["id"])
    late = next(member for member, answer in zip(members, done, strict=True) if not isinstance(answer, dict))
    assert (await late.redeem(reward))["status"] == "HELD"


async def test_nobody_spends_for_another(world: World, cafe: Brand):
    ada, bob = await rich(cafe, 1), await cafe.enrol()
    held = await ada.redeem(await cafe.reward(50))
    assert await reason_of(bob.void(held["id"])) == "REDEMPTION_NOT_FOUND"
    query = "query R($id: ID!) { redemption(id: $id) { voucherCode status } }"
    mine = await world.ask(ada.person, query, id=held["id"])
    assert mine["data"]["redemption"]["voucherCode"] == held["voucherCode"]
    theirs = await world.ask(bob.person, query, id=held["id"])
    assert theirs["data"]["redemption"] is None
    brands = await world.ask(cafe.person, query, id=held["id"])
    assert brands["data"]["redemption"]["voucherCode"] is None
