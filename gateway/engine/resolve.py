"""Answers any document over the declarations: one small resolver per field, made once from what the field declares.

Resolvers are plain functions wherever nothing has to be awaited; rows stay the messages that the services sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType, SimpleNamespace
from typing import Any, TypeGuard

import strawberry
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
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

from gateway.engine.declare import (
    Connection,
    FieldDeclaration,
    Given,
    Join,
    Lookup,
    Mutation,
    Read,
    Rule,
    TypeDeclaration,
    Value,
    declaration_of,
)
from gateway.engine.inputs import message_builder
from gateway.engine.pages import ConnectionRow
from gateway.engine.source import LARGEST_PAGE, Arguments, Key, Source
from gateway.errors import BAD_USER_INPUT, FieldError
from services.shared.errors import DomainError
from services.shared.identity import CallerKind

Resolver = Callable[..., Any]
# From an expected failure to the row of the problem type that it is, whose `kind` names the type.
ProblemOf = Callable[[DomainError], Any]

_LONGEST_KEY = 200
_LONGEST_CURSOR = 400
_DEFINITION = "strawberry-definition"


def bind(made: strawberry.Schema, problem_of: ProblemOf) -> GraphQLSchema:
    """The schema with a resolver on every field that is declared, and the types of rows known by their messages."""
    schema = made._schema
    types = {name: found for name, type in schema.type_map.items() if (found := type_declaration(type))}
    names = {declared.message.DESCRIPTOR.full_name: name for name, declared in types.items() if declared.message}
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
    sdl = made.as_str()
    schema.type_map["_Service"].fields["sdl"].resolve = lambda *_: sdl  # type: ignore[attr-defined]
    query: Any = schema.query_type
    query.fields["_service"].resolve = lambda *_: _service
    query.fields["_entities"].resolve = binder.entities()
    return schema


def type_declaration(type: Any) -> TypeDeclaration | None:
    """What is declared of a type of the schema."""
    definition = type.extensions.get(_DEFINITION)
    declared = declaration_of(getattr(definition, "origin", None))
    return declared if isinstance(declared, TypeDeclaration) else None


def field_declaration(field: GraphQLField) -> FieldDeclaration | None:
    """What is declared of a field of the schema."""
    definition = field.extensions.get(_DEFINITION)
    return declaration_of(definition) if definition is not None else None


def is_awaitable(value: Any) -> TypeGuard[Awaitable[Any]]:
    """The only kinds of awaitable that our resolvers answer with; quicker than asking any object."""
    return isinstance(value, asyncio.Future) or type(value) is CoroutineType


_service = SimpleNamespace()


class _Binder:
    def __init__(self, schema: GraphQLSchema, types: Mapping[str, TypeDeclaration], problem_of: ProblemOf) -> None:
        self._schema = schema
        self._types = types
        self._problem_of = problem_of

    def resolver(self, type: GraphQLObjectType, field: GraphQLField, declared: FieldDeclaration) -> Resolver:
        definition = field.extensions[_DEFINITION]
        resolve = self._read(type, field, declared, declared.read, definition.python_name)
        return _guarded(declared.rule, resolve, silent=declared.silent) if declared.rule else resolve

    def entities(self) -> Resolver:
        """Federation's `_entities`: every representation through the batched source of its type."""
        loaders = {
            name: (_by_key(declared.source, _path(declared.key)), _Gate(declared.rule, declared.source))
            for name, declared in self._types.items()
            if declared.key and declared.source
        }

        def entity(request: Any, representation: Any) -> Any:
            try:
                load, gate = loaders[representation["__typename"]]
                source, key = load(representation)
            except (KeyError, TypeError) as error:
                message = "A representation needs the __typename of an entity and its key."
                raise FieldError(BAD_USER_INPUT, message, reason="REPRESENTATION_INVALID") from error
            return gate.load(request, source, key, ())

        def resolve(_: Any, info: Any, representations: list[Any]) -> list[Any]:
            return [_caught(entity, info.context, representation) for representation in representations]

        return resolve

    def _read(
        self, type: GraphQLObjectType, field: GraphQLField, declared: FieldDeclaration, read: Read, name: str
    ) -> Resolver:
        rule = declared.entry or self._rule_of(field)
        match read:
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
                return lambda _, info: _admit(rule, info.context, row(info.context))
            case Mutation():
                return self._mutation(read, field)

    def _rule_of(self, field: GraphQLField) -> Rule | None:
        declared = self._types.get(get_named_type(field.type).name)
        return None if declared is None or declared.rule.open else declared.rule

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


