"""Why: on every claim, earning, lot, entry and redemption the event, the arithmetic, the terms, and who pays."""

from collections import Counter

import pytest

from alliance.accounts.v1 import accounts_pb2
from alliance.rewards.v1 import rewards_pb2
from services.shared.errors import Unavailable
from services.shared.ids import new_id
from tests.gateway.conftest import Gateway, World, codes
from tests.gateway.fakes import NOW, FakeAlliance

WHY = """
fragment Because on Why {
  sentence
  event {
    kind quantity unit occurredAt reference reporter { name } act { id } dropOff { weightGrams } machine { publicKey }
  }
  grams { co2eMg arithmetic factor { id version source } }
  grants {
    points arithmetic rule { id version points perQuantity } campaign { name extraPercent budgetPoints } expiresAt
  }
  refusal
  payments { issuer { name } payee { name } points unitValue { micros } amount { currency micros } agreementId }
  redemption { reward { title } }
}
"""
CLAIM = WHY + "query Claim($id: ID!) { claim(id: $id) { why { ...Because } } }"
ENTRIES = WHY + "query Entries($id: ID!) { member(id: $id) { entries(first: 100) { nodes { why { ...Because } } } } }"
WALLET = (
    WHY
    + """query Wallet($id: ID!) { member(id: $id) { wallet { lots {
  id earnings { nodes { claim { id } points why { sentence } } pageInfo { hasNextPage } } why { ...Because }
} } } }"""
)
OF_ITS_CLAIM = (
    "A machine of Groenmarkt took in 9 g of PET for recycling on 2026-03-01; "
    "9 g × 1,650,000 µg per g = 14,850 mg CO₂e avoided (factor pet-recycling-2025, version 2, by a ministry); "
    "9 g × 10 points per 3 g = 30 points by Groenmarkt's rule, version 3; "
    "Groenmarkt pays EUR 0.004 for each where it is spent."
)


