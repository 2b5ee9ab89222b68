"""The gateway as a subgraph of a router that is not the alliance's, over real processes."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.alliance import World, now

ROUTER = Path(__file__).parents[1] / "federation"
# What a router sends for the owners of two shoes and a partner that another subgraph named.
ENTITIES = """query Shop__alliance__1($representations: [_Any!]!) {
  _entities(representations: $representations) {
    __typename
    ... on Member { displayName wallet { available } }
    ... on Partner { name }
    ... on Claim { co2eMg why { grants { points } } }
  }
}"""


async def test_g6_a_foreign_router_resolves_members_by_key_through_the_gateway(world: World):
    cafe = await world.brand(earns={"OWN_CUP": 100, "METRO_TRIP": 1})
    ada = await cafe.enrol("Ada")
    await ada.earn(cafe, ada.act(cafe, "METRO_TRIP", 20, at=now() - timedelta(hours=1)))
    claim = (await ada.look())["acts"]["edges"][0]["node"]["claim"]
    asked = [
        {"__typename": "Member", "id": ada.id},
        {"__typename": "Partner", "id": cafe.id},
        {"__typename": "Claim", "id": claim["id"]},
        {"__typename": "Member", "id": "member_00000000000000000000000000"},
        {"__typename": "Shoe", "id": "x"},
    ]
    sdl = (await world.ask(None, "{ _service { sdl } }"))["data"]["_service"]["sdl"]
    assert 'type Member implements Node @key(fields: "id")' in sdl
    answer = await world.ask(ada.person, ENTITIES, representations=asked)
    member, partner, found, stranger, shoe = answer["data"]["_entities"]
    assert member == {"__typename": "Member", "displayName": "Ada", "wallet": {"available": 20}}
    assert partner["__typename"] == "Partner"
    assert found["co2eMg"] == claim["co2eMg"]
    assert found["why"]["grants"] == [{"points": 20}]
    assert (stranger, shoe) == (None, None)
    told = {(error["path"][1], error["extensions"]["code"]) for error in answer["errors"]}
    assert told == {(3, "FORBIDDEN"), (4, "BAD_USER_INPUT")}


@pytest.mark.skipif(not (ROUTER / "node_modules").exists(), reason="make router fetches it")
async def test_g6_a_router_of_another_kind_joins_a_shop_of_its_own(world: World):
    cafe = await world.brand(earns={"METRO_TRIP": 1})
    ada = await cafe.enrol("Ada")
    await ada.earn(cafe, ada.act(cafe, "METRO_TRIP", 20, at=now() - timedelta(hours=1)))
    token = await world.doors.token(ada.person)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(ROUTER / "route.mjs"),
        f"{world.alliance.url}/graphql",
        token,
        ada.id,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        told, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    answer = json.loads(told.splitlines()[-1])
    brogue, clog = answer["data"]["shoes"]["nodes"]
    assert brogue["owner"] == {"id": ada.id, "shoeSize": 43, "displayName": "Ada", "wallet": {"available": 20}}
    # Ada's router may not see whose the other shoe is; what is the shop's own stands.
    assert clog["name"] == "Clog"
    assert clog["owner"] is None
    assert answer["data"]["member"]["shoeSize"] == 43
    assert len(answer["data"]["member"]["claims"]["nodes"]) == 1
