"""The variables of a request, coerced: the usual kinds at once, whatever else by graphql-core."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLError,
    GraphQLID,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    Node,
    OperationDefinitionNode,
    Undefined,
    VariableNode,
    Visitor,
    get_variable_values,
    type_from_ast,
    visit,
)
from graphql.execution.values import VariableValues

_MOST_ERRORS = 50


class VariablesInvalid(Exception):
    """Values do not fit their variables; has the errors, as graphql-core tells them."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


class Variables:
    """Of one request."""

    def __init__(self, coerced: Mapping[str, Any], complete: Callable[[], VariableValues]) -> None:
        self.coerced = coerced
        self._complete = complete

    @cached_property
    def whole(self) -> VariableValues:
        """With all that graphql-core wants to know of them."""
        return self._complete()


class Signature:
    """The variables of an operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._nodes = operation.variable_definitions or ()
        # By variable: what a value has to be to be taken as it is. None: not one of the usual kinds.
        self._plain: dict[str, Callable[[Any], bool] | None] = {}
        self._defaults: dict[str, Any] = {}
        self._required: set[str] = set()
        for node in self._nodes:
            name = node.variable.name.value
            type: Any = type_from_ast(schema, node.type)
            if isinstance(type, GraphQLNonNull):
                type = type.of_type
                if node.default_value is None:
                    self._required.add(name)
            self._plain[name] = _PLAIN.get(getattr(type, "name", ""))
            if node.default_value is not None:
                alone = get_variable_values(schema, [node], {})
                if isinstance(alone, VariableValues):
                    self._defaults[name] = alone.coerced.get(name)
                else:
                    self._plain[name] = None

    def read(self, given: Mapping[str, Any], *, hide_suggestions: bool = False) -> Variables:
        """The request's variables; VariablesInvalid if any does not fit."""
        coerced: dict[str, Any] = {}
        for name, plain in self._plain.items():
            value = given.get(name, Undefined)
            if value is Undefined and name not in self._required and plain is not None:
                if name in self._defaults:
                    coerced[name] = self._defaults[name]
            elif plain is not None and plain(value):
                coerced[name] = value
            else:
                return Variables(self._whole(given, hide_suggestions).coerced, lambda: self._whole(given))
        return Variables(coerced, lambda: self._whole(given))

    def _whole(self, given: Mapping[str, Any], hide_suggestions: bool = True) -> VariableValues:
        values = get_variable_values(self._schema, self._nodes, dict(given), _MOST_ERRORS, hide_suggestions)
        if isinstance(values, list):
            raise VariablesInvalid(values)
        return values


def variables_of(node: Node) -> list[str]:
    """The variables that are used within a node."""
    found: list[str] = []

    class Names(Visitor):
        def enter_variable(self, variable: VariableNode, *_: Any) -> None:
            found.append(variable.name.value)

    visit(node, Names())
    return found


_PLAIN: dict[str, Callable[[Any], bool]] = {
    GraphQLID.name: lambda value: type(value) is str,
    GraphQLString.name: lambda value: type(value) is str,
    GraphQLInt.name: lambda value: type(value) is int and -(2**31) <= value < 2**31,
    GraphQLBoolean.name: lambda value: type(value) is bool,
}
