"""The schema as its users read it, and as the engine needs it."""

import dataclasses
import json
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_introspection_query,
    is_specified_scalar_type,
)
from strawberry.types.field import StrawberryField

from gateway import schema
from gateway.engine.reads import Mutation
from gateway.engine.resolve import bind, callers, field_declaration, type_declaration
from gateway.problems import camel_case, problem_of
from services.shared.identity import CallerKind
from tests.gateway.conftest import Gateway

# Federation's own, by its specification.
FEDERATION = {"_Service", "_Entity", "_Any", "_FieldSet"}
FEDERATION_FIELDS = {"_service", "_entities"}
ROOTS = {"Query", "Mutation", "Subscription"}


@pytest.fixture(scope="module")
def built() -> GraphQLSchema:
    return bind(schema.build(), problem_of)


def own_types(built: GraphQLSchema) -> list[Any]:
    return [
        type
        for name, type in built.type_map.items()
        if not name.startswith("__")
        and name not in FEDERATION
        and not name.startswith("link__")
        and not (isinstance(type, GraphQLScalarType) and is_specified_scalar_type(type))
    ]


def objects(built: GraphQLSchema) -> list[GraphQLObjectType]:
    return [type for type in own_types(built) if isinstance(type, GraphQLObjectType)]


def test_the_committed_schema_is_fresh():
    assert schema.SDL_FILE.read_text() == schema.sdl(), "run `make schema`"


def test_the_committed_possible_types_are_fresh():
    assert schema.POSSIBLE_TYPES.read_text() == schema.possible_types(), "run `make schema`"
    assert "InsufficientPoints" in json.loads(schema.possible_types())["Problem"]


def test_every_type_field_argument_and_value_is_described(built: GraphQLSchema):
    missing: list[str] = []
    for type in own_types(built):
        if not type.description:
            missing.append(type.name)
        if isinstance(type, GraphQLEnumType):
            missing += [f"{type.name}.{name}" for name, value in type.values.items() if not value.description]
        if isinstance(type, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for name, field in type.fields.items():
                if name in FEDERATION_FIELDS:
                    continue
                if not field.description:
                    missing.append(f"{type.name}.{name}")
                arguments = getattr(field, "args", {})
                missing += [f"{type.name}.{name}({key})" for key, value in arguments.items() if not value.description]
    assert missing == []


def test_every_entity_has_an_id_by_which_clients_keep_it(built: GraphQLSchema):
    """Apollo Client and Graphcache keep one object per type and `id`; what has none is replaced as a whole."""
    entities = [type for type in objects(built) if (declared := type_declaration(type)) and declared.key]
    assert len(entities) > 10
    assert [type.name for type in entities if str(type.fields["id"].type) != "ID!"] == []


def test_every_type_has_a_rule_and_every_field_a_declaration(built: GraphQLSchema):
    for type in objects(built):
        if type.name not in ROOTS:
            declared = type_declaration(type)
            assert declared is not None, type.name
            assert declared.rule is not None, type.name
        for name, field in type.fields.items():
            if name not in FEDERATION_FIELDS:
                assert field_declaration(field) is not None, f"{type.name}.{name}"


@pytest.mark.parametrize("forgotten", ["type", "field", "door"])
def test_what_has_no_rule_cannot_be_served(forgotten: str):
    made = schema.build()
    types = made._schema.type_map
    if forgotten == "type":
        types["Wallet"].extensions.clear()
    elif forgotten == "field":
        types["Wallet"].fields["balance"].extensions.clear()
    else:
        field = types["Query"].fields["members"]
        declared = dataclasses.replace(field_declaration(field), rule=None)
        field.extensions["strawberry-definition"] = StrawberryField(metadata={"alliance": declared})
    with pytest.raises(
        TypeError, match={"type": "Wallet has no rule", "field": "balance", "door": "members"}[forgotten]
    ):
        bind(made, problem_of)


def test_every_mutation_has_the_rule_of_its_rpc(built: GraphQLSchema):
    mutation = built.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        declared = field_declaration(field)
        assert declared is not None
        assert isinstance(declared.read, Mutation)
        kinds = callers(declared.read)
        assert kinds, name
        assert kinds <= {CallerKind.OPERATOR, CallerKind.PARTNER, CallerKind.MEMBER, CallerKind.ANYONE}


def test_fields_of_messages_are_named_as_in_the_protos(built: GraphQLSchema):
    """Every field of a message is there under its own name, or joined under its name without _id."""
    renamed = {
        "Settlement.lines": "lineCount",
        "Member.enrolled_by_partner_id": "enrolledBy",
        "Lot.issuer_partner_id": "issuer",
        "Lot.rule_id": "rule",
        "Lot.agreement_id": "agreementId",
        "SettlementLine.debtor_partner_id": "debtor",
        "SettlementLine.creditor_partner_id": "creditor",
        # Known from where they are.
        "CarbonTotal.member_id": "claims",
    }
    for type in objects(built):
        declared = type_declaration(type)
        if declared is None or declared.message is None:
            continue
        for field in declared.message.DESCRIPTOR.fields:
            name = renamed.get(f"{type.name}.{field.name}", camel_case(field.name.removesuffix("_id")))
            assert name in type.fields, f"{type.name}.{field.name}"


def test_enums_have_every_value_of_their_protos(built: GraphQLSchema):
    from alliance.accounts.v1 import accounts_pb2
    from alliance.logistics.v1 import logistics_pb2
    from alliance.partners.v1 import partners_pb2
    from alliance.rewards.v1 import rewards_pb2

    seen = 0
    for module in (accounts_pb2, logistics_pb2, partners_pb2, rewards_pb2):
        for name, enum in module.DESCRIPTOR.enum_types_by_name.items():
            type = built.type_map.get(name)
            if type is None:
                assert name == "CaptureMode", name  # machines speak gRPC
                continue
            assert isinstance(type, GraphQLEnumType)
            prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)[1:] + "_"
            wanted = {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}
            assert {key: int(value.value) for key, value in type.values.items()} == wanted
            seen += 1
    assert seen == 7


async def test_the_schema_can_be_asked_for(gateway: Gateway):
    data = await gateway.data(get_introspection_query())
    assert {"Member", "Wallet"} <= {type["name"] for type in data["__schema"]["types"]}
