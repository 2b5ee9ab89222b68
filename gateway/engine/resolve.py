"""Answers any document over the declarations: one small resolver per field, made once from what the field declares.

Resolvers are plain functions wherever nothing has to be awaited; rows stay the messages that the services sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from enum import Enum
from types import SimpleNamespace
from typing import Any

import strawberry
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphql import (
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_list_type,
)

from gateway.engine.admit import Gate, Resolver, admit, admit_all, guarded, settled, sound
from gateway.engine.declare import declaration_of
from gateway.engine.derive import Missing, derive
from gateway.engine.entities import entity_types, id_resolver, named_types, resolver, with_prefix
from gateway.engine.incremental import understand
from gateway.engine.inputs import message_builder
from gateway.engine.pages import ConnectionRow
from gateway.engine.reads import (
    ById,
    Connection,
    Derived,
    Entities,
    FieldDeclaration,
    Given,
    Join,
    Lookup,
    Mutation,
    Read,
    Rule,
    Stream,
    TypeDeclaration,
    Value,
)
from gateway.engine.source import LARGEST_PAGE, Arguments
from gateway.errors import BAD_USER_INPUT, FieldError
from services.shared.access import access_rule
from services.shared.errors import DomainError
from services.shared.identity import CallerKind

# From an expected failure to the row of the problem type that it is, whose `kind` names the type.
ProblemOf = Callable[[DomainError], Any]

_LONGEST_CURSOR = 400
_DEFINITION = "strawberry-definition"
_DECLARATION = "alliance-declaration"


def bind(made: strawberry.Schema, problem_of: ProblemOf) -> GraphQLSchema:
    """The schema with a resolver on every field that is declared, and the types of rows known by their messages."""
    schema = made._schema
    types = {name: found for name, type in schema.type_map.items() if (found := type_declaration(type))}
    names = {declared.message.DESCRIPTOR.full_name: name for name, declared in types.items() if declared.message}
    _check_rules(schema)
    _declare_federation(made, types)
    _declare_ids(schema, types)
    understand(schema)
    binder = _Binder(schema, types, problem_of)
    for type in schema.type_map.values():
        if isinstance(type, GraphQLObjectType):
            type.is_type_of = None
            for field in type.fields.values():
                if declared := field_declaration(field):
                    field.resolve = binder.resolver(type, field, declared)
                    for argument in field.args.values():
                        argument.out_name = argument.extensions[_DEFINITION].python_name
        elif is_abstract_type(type):
            type.resolve_type = lambda row, *_: (
                names[row.DESCRIPTOR.full_name] if isinstance(row, Message) else row.kind
            )
    return schema


def _declare_federation(made: strawberry.Schema, types: Mapping[str, TypeDeclaration]) -> None:
    """What federation adds to a subgraph is answered like everything else."""
    service = SimpleNamespace(sdl=made.as_str())
    schema = made._schema
    query: Any = schema.query_type
    of_service: Any = schema.type_map["_Service"]
    query.fields["_service"].extensions[_DECLARATION] = FieldDeclaration(Given(lambda _: service))
    query.fields["_entities"].extensions[_DECLARATION] = FieldDeclaration(Entities(entity_types(types)))
    of_service.fields["sdl"].extensions[_DECLARATION] = FieldDeclaration(Value())


def _declare_ids(schema: GraphQLSchema, types: Mapping[str, TypeDeclaration]) -> None:
    """Which types' rows can be asked for by id is known when all types are."""
    query: Any = schema.query_type
    for field in query.fields.values():
        declared = field_declaration(field)
        if declared is not None and isinstance(declared.read, ById):
            field.extensions[_DECLARATION] = replace(declared, read=ById(named_types(types)))


def _check_rules(schema: GraphQLSchema) -> None:
    """TypeError if anything could be read without a rule: what nobody thought of is nobody's to see."""
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    for type in schema.type_map.values():
        if not isinstance(type, GraphQLObjectType) or type.name.startswith("_"):
            continue
        if type not in roots and type_declaration(type) is None:
            raise TypeError(f"{type.name} has no rule")
        for name, field in type.fields.items():
            declared = field_declaration(field)
            if declared is None and not name.startswith("_"):
                raise TypeError(f"{type.name}.{name} is not declared")
            if declared is None or type not in roots or declared.rule or isinstance(declared.read, Mutation):
                continue
            behind = type_declaration(get_named_type(field.type))
            if behind is None or not (behind.source or isinstance(declared.read, Stream)):
                raise TypeError(f"{type.name}.{name} has no rule, and leads to nothing that has one of its own")


