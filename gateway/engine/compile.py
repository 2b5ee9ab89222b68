"""Compiles an operation into a plan.

A plan is made for one operation of a document and for one choice of what its @skip and @include variables say, so that
fragments, aliases and merged fields are settled once. What is not covered is said by `Uncovered`; graphql-core answers
such an operation. Not covered are mutations (each calls an rpc of its own; there is nothing to batch), introspection,
and directives on an operation.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    visit,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from gateway.engine.arguments import FieldArguments
from gateway.engine.entities import by_id, chosen
from gateway.engine.plan import Derivation, Embedded, Entry, Load, Plan, Selection, Uncovered
from gateway.engine.reads import ById, Connection, Derived, Entities, FieldDeclaration, Given, Join, Lookup, Rule, Value
from gateway.engine.resolve import closed, field_declaration, page_arguments, request_arguments, type_declaration
from gateway.engine.schedule import hasten, schedule
from gateway.engine.source import Key, Source
from gateway.engine.variables import variables_of

_LARGEST = 1_000


def compile_plan(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: VariableValues
) -> Plan:
    """The plan of an operation whose @skip and @include say what they do with these variables."""
    if operation.operation is OperationType.MUTATION:
        raise Uncovered(str(operation.operation.value))
    if operation.directives:
        raise Uncovered("directives on an operation")
    return _Compiler(schema, document, operation, variables).plan()


def conditions_of(document: DocumentNode) -> tuple[str, ...]:
    """The variables by which a document skips and includes."""
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
        root: Any = self._schema.get_root_type(self._operation.operation)
        collected = collect_fields(self._schema, self._fragments, self._variables, root, self._operation)
        selection = self._selection(root, collected.grouped_field_set)
        hasten(self._loads)
        return Plan(selection, self._loads, self._embedded, self._entries, schedule(selection))

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
        if isinstance(declared.read, Entities):
            read = declared.read
            entities = {name: (entity.source, entity.rule) for name, entity in read.types.items()}
            self._choices(
                selection, entry, details, entities, lambda given: chosen(read.types, given["representations"])
            )
            return entry
        if isinstance(declared.read, ById):
            types = declared.read.types
            named_by_id = {found.type: (found.source, found.rule) for found in types.values()}

            def pick(given: Mapping[str, Any]) -> list[tuple[str, Key] | None]:
                found = by_id(types, given["id"])
                return [(found[0].type, found[1])] if found is not None else []

            self._choices(selection, entry, details, named_by_id, pick)
            return entry
        if is_abstract_type(named):
            raise Uncovered(named.name)
        if isinstance(named, GraphQLObjectType):
            entry.below = self._below(named, details)
        self._read(selection, entry, declared)
        return entry

    def _read(self, selection: Selection, entry: Entry, declared: FieldDeclaration) -> None:
        field_rule = closed(declared.rule)
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
            case Derived():
                if self._row_rule(entry, declared) is not None:
                    raise Uncovered(f"{entry.name}, which is derived and has a rule on its rows")
                selection.derivations.append(Derivation(declared.read, field_rule, entry.below))
            case Connection():
                entry.load = self._connection(entry, declared.read, field_rule)
                selection.loads.append(entry.load)
            case Lookup():
                entry.load = self._lookup(entry, declared.read, field_rule, self._row_rule(entry, declared))
                selection.loads.append(entry.load)
            case _:
                raise Uncovered(entry.name)

    def _choices(
        self,
        selection: Selection,
        entry: Entry,
        details: list[FieldDetails],
        types: Mapping[str, tuple[Source, Rule]],
        pick: Callable[[Mapping[str, Any]], list[tuple[str, Key] | None]],
    ) -> None:
        """A load for each type that rows may be of; `pick` says from the arguments which rows are wanted."""
        found: Any = self._schema.type_map
        below = {name: self._below(found[name], details) for name in types}
        entry.choices = {}
        for name, (source, declared) in types.items():
            rule = closed(declared)
            by_key = rule is not None and _by_key(rule, source)
            load = Load(
                0,
                entry,
                source,
                _no_arguments,
                "",
                "",
                None,
                None,
                rule if by_key else None,
                None if by_key else rule,
                [below[name]],
                pick,
                name,
            )
            entry.choices[name] = (below[name], self._add(load))
            selection.loads.append(load)

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
            Load(0, entry, source, _no_arguments, "", "", read.key, field_rule, None, None, [between], then=then)
        )

    def _row_rule(self, entry: Entry, declared: FieldDeclaration) -> Rule | None:
        """As resolvers have it: the field's own word on its rows, or the type's rule."""
        if declared.entry is not None:
            return closed(declared.entry)
        behind = type_declaration(get_named_type(entry.field.type))
        return None if behind is None else closed(behind.rule)

    def _node_rule(self, entry: Entry) -> Rule | None:
        return self._row_rule(entry, entry.declared)


def _no_arguments(_: Any, __: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return ()


def _by_key(rule: Rule, source: Source) -> bool:
    return not source.nodes and bool(source.keys) and rule.fields <= set(source.by)
