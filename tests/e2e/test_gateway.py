"""The gateway over the four real services: joins, and explanations of points and grams."""

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
  wallet { lots { id points earnings { nodes { claim { kind } points } } why { ...Because } } }
  redemptions { nodes { why { ...Because } } }
} }
"""


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