def type_declaration(type: Any) -> TypeDeclaration | None:
    """What is declared of a type of the schema."""
    definition = type.extensions.get(_DEFINITION)
    declared = declaration_of(getattr(definition, "origin", None))
    return declared if isinstance(declared, TypeDeclaration) else None


def field_declaration(field: GraphQLField) -> FieldDeclaration | None:
    """What is declared of a field of the schema."""
    if (declared := field.extensions.get(_DECLARATION)) is not None:
        return declared  # type: ignore[no-any-return]
    definition = field.extensions.get(_DEFINITION)
    return declaration_of(definition) if definition is not None else None


class _Binder:
    def __init__(self, schema: GraphQLSchema, types: Mapping[str, TypeDeclaration], problem_of: ProblemOf) -> None:
        self._schema = schema
        self._types = types
        self._problem_of = problem_of

    def resolver(self, type: GraphQLObjectType, field: GraphQLField, declared: FieldDeclaration) -> Resolver:
        definition = field.extensions[_DEFINITION]
        resolve = self._read(type, field, declared, declared.read, definition.python_name)
        return guarded(declared.rule, resolve, silent=declared.silent) if declared.rule else resolve

    def _read(
        self, type: GraphQLObjectType, field: GraphQLField, declared: FieldDeclaration, read: Read, name: str
    ) -> Resolver:
        rule = self._rule_of(field) if declared.entry is None else closed(declared.entry)
        match read:
            case Value(prefix=prefix) if prefix:
                return lambda row, _: with_prefix(prefix, getattr(row, read.name))
            case Value():
                return _value(type_declaration(type), field, read.name or name, rule, filtered=declared.filtered)
            case Join():
                return _join(read, rule)
            case Connection():
                return _connection(read)
            case Lookup():
                return _lookup(read, rule)
            case Given():
                row = read.row
                return lambda _, info, **__: admit(rule, info.context, row(info.context))
            case Derived():
                return _derived(read)
            case Entities():
                return resolver(read.types)
            case ById():
                return id_resolver(read.types)
            case Mutation():
                return self._mutation(read, field)

    def _rule_of(self, field: GraphQLField) -> Rule | None:
        declared = self._types.get(get_named_type(field.type).name)
        return None if declared is None else closed(declared.rule)

    def _mutation(self, read: Mutation, field: GraphQLField) -> Resolver:
        build = message_builder(self._schema.type_map[get_named_type(field.args["input"].type).name])
        union: Any = get_named_type(field.type)
        problems = {type.name for type in union.types}
        kinds = callers(read)
        name = f"{read.method[0].lower()}{read.method[1:]}"
        problem_of = self._problem_of

        async def resolve(_: Any, info: Any, **given: Any) -> Any:
            request = info.context
            request.require(kinds, name)
            try:
                return await request.call(read.service, read.method, build(given["input"]))
            except DomainError as error:
                problem = problem_of(error)
                if problem is None or problem.kind not in problems:
                    raise
                return problem

        return resolve


def closed(rule: Rule | None) -> Rule | None:
    """The rule, if it keeps anybody out."""
    return None if rule is None or rule.open else rule


def callers(read: Mutation) -> frozenset[CallerKind]:
    """Who may call a mutation: what the rpc's own access rule in the proto says."""
    return access_rule(f"/{read.service.full_name}/{read.method}")[0]


def _value(
    declared: TypeDeclaration | None, field: GraphQLField, name: str, rule: Rule | None, *, filtered: bool
) -> Resolver:
    """A field of the row itself, in the form that its GraphQL type takes."""
    if declared is None or declared.message is None:
        if is_list_type(get_nullable_type(field.type)):
            return lambda row, info: admit_all(rule, info.context, getattr(row, name), filtered=filtered)
        return lambda row, info: admit(rule, info.context, getattr(row, name))
    of_message: Any = declared.message.DESCRIPTOR.fields_by_name[name]
    if of_message.is_repeated:
        return lambda row, info: admit_all(rule, info.context, getattr(row, name), filtered=filtered)
    if of_message.type == FieldDescriptor.TYPE_MESSAGE:
        return lambda row, info: admit(rule, info.context, getattr(row, name)) if row.HasField(name) else None
    if isinstance(field.type, GraphQLNonNull):
        return lambda row, _: getattr(row, name)
    if says_nothing(of_message):
        return lambda row, _: getattr(row, name) or None
    return lambda row, _: getattr(row, name)


