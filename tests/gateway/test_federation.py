"""The gateway as a subgraph: other gateways extend its entities and resolve them by key."""

from typing import Any

import pytest

from services.shared.ids import new_id
from tests.gateway.conftest import Gateway, World, codes
from tests.gateway.fakes import FakeAlliance

ENTITIES = """query ($r: [_Any!]!) { _entities(representations: $r) {
  __typename
  ... on Member { displayName } ... on Partner { name } ... on Act { quantity } ... on DropOff { weightGrams }
  ... on Claim { co2eMg } ... on Wallet { balance member { id } } ... on Reward { title }
  ... on Redemption { points } ... on Settlement { number } ... on RecyclingPoint { address } ... on Machine { retired }
  ... on Earning { status claim { id } } ... on EarnRule { version } ... on Campaign { name } ... on Factor { unit }
} }"""


def representations(world: World) -> list[dict[str, Any]]:
    return [
        {"__typename": "Member", "id": world.member},
        {"__typename": "Partner", "id": world.brand},
        {"__typename": "Act", "id": world.act},
        {"__typename": "DropOff", "id": world.drop_off},
        {"__typename": "Claim", "id": world.claim},
        {"__typename": "Wallet", "member": {"id": world.member}},
        {"__typename": "Reward", "id": world.reward},
        {"__typename": "Redemption", "id": world.redemption},
        {"__typename": "Settlement", "id": world.settlement},
        {"__typename": "RecyclingPoint", "id": world.point},
        {"__typename": "Machine", "id": world.machine},
        {"__typename": "Earning", "claim": {"id": world.claim}},
        {"__typename": "EarnRule", "id": f"rule_{world.brand}"},
        {"__typename": "Campaign", "id": f"campaign_{world.brand}"},
        {"__typename": "Factor", "id": "pet-recycling-2025"},
    ]


def global_ids(world: World) -> dict[str, str]:
    """One of each type that has ids of its own, by type."""
    ids = {row["__typename"]: row["id"] for row in representations(world) if "id" in row}
    of = {
        "Wallet": ("wallet", world.member),
        "Earning": ("earning", world.claim),
        "PartnerPoints": ("points", world.brand),
    }
    return ids | {name: f"{prefix}_{id.partition('_')[2]}" for name, (prefix, id) in of.items()}


async def test_every_entity_is_resolved_by_its_key_in_the_order_asked(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    wanted = representations(world)
    data = await gateway.data(ENTITIES, gateway.operator(), r=wanted)
    assert [row["__typename"] for row in data["_entities"]] == [row["__typename"] for row in wanted]
    assert data["_entities"][0]["displayName"] == "Ada"
    assert data["_entities"][5] == {"__typename": "Wallet", "balance": 30, "member": {"id": world.member}}
    # Rules and campaigns by one.
    assert len(alliance.calls) == len(wanted) - 1


async def test_a_hundred_of_one_kind_take_one_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    wanted = [{"__typename": "Partner", "id": world.brand}] * 50 + [
        {"__typename": "Partner", "id": new_id("partner")} for _ in range(50)
    ]
    data = await gateway.data(ENTITIES, r=wanted)
    assert [row is not None for row in data["_entities"]] == [True] * 50 + [False] * 50
    assert alliance.methods() == ["BatchGetPartners"]
    assert len(alliance.calls[0].request.ids) == 51


async def test_entities_are_no_way_around_the_rules(gateway: Gateway, alliance: FakeAlliance, world: World):
    answer = await gateway.ask(ENTITIES, gateway.partner(world.other_brand), r=representations(world))
    shown = [row and row["__typename"] for row in answer["data"]["_entities"]]
    assert shown == [
        None,
        "Partner",
        None,
        None,
        None,
        None,
        "Reward",
        "Redemption",
        "Settlement",
        "RecyclingPoint",
        "Machine",
        None,
        None,
        None,
        "Factor",
    ]
    assert sorted(codes(answer)) == [
        *[("CONSENT_REQUIRED", ["_entities", number]) for number in (0, 2, 3, 4, 5, 11)],
        *[("FORBIDDEN", ["_entities", number]) for number in (12, 13)],
    ]
    stranger = await gateway.ask(ENTITIES, r=representations(world))
    assert [row and row["__typename"] for row in stranger["data"]["_entities"]] == [
        *[None, "Partner", None, None, None, None, "Reward", None, None, "RecyclingPoint", None],
        *[None, None, None, "Factor"],
    ]
    assert {code for code, _ in codes(stranger)} == {"UNAUTHENTICATED"}


@pytest.mark.parametrize(
    "representation",
    [
        {},
        {"id": "member_x"},
        {"__typename": "Nothing", "id": "x"},
        {"__typename": "Money", "id": "x"},
        {"__typename": "Member"},
        {"__typename": "Member", "id": 7},
        {"__typename": "Member", "id": {"$gt": ""}},
        {"__typename": "Member", "id": "x" * 10_000},
        {"__typename": "Wallet", "member": "x"},
        {"__typename": ["Member"], "id": "x"},
        "Member",
    ],
)
async def test_a_representation_that_is_none_spoils_no_other(
    gateway: Gateway, alliance: FakeAlliance, world: World, representation: Any
):
    wanted = [{"__typename": "Partner", "id": world.brand}, representation]
    answer = await gateway.ask(ENTITIES, gateway.operator(), r=wanted)
    assert answer["data"]["_entities"] == [{"__typename": "Partner", "name": "Groenmarkt"}, None]
    assert codes(answer) == [("BAD_USER_INPUT", ["_entities", 1])]


async def test_representations_are_objects(gateway: Gateway, alliance: FakeAlliance):
    answer = await gateway.ask(ENTITIES, gateway.operator(), r=[None])
    assert codes(answer) == [("BAD_USER_INPUT", [])]


async def test_the_schema_of_the_subgraph_is_for_everybody(gateway: Gateway):
    data = await gateway.data("{ _service { sdl } }")
    sdl = data["_service"]["sdl"]
    assert "federation/v2.9" in sdl
    for entity in ("Member", "Partner", "Act", "DropOff", "Claim", "Reward", "Redemption", "Settlement"):
        assert f'type {entity} implements Node @key(fields: "id")' in sdl
    assert 'type Wallet implements Node @key(fields: "member { id }")' in sdl
