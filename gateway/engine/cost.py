"""What a document may cost, known from its text and variables alone: checked before anything is called.

The cost counts the objects that an answer may have: one per object, times the length of the lists that it is in, as
asked for by `first` or as declared. A mutation counts ten more. The declarations are in the schema too, as @cost and
@listSize of IBM's cost directive specification (https://ibm.github.io/graphql-specs/cost-spec.html). The schema itself
is counted too, as large as it is: asked for under forty names at once it would keep the process busy for seconds.
"""

from collections.abc import Mapping
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_list_type,
    visit,
)

from gateway.engine.declare import DEFAULT_PAGE, MUTATION_WEIGHT, PAGE_LENGTH
from gateway.engine.incremental import STREAM_BEGIN, wished
from gateway.engine.reads import Connection, Entities, FieldDeclaration, Mutation
from gateway.engine.resolve import field_declaration, type_declaration
from gateway.engine.source import LARGEST_PAGE

_SERVICE = "_Service"
_REPRESENTATIONS = "representations"
# The arguments that say how long a list may be.
_LENGTHS = (PAGE_LENGTH, _REPRESENTATIONS)
# Beyond this the exact number tells nobody anything.
_MOST = 10**12
# So much text of the schema is about the work of an object.
_CHARACTERS = 200


def cost_of(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> int:
    """The cost of a valid document's operation."""
    return _Costs(schema, document, operation, variables).total()


def parts_of(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> int:
    """Into how many parts its answer may be divided at most: by @defer on each object, by @stream at each row.

    GraphQLError if one of them cannot be granted.
    """
    return _Parts(schema, document, operation, variables).total()


class _Costs:
    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._variables = {**_defaults(operation), **variables}
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        # A fragment costs the same wherever it is used: within a page, the length is the page's.
        self._known: dict[tuple[str, int], int] = {}

    def total(self) -> int:
        operation = self._operation
        root = self._schema.get_root_type(operation.operation)
        return min(self._selections(operation.selection_set, root, 1), _MOST)

    def _selections(self, selections: SelectionSetNode, parent: Any, page: int) -> int:
        cost = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                cost += self._field(node, parent, page)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inner = self._schema.get_type(condition.name.value) if condition else parent
                cost += self._own(node) + self._selections(node.selection_set, inner, page)
            elif isinstance(node, FragmentSpreadNode):
                cost += self._own(node) + self._fragment(node.name.value, page)
            if cost > _MOST:
                return _MOST
        return cost

    def _fragment(self, name: str, page: int) -> int:
        known = self._known.get((name, page))
        if known is None:
            fragment = self._fragments[name]
            parent = self._schema.get_type(fragment.type_condition.name.value)
            known = self._known[name, page] = self._selections(fragment.selection_set, parent, page)
        return known

    def _field(self, node: FieldNode, parent: Any, page: int) -> int:
        if node.selection_set is None:
            return self._own(node) * LARGEST_PAGE + self._text(node, parent)
        field = self._schema.get_field(parent, node.name.value)
        if field is None:
            return 0
        declared = field_declaration(field)
        named = get_named_type(field.type)
        weight = self._weight(node, declared, named)
        if declared is not None and isinstance(declared.read, Connection):
            # What a connection has is as long as its page.
            return weight + self._selections(node.selection_set, named, self._length(node, PAGE_LENGTH, DEFAULT_PAGE))
        length = 1
        if named.name.startswith("__"):
            length = self._introspected(node.name.value)
        elif is_list_type(get_nullable_type(field.type)):
            if declared is not None and isinstance(declared.read, Entities):
                length = self._length(node, _REPRESENTATIONS, LARGEST_PAGE)
            elif declared is not None:
                length = page if declared.size is None else declared.size
        return length * (weight + self._selections(node.selection_set, named, page))

    def _own(self, node: SelectionNode) -> int:
        """What a selection counts that is no object."""
        return 0

    def _weight(self, node: FieldNode, declared: FieldDeclaration | None, named: GraphQLNamedType) -> int:
        """What a field counts for each object that it answers."""
        # A type's wrappers are a part of it.
        return 0 if node.name.value == "ofType" else _weight(declared, named)

    def _text(self, node: FieldNode, parent: Any) -> int:
        """What a field without selections counts: nothing, unless it is the text of the whole schema."""
        if parent.name != _SERVICE or node.name.value != "sdl":
            return 0
        service: Any = field_declaration(self._schema.query_type.fields["_service"])  # type: ignore[union-attr]
        return len(service.read.row(None).sdl) // _CHARACTERS

    def _introspected(self, name: str) -> int:
        """How long a list of the schema itself is: of types as there are, of what a type has about as on average."""
        return {"types": len(self._schema.type_map), "fields": 3, "directives": len(self._schema.directives)}.get(
            name, 1
        )

    def _length(self, node: FieldNode, argument: str, default: int) -> int:
        """How long a list is asked to be; what is no length is refused later."""
        for given in node.arguments or ():
            if given.name.value != argument:
                continue
            value = self._value(given, default)
            if isinstance(value, list | tuple):
                return len(value)
            # As JSON writes numbers, 100.0 is an Int, too.
            return min(int(value), LARGEST_PAGE) if isinstance(value, int | float) and value >= 1 else default
        return default

    def _value(self, given: ArgumentNode, default: Any) -> Any:
        """What an argument is given, if that is a number or a list."""
        value: Any = given.value
        if isinstance(value, VariableNode):
            return self._variables.get(value.name.value, default)
        if isinstance(value, IntValueNode):
            return int(value.value)
        return value.values if isinstance(value, ListValueNode) else value


class _Parts(_Costs):
    """Counts nothing but what is deferred or streamed, as often as it comes."""

    def _own(self, node: SelectionNode) -> int:
        wishes = wished(node.directives)
        for given in (argument for wish in wishes for argument in wish.arguments or ()):
            if given.name.value == STREAM_BEGIN and isinstance(found := self._value(given, 0), int) and found < 0:
                # graphql-core would take it for a defect of ours.
                raise GraphQLError(f"{STREAM_BEGIN} says how many rows come at once: 0 or more.", given)
        return len(wishes)

    def _weight(self, node: FieldNode, declared: FieldDeclaration | None, named: GraphQLNamedType) -> int:
        return self._own(node)

    def _text(self, node: FieldNode, parent: Any) -> int:
        return 0


def _weight(declared: FieldDeclaration | None, named: GraphQLNamedType) -> int:
    """What a field costs for each object that it answers."""
    if declared is not None and isinstance(declared.read, Mutation):
        return MUTATION_WEIGHT
    if named.name == _SERVICE:
        return 0
    of_type = type_declaration(named)
    return 1 if of_type is None else of_type.weight


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in operation.variable_definitions or ():
        given = variable.default_value
        if isinstance(given, IntValueNode):
            found[variable.variable.name.value] = int(given.value)
        elif isinstance(given, ListValueNode):
            found[variable.variable.name.value] = given.values
    return found


def counted_variables(document: DocumentNode) -> tuple[str, ...]:
    """The variables on which the cost of a document's operations may depend."""
    found: dict[str, None] = {}

    class Lengths(Visitor):
        def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
            if node.name.value in _LENGTHS and isinstance(node.value, VariableNode):
                found[node.value.name.value] = None

    visit(document, Lengths())
    return tuple(found)
