"""What a field reads and who may read it, as data: `declare` makes fields of it, each way of answering goes by it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from gateway.engine.source import Key, Source


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
    # Of an id: with this prefix instead of its own. What there is one of for each of something else has that one's id,
    # told apart, since caches of clients keep one object per id.
    prefix: str = ""


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
class Named:
    """How rows of a type are found by their global ids."""

    type: str
    source: Source
    rule: Rule
    # What their source's keys begin with; ids begin with the prefix by which this is found.
    prefix: str


@dataclass(frozen=True)
class ById:
    """Loads the row that a global id names: its prefix says its type."""

    # By the prefixes of ids.
    types: Mapping[str, Named]


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


Read = Value | Join | Connection | Lookup | Given | Derived | Entities | ById | Mutation


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
    # What ids of its rows begin with, if they can be asked for by global id, and what keys of their source do.
    ids: str | None = None
    keys: str = ""
    # What one object of it costs.
    weight: int = 1
    # Seconds for which caches may keep an answer that has it, if everybody sees it alike; None: as what it is part of.
    max_age: int | None = 0


@dataclass(frozen=True)
class InputDeclaration:
    """The message that an input becomes."""

    message: type[Message]
