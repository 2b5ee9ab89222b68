"""Brands: their life, their rules, their blocks, and what they owe each other, through real processes."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from deploy.local.day import documents
from deploy.local.day.stage import iso
from tests.support.alliance import World, now
from tests.support.refusals import reason_of

SETTLEMENT = """
query Settlement($id: ID!, $after: String) {
  settlement(id: $id) {
    lineCount
    linesHash
    positions { partner { id } receivable { micros } payable { micros } net { micros } due { micros } }
    lines(first: 100, after: $after) {
      edges { node { debtor { id } creditor { id } points unitValue { micros } amount { micros } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""


async def test_p1_a_suspended_brand_cannot_issue_and_its_points_still_spend(world: World):
    grocer, cafe = await asyncio.gather(world.brand(earns={"OWN_CUP": 50}), world.brand())
    ada = await grocer.enrol()
    await ada.earn(grocer, ada.act(grocer, "OWN_CUP"))
    await world.set_status(grocer.id, "SUSPENDED")

    (act,) = await grocer.report_acts(ada.act(grocer, "OWN_CUP", at=now() - timedelta(minutes=2)))
    assert act["status"] == "CREDITED"
    nodes = [edge["node"] for edge in (await ada.look())["acts"]["edges"]]
    claim_id = next(node["claim"]["id"] for node in nodes if node["id"] == act["id"])
    earning = await world.earning(claim_id)
    assert (earning["status"], earning["reason"], earning["points"]) == ("REFUSED", "PARTNER_SUSPENDED", 0)

    held = await ada.redeem(await cafe.reward(40))
    assert (await cafe.capture(held["voucherCode"]))["status"] == "CAPTURED"
    assert (await ada.wallet())["balance"] == 10
    await world.set_status(grocer.id, "APPROVED")
    assert (await ada.earn(grocer, ada.act(grocer, "OWN_CUP", at=now() - timedelta(minutes=4))))[0]["status"]
    assert (await ada.wallet())["balance"] == 60


async def test_p1_who_has_only_applied_gets_no_credentials(world: World):
    partner_id = await world.applied()
    made = world.mutate(world.operator, documents.CREATE_API_CLIENT, partnerId=partner_id, label="early")
    assert await reason_of(made) == "PARTNER_NOT_APPROVED"
    assert await reason_of(world.set_status(partner_id, "SUSPENDED")) == "PARTNER_STATUS_CONFLICT"


async def test_p2_a_late_event_uses_the_rule_in_force_when_it_happened(world: World):
    cafe = await world.brand()
    await cafe.rule("OWN_CUP", 10, valid_from=now() - timedelta(days=100))
    await cafe.rule("OWN_CUP", 3, valid_from=now() - timedelta(days=20))
    ada = await cafe.enrol()
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP"), ada.act(cafe, "OWN_CUP", at=now() - timedelta(days=50)))
    assert (await ada.wallet())["balance"] == 3 + 10


async def test_p2_budget_and_member_cap_hold_when_all_earn_at_once(world: World):
    cafe = await world.brand(earns={"OWN_CUP": 100})
    await cafe.campaign("OWN_CUP", budgetPoints=450, memberCapPoints=200)
    members = [await cafe.enrol() for _ in range(4)]
    times = [now() - timedelta(days=day) for day in (1, 2, 3)]
    await asyncio.gather(*(member.earn(cafe, member.act(cafe, "OWN_CUP", at=at)) for member in members for at in times))
    balances = [(await member.wallet())["balance"] for member in members]
    extras = [balance - 300 for balance in balances]
    assert sum(extras) == 450
    assert all(0 <= extra <= 200 for extra in extras)


async def test_p3_issuing_past_the_block_is_refused_and_a_cancel_refills_it(world: World):
    cafe = await world.brand(block=100, earns={"OWN_CUP": 60})
    ada = await cafe.enrol()
    first, second = await ada.earn(
        cafe, ada.act(cafe, "OWN_CUP", at=now() - timedelta(days=1)), ada.act(cafe, "OWN_CUP")
    )
    claims = {edge["node"]["id"]: edge["node"]["claim"] for edge in (await ada.look())["acts"]["edges"]}
    earnings = [claims[act["id"]]["earning"] for act in (first, second)]
    assert sorted(e["status"] for e in earnings) == ["ISSUED", "REFUSED"]
    assert {e["reason"] for e in earnings} - {"", None} == {"PREPAID_BLOCK_EXHAUSTED"}
    assert (await ada.wallet())["balance"] == 60

    issued = next(claims[act["id"]]["id"] for act in (first, second) if claims[act["id"]]["earning"]["points"])
    cancelled = await cafe.cancel(issued)
    assert (cancelled["earning"]["status"], cancelled["returnedPoints"], cancelled["shortfallPoints"]) == (
        "CANCELLED",
        60,
        0,
    )
    assert (await cafe.points())["allotmentLeft"] == 100
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP", at=now() - timedelta(days=2)))
    assert (await ada.wallet())["balance"] == 60


async def test_p3_another_brand_cannot_cancel_what_is_not_its_own(world: World):
    cafe, other = await asyncio.gather(world.brand(earns={"OWN_CUP": 60}), world.brand())
    ada = await cafe.enrol()
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
    claim = (await ada.look())["acts"]["edges"][0]["node"]["claim"]
    assert await reason_of(other.cancel(claim["id"])) == "EARNING_NOT_FOUND"
    assert (await ada.wallet())["balance"] == 60


async def test_p5_netting_sums_to_zero(world: World):
    brands = [await world.brand(unit_value_micros=value, earns={"OWN_CUP": 100}) for value in (10_000, 7_001, 3_333)]
    await world.settle()  # what other tests left
    rewards = [await brand.reward(33) for brand in brands]
    owed: dict[tuple[str, str], int] = {}
    for number, brand in enumerate(brands):
        member = await brand.enrol()
        await member.earn(brand, member.act(brand, "OWN_CUP"))
        for shop, reward in zip(brands, rewards, strict=True):
            held = await member.redeem(reward)
            await shop.capture(held["voucherCode"])
            if shop is not brand:
                owed[brand.id, shop.id] = 33 * (10_000, 7_001, 3_333)[number]

    request = uuid4().hex
    run = await world.mutate(world.operator, documents.RUN_SETTLEMENT, requestId=request)
    again = await world.mutate(world.operator, documents.RUN_SETTLEMENT, requestId=request)
    assert run == again
    found = (await world.query(world.operator, SETTLEMENT, id=run["settlement"]["id"]))["settlement"]
    lines = [edge["node"] for edge in found["lines"]["edges"]]
    assert found["lineCount"] == len(lines) == 6
    assert {(line["debtor"]["id"], line["creditor"]["id"]): line["amount"]["micros"] for line in lines} == owed
    trace = (
        "query T($id: ID!) { settlement(id: $id) { lines { edges { node { redemption { id lots { points } } } } } } }"
    )
    traced = (await world.query(world.operator, trace, id=run["settlement"]["id"]))["settlement"]["lines"]["edges"]
    assert len({edge["node"]["redemption"]["id"] for edge in traced}) == 6
    assert {edge["node"]["redemption"]["lots"][0]["points"] for edge in traced} == {33}
    net = {row["partner"]["id"]: row["net"]["micros"] for row in found["positions"]}
    for brand in brands:
        due_to = sum(amount for (_, creditor), amount in owed.items() if creditor == brand.id)
        due_from = sum(amount for (debtor, _), amount in owed.items() if debtor == brand.id)
        assert net[brand.id] == due_to - due_from
    assert sum(net.values()) == 0
    dues = [row["due"]["micros"] for row in found["positions"]]
    assert sum(dues) == 0
    assert all(due % 10_000 == 0 for due in dues)


async def test_p5_a_brand_sees_its_own_side_of_a_settlement_only(world: World):
    earner, shop, bystander = [await world.brand(earns={"OWN_CUP": 100}) for _ in range(3)]
    await world.settle()
    ada = await earner.enrol()
    await ada.earn(earner, ada.act(earner, "OWN_CUP"))
    await shop.capture((await ada.redeem(await shop.reward(50)))["voucherCode"])
    settlement = await world.settle()
    for brand, lines in ((earner, 1), (shop, 1), (bystander, 0)):
        found = (await world.query(brand.person, SETTLEMENT, id=settlement["id"]))["settlement"]
        assert len(found["lines"]["edges"]) == lines
        assert {row["partner"]["id"] for row in found["positions"]} <= {brand.id}


async def test_p6_a_later_rate_change_leaves_old_lots_as_they_were(world: World):
    cafe, shop = await asyncio.gather(world.brand(unit_value_micros=10_000, earns={"OWN_CUP": 10}), world.brand())
    ada = await cafe.enrol()
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP", at=now() - timedelta(hours=1)))
    await cafe.agree(99_000, valid_from=now() - timedelta(minutes=5))
    await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
    lots = {lot["unitValue"]["micros"]: lot["points"] for lot in (await ada.wallet())["lots"]}
    assert lots == {10_000: 10, 99_000: 10}
    await world.settle()
    await shop.capture((await ada.redeem(await shop.reward(15)))["voucherCode"])
    settlement = await world.settle()
    found = (await world.query(cafe.person, SETTLEMENT, id=settlement["id"]))["settlement"]
    amounts = {edge["node"]["unitValue"]["micros"]: edge["node"]["points"] for edge in found["lines"]["edges"]}
    assert amounts == {10_000: 10, 99_000: 5}


async def test_p8_what_is_outstanding_equals_the_wallets(world: World):
    cafe = await world.brand(unit_value_micros=12_000, earns={"OWN_CUP": 25})
    members = [await cafe.enrol() for _ in range(3)]
    for member in members:
        await member.earn(cafe, member.act(cafe, "OWN_CUP"))
    await cafe.capture((await members[0].redeem(await cafe.reward(20)))["voucherCode"])
    points = await cafe.points()
    wallets = [(await member.wallet())["balance"] for member in members]
    assert points["outstanding"] == sum(wallets) == 55
    assert points["liability"]["micros"] == 55 * 12_000
    assert points["issued"] == points["spent"] + points["expired"] + points["outstanding"] + points["cancelled"]


async def test_one_brand_cannot_act_for_another(world: World):
    one, other = await asyncio.gather(world.brand(), world.brand())
    query = "query P($id: ID!) { partner(id: $id) { name agreements { id } points { issued } } }"
    answer = await world.ask(one.person, query, id=other.id)
    assert answer["data"]["partner"]["name"]
    assert answer["data"]["partner"]["agreements"] is None
    assert answer["data"]["partner"]["points"] is None
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    offered = await world.mutate(
        world.operator,
        documents.OFFER_AGREEMENT,
        partnerId=other.id,
        unitValue={"currency": "EUR", "micros": 1},
        validFrom=iso(now()),
    )
    accept = world.mutate(one.person, documents.ACCEPT_AGREEMENT, agreementId=offered["agreement"]["id"])
    assert await reason_of(accept) == "AGREEMENT_NOT_FOUND"
    assert await reason_of(world.mutate(one.person, documents.RUN_SETTLEMENT)) == "FORBIDDEN"
