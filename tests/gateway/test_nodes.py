"""Global object identification: anything by its id alone, as Relay and other caches of clients ask for it again."""

import re

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, get_named_type

from gateway import schema
from services.shared.ids import new_id
from tests.gateway.conftest import Gateway, World, codes
from tests.gateway.fakes import FakeAlliance
from tests.gateway.test_federation import global_ids

NODE = """query ($id: ID!) { node(id: $id) { __typename id
  ... on Member { displayName } ... on Wallet { balance member { id } } ... on Earning { claim { id } }
  ... on PartnerPoints { issued partner { id } }
} }"""


def node_types() -> set[str]:
    built = schema.build()._schema
    node = built.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    return {type.name for type in built.get_possible_types(node)}


async def test_anything_is_found_by_the_id_that_it_has(gateway: Gateway, alliance: FakeAlliance, world: World):
    ids = global_ids(world)
    assert set(ids) == node_types()
    assert len(set(ids.values())) == len(ids)
    for name, id in ids.items():
        alliance.reset()
        found = (await gateway.data(NODE, gateway.operator(), id=id))["node"]
        assert (found["__typename"], found["id"]) == (name, id)
        assert len(alliance.calls) <= 2, "nothing is looked for where it cannot be"


async def test_what_there_is_one_of_for_each_has_an_id_of_its_own(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    """Relay keeps one record per id, whatever its type: a member and its wallet must not be one."""
    ids = global_ids(world)
    wallet = (await gateway.data(NODE, gateway.operator(), id=ids["Wallet"]))["node"]
    assert (wallet["balance"], wallet["member"]["id"]) == (30, world.member)
    query = """{ member(id: "%s") { id wallet { id } claims { nodes { id earning { id } } } }
      partner(id: "%s") { id points { id } } }"""
    data = await gateway.data(query % (world.member, world.brand), gateway.operator())
    seen = re.findall(r"'id': '(\w+)'", str(data))
    assert len(seen) == len(set(seen)) == 6
    assert {ids["Wallet"], ids["Earning"], ids["PartnerPoints"]} <= set(seen)


@pytest.mark.parametrize(
    "id", ["", "nothing", "member_", "_x", "settlement", "x" * 5_000, "widget_01h455vb4pex5vsknk084sn02q"]
)
async def test_an_id_of_nothing_is_null(gateway: Gateway, id: str):
    assert (await gateway.data(NODE, gateway.operator(), id=id))["node"] is None


async def test_what_is_not_there_is_null_and_what_is_not_for_the_viewer_is_refused(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    ids = global_ids(world)
    for name in ("Act", "Redemption", "Partner"):
        gone = new_id(ids[name].partition("_")[0])
        assert (await gateway.data(NODE, gateway.operator(), id=gone))["node"] is None
    stranger = await gateway.ask(NODE, id=ids["Wallet"])
    assert codes(stranger) == [("UNAUTHENTICATED", ["node"])]
    other = await gateway.ask(NODE, gateway.member(new_id("member")), id=ids["Earning"])
    assert codes(other) == [("FORBIDDEN", ["node"])]
    brand = await gateway.ask(NODE, gateway.partner(world.other_brand), id=ids["PartnerPoints"])
    assert (brand["data"], codes(brand)) == ({"node": None}, [("FORBIDDEN", ["node"])])


async def test_many_of_one_type_are_asked_for_in_one_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    asked = " ".join(f'a{n}: node(id: "{new_id("partner")}") {{ id }}' for n in range(20))
    await gateway.data(f'{{ {asked} b: node(id: "{world.brand}") {{ ... on Partner {{ name }} }} }}')
    assert alliance.methods() == ["BatchGetPartners"]


def test_every_object_that_has_an_id_to_ask_for_again_is_a_node():
    """An entity without Node would be one that a client cannot ask for again."""
    built = schema.build()._schema
    entities = {type.name for type in built.type_map["_Entity"].types}  # type: ignore[attr-defined]
    assert entities <= node_types()
    for name in node_types():
        type = built.type_map[name]
        assert isinstance(type, GraphQLObjectType)
        assert str(get_named_type(type.fields["id"].type)) == "ID"
