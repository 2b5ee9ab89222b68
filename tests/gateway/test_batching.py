"""Joins over four services: how many calls they take."""

import asyncio
from collections import Counter

from alliance.accounts.v1 import accounts_pb2
from alliance.rewards.v1 import rewards_pb2
from services.shared.errors import Aborted, Internal
from services.shared.ids import new_id
from tests.gateway.conftest import Gateway, World, codes
from tests.gateway.fakes import FakeAlliance

JOINED = """
query Members($first: Int!) {
  members(first: $first) {
    nodes {
      id displayName
      enrolledBy { id name }
      wallet { balance available lots { points issuer { name } } }
      carbon { claims co2eMg }
      identities { partner { name } }
      consents { partner { name } granted }
      acts(first: 5) { edges { node { id kind partner { name } claim { co2eMg factor { id } } earning { points } } } }
      dropOffs(first: 5) { nodes { id weightGrams machine { id } recyclingPoint { name } partner { name } } }
      redemptions(first: 5) { nodes { status reward { title partner { name } } } }
    }
  }
}
"""


def populate(alliance: FakeAlliance, brand: str, count: int) -> list[str]:
    """Members with a claim, a drop-off and a redemption each."""
    ids = [new_id("member") for _ in range(count)]
    for number, id in enumerate(ids):
        claim, act = new_id("claim"), new_id("act")
        alliance.accounts.members[id] = accounts_pb2.Member(
            id=id, display_name=f"M {number}", enrolled_by_partner_id=brand
        )
        alliance.accounts.claims[claim] = accounts_pb2.Claim(
            id=claim, member_id=id, act_id=act, partner_id=brand, co2e_mg=number, factor_id="metro-trip-2025"
        )
        alliance.accounts.acts[act] = accounts_pb2.Act(
            id=act, member_id=id, partner_id=brand, claim_id=claim, status=accounts_pb2.ACT_STATUS_CREDITED, kind=2
        )
        alliance.rewards.wallets[id] = rewards_pb2.Wallet(
            member_id=id, balance=number, available=number, lots=[rewards_pb2.Lot(issuer_partner_id=brand, points=1)]
        )
    return ids


