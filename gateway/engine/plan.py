"""A plan: which rows to load in which order for an operation, and what to make of them. `compile` makes plans."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from graphql import FieldNode, GraphQLField, GraphQLNonNull, GraphQLObjectType

from gateway.engine.arguments import FieldArguments
from gateway.engine.reads import Derived, Rule, TypeDeclaration
from gateway.engine.resolve import type_declaration
from gateway.engine.source import Key, Source

_DEFINITION = "strawberry-definition"


class Uncovered(Exception):
    """The operation has something that plans do not cover; the message says what."""


@dataclass(eq=False, repr=False)
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
    # Instead of `below` and `load`, where rows may be of several types: what is selected of each, and how it is loaded.
    choices: "dict[str, tuple[Selection, Load]] | None" = None
    # An Embedded; None for what is loaded or derived, and for leaves.
    embedded: Any = None

    @property
    def python_name(self) -> str:
        """What resolvers call it."""
        name: str = self.field.extensions[_DEFINITION].python_name
        return name


@dataclass(eq=False, repr=False)
class Selection:
    """What is selected of the rows of one type, at one place of the answer."""

    type: GraphQLObjectType
    entries: list[Entry] = field(default_factory=list)
    # Rules of plain fields, which refuse by an error.
    checks: list[Rule] = field(default_factory=list)
    embedded: list["Embedded"] = field(default_factory=list)
    loads: list["Load"] = field(default_factory=list)
    derivations: list["Derivation"] = field(default_factory=list)

    @cached_property
    def idle(self) -> bool:
        """Whether nothing has to be checked or loaded for it; to be asked once it is complete."""
        return self.flat and not self.loads

    @cached_property
    def flat(self) -> bool:
        """Whether nothing but loads is to be done for it; to be asked once it is complete."""
        return not (self.checks or self.embedded or self.derivations)

    @property
    def declared(self) -> TypeDeclaration | None:
        return type_declaration(self.type)


@dataclass(eq=False, repr=False)
class Embedded:
    """Rows that are part of others, or of the request itself."""

    number: int
    rows: Callable[[Any, Iterable[Any]], list[Any]]
    # On the row that has the field, and on the rows that it leads to.
    field_rule: Rule | None
    row_rule: Rule | None
    filtered: bool
    below: Selection


@dataclass(eq=False, repr=False)
class Derivation:
    """Rows that are made out of several others."""

    read: Derived
    # On the row that has the field.
    field_rule: Rule | None
    below: Selection


@dataclass(eq=False, repr=False)
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
    # For rows named by representations: what each of these names, as a type and a key; and whose rows are loaded here.
    pick: Callable[[Mapping[str, Any]], list[tuple[str, Key] | None]] | None = None
    of_type: str = ""
    # How many levels it waits for others of its source; set once the plan is complete.
    waits: int = 0
    # The join that a door goes on with.
    then: "Load | None" = None
    # Joins by nothing but the key of these rows, which is known before they come: loaded at the same time.
    beside: "list[Load]" = field(default_factory=list)

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


@dataclass(eq=False, repr=False)
class Plan:
    """A compiled operation."""

    root: Selection
    loads: list[Load]
    embedded: list[Embedded]
    entries: int
    # Whether any of the loads waits for others.
    waits: bool


def nullable(field: GraphQLField) -> bool:
    """Whether a field may be null."""
    return not isinstance(field.type, GraphQLNonNull)