def callers(read: Mutation) -> frozenset[CallerKind]:
    """Who may call a mutation: what the rpc's own access rule in the proto says."""
    from services.shared.server import access_rule

    return access_rule(f"/{read.service.full_name}/{read.method}")[0]


def _guarded(rule: Rule, resolve: Resolver, *, silent: bool) -> Resolver:
    """Checks a field's rule on the row that has the field, before anything is loaded."""
    if rule.open:
        return resolve

    def guarded(row: Any, info: Any, **arguments: Any) -> Any:
        try:
            pending = rule.check(info.context, row)
        except FieldError:
            if silent:
                return None
            raise
        if pending is None:
            return resolve(row, info, **arguments)
        return late(pending, row, info, arguments)

    async def late(pending: Awaitable[None], row: Any, info: Any, arguments: Mapping[str, Any]) -> Any:
        try:
            await pending
        except FieldError:
            if silent:
                return None
            raise
        answer: Any = resolve(row, info, **arguments)
        return await answer if is_awaitable(answer) else answer

    return guarded


def _value(
    declared: TypeDeclaration | None, field: GraphQLField, name: str, rule: Rule | None, *, filtered: bool
) -> Resolver:
    """A field of the row itself, in the form that its GraphQL type takes."""
    if declared is None or declared.message is None:
        if is_list_type(get_nullable_type(field.type)):
            return lambda row, info: _admit_all(rule, info.context, getattr(row, name), filtered=filtered)
        return lambda row, info: _admit(rule, info.context, getattr(row, name))
    of_message: Any = declared.message.DESCRIPTOR.fields_by_name[name]
    if of_message.is_repeated:
        return lambda row, info: _admit_all(rule, info.context, getattr(row, name), filtered=filtered)
    if of_message.type == FieldDescriptor.TYPE_MESSAGE:
        return lambda row, info: _admit(rule, info.context, getattr(row, name)) if row.HasField(name) else None
    if isinstance(field.type, GraphQLNonNull):
        return lambda row, _: getattr(row, name)
    # Proto's empty text and its UNSPECIFIED are GraphQL's null.
    return lambda row, _: getattr(row, name) or None


def _join(read: Join, rule: Rule | None) -> Resolver:
    source, on, prefix = read.source, read.on, read.prefix
    gate = _Gate(rule, source)
    fixed = read.arguments

    def resolve(row: Any, info: Any) -> Any:
        key = getattr(row, on)
        if not key or not key.startswith(prefix):
            return source.missing()
        request = info.context
        return gate.load(request, source, key, _arguments(request, fixed, ()) if fixed else ())

    return resolve


def _connection(read: Connection) -> Resolver:
    source, on, fixed = read.source, read.on, read.arguments

    def resolve(row: Any, info: Any, *, first: int, after: str | None = None, **filters: Any) -> Any:
        if not 1 <= first <= LARGEST_PAGE:
            message = f"`first` needs 1 to {LARGEST_PAGE}; page on for more."
            raise FieldError(BAD_USER_INPUT, message, reason="PAGE_TOO_LARGE")
        if after and len(after) > _LONGEST_CURSOR:
            message = "`after` is not a cursor of this list; use one from a page's edges."
            raise FieldError(BAD_USER_INPUT, message, reason="CURSOR_MALFORMED")
        request = info.context
        given = {"first": first, "after": after, **filters}
        arguments = _arguments(request, fixed, (*given.items(),))
        page = request.load(source, getattr(row, on) if on else None, arguments)
        if isinstance(page, asyncio.Future):
            return late(page, behind=bool(after))
        return ConnectionRow(page, behind=bool(after))

    async def late(page: Awaitable[Any], *, behind: bool) -> ConnectionRow:
        return ConnectionRow(await page, behind=behind)

    return resolve