async def test_g1_fifty_members_over_four_services_take_one_rpc_per_source(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    populate(alliance, world.brand, 50)
    answer = await gateway.data(JOINED, gateway.operator(), first=50)
    assert len(answer["members"]["nodes"]) == 50
    calls = Counter(alliance.methods())
    assert set(calls.values()) == {1}, calls
    # Brands are named on four levels of the answer.
    assert {
        "ListMembers",
        "BatchGetWallets",
        "BatchGetCarbonTotals",
        "BatchListIdentities",
        "BatchListConsents",
        "BatchListActs",
        "BatchListDropOffs",
        "BatchListRedemptions",
        "BatchGetClaims",
        "BatchGetEarnings",
        "BatchGetPartners",
    } <= set(calls)


async def test_a_key_is_asked_for_once_however_often_it_is_needed(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    populate(alliance, world.brand, 30)
    await gateway.data("{ members(first: 50) { nodes { enrolledBy { name } } } }", gateway.operator())
    (call,) = [call for call in alliance.calls if call.method == "BatchGetPartners"]
    assert len(call.request.ids) == len(set(call.request.ids))


async def test_what_one_rpc_answers_twice_over_takes_one_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    query = "query ($id: ID!) { partner(id: $id) { earnRules { id } campaigns { id } } }"
    data = await gateway.data(query, gateway.partner(world.brand), id=world.brand)
    assert data["partner"] == {
        "earnRules": [{"id": f"rule_{world.brand}"}],
        "campaigns": [{"id": f"campaign_{world.brand}"}],
    }
    (call,) = [call for call in alliance.calls if call.method != "BatchGetPartners"]
    assert call.method == "BatchListEarnRules"
    assert list(call.request.partner_ids) == [world.brand]
    alliance.reset()
    wanted = [
        {"__typename": "EarnRule", "id": f"rule_{world.brand}"},
        {"__typename": "Campaign", "id": f"campaign_{world.brand}"},
    ]
    query = (
        "query ($r: [_Any!]!) { _entities(representations: $r) { ... on EarnRule { id } ... on Campaign { name } } }"
    )
    data = await gateway.data(query, gateway.partner(world.brand), r=wanted)
    assert data["_entities"] == [{"id": f"rule_{world.brand}"}, {"name": "Spring"}]
    (call,) = alliance.calls
    assert (list(call.request.rule_ids), list(call.request.campaign_ids)) == (
        [f"rule_{world.brand}"],
        [f"campaign_{world.brand}"],
    )
    alliance.fail("BatchGetEarnRules", Aborted("busy", reason="BUSY"))
    answer = await gateway.ask(query, gateway.partner(world.brand), r=wanted)
    assert codes(answer) == [("SERVICE_UNAVAILABLE", ["_entities", place]) for place in (0, 1)]


async def test_requests_at_the_same_time_share_a_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    ids = populate(alliance, world.brand, 8)
    alliance.reset()
    answers = await asyncio.gather(
        *(
            gateway.data("query ($id: ID!) { member(id: $id) { id wallet { balance } } }", gateway.member(id), id=id)
            for id in ids
        )
    )
    assert [answer["member"]["id"] for answer in answers] == ids
    assert [answer["member"]["wallet"]["balance"] for answer in answers] == list(range(8))
    assert len(alliance.calls) < 2 * len(ids)


async def test_what_one_brand_may_see_is_no_answer_for_another_in_the_same_call(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    alliance.accounts.consents[world.brand, world.member] = True
    query = "query ($id: ID!) { member(id: $id) { displayName } }"
    mine, theirs = await asyncio.gather(
        gateway.ask(query, gateway.partner(world.brand), id=world.member),
        gateway.ask(query, gateway.partner(world.other_brand), id=world.member),
    )
    assert mine["data"]["member"] == {"displayName": "Ada"}
    assert theirs["data"]["member"] is None
    assert codes(theirs) == [("CONSENT_REQUIRED", ["member"])]


async def test_more_keys_than_a_call_takes_go_out_in_parts(gateway: Gateway, alliance: FakeAlliance, world: World):
    representations = [{"__typename": "Partner", "id": new_id("partner")} for _ in range(1_500)]
    query = "query ($r: [_Any!]!) { _entities(representations: $r) { __typename } }"
    answer = await gateway.data(query, gateway.operator(), r=representations)
    assert answer["_entities"] == [None] * 1_500
    assert sorted(len(call.request.ids) for call in alliance.calls) == [500, 1_000]


async def test_pages_of_another_size_are_another_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    query = "query ($id: ID!) { member(id: $id) { a: acts(first: 1) { nodes { id } } b: acts { nodes { id } } } }"
    await gateway.data(query, gateway.member(world.member), id=world.member)
    assert sorted(call.request.page.first for call in alliance.calls if call.method == "BatchListActs") == [1, 20]


async def test_a_call_that_fails_fails_its_own_keys_alone(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.fail("BatchGetWallets", Internal("broken", reason="INTERNAL"))
    query = "query ($id: ID!) { member(id: $id) { displayName wallet { balance } carbon { co2eMg } } }"
    answer = await gateway.ask(query, gateway.member(world.member), id=world.member)
    assert answer["data"]["member"] == {"displayName": "Ada", "wallet": None, "carbon": {"co2eMg": 14_850}}
    assert codes(answer) == [("INTERNAL", ["member", "wallet"])]


async def test_a_caller_who_is_gone_takes_nobody_along(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.recorder.delays["BatchGetPartners"] = 0.2
    query = "query ($id: ID!) { partner(id: $id) { name } }"
    gone = asyncio.create_task(gateway.data(query, id=world.brand))
    stays = asyncio.create_task(gateway.data(query, id=world.brand))
    while "BatchGetPartners" not in alliance.methods():
        await asyncio.sleep(0.005)
    gone.cancel()
    assert (await stays)["partner"] == {"name": "Groenmarkt"}


async def test_what_is_joined_by_the_key_that_is_asked_for_does_not_wait_for_its_row(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    beside = {"BatchGetWallets", "BatchListActs", "BatchListDropOffs"}
    answering = alliance.recorder.waits["BatchGetMembers"] = asyncio.Event()
    query = """query ($id: ID!) { member(id: $id) { displayName wallet { balance }
      some: acts(first: 1) { nodes { id } } acts { nodes { id } } dropOffs { nodes { id partner { name } } } } }"""
    asked = asyncio.create_task(gateway.data(query, gateway.member(world.member), id=world.member))
    async with asyncio.timeout(60):
        # While the member is still to come.
        while not beside <= set(alliance.methods()):
            await asyncio.sleep(0.005)
    answering.set()
    member = (await asked)["member"]
    assert (member["displayName"], member["wallet"]) == ("Ada", {"balance": 30})
    assert member["dropOffs"] == {"nodes": [{"id": world.drop_off, "partner": {"name": "Groenmarkt"}}]}


async def test_nothing_is_loaded_beside_what_may_not_be_seen(gateway: Gateway, alliance: FakeAlliance, world: World):
    query = "query ($id: ID!) { member(id: $id) { displayName wallet { balance } dropOffs { nodes { id } } } }"
    alliance.reset()
    answer = await gateway.ask(query, gateway.partner(world.other_brand), id=world.member)
    assert (answer["data"], codes(answer)) == ({"member": None}, [("CONSENT_REQUIRED", ["member"])])
    assert alliance.methods() == ["BatchCheckConsents"]


async def test_what_is_loaded_beside_a_row_that_is_not_there_shows_nowhere(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    query = "query ($id: ID!) { member(id: $id) { wallet { balance } dropOffs { nodes { id } } } }"
    nobody = new_id("member")
    assert await gateway.data(query, gateway.operator(), id=nobody) == {"member": None}
    alliance.fail("BatchGetWallets", Internal("broken", reason="INTERNAL"))
    assert await gateway.ask(query, gateway.operator(), id=nobody) == {"data": {"member": None}}


async def test_what_is_read_further_down_too_waits_to_be_asked_for_once(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    query = (
        "query ($id: ID!) { member(id: $id) { wallet { balance } claims { nodes { member { wallet { held } } } } } }"
    )
    alliance.reset()
    await gateway.data(query, gateway.operator(), id=world.member)
    assert Counter(alliance.methods())["BatchGetWallets"] == 1