async def test_a_claim_tells_its_event_its_factor_its_rule_and_who_pays(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    why = (await gateway.data(CLAIM, gateway.member(world.member), id=world.claim))["claim"]["why"]
    assert why["sentence"] == OF_ITS_CLAIM
    assert why["event"] == {
        "kind": "PET_RECYCLING",
        "quantity": 9,
        "unit": "g",
        "occurredAt": "2026-03-01T08:30:00Z",
        "reference": None,
        "reporter": {"name": "Groenmarkt"},
        "act": {"id": world.act},
        "dropOff": {"weightGrams": 9},
        "machine": {"publicKey": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="},
    }
    assert why["grams"] == {
        "co2eMg": 14_850,
        "arithmetic": "9 g × 1,650,000 µg per g = 14,850 mg CO₂e",
        "factor": {"id": "pet-recycling-2025", "version": 2, "source": "a ministry"},
    }
    assert why["grants"] == [
        {
            "points": 30,
            "arithmetic": "9 g × 10 points per 3 g = 30 points by Groenmarkt's rule, version 3",
            "rule": {"id": f"rule_{world.brand}", "version": 3, "points": 10, "perQuantity": 3},
            "campaign": None,
            "expiresAt": "2027-04-01T00:00:00Z",
        }
    ]
    assert why["payments"] == [
        {
            "issuer": {"name": "Groenmarkt"},
            "payee": None,
            "points": 30,
            "unitValue": {"micros": 4_000},
            "amount": {"currency": "EUR", "micros": 120_000},
            "agreementId": f"agreement of {world.brand}",
        }
    ]
    assert (why["refusal"], why["redemption"]) == (None, None)


async def test_a_campaign_shows_how_it_was_worked_out_and_to_its_brand_alone_its_budget(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    earning = alliance.rewards.earnings[world.claim]
    for points in (15, 7):
        earning.lots.add(
            issuer_partner_id=world.brand,
            points=points,
            unit_value={"currency": "EUR", "micros": 4_000},
            rule_id=f"campaign_{world.brand}",
        )
    mine = (await gateway.data(CLAIM, gateway.member(world.member), id=world.claim))["claim"]["why"]
    full, cut = mine["grants"][1:]
    assert full["arithmetic"] == "30 points × 50 % = 15 points by Groenmarkt's campaign “Spring”"
    assert cut["arithmetic"] == (
        "30 points × 50 % = 15 points by Groenmarkt's campaign “Spring”, "
        "cut to 7 points by its budget or its cap per member"
    )
    assert full["campaign"] == {"name": "Spring", "extraPercent": 50, "budgetPoints": None}
    theirs = (await gateway.data(CLAIM, gateway.partner(world.brand), id=world.claim))["claim"]["why"]
    assert theirs["grants"][1]["campaign"]["budgetPoints"] == 99


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (rewards_pb2.EARNING_STATUS_REFUSED, "NO_EARN_RULE", "it earned no points, since the brand gave no points for"),
        (rewards_pb2.EARNING_STATUS_REFUSED, "NEWER_THAN_THIS", "it earned no points, since NEWER_THAN_THIS"),
        (rewards_pb2.EARNING_STATUS_CANCELLED, "", "by Groenmarkt's rule, version 3, which were taken back"),
        (None, "", "its points are not decided yet"),
    ],
)
async def test_what_earned_nothing_says_why(
    gateway: Gateway, alliance: FakeAlliance, world: World, status: int | None, reason: str, told: str
):
    if status is None:
        del alliance.rewards.earnings[world.claim]
    else:
        earning = alliance.rewards.earnings[world.claim]
        earning.status, earning.reason = status, reason
        if reason:
            del earning.lots[:]
    why = (await gateway.data(CLAIM, gateway.operator(), id=world.claim))["claim"]["why"]
    assert told in why["sentence"]
    assert why["refusal"] == (reason or None)


async def test_entries_tell_what_moved_the_wallet_and_who_owes_whom(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    def lot(issuer: str, points: int) -> rewards_pb2.Lot:
        return rewards_pb2.Lot(
            issuer_partner_id=issuer, points=points, unit_value={"currency": "EUR", "micros": 4_000}, expires_at=NOW
        )

    for kind, points, fields in (
        (
            rewards_pb2.ENTRY_KIND_SPEND,
            -10,
            {
                "redemption_id": world.redemption,
                "partner_id": world.other_brand,
                "lots": [lot(world.brand, 8), lot(world.other_brand, 2)],
            },
        ),
        (rewards_pb2.ENTRY_KIND_EXPIRE, -5, {"lots": [lot(world.brand, 5)]}),
        (rewards_pb2.ENTRY_KIND_CANCEL, -1, {"lots": [lot(world.brand, 1)], "claim_id": world.claim}),
        (
            rewards_pb2.ENTRY_KIND_REPAY,
            -2,
            {"lots": [lot(world.other_brand, 2)], "claim_id": world.claim, "partner_id": world.brand},
        ),
    ):
        entry = rewards_pb2.Entry(
            id=new_id("entry"), member_id=world.member, kind=kind, points=points, at=NOW, **fields
        )
        alliance.rewards.entries.append(entry)
    answer = await gateway.data(ENTRIES, gateway.member(world.member), id=world.member)
    earn, spend, expire, cancel, repay = [node["why"] for node in answer["member"]["entries"]["nodes"]]
    assert earn["sentence"] == OF_ITS_CLAIM
    assert spend["sentence"] == (
        "10 points were spent on “Soup” at Noodle House; "
        "8 points × EUR 0.004 = EUR 0.032, which Groenmarkt owes Noodle House for points it issued; "
        "2 points × EUR 0.004 = EUR 0.008, its own points."
    )
    assert [
        (p["issuer"]["name"], p["payee"] and p["payee"]["name"], p["amount"]["micros"]) for p in spend["payments"]
    ] == [
        ("Groenmarkt", "Noodle House", 32_000),
        ("Noodle House", None, 8_000),
    ]
    assert spend["redemption"] == {"reward": {"title": "Soup"}}
    assert expire["sentence"] == "5 points of Groenmarkt had not been spent when their time was over."
    assert cancel["sentence"].startswith("1 point was taken back, which were for this: A machine of Groenmarkt")
    assert repay["sentence"].startswith("2 points repaid what had been spent of points that were taken back")
    assert repay["payments"][0]["payee"] == {"name": "Groenmarkt"}
    assert repay["event"]["kind"] == "PET_RECYCLING"


async def test_a_lot_of_a_wallet_lists_the_earnings_in_it(gateway: Gateway, alliance: FakeAlliance, world: World):
    answer = await gateway.data(WALLET, gateway.member(world.member), id=world.member)
    (lot,) = answer["member"]["wallet"]["lots"]
    assert lot["id"] == f"lot of {world.member}"
    assert lot["earnings"] == {
        "nodes": [{"claim": {"id": world.claim}, "points": 30, "why": {"sentence": OF_ITS_CLAIM}}],
        "pageInfo": {"hasNextPage": False},
    }
    assert lot["why"]["sentence"] == (
        "30 points of Groenmarkt, worth EUR 0.004 each since they were issued and good until 2027-04-01; "
        "Groenmarkt has bought them ahead and pays for them where they are spent."
    )
    assert lot["why"]["payments"][0]["amount"] == {"currency": "EUR", "micros": 120_000}


async def test_a_lot_of_an_earning_tells_its_own_rule(gateway: Gateway, alliance: FakeAlliance, world: World):
    query = (
        WHY
        + """query ($id: ID!) { claim(id: $id) { earning { why { sentence } lots {
      id claim { id } agreementId rule { version } earnings { nodes { points } } why { ...Because }
    } } } }"""
    )
    earning = (await gateway.data(query, gateway.member(world.member), id=world.claim))["claim"]["earning"]
    assert earning["why"]["sentence"] == OF_ITS_CLAIM
    (lot,) = earning["lots"]
    assert (lot["id"], lot["claim"], lot["earnings"]) == (None, {"id": world.claim}, {"nodes": []})
    assert (lot["agreementId"], lot["rule"]) == (f"agreement of {world.brand}", {"version": 3})
    assert [grant["points"] for grant in lot["why"]["grants"]] == [30]
    assert "9 g × 10 points per 3 g = 30 points" in lot["why"]["sentence"]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (rewards_pb2.REDEMPTION_STATUS_HELD, "10 points held for “Soup” at Noodle House"),
        (rewards_pb2.REDEMPTION_STATUS_CAPTURED, "10 points were spent on “Soup” at Noodle House"),
        (rewards_pb2.REDEMPTION_STATUS_VOIDED, "No points were spent: “Soup” at Noodle House was given up"),
    ],
)
async def test_a_redemption_tells_what_became_of_its_points(
    gateway: Gateway, alliance: FakeAlliance, world: World, status: int, told: str
):
    alliance.rewards.redemptions[world.redemption].status = status
    query = "query ($id: ID!) { redemption(id: $id) { why { sentence redemption { status } } } }"
    why = (await gateway.data(query, gateway.partner(world.other_brand), id=world.redemption))["redemption"]["why"]
    assert why["sentence"].startswith(told)
    assert why["redemption"]["status"]


