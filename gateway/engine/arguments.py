"""The arguments of a field in a document, coerced."""

from typing import Any

from graphql import FieldNode, GraphQLField, VariableNode, get_argument_values
from graphql.execution.values import VariableValues, coerce_argument

from gateway.engine.variables import Variables, variables_of

_NONE = VariableValues({}, {})


class FieldArguments:
    """The arguments of a field: worked out once as far as they are literal."""

    def __init__(self, field: GraphQLField, node: FieldNode) -> None:
        self._field = field
        self._node = node
        self._fixed: dict[str, Any] = {}
        # The argument's name for its resolver, and the variable that it is.
        self._given: list[tuple[str, str]] = []
        # Variables within lists and objects are left to graphql-core.
        self._nested = False
        nodes = {argument.name.value: argument for argument in node.arguments or ()}
        for name, argument in field.args.items():
            given = nodes.get(name)
            if given is not None and isinstance(given.value, VariableNode):
                self._given.append((argument.out_name or name, given.value.name.value))
            elif given is not None and variables_of(given):
                self._nested = True
            else:
                coerce_argument(self._fixed, node, name, argument, given, _NONE, None, False)

    def values(self, variables: Variables) -> dict[str, Any]:
        """What the resolver is given; a GraphQLError where a variable does not fit."""
        if not self._given and not self._nested:
            return self._fixed
        if self._nested:
            return self.checked(variables)
        values = dict(self._fixed)
        for name, variable in self._given:
            value = variables.coerced.get(variable)
            if value is None:
                return self.checked(variables)
            values[name] = value
        return values

    def checked(self, variables: Variables) -> dict[str, Any]:
        """As `values`, by all the rules."""
        return get_argument_values(self._field, self._node, variables.whole)
