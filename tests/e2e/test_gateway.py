"""The gateway over the four real services: joins, and explanations of points and grams."""

import asyncio
import re
from collections import Counter
from datetime import timedelta

from tests.e2e.test_logistics import credited
from tests.support.alliance import LONG_AGO, World, item, now

WHY = """
fragment Because on Why {
  sentence
  event { kind quantity unit reference reporter { id } act { id status } dropOff { id weightGrams } machine { id } }
  grams { co2eMg arithmetic factor { id version avoidedUgPerUnit source } }
  grants { points arithmetic rule { version points perQuantity } campaign { name extraPercent budgetPoints } }
  refusal
  payments { issuer { id } payee { id } points unitValue { micros } amount { micros } agreementId }
  redemption { id }
}
query Why($id: ID!) { member(id: $id) {
  claims { nodes { kind co2eMg earning { points } why { ...Because } } }
  entries { nodes { kind points why { ...Because } } }
  wallet { lots { lotId points earnings { nodes { claim { kind } points } } why { ...Because } } }
  redemptions { nodes { why { ...Because } } }
} }
"""


JOINED = """
query Joined($after: String) { members(first: 50, after: $after) { nodes {
  displayName
  enrolledBy { name }
  wallet { balance lots { points issuer { name } } }
  carbon { co2eMg }
  identities { partner { name } }
  acts(first: 5) { nodes { partner { name } claim { co2eMg factor { version } earning { points } } } }
  dropOffs(first: 5) { nodes { weightGrams recyclingPoint { name } machine { id } partner { name } } }
  redemptions(first: 5) { nodes { reward { title partner { name } } } }
} } }
"""


async def everybody(world: World) -> str | None:
    """The cursor behind all members of this moment."""
    document = "query M($after: String) { members(first: 50, after: $after) { pageInfo { hasNextPage endCursor } } }"
    after = None
    while True:
        page = (await world.query(world.operator, document, after=after))["members"]["pageInfo"]
        after = page["endCursor"] or after
        if not page["hasNextPage"]:
            return after


async def calls(world: World) -> Counter[str]:
    """How many calls the gateway has made, by source, as its metrics say."""
    told = (await world.http.get(f"http://{world.alliance.metrics('gateway')}/metrics")).text
    counted = re.findall(r'^alliance_graphql_batch_size\w*_count\{[^}]*source="([^"]+)"[^}]*\} (\S+)', told, re.M)
    assert counted, told
    return Counter({source: int(float(count)) for source, count in counted})


async def test_g1_fifty_members_over_four_services_take_one_rpc_per_source(world: World):
    grocer = await world.brand(earns={"PET_RECYCLING": 1})
    machine = await grocer.machine()
    others = await everybody(world)
    members = await asyncio.gather(*(grocer.enrol(f"M {number}") for number in range(50)))
    await machine.capture(*(item(member, grams=20 + number) for number, member in enumerate(members)))
    for member in members:
        await credited(world, member, 1)
    async with asyncio.timeout(60):
        while True:
            # By one request each time: who asks again when a busy machine does not answer in time, takes more calls.
            before = await calls(world)
            answer = await world.ask_once(world.operator, JOINED, after=others)
            made = await calls(world) - before
            if "errors" not in answer:
                break
    nodes = answer["data"]["members"]["nodes"]
    assert len(nodes) == 50
    assert all(node["dropOffs"]["nodes"] and node["wallet"]["lots"] for node in nodes)
    assert set(made.values()) == {1}, made
    assert {source.partition("/")[0] for source in made} == {
        "AccountsService",
        "PartnersService",
        "LogisticsService",
        "RewardsService",
    }


async def test_g4_every_point_and_gram_says_why(world: World):
    grocer = await world.brand(unit_value_micros=4_000)
    shop = await world.brand()
    await grocer.rule("PET_RECYCLING", 1, per_quantity=5)
    await grocer.rule("METRO_TRIP", 2, per_quantity=500)
    second = await grocer.agree(5_000, valid_from=now() - LONG_AGO / 2)
    await grocer.campaign("METRO_TRIP", name="Go by metro", extraPercent=50, memberCapPoints=10)
    machine, ada = await grocer.machine(), await grocer.enrol()
    await machine.capture(item(ada, grams=46))
    await credited(world, ada, 1)
    await ada.earn(grocer, ada.act(grocer, "METRO_TRIP", 7_600, ticket="GVB 1", at=now() - timedelta(hours=1)))
    redeemed = await ada.redeem(await shop.reward(20, title="A cake"))
    await shop.capture(redeemed["voucherCode"])

    seen = (await world.query(ada.person, WHY, id=ada.id))["member"]
    claims = {claim["kind"]: claim for claim in seen["claims"]["nodes"]}
    bottle, trip = claims["PET_RECYCLING"]["why"], claims["METRO_TRIP"]["why"]
    assert bottle["event"]["machine"] == {"id": machine.id}
    assert bottle["event"]["dropOff"]["weightGrams"] == 46
    assert bottle["grams"]["arithmetic"] == "46 g × 1,650,000 µg per g = 75,900 mg CO₂e"
    assert bottle["grams"]["co2eMg"] == claims["PET_RECYCLING"]["co2eMg"] == 75_900
    assert bottle["grants"][0]["arithmetic"].startswith("46 g × 1 point per 5 g, rounded down = 9 points by ")
    assert "A machine of " in bottle["sentence"]
    assert (trip["event"]["reference"], trip["event"]["reporter"]) == ("GVB 1", {"id": grocer.id})
    factor = trip["grams"]["factor"]
    assert claims["METRO_TRIP"]["co2eMg"] == 7_600 * factor["avoidedUgPerUnit"] // 1_000
    assert factor["source"]
    ruled, extra = trip["grants"]
    assert (ruled["points"], ruled["rule"]) == (30, {"version": 1, "points": 2, "perQuantity": 500})
    assert extra["points"] == 10
    assert "30 points × 50 % = 15 points by" in extra["arithmetic"]
    assert "cut to 10 points by its budget or its cap per member" in extra["arithmetic"]
    assert extra["campaign"] == {"name": "Go by metro", "extraPercent": 50, "budgetPoints": None}
    assert {payment["agreementId"] for payment in trip["payments"]} == {second}
    assert [payment["amount"]["micros"] for payment in trip["payments"]] == [30 * 5_000, 10 * 5_000]

    entries = {}
    for entry in seen["entries"]["nodes"]:
        entries.setdefault(entry["kind"], []).append(entry["why"])
    assert {why["sentence"] for why in entries["EARN"]} == {bottle["sentence"], trip["sentence"]}
    (spend,) = entries["SPEND"]
    assert spend["redemption"] == {"id": redeemed["id"]}
    assert sum(payment["points"] for payment in spend["payments"]) == 20
    for payment in spend["payments"]:
        assert (payment["issuer"], payment["payee"]) == ({"id": grocer.id}, {"id": shop.id})
        assert payment["amount"]["micros"] == payment["points"] * 5_000
    assert seen["redemptions"]["nodes"][0]["why"]["payments"] == spend["payments"]

    lots = seen["wallet"]["lots"]
    assert sum(lot["points"] for lot in lots) == 29
    went_in = [(row["claim"]["kind"], row["points"]) for lot in lots for row in lot["earnings"]["nodes"]]
    assert set(went_in) == {("PET_RECYCLING", 9), ("METRO_TRIP", 40)}
    for lot in lots:
        assert lot["why"]["payments"][0]["points"] == lot["points"]
        assert "EUR 0.005 each" in lot["why"]["sentence"]

    assert (await world.ask(shop.person, WHY, id=ada.id))["data"]["member"] is None