async def test_fifty_entries_take_one_rpc_per_source(gateway: Gateway, alliance: FakeAlliance, world: World):
    earning, first = alliance.rewards.earnings[world.claim], alliance.rewards.entries[-1]
    for _ in range(49):
        act, claim = accounts_pb2.Act(), accounts_pb2.Claim()
        act.CopyFrom(alliance.accounts.acts[world.act])
        claim.CopyFrom(alliance.accounts.claims[world.claim])
        act.id, claim.id = new_id("act"), new_id("claim")
        claim.act_id = act.id
        alliance.accounts.acts[act.id], alliance.accounts.claims[claim.id] = act, claim
        alliance.rewards.earnings[claim.id] = rewards_pb2.Earning()
        alliance.rewards.earnings[claim.id].CopyFrom(earning)
        alliance.rewards.earnings[claim.id].claim_id = claim.id
        entry = rewards_pb2.Entry()
        entry.CopyFrom(first)
        entry.id, entry.claim_id = new_id("entry"), claim.id
        alliance.rewards.entries.append(entry)
    answer = await gateway.data(ENTRIES, gateway.operator(), id=world.member)
    nodes = answer["member"]["entries"]["nodes"]
    assert [node["why"]["sentence"] for node in nodes] == [OF_ITS_CLAIM] * 50
    assert Counter(alliance.methods()) == dict.fromkeys(
        [
            "BatchGetMembers",
            "BatchListEntries",
            "BatchGetClaims",
            "BatchGetEarnings",
            "BatchGetPartners",
            "BatchGetActs",
            "BatchGetFactors",
            "BatchGetEarnRules",
            "BatchGetDropOffs",
            "BatchGetMachines",
        ],
        1,
    )


async def test_an_explanation_that_cannot_be_made_just_now_fails_alone(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    alliance.fail("BatchGetFactors", Unavailable("away", reason="AWAY"))
    query = "query ($id: ID!) { claim(id: $id) { co2eMg why { sentence } earning { points } } }"
    answer = await gateway.ask(query, gateway.member(world.member), id=world.claim)
    assert answer["data"]["claim"] == {"co2eMg": 14_850, "why": None, "earning": {"points": 30}}
    assert codes(answer) == [("SERVICE_UNAVAILABLE", ["claim", "why"])]


async def test_who_may_not_see_the_claim_is_told_nothing_of_it(gateway: Gateway, alliance: FakeAlliance, world: World):
    for token in (None, gateway.member(new_id("member")), gateway.partner(world.other_brand)):
        answer = await gateway.ask(CLAIM, token, id=world.claim)
        assert answer["data"]["claim"] is None