def says_nothing(field: FieldDescriptor) -> bool:
    """Whether the empty value stands for none: proto's empty text and its UNSPECIFIED do; a 0 is a number."""
    return field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_ENUM)


def _join(read: Join, rule: Rule | None) -> Resolver:
    source, on, prefix = read.source, read.on, read.prefix
    gate = Gate(rule, source)
    fixed = read.arguments

    def resolve(row: Any, info: Any) -> Any:
        key = getattr(row, on)
        if not key or not key.startswith(prefix):
            return source.missing()
        request = info.context
        return gate.load(request, source, key, request_arguments(request, fixed, ()) if fixed else ())

    return resolve


def _connection(read: Connection) -> Resolver:
    source, on = read.source, read.on

    def resolve(row: Any, info: Any, **given: Any) -> Any:
        request = info.context
        arguments = page_arguments(request, read, given)
        behind = bool(given.get("after"))
        key = getattr(row, on) if on else None
        page = source.missing() if key == "" else request.load(source, key, arguments)
        if isinstance(page, asyncio.Future):
            return late(page, behind=behind)
        return ConnectionRow(page, behind=behind)

    async def late(page: Awaitable[Any], *, behind: bool) -> ConnectionRow:
        return ConnectionRow(await page, behind=behind)

    return resolve


def _lookup(read: Lookup, rule: Rule | None) -> Resolver:
    source, then = read.source, read.then
    if then is None:
        gate = Gate(rule, source)
        return lambda _, info, **given: gate.lookup(info.context, source, read.key(info.context, given))
    follow = _join(then, rule)

    async def resolve(_: Any, info: Any, **given: Any) -> Any:
        key = read.key(info.context, given)
        if not sound(key):
            return None
        row = await settled(info.context.load(source, key))
        return await settled(follow(row, info)) if row is not None else None

    return resolve


def _derived(read: Derived) -> Resolver:
    def resolve(row: Any, info: Any) -> Any:
        made, missing = derive(read, info.context, row)
        return later(row, info.context, missing) if missing else made

    async def later(row: Any, request: Any, missing: Missing) -> Any:
        while missing:
            loads = [settled(request.load(source, key)) for source, key in missing]
            # What failed is told by whoever looks it up.
            await asyncio.gather(*loads, return_exceptions=True)
            made, missing = derive(read, request, row)
        return made

    return resolve


def page_arguments(request: Any, read: Connection, given: Mapping[str, Any]) -> Arguments:
    """What goes into the request for a page beside keys; FieldError if no list has such a page."""
    first, after = given["first"], given.get("after")
    if not 1 <= first <= LARGEST_PAGE:
        message = f"`first` needs 1 to {LARGEST_PAGE}; page on for more."
        raise FieldError(BAD_USER_INPUT, message, reason="PAGE_TOO_LARGE")
    if after and len(after) > _LONGEST_CURSOR:
        message = "`after` is not a cursor of this list; use one from a page's edges."
        raise FieldError(BAD_USER_INPUT, message, reason="CURSOR_MALFORMED")
    return request_arguments(request, read.arguments, given.items())


def request_arguments(
    request: Any, fixed: Mapping[str, Callable[[Any], Any]], given: Iterable[tuple[str, Any]]
) -> Arguments:
    """What goes into the request beside keys: what was given, and what the declaration fixes."""
    made = [(name, _plain(value)) for name, value in given if value is not None]
    made += [(name, value(request)) for name, value in fixed.items()]
    return tuple(sorted(made))


def _plain(value: Any) -> Any:
    """An argument as a message's field takes it, that can be compared: what is asked alike is asked once."""
    if isinstance(value, Enum):
        return value.value
    return value.ToDatetime(UTC) if isinstance(value, Timestamp) else value
