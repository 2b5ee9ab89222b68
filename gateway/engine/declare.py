"""What a field reads, declared beside its type: plain data on Strawberry's types and fields.

Strawberry makes the schema; what stands here says how its fields are answered, so that one declaration serves
every way of answering.

    wallets = source(REWARDS, "BatchGetWallets", keys="member_ids", rows="wallets", by="member_id")

    @federated(accounts_pb2.Member, "A consumer.", rule=MEMBER, key="id", source=members)
    class Member:
        id: strawberry.ID = value("TypeID with prefix member.")
        wallet: Wallet | None = join(wallets, "The points.", on="id")
        acts: Connection[Act] | None = connection(acts_by_member, "What it did.", on="id")
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import strawberry
from google.protobuf.message import Message
from strawberry.annotation import StrawberryAnnotation
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from gateway.engine.reads import (
    ById,
    Connection,
    Derived,
    FieldDeclaration,
    Find,
    Given,
    InputDeclaration,
    Join,
    Lookup,
    Mutation,
    Read,
    Rule,
    Stream,
    TypeDeclaration,
    Value,
)
from gateway.engine.source import Key, Source

T = TypeVar("T", bound=type)

DEFAULT_PAGE = 20
# The argument that says how long a page is.
PAGE_LENGTH = "first"
# What a mutation costs beside what its answer has: as much as ten objects, and the one that it answers.
MUTATION_WEIGHT = 11
_DECLARATION = "alliance"


def declaration_of(definition: Any) -> Any:
    """The declaration of a Strawberry type or field; None if it has none."""
    if isinstance(definition, StrawberryField):
        return definition.metadata.get(_DECLARATION)
    return getattr(definition, "__declaration__", None)


def federated(
    message: type[Message] | None,
    description: str,
    *,
    rule: Rule,
    key: str = "",
    source: Source | None = None,
    ids: str | None = None,
    keys: str = "",
    name: str | None = None,
    shareable: bool = False,
    weight: int = 1,
    max_age: int | None = 0,
) -> Callable[[T], T]:
    """An object type whose rows are messages; with a key, an entity of the federation.

    `ids`: what the ids of its rows begin with, if they can be asked for by global id; `keys`: what those of the source
    begin with, if that is something else.
    `shareable`: other subgraphs may have it as well, with the same fields.
    """

    def decorate(cls: T) -> T:
        cls.__declaration__ = TypeDeclaration(message, rule, key, source, ids, keys, weight, max_age)  # type: ignore[attr-defined]
        return strawberry.federation.type(
            cls,
            name=name,
            description=description,
            keys=[key] if key else (),
            shareable=shareable,
            directives=cost_of_type(weight),
        )

    return decorate


def shape(
    description: str,
    *,
    rule: Rule,
    name: str | None = None,
    shareable: bool = False,
    weight: int = 1,
    max_age: int | None = 0,
) -> Callable[[T], T]:
    """An object type that is not a message: the gateway makes its rows."""
    return federated(None, description, rule=rule, name=name, shareable=shareable, weight=weight, max_age=max_age)


def request_input(message: type[Message], description: str) -> Callable[[T], T]:
    """An input that becomes a message; its fields have the message's names."""

    def decorate(cls: T) -> T:
        cls.__declaration__ = InputDeclaration(message)  # type: ignore[attr-defined]
        return strawberry.input(cls, description=description)

    return decorate


def enum_value(number: int, description: str) -> Any:
    """A value of an enum whose members have the numbers of a proto enum."""
    return strawberry.enum_value(number, description=description)


def given(description: str, **options: Any) -> Any:
    """A field of an input; `default=None` makes it optional."""
    return strawberry.field(description=description, **options)


def value(
    description: str,
    *,
    of: str = "",
    prefix: str = "",
    name: str | None = None,
    deprecated: str | None = None,
    **options: Any,
) -> Any:
    """The message's field of the same name, or the one that `of` names; options as in FieldDeclaration.

    `prefix`: of an id, instead of the one that it has.

    `deprecated`: why it is not to be used any more, and what is instead; it is answered as before.
    """
    return declared_field(description, Value(of, prefix), options, name=name, deprecated=deprecated)


def join(
    source: Source,
    description: str,
    *,
    on: str,
    prefix: str = "",
    arguments: Mapping[str, Callable[[Any], Any]] | None = None,
    **options: Any,
) -> Any:
    """The row of another source whose key is this row's field `on`."""
    return declared_field(description, Join(source, on, prefix, arguments or {}), options)


