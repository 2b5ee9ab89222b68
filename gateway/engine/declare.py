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
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import strawberry
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from strawberry.annotation import StrawberryAnnotation
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from gateway.engine.source import Key, Source

T = TypeVar("T", bound=type)

DEFAULT_PAGE = 20
# The argument that says how long a page is.
PAGE_LENGTH = "first"
# What a mutation costs beside what its answer has: as much as ten objects, and the one that it answers.
MUTATION_WEIGHT = 11
_DECLARATION = "alliance"


class Rule(Protocol):
    """Who may read: of a type, checked on each row that is shown; of a field, on the row that has the field."""

    @property
    def open(self) -> bool:
        """Whether it lets everybody through who got here."""

    @property
    def fields(self) -> frozenset[str]:
        """What of a row it takes to decide; what is of a source's key is known before anything is loaded."""

    def enter(self, request: Any) -> None:
        """Raises if a viewer of this kind may see no row at all; needs no row."""

    def shows_all(self, request: Any) -> bool:
        """Whether the viewer may see every row there is, so that none has to be looked at."""

    def check(self, request: Any, row: Any) -> Any:
        """None if the viewer may see the row, or an awaitable of that; raises if not."""

    def shows(self, request: Any, row: Any) -> bool:
        """Whether the viewer may see the row, decided at once; for rules that need no question to a service."""


@dataclass(frozen=True)
class Value:
    """Reads a field of the row: a value, a message or a list of either."""

    # Empty: the field of the same name.
    name: str = ""


@dataclass(frozen=True)
class Join:
    """Loads the row of another source whose key is in this row."""

    source: Source
    # The row's field that has the key.
    on: str
    # Only for keys that begin with this; an id that may be of two kinds is joined by two fields.
    prefix: str = ""
    # Fixed arguments, worked out from the request, for example for whom it asks.
    arguments: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Connection:
    """Loads a page of a list: of the row whose key is in this row, or, at the root, of all."""

    source: Source
    on: str = ""
    # Further arguments of the field that go into the request, by the request's names.
    filters: tuple[str, ...] = ()
    arguments: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Lookup:
    """Loads the row that the field's arguments name."""

    source: Source
    # From the request and the arguments to the key.
    key: Callable[[Any, Mapping[str, Any]], Key]
    # Where to go on from the row that was found.
    then: Join | None = None


@dataclass(frozen=True)
class Given:
    """Has its row from the request itself, without loading."""

    row: Callable[[Any], Any]


class Find(Protocol):
    """Looks up the row of a key, among those that have been loaded."""

    def __call__(self, source: Source, key: Key) -> Any:
        """The row; None if there is none, if the key is empty, or as long as it is still to come.

        Raises what kept it from being loaded.
        """


@dataclass(frozen=True)
class Derived:
    """Makes a row out of this one and rows of several sources, which its function looks up.

    The function is pure, and is called again as long as it looked up rows that had still to be loaded, those of all
    rows of a level in one call per source; so it goes on as far as it can where it finds none. What it shows of the
    rows that it finds is not asked of their types' rules: it may show what whoever sees this row may know.
    """

    make: Callable[[Any, Find], Any]
    # All that the function looks in.
    reads: tuple[Source, ...]


@dataclass(frozen=True)
class Entity:
    """How rows of a type are found by federation's key."""

    # The steps from a representation to the key's value: `member { id }` has two.
    path: tuple[str, ...]
    source: Source
    rule: Rule


@dataclass(frozen=True)
class Entities:
    """Loads rows of several types, each named by a representation: its type, and the value of its key."""

    # By the names of the types.
    types: Mapping[str, Entity]


@dataclass(frozen=True)
class Mutation:
    """Calls an RPC for the viewer, with a request made from the input."""

    service: ServiceDescriptor
    method: str
    input: type
    payload: type
    problems: tuple[type, ...]


@dataclass(frozen=True)
class Stream(Given):
    """Follows a topic: each event is answered like a query, whose request has the event's row."""

    topic: str
    # From the request and the arguments to what is followed. The rule of the type that the field leads to is asked
    # about it first, so it has the fields that the rule is about.
    key: Callable[[Any, Mapping[str, Any]], Any]


Read = Value | Join | Connection | Lookup | Given | Derived | Entities | Mutation


@dataclass(frozen=True)
class FieldDeclaration:
    """All that is to know about a field beyond its type."""

    read: Read
    # None: whoever may see the row may see the field.
    rule: Rule | None = None
    # What a refused viewer gets: an error, or null without one.
    silent: bool = False
    # Rows of a list that the viewer may not see are left out.
    filtered: bool = False
    # Takes the place of the rule of the type that the field leads to.
    entry: Rule | None = None
    # How long the list is taken to be when a document's cost is worked out; None: as long as the page that it is in.
    size: int | None = None


@dataclass(frozen=True)
class TypeDeclaration:
    """All that is to know about an object type beyond its fields."""

    # The message whose rows these are; None for what the gateway makes itself.
    message: type[Message] | None
    rule: Rule
    # Federation's key, as a selection set (`id`, `member { id }`), and where its rows come from.
    key: str = ""
    source: Source | None = None
    # What one object of it costs.
    weight: int = 1


@dataclass(frozen=True)
class InputDeclaration:
    """The message that an input becomes."""

    message: type[Message]


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
    name: str | None = None,
    shareable: bool = False,
    weight: int = 1,
) -> Callable[[T], T]:
    """An object type whose rows are messages; with a key, an entity of the federation.

    `shareable`: other subgraphs may have it as well, with the same fields.
    """

    def decorate(cls: T) -> T:
        cls.__declaration__ = TypeDeclaration(message, rule, key, source, weight)  # type: ignore[attr-defined]
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
    description: str, *, rule: Rule, name: str | None = None, shareable: bool = False, weight: int = 1
) -> Callable[[T], T]:
    """An object type that is not a message: the gateway makes its rows."""
    return federated(None, description, rule=rule, name=name, shareable=shareable, weight=weight)


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


def value(description: str, *, of: str = "", name: str | None = None, **options: Any) -> Any:
    """The message's field of the same name, or the one that `of` names; options as in FieldDeclaration."""
    return declared_field(description, Value(of), options, name=name)


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
) -> Any:
    """A field with its declaration; `type` where the class body does not annotate it."""
    declaration = FieldDeclaration(read, **options)
    made = StrawberryField(
        description=description,
        graphql_name=name,
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
