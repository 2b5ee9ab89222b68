"""Compiles an operation into a plan: which rows to load in which order, and what to make of them.

A plan is made for one operation of a document and for one choice of what its @skip and @include variables say, so that
fragments, aliases and merged fields are settled once. What is not covered is said by `Uncovered`; graphql-core answers
such an operation. Not covered are mutations (each calls an rpc of its own; there is nothing to batch), introspection,
federation's `_service` and `_entities`, and directives on an operation.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_argument_values,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues, coerce_argument

from gateway.engine.declare import (
    Connection,
    FieldDeclaration,
    Given,
    Join,
    Lookup,
    Rule,
    TypeDeclaration,
    Value,
)
from gateway.engine.resolve import field_declaration, page_arguments, request_arguments, type_declaration
from gateway.engine.source import Key, Source
from gateway.engine.variables import Variables, variables_of

_LARGEST = 1_000
_DEFINITION = "strawberry-definition"
_NONE = VariableValues({}, {})

Fragments = Mapping[str, FragmentDetails]


class Uncovered(Exception):
    """The operation has something that plans do not cover; the message says what."""


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


@dataclass(eq=False)
class Entry:
    """One field of an answer, under its response key."""

    key: str
    name: str
    # A GraphQLField and its FieldDeclaration; None for __typename.
    field: Any
    nodes: list[FieldNode]
    declared: Any
    arguments: FieldArguments | None
    # What is selected of the object or objects behind it, a Selection; None for a leaf.
    below: Any = None
    # What has to be loaded for it.
    load: "Load | None" = None
    # An Embedded; None for what is loaded, and for leaves.
    embedded: Any = None

    @property
    def python_name(self) -> str:
        """What resolvers call it."""
        name: str = self.field.extensions[_DEFINITION].python_name
        return name


@dataclass(eq=False)
class Selection:
    """What is selected of the rows of one type, at one place of the answer."""

    type: GraphQLObjectType
    entries: list[Entry] = field(default_factory=list)
    # Rules of plain fields, which refuse by an error.
    checks: list[Rule] = field(default_factory=list)
    embedded: list["Embedded"] = field(default_factory=list)
    loads: list["Load"] = field(default_factory=list)

    @cached_property
    def idle(self) -> bool:
        """Whether nothing has to be checked or loaded for it; to be asked once it is complete."""
        return not (self.checks or self.embedded or self.loads)

    @property
    def declared(self) -> TypeDeclaration | None:
        return type_declaration(self.type)


@dataclass(eq=False)
class Embedded:
    """Rows that are part of others, or of the request itself."""

    number: int
    rows: Callable[[Any, Iterable[Any]], list[Any]]
    # On the row that has the field, and on the rows that it leads to.
    field_rule: Rule | None
    row_rule: Rule | None
    filtered: bool
    below: Selection


@dataclass(eq=False)
class Load:
    """Rows that are loaded by keys."""

    number: int
    entry: Entry
    source: Source
    arguments: Callable[[Any, Mapping[str, Any]], tuple[tuple[str, Any], ...]]
    # The field of a row that has its key, and what the key has to begin with; for doors, the key of the request and the
    # arguments.
    on: str
    prefix: str
    door: Callable[[Any, Mapping[str, Any]], Key] | None
    # On the row that has the field; on the keys; on the rows that come.
    field_rule: Rule | None
    key_rule: Rule | None
    row_rule: Rule | None
    # What is selected of the rows that come: of a page once for nodes and for each edges' node.
    below: list[Selection] = field(default_factory=list)
    # The join that a door goes on with.
    then: "Load | None" = None

    @cached_property
    def shallow(self) -> bool:
        """Whether nothing has to be checked or loaded for the rows that come."""
        return all(below.idle for below in self.below)

    @cached_property
    def many(self) -> bool:
        """Whether a key has a list of rows."""
        return bool(self.source.nodes) and not self.source.paged

    def stand_in(self, key: Key) -> Any:
        """What the rule on keys is asked about."""
        return SimpleNamespace(**{self.source.by[0]: key})


@dataclass(eq=False)
class Plan:
    """A compiled operation."""

    root: Selection
    loads: list[Load]
    embedded: list[Embedded]
    entries: int


def compile_plan(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: VariableValues
) -> Plan:
    """The plan of an operation whose @skip and @include say what they do with these variables."""
    if operation.operation is not OperationType.QUERY:
        raise Uncovered(str(operation.operation.value))
    if operation.directives:
        raise Uncovered("directives on an operation")
    return _Compiler(schema, document, operation, variables).plan()


def conditions_of(document: DocumentNode) -> tuple[str, ...]:
    """The variables by which a document skips and includes."""
    from graphql import Visitor, visit

    found: dict[str, None] = {}

    class Conditions(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
            if node.name.value in ("skip", "include"):
                found.update(dict.fromkeys(variables_of(node)))

    visit(document, Conditions())
    return tuple(found)


class _Compiler:
    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: VariableValues,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._variables = variables
        self._fragments: dict[str, FragmentDetails] = {
            node.name.value: FragmentDetails(node)
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._loads: list[Load] = []
        self._embedded: list[Embedded] = []
        self._entries = 0

    def plan(self) -> Plan:
        root: Any = self._schema.query_type
        collected = collect_fields(self._schema, self._fragments, self._variables, root, self._operation)
        selection = self._selection(root, collected.grouped_field_set)
        return Plan(selection, self._loads, self._embedded, self._entries)

    def _below(self, type: GraphQLObjectType, details: list[FieldDetails]) -> Selection:
        collected = collect_subfields(self._schema, self._fragments, self._variables, self._operation, type, details)
        return self._selection(type, collected.grouped_field_set)

    def _selection(self, type: GraphQLObjectType, grouped: Mapping[str, list[FieldDetails]]) -> Selection:
        selection = Selection(type)
        for key, details in grouped.items():
            self._entries += 1
            if self._entries > _LARGEST:
                raise Uncovered("more fields than a plan may have")
            selection.entries.append(self._entry(selection, key, details))
        return selection

    def _entry(self, selection: Selection, key: str, details: list[FieldDetails]) -> Entry:
        nodes = [detail.node for detail in details]
        name = nodes[0].name.value
        if name == "__typename":
            return Entry(key, name, None, nodes, None, None)
        found = selection.type.fields.get(name)
        declared = field_declaration(found) if found is not None else None
        if found is None or declared is None:
            raise Uncovered(name)
        try:
            arguments = FieldArguments(found, nodes[0]) if found.args else None
        except GraphQLError as error:
            raise Uncovered(f"arguments of {name}") from error
        entry = Entry(key, name, found, nodes, declared, arguments)
        named = get_named_type(found.type)
        if is_abstract_type(named):
            raise Uncovered(named.name)
        if isinstance(named, GraphQLObjectType):
            entry.below = self._below(named, details)
        self._read(selection, entry, declared)
        return entry

    def _read(self, selection: Selection, entry: Entry, declared: FieldDeclaration) -> None:
        field_rule = _closed(declared.rule)
        if declared.silent and not isinstance(declared.read, Value):
            raise Uncovered(f"{entry.name}, which is silent and loads")
        match declared.read:
            case Value():
                self._value(selection, entry, declared, declared.read, field_rule)
            case Given(row):
                self._embed(
                    selection,
                    entry,
                    lambda request, rows: [row(request) for _ in rows],
                    field_rule,
                    self._row_rule(entry, declared),
                )
            case Join():
                entry.load = self._join(entry, declared.read, field_rule, self._row_rule(entry, declared))
                selection.loads.append(entry.load)
            case Connection():
                entry.load = self._connection(entry, declared.read, field_rule)
                selection.loads.append(entry.load)
            case Lookup():
                entry.load = self._lookup(entry, declared.read, field_rule, self._row_rule(entry, declared))
                selection.loads.append(entry.load)
            case _:
                raise Uncovered(entry.name)

    def _value(
        self, selection: Selection, entry: Entry, declared: FieldDeclaration, read: Value, field_rule: Rule | None
    ) -> None:
        if is_leaf_type(get_named_type(entry.field.type)):
            if field_rule is not None and not declared.silent:
                selection.checks.append(field_rule)
            return
        if declared.silent:
            raise Uncovered(f"{entry.name}, which is silent and has fields")
        name = read.name or entry.python_name
        many = is_list_type(get_nullable_type(entry.field.type))
        of_message = selection.declared is not None and selection.declared.message is not None

        def rows_of(_: Any, rows: Iterable[Any]) -> list[Any]:
            if many:
                return [inner for row in rows for inner in getattr(row, name)]
            if of_message:
                return [getattr(row, name) for row in rows if row.HasField(name)]
            return [inner for row in rows if (inner := getattr(row, name)) is not None]

        self._embed(selection, entry, rows_of, field_rule, self._row_rule(entry, declared))

    def _embed(
        self,
        selection: Selection,
        entry: Entry,
        rows: Callable[[Any, Iterable[Any]], list[Any]],
        field_rule: Rule | None,
        row_rule: Rule | None,
    ) -> None:
        filtered = entry.declared.filtered
        made = Embedded(len(self._embedded), rows, field_rule, row_rule, filtered, entry.below)
        self._embedded.append(made)
        entry.embedded = made
        if field_rule or (row_rule and not filtered) or not entry.below.idle:
            selection.embedded.append(made)

    def _add(self, load: Load) -> Load:
        self._loads.append(load)
        load.number = len(self._loads) - 1
        return load

    def _join(self, entry: Entry, read: Join, field_rule: Rule | None, row_rule: Rule | None) -> Load:
        source, on, prefix, fixed = read.source, read.on, read.prefix, read.arguments

        by_key = row_rule is not None and _by_key(row_rule, source)
        return self._add(
            Load(
                0,
                entry,
                source,
                (lambda request, _: request_arguments(request, fixed, ())) if fixed else _no_arguments,
                on,
                prefix,
                None,
                field_rule,
                row_rule if by_key else None,
                None if by_key else row_rule,
                [entry.below] if entry.below is not None else [],
            )
        )

    def _connection(self, entry: Entry, read: Connection, field_rule: Rule | None) -> Load:
        on = read.on
        below: list[Selection] = []
        row_rule: Rule | None = None
        for part in entry.below.entries:
            if part.name == "nodes":
                row_rule = self._node_rule(part)
                below += [part.below] if part.below is not None else []
            elif part.name == "edges":
                for inner in part.below.entries:
                    if inner.name == "node" and inner.below is not None:
                        row_rule = self._node_rule(inner)
                        below.append(inner.below)
        return self._add(
            Load(
                0,
                entry,
                read.source,
                lambda request, given: page_arguments(request, read, given),
                on,
                "",
                None if on else (lambda _, __: None),
                field_rule,
                None,
                row_rule,
                below,
            )
        )

    def _lookup(self, entry: Entry, read: Lookup, field_rule: Rule | None, row_rule: Rule | None) -> Load:
        source = read.source
        if read.then is None:
            by_key = row_rule is not None and _by_key(row_rule, source)
            below = [entry.below] if entry.below is not None else []
            key_rule, after = (row_rule, None) if by_key else (None, row_rule)
            return self._add(
                Load(0, entry, source, _no_arguments, "", "", read.key, field_rule, key_rule, after, below)
            )
        then = self._join(entry, read.then, None, row_rule)
        # Nothing is shown of the row between; it stands for what it leads to.
        between = Selection(GraphQLObjectType("Between", {}), loads=[then])
        return self._add(
            Load(0, entry, source, _no_arguments, "", "", read.key, field_rule, None, None, [between], then)
        )

    def _row_rule(self, entry: Entry, declared: FieldDeclaration) -> Rule | None:
        """As resolvers have it: the field's own word on its rows, or the type's rule."""
        if declared.entry is not None:
            return declared.entry
        behind = type_declaration(get_named_type(entry.field.type))
        return None if behind is None else _closed(behind.rule)

    def _node_rule(self, entry: Entry) -> Rule | None:
        return self._row_rule(entry, entry.declared)


def _no_arguments(_: Any, __: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return ()


def _closed(rule: Rule | None) -> Rule | None:
    return None if rule is None or rule.open else rule


def _by_key(rule: Rule, source: Source) -> bool:
    return not source.nodes and bool(source.keys) and rule.fields <= set(source.by)


def nullable(field: GraphQLField) -> bool:
    """Whether a field may be null."""
    return not isinstance(field.type, GraphQLNonNull)
