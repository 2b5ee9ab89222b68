"""Points: holds, spends, lots and the ledger's own check, through GraphQL and real processes."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from deploy.local.day.stage import iso
from tests.support.alliance import Brand, Member, World, now
from tests.support.refusals import reason_of


@pytest.fixture
async def cafe(world: World) -> Brand:
    return await world.brand(earns={"OWN_CUP": 100})


async def rich(brand: Brand, cups: int) -> Member:
    """A member with 100 points a cup."""
    member = await brand.enrol()
    acts = [member.act(brand, "OWN_CUP", at=now() - timedelta(days=cup // 3, minutes=cup)) for cup in range(cups)]
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
    soon, past = now() + timedelta(days=3), now() - timedelta(seconds=5)
    ada = await cafe.enrol()
    await cafe.campaign("OWN_CUP", extraPercent=50, pointsExpireAt=iso(soon), validUntil=iso(soon))
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
    lots = (await ada.wallet())["lots"]
    assert [lot["points"] for lot in lots] == [50, 100]
    await cafe.capture((await ada.redeem(await cafe.reward(60)))["voucherCode"])
    assert [lot["points"] for lot in (await ada.wallet())["lots"]] == [90]

    long_ago = now() - timedelta(days=40)
    await cafe.campaign(
        "OWN_CUP",
        validFrom=iso(long_ago - timedelta(days=1)),
        validUntil=iso(long_ago + timedelta(days=1)),
        pointsExpireAt=iso(past),
    )
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP", at=long_ago))
    await world.settle()
    points = await cafe.points()
    assert (points["issued"], points["spent"], points["expired"]) == (350, 60, 100)
    assert (await ada.wallet())["balance"] == points["outstanding"] == 190
    await world.settle()
    assert (await cafe.points())["expired"] == 100


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
