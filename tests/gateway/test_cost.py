"""The cost that is checked is the one that the schema declares by @cost and @listSize, for who has only the SDL."""

from collections.abc import Mapping
from typing import Any

import pytest
from graphql import (
    ConstDirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    parse,
    value_from_ast_untyped,
)

from gateway import schema
from gateway.engine.cost import cost_of
from gateway.engine.resolve import bind
from gateway.problems import problem_of
from tests.gateway.test_plans import queries

DIRECTIVES = """
directive @cost(weight: Int!) on ARGUMENT_DEFINITION | ENUM | FIELD_DEFINITION | OBJECT | SCALAR
directive @listSize(assumedSize: Int, slicingArguments: [String!], sizedFields: [String!],
  requireOneSlicingArgument: Boolean = true) on FIELD_DEFINITION
"""


def directive(node: Any, name: str) -> dict[str, Any] | None:
    """The arguments of a directive that stands on a definition."""
    found: list[ConstDirectiveNode] = [each for each in node.directives or () if each.name.value == name]
    if not found:
        return None
    return {each.name.value: value_from_ast_untyped(each.value) for each in found[0].arguments or ()}


class Specified:
    """The cost of a document by IBM's specification, from the SDL alone."""

    def __init__(self, sdl: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self.schema = sdl
        self.variables = variables
        self.fragments = {n.name.value: n for n in document.definitions if isinstance(n, FragmentDefinitionNode)}
        (self.operation,) = [n for n in document.definitions if isinstance(n, OperationDefinitionNode)]

    def cost(self) -> int:
        root = self.schema.get_root_type(self.operation.operation)
        return self.selections(self.operation.selection_set, root, {})

    def selections(self, selections: SelectionSetNode, parent: Any, sized: Mapping[str, int]) -> int:
        cost = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                cost += self.field(node, parent, sized)
            elif isinstance(node, InlineFragmentNode):
                on = node.type_condition
                inner = self.schema.get_type(on.name.value) if on else parent
                cost += self.selections(node.selection_set, inner, sized)
            else:
                fragment = self.fragments[node.name.value]  # type: ignore[attr-defined]
                inner = self.schema.get_type(fragment.type_condition.name.value)
                cost += self.selections(fragment.selection_set, inner, sized)
        return cost

    def field(self, node: FieldNode, parent: Any, sized: Mapping[str, int]) -> int:
        field = parent.fields.get(node.name.value) if isinstance(parent, GraphQLObjectType) else None
        if field is None or node.selection_set is None:
            return 0
        type = get_named_type(field.type)
        own = directive(field.ast_node, "cost") or directive(type.ast_node, "cost") or {"weight": 1}
        size = directive(field.ast_node, "listSize")
        length, below = 1, {}
        if size is not None:
            asked = self.length(node, field, size)
            if names := size.get("sizedFields"):
                below = dict.fromkeys(names, asked)
            else:
                length = asked
        elif is_list_type(get_nullable_type(field.type)):
            length = sized[node.name.value]
        return int(length * (int(own["weight"]) + self.selections(node.selection_set, type, below)))

    def length(self, node: FieldNode, field: Any, size: Mapping[str, Any]) -> int:
        for name in size.get("slicingArguments") or ():
            for argument in node.arguments or ():
                if argument.name.value == name:
                    return int(value_from_ast_untyped(argument.value, dict(self.variables)))
            return int(value_from_ast_untyped(field.args[name].ast_node.default_value))
        return int(size["assumedSize"])


_bound = bind(schema.build(), problem_of)
_header, _, _rest = schema.sdl().partition("{")
_declared = build_schema(f"{DIRECTIVES} schema {{{_rest}", assume_valid=True, assume_valid_sdl=True)


def agree(text: str, variables: Mapping[str, Any]) -> int:
    document = parse(text)
    (operation,) = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    checked = cost_of(_bound, document, operation, variables)
    assert checked == Specified(_declared, document, variables).cost(), text
    return checked


@pytest.mark.parametrize("name", sorted(queries()))
def test_what_is_checked_is_what_the_schema_declares(name: str):
    text = queries()[name]
    variables = dict.fromkeys(("first", "n"), 7)
    assert agree(text, variables) > 0


@pytest.mark.parametrize(
    ("text", "variables", "cost"),
    [
        ("{ viewer { kind } }", {}, 1),
        # The connection, and each row.
        ("{ partners(first: 7) { nodes { id } } }", {}, 1 + 7),
        ("{ partners { nodes { id } edges { cursor node { id } } pageInfo { hasNextPage } } }", {}, 1 + 20 + 20),
        ("query ($n: Int!) { partners(first: $n) { nodes { id } } }", {"n": 9}, 1 + 9),
        ("query ($n: Int! = 6) { partners(first: $n) { nodes { id } } }", {}, 1 + 6),
        ("{ members(first: 5) { nodes { identities { customerNumber } wallet { lots { points } } } } }", {}, 111),
        (
            "{ ...f } fragment f on Query { partners(first: 2) { ...p } } "
            "fragment p on PartnerConnection { nodes { id } }",
            {},
            3,
        ),
        ('mutation { createLinkCode(input: {requestId: "r"}) { __typename } }', {}, 11),
        (
            'mutation { a: createLinkCode(input: {requestId: "r"}) { __typename } '
            'b: createLinkCode(input: {requestId: "s"}) { ... on InvalidInput { details { field } } } }',
            {},
            25,
        ),
    ],
)
def test_the_cost_of_a_document(text: str, variables: dict[str, Any], cost: int):
    assert cost_of(_bound, parse(text), parse(text).definitions[0], variables) == cost  # type: ignore[arg-type]
    if "query ($n: Int! =" not in text:
        assert agree(text, variables) == cost


@pytest.mark.parametrize(
    ("text", "variables", "cost"),
    [
        # Both are Ints of the specification: whoever writes them otherwise gets no larger page for less.
        ("query ($n: Int!) { partners(first: $n) { nodes { id } } }", {"n": 90.0}, 1 + 90),
        ("query ($n: Int! = 6) { partners(first: $n) { nodes { id } } }", {"n": 90.0}, 1 + 90),
        ("query ($n: Int = 90) { partners(first: $n) { nodes { id } } }", {"n": None}, 1 + 20),
        ("query ($r: [_Any!]!) { _entities(representations: $r) { __typename } }", {"r": [{}] * 300}, 300),
        ("query ($r: [_Any!]! = [%s]) { _entities(representations: $r) { __typename } }" % ("{} " * 300), {}, 300),
        ("query ($r: [_Any!]! = []) { _entities(representations: $r) { __typename } }", {"r": [{}] * 300}, 300),
    ],
)
def test_a_length_counts_however_it_is_written(text: str, variables: dict[str, Any], cost: int):
    assert cost_of(_bound, parse(text), parse(text).definitions[0], variables) == cost  # type: ignore[arg-type]


def test_every_list_of_objects_says_how_long_it_is():
    for type in _declared.type_map.values():
        if not isinstance(type, GraphQLObjectType) or type.name.startswith("__") or type.name.endswith("Connection"):
            continue
        for name, field in type.fields.items():
            if (
                name != "_entities"
                and is_list_type(get_nullable_type(field.type))
                and not is_leaf_type(get_named_type(field.type))
            ):
                assert directive(field.ast_node, "listSize"), f"{type.name}.{name}"