def _lookup(read: Lookup, rule: Rule | None) -> Resolver:
    source, then = read.source, read.then
    if then is None:
        gate = _Gate(rule, source)
        return lambda _, info, **given: gate.lookup(info.context, source, read.key(info.context, given))
    follow = _join(then, rule)

    async def resolve(_: Any, info: Any, **given: Any) -> Any:
        key = read.key(info.context, given)
        if not _sound(key):
            return None
        row = await info.context.load(source, key)
        answer: Any = follow(row, info) if row is not None else None
        return await answer if is_awaitable(answer) else answer

    return resolve


class _Gate:
    """Loads rows of a type whose rule has to be met: before the call where the key tells enough, else after."""

    def __init__(self, rule: Rule | None, source: Source) -> None:
        self._rule = rule
        self._by_key = rule is not None and not source.nodes and bool(source.keys) and rule.fields <= set(source.by)
        self._part = source.by[0] if source.by else ""

    def lookup(self, request: Any, source: Source, key: Key) -> Any:
        """As `load`, for a key that a caller wrote."""
        if not _sound(key):
            if self._rule is not None:
                self._rule.enter(request)
            return source.missing()
        return self.load(request, source, key, ())

    def load(self, request: Any, source: Source, key: Key, arguments: Arguments) -> Any:
        """The row, or an awaitable of it; FieldError where the viewer may not see it."""
        rule = self._rule
        if rule is None:
            return request.load(source, key, arguments)
        if not self._by_key:
            rule.enter(request)
            return self._enter(rule, request, request.load(source, key, arguments))
        pending = rule.check(request, SimpleNamespace(**{self._part: key}))
        if pending is None:
            return request.load(source, key, arguments)
        return self._load_later(pending, request, source, key, arguments)

    async def _load_later(
        self, pending: Awaitable[None], request: Any, source: Source, key: Key, arguments: Arguments
    ) -> Any:
        await pending
        answer = request.load(source, key, arguments)
        return await answer if is_awaitable(answer) else answer

    def _enter(self, rule: Rule, request: Any, loaded: Any) -> Any:
        if isinstance(loaded, asyncio.Future):
            return self._enter_later(rule, request, loaded)
        return _admit_all(rule, request, loaded) if isinstance(loaded, list) else _admit(rule, request, loaded)

    async def _enter_later(self, rule: Rule, request: Any, loaded: Awaitable[Any]) -> Any:
        answer = self._enter(rule, request, await loaded)
        return await answer if is_awaitable(answer) else answer


def _admit(rule: Rule | None, request: Any, row: Any) -> Any:
    """The row if the viewer may see it, or an awaitable of it."""
    if rule is None or row is None:
        return row
    pending = rule.check(request, row)
    return row if pending is None else _admit_later(pending, row)


async def _admit_later(pending: Awaitable[None], row: Any) -> Any:
    await pending
    return row


def _admit_all(rule: Rule | None, request: Any, rows: Any, *, filtered: bool = False) -> list[Any]:
    """Each row, an awaitable of it, or the error that stands in its place."""
    if rule is None:
        return list(rows)
    if filtered:
        return [row for row in rows if rule.shows(request, row)]
    return [_caught(_admit, rule, request, row) for row in rows]


def _caught(function: Callable[..., Any], *arguments: Any) -> Any:
    """An error of one item is the item's own: graphql-core reports an exception in a list at its place."""
    try:
        return function(*arguments)
    except FieldError as error:
        return error


def _arguments(
    request: Any, fixed: Mapping[str, Callable[[Any], Any]], given: tuple[tuple[str, Any], ...]
) -> Arguments:
    """What goes into the request beside keys: what was given, and what the declaration fixes."""
    made = [(name, value) for name, value in given if value is not None]
    made += [(name, value(request)) for name, value in fixed.items()]
    return tuple(sorted(made))


def _sound(key: Key) -> bool:
    """Whether a key that a caller wrote can be one at all; what cannot must not spoil the call it would share."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or 0 < len(part) <= _LONGEST_KEY for part in parts)


def _path(key: str) -> tuple[str, ...]:
    """`member { id }` as the steps to the key's value."""
    return tuple(key.replace("{", " ").replace("}", " ").split())


def _by_key(source: Source, path: tuple[str, ...]) -> Callable[[Any], tuple[Source, Key]]:
    def key_of(representation: Any) -> tuple[Source, Key]:
        value = representation
        for step in path:
            value = value[step]
        if not isinstance(value, str) or not _sound(value):
            raise KeyError(path)
        return source, value

    return key_of
