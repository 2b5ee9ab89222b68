"""Relay connections: pages, cursors, and where they end."""

from typing import Any

from alliance.accounts.v1 import accounts_pb2
from alliance.partners.v1 import partners_pb2
from services.shared.ids import new_id
from tests.gateway.conftest import Gateway, World
from tests.gateway.fakes import FakeAlliance

ACTS = """
query ($id: ID!, $first: Int, $after: String) { member(id: $id) { acts(first: $first, after: $after) {
  edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
} } }
"""


def acts(alliance: FakeAlliance, member: str, count: int) -> list[str]:
    ids = [new_id("act") for _ in range(count)]
    for id in ids:
        alliance.accounts.acts[id] = accounts_pb2.Act(id=id, member_id=member)
    return ids


async def test_pages_lead_through_the_whole_list(gateway: Gateway, alliance: FakeAlliance, world: World):
    expected = [world.act, *acts(alliance, world.member, 6)]
    seen: list[str] = []
    after: str | None = None
    pages: list[Any] = []
    while True:
        data = await gateway.data(ACTS, gateway.member(world.member), id=world.member, first=3, after=after)
        page = data["member"]["acts"]
        pages.append(page)
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        seen += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == expected
    assert [len(page["nodes"]) for page in pages] == [3, 3, 1]
    assert [page["pageInfo"]["hasPreviousPage"] for page in pages] == [False, True, True]


async def test_without_a_size_a_page_has_twenty_rows(gateway: Gateway, alliance: FakeAlliance, world: World):
    acts(alliance, world.member, 25)
    query = "query ($id: ID!) { member(id: $id) { acts { nodes { id } } } }"
    data = await gateway.data(query, gateway.member(world.member), id=world.member)
    assert len(data["member"]["acts"]["nodes"]) == 20


async def test_an_empty_list_is_an_empty_page(gateway: Gateway, alliance: FakeAlliance):
    member = new_id("member")
    alliance.accounts.members[member] = accounts_pb2.Member(id=member)
    data = await gateway.data(ACTS, gateway.member(member), id=member, first=3)
    assert data["member"]["acts"] == {
        "edges": [],
        "nodes": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
    }


async def test_rewards_can_be_asked_for_by_partner(gateway: Gateway, alliance: FakeAlliance, world: World):
    query = "query ($p: ID) { rewards(partnerId: $p, first: 100) { nodes { id partner { id } } } }"
    data = await gateway.data(query, p=world.other_brand)
    assert data["rewards"]["nodes"] == [{"id": world.reward, "partner": {"id": world.other_brand}}]
    assert len((await gateway.data(query))["rewards"]["nodes"]) >= 1
    assert (await gateway.data(query, p="partner_none"))["rewards"]["nodes"] == []


OFFICE = """
query ($since: DateTime, $until: DateTime, $machine: ID, $status: RedemptionStatus) { viewer { partner {
  dropOffs(first: 2, since: $since, until: $until, machineId: $machine) {
    nodes { id weightGrams machine { id } recyclingPoint { name } } pageInfo { hasNextPage endCursor }
  }
  redemptions(since: $since, until: $until, status: $status) { nodes { id status voucherCode reward { title } } }
} } }
"""


