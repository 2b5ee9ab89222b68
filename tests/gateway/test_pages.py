"""Relay connections: pages, cursors, and where they end."""

from typing import Any

from alliance.accounts.v1 import accounts_pb2
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