def connection(
    source: Source,
    description: str,
    *,
    on: str = "",
    filters: Sequence[StrawberryArgument] = (),
    arguments: Mapping[str, Callable[[Any], Any]] | None = None,
    **options: Any,
) -> Any:
    """A Relay connection over a paged source."""
    read = Connection(source, on, tuple(argument.python_name for argument in filters), arguments or {})
    paging = [
        argument(PAGE_LENGTH, int, "How many at most, 1 to 100.", default=DEFAULT_PAGE),
        argument("after", str | None, "The cursor behind which to go on; without one, from the start."),
    ]
    return declared_field(description, read, options, arguments=[*paging, *filters])


def lookup(
    source: Source,
    description: str,
    *,
    key: Callable[[Any, Mapping[str, Any]], Key],
    arguments: Sequence[StrawberryArgument] = (),
    then: Join | None = None,
    **options: Any,
) -> Any:
    """One row, named by the field's arguments."""
    return declared_field(description, Lookup(source, key, then), options, arguments=arguments)


def lookup_by_id(source: Source, description: str, **options: Any) -> Any:
    """One row, by the argument `id`."""
    arguments = [argument("id", strawberry.ID, "Its id.")]
    return lookup(source, description, key=lambda _, given: given["id"], arguments=arguments, **options)


def by_global_id(description: str, **options: Any) -> Any:
    """The row that the argument `id` names, of whatever type it is among those that say what their ids begin with."""
    arguments = [argument("id", strawberry.ID, "Its id, as the field `id` of its type has it.")]
    return declared_field(description, ById({}), options, arguments=arguments)


def whole(source: Source, description: str, **options: Any) -> Any:
    """All that a source without keys has."""
    return lookup(source, description, key=lambda _, __: None, **options)


def present(description: str, row: Callable[[Any], Any], **options: Any) -> Any:
    """A row that the request itself has."""
    return declared_field(description, Given(row), options)


def subscription(
    topic: str,
    description: str,
    *,
    key: Callable[[Any, Mapping[str, Any]], Any],
    arguments: Sequence[StrawberryArgument] = (),
    **options: Any,
) -> Any:
    """A field of the subscription type, that goes on from the cursor `after`."""
    after = argument(
        "after", str | None, "The cursor of the last event that you have: what you missed since then comes first."
    )
    read = Stream(lambda request: request.event, topic, key)
    return declared_field(description, read, options, arguments=[*arguments, after])


def derived(description: str, make: Callable[[Any, Find], Any], *, reads: Sequence[Source], **options: Any) -> Any:
    """A row made out of this one and of others; its type has to be open to whoever sees this one."""
    return declared_field(description, Derived(make, tuple(reads)), options)


def argument(name: str, type: Any, description: str, **options: Any) -> StrawberryArgument:
    """An argument of a field."""
    return StrawberryArgument(name, None, StrawberryAnnotation(type), description=description, **options)


def declared_field(
    description: str,
    read: Read,
    options: Mapping[str, Any],
    *,
    name: str | None = None,
    type: Any = None,
    arguments: Sequence[StrawberryArgument] = (),
    deprecated: str | None = None,
) -> Any:
    """A field with its declaration; `type` where the class body does not annotate it."""
    declaration = FieldDeclaration(read, **options)
    made = StrawberryField(
        description=description,
        graphql_name=name,
        deprecation_reason=deprecated,
        type_annotation=StrawberryAnnotation(type) if type is not None else None,
        metadata={_DECLARATION: declaration},
        directives=_costs(declaration),
    )
    made.arguments = list(arguments)
    return made


def cost_of_type(weight: int) -> list[object]:
    """`@cost` on a type, where it is not the usual 1."""
    return [] if weight == 1 else [Cost(weight=weight)]


def _costs(declaration: FieldDeclaration) -> list[object]:
    """What the schema says of a field's cost, in the directives of IBM's specification, as Federation 2.9 has them."""
    if isinstance(declaration.read, Connection):
        return [
            ListSize(
                assumed_size=DEFAULT_PAGE,
                slicing_arguments=[PAGE_LENGTH],
                sized_fields=["edges", "nodes"],
                require_one_slicing_argument=False,
            )
        ]
    if isinstance(declaration.read, Mutation):
        return [Cost(weight=MUTATION_WEIGHT)]
    if declaration.size is not None:
        return [
            ListSize(
                assumed_size=declaration.size,
                slicing_arguments=strawberry.UNSET,
                sized_fields=strawberry.UNSET,
                require_one_slicing_argument=False,
            )
        ]
    return []