async def test_a_brand_lists_what_its_machines_took_and_what_was_redeemed_of_its_rewards(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    data = await gateway.data(OFFICE, gateway.partner(world.brand))
    (taken,) = data["viewer"]["partner"]["dropOffs"]["nodes"]
    assert taken["id"] == world.drop_off
    assert data["viewer"]["partner"]["redemptions"]["nodes"] == []
    data = await gateway.data(OFFICE, gateway.partner(world.other_brand), status="HELD")
    assert data["viewer"]["partner"]["dropOffs"]["nodes"] == []
    assert data["viewer"]["partner"]["redemptions"]["nodes"] == [
        {"id": world.redemption, "status": "HELD", "voucherCode": None, "reward": {"title": "Soup"}}
    ]


async def test_lists_are_filtered_by_period_state_and_machine(gateway: Gateway, alliance: FakeAlliance, world: World):
    async def counts(**wanted: Any) -> list[int]:
        found = []
        for brand in (world.brand, world.other_brand):
            partner = (await gateway.data(OFFICE, gateway.partner(brand), **wanted))["viewer"]["partner"]
            found.append(len(partner["dropOffs"]["nodes"]) + len(partner["redemptions"]["nodes"]))
        return found

    assert await counts() == [1, 1]
    assert await counts(since="2026-03-01T08:30:00Z", until="2026-03-01T09:30:00.001+01:00") == [
        1,
        1,
    ]
    assert await counts(until="2026-03-01T08:30:00Z") == [0, 0]
    assert await counts(since="2026-03-01T08:30:00.001Z") == [0, 0]
    assert await counts(machine=new_id("machine"), status="CAPTURED") == [0, 0]
    assert await counts(machine=world.machine, status="HELD") == [1, 1]


async def test_those_who_ask_alike_share_a_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    """However they write the moment."""
    part = "dropOffs(since: {}) {{ nodes {{ id }} }}"
    moments = ('"2026-03-01T08:00:00Z"', '"2026-03-01T10:00:00.000+02:00"')
    query = "{ viewer { partner { " + " ".join(f"a{n}: {part.format(at)}" for n, at in enumerate(moments)) + " } } }"
    await gateway.data(query, gateway.partner(world.brand))
    (call,) = [call for call in alliance.calls if call.method == "BatchListPartnerDropOffs"]
    assert call.request.period.since.ToJsonString() == "2026-03-01T08:00:00Z"


async def test_a_till_sees_what_a_voucher_is_good_for_before_it_takes_it_in(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    query = """query ($code: String!) { redemptionByVoucherCode(voucherCode: $code) {
      id status points expiresAt reward { title } voucherCode } }"""
    data = await gateway.data(query, gateway.partner(world.other_brand), code="SECRET")
    assert data["redemptionByVoucherCode"] == {
        "id": world.redemption,
        "status": "HELD",
        "points": 10,
        "expiresAt": None,
        "reward": {"title": "Soup"},
        "voucherCode": None,
    }
    assert (await gateway.data(query, gateway.partner(world.brand), code="SECRET"))["redemptionByVoucherCode"] is None
    for token in (gateway.member(world.member), gateway.operator(), None):
        answer = await gateway.ask(query, token, code="SECRET")
        assert answer["errors"][0]["extensions"]["code"] == ("FORBIDDEN" if token else "UNAUTHENTICATED")


CONSOLE = """
query ($status: ActStatus, $life: PartnerStatus) {
  viewer { partner { members { nodes { id displayName } } acts(status: $status) { nodes { id status } }
    claims { nodes { id co2eMg } } } }
  partners(status: $life, first: 100) { nodes { status } }
}
"""


async def test_a_brand_lists_its_members_acts_and_claims(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.accounts.consents[world.brand, world.member] = True
    alliance.partners.partners[world.other_brand].status = partners_pb2.PARTNER_STATUS_SUSPENDED
    data = await gateway.data(CONSOLE, gateway.partner(world.brand), status="CREDITED", life="SUSPENDED")
    assert data["viewer"]["partner"] == {
        "members": {"nodes": [{"id": world.member, "displayName": "Ada"}]},
        "acts": {"nodes": [{"id": world.act, "status": "CREDITED"}]},
        "claims": {"nodes": [{"id": world.claim, "co2eMg": 14_850}]},
    }
    assert {node["status"] for node in data["partners"]["nodes"]} == {"SUSPENDED"}
    data = await gateway.data(CONSOLE, gateway.partner(world.brand), status="CAPPED")
    assert data["viewer"]["partner"]["acts"]["nodes"] == []
    assert len(data["partners"]["nodes"]) > 1
