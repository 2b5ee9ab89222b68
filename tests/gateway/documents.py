"""Documents made from the schema by hypothesis-graphql, and varied by what it does not vary.

It selects fields and writes arguments as literals. Here they get deeper, ask for ids that exist, take arguments from
variables of all kinds, and use aliases, fields that are merged, fragments, @skip, @include, @defer and @stream.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLInterfaceType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
    print_schema,
)
from graphql.language import FieldNode, SelectionSetNode
from hypothesis import strategies as st
from hypothesis_graphql import queries

_MOST_FIELDS = 70
_DEEPEST = 7


@dataclass(frozen=True)
class Asked:
    """A document with its variables."""

    query: str
    variables: dict[str, Any]


def asked(schema: GraphQLSchema, ids: dict[str, list[str]], sound: dict[str, list[str]]) -> st.SearchStrategy[Asked]:
    """Documents, most of them valid; `ids` has what to ask for, by the name of the door, and `sound` what of it is
    whole: half of the documents ask for that alone, so that many answers have no errors."""
    assert schema.query_type is not None
    doors = [name for name in schema.query_type.fields if not name.startswith("_")]
    generated = queries(print_schema(schema), fields=doors, print_ast=lambda node: node)

    def varied(drawn: tuple[DocumentNode, int, bool]) -> Asked:
        document, seed, whole = drawn
        return _Variation(schema, sound if whole else ids, Random(seed), whole).of(document)

    return st.tuples(generated, st.integers(0, 2**32), st.booleans()).map(varied)


# Representations of nothing.
WRONG = (
    "{}",
    '{"__typename": "Money", "id": "x"}',
    '{"__typename": "Member"}',
    '{"__typename": "Member", "id": 7}',
    '{"__typename": "Wallet", "member": "x"}',
    '{"__typename": "Member", "id": "nobody"}',
)


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_literal(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value)


@dataclass
class _Variation:
    schema: GraphQLSchema
    ids: dict[str, list[str]]
    random: Random
    # Whether arguments are all as they should be.
    sound: bool
    variables: dict[str, Any] = field(default_factory=dict)
    definitions: list[str] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)
    count: int = 0
    fields: int = 0

    def of(self, document: DocumentNode) -> Asked:
        (operation,) = document.definitions
        root = self._set(self.schema.query_type, operation.selection_set, 0)  # type: ignore[attr-defined]
        if self._chance(0.2):
            root = f"{{ {self._entities()} {root.removeprefix('{')}"
        signature = f"({', '.join(self.definitions)})" if self.definitions else ""
        text = " ".join([f"query Q{signature} {root}", *self.fragments])
        return Asked(text, self.variables)

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def _set(self, type: Any, given: SelectionSetNode | None, depth: int) -> str:
        if is_abstract_type(type):
            shared = " id" if isinstance(type, GraphQLInterfaceType) and self._chance(0.7) else ""
            return f"{{ {self._any_of(self.schema.get_possible_types(type))}{shared} }}"
        nodes = [node for node in (given.selections if given else ()) if isinstance(node, FieldNode)]
        wanted = {node.name.value: node for node in nodes}
        names = list(wanted)
        if depth and self._chance(0.7):
            others = [name for name in type.fields if name not in wanted and not name.startswith("_")]
            self.random.shuffle(others)
            names += others[: self.random.randint(0, 5)]
        if not names:
            names = [name for name, of in type.fields.items() if is_leaf_type(get_named_type(of.type))][:1]
        if self._chance(0.1):
            names.append("__typename")
        parts = []
        for name in names:
            made = self._field(type, name, wanted.get(name), depth)
            if made:
                parts.append(made)
                if self._chance(0.05) and made.partition(" ")[0].isalpha():
                    parts.append(made)
        body = " ".join(self._wrapped(type, part) for part in parts) or "__typename"
        return "{ " + body + " }"

    def _field(self, type: Any, name: str, node: FieldNode | None, depth: int) -> str:
        if name == "__typename":
            return name
        self.fields += 1
        of = type.fields[name]
        named = get_named_type(of.type)
        leaf = is_leaf_type(named)
        if not leaf and node is None and (depth >= _DEEPEST or self.fields > _MOST_FIELDS):
            return ""
        alias = f"{self._name('a')}: " if self._chance(0.15) else ""
        below = "" if leaf else " " + self._set(named, node.selection_set if node else None, depth + 1)
        stream = self._stream() if is_list_type(get_nullable_type(of.type)) and self._chance(0.06) else ""
        return f"{alias}{name}{self._arguments(name, of)}{self._condition()}{stream}{below}"

    def _entities(self) -> str:
        """Federation's door: some representations, most of them sound, and fragments on some of the types."""
        known = self.ids["_entities"]
        asked = [self.random.choice(known) for _ in range(self.random.randint(0, 4))]
        if not self.sound and self._chance(0.3):
            asked.append(self.random.choice(WRONG))
        union: Any = self.schema.type_map["_Entity"]
        parts = self._any_of(union.types)
        if self._chance(0.5):
            literal = _literal([json.loads(one) for one in asked])
            return f"_entities(representations: {literal}) {{ {parts} }}"
        name = self._name("v")
        self.definitions.append(f"${name}: [_Any!]!")
        self.variables[name] = [json.loads(one) for one in asked]
        return f"{self._name('a')}: _entities(representations: ${name}) {{ {parts} }}"

    def _any_of(self, types: Sequence[Any]) -> str:
        """Fragments on some of the types that a row may be of."""
        wanted = self.random.sample(types, self.random.randint(1, 3))
        parts = [f"... on {type.name}{self._condition()} {self._set(type, None, _DEEPEST - 2)}" for type in wanted]
        if self._chance(0.5):
            parts.append("__typename")
        return " ".join(parts)

    def _wrapped(self, type: Any, part: str) -> str:
        if self._chance(0.12):
            on = f" on {type.name}" if self._chance(0.7) else ""
            return f"...{on}{self._condition()}{self._defer()} {{ {part} }}"
        if self._chance(0.1):
            name = self._name("F")
            self.fragments.append(f"fragment {name} on {type.name} {{ {part} }}")
            return f"...{name}{self._condition()}{self._defer()}"
        return part

    def _defer(self) -> str:
        return f" @defer{self._wish()}" if self._chance(0.25) else ""

    def _stream(self) -> str:
        return f" @stream{self._wish(f'initialCount: {self.random.randint(0, 2)}')}"

    def _wish(self, *given: str) -> str:
        """The arguments of @defer or @stream."""
        arguments = list(given)
        if self._chance(0.3):
            arguments.append(f'label: "{self._name("l")}"')
        if self._chance(0.3):
            name = self._name("v")
            self.definitions.append(f"${name}: Boolean!")
            self.variables[name] = self._chance(0.7)
            arguments.append(f"if: ${name}")
        return f"({', '.join(arguments)})" if arguments else ""

    def _condition(self) -> str:
        if not self._chance(0.08):
            return ""
        directive = self.random.choice(("skip", "include"))
        value = self._chance(0.5)
        if self._chance(0.4):
            return f" @{directive}(if: {str(value).lower()})"
        name = self._name("v")
        if self._chance(0.3):
            self.definitions.append(f"${name}: Boolean = {str(value).lower()}")
            if self._chance(0.5):
                self.variables[name] = not value
        else:
            self.definitions.append(f"${name}: Boolean!")
            self.variables[name] = value
        return f" @{directive}(if: ${name})"

    def _arguments(self, name: str, of: Any) -> str:
        parts = []
        for argument, declared in of.args.items():
            if not is_required_argument(declared) and self._chance(0.35):
                continue
            parts.append(f"{argument}: {self._value(name, argument, declared)}")
        return f"({', '.join(parts)})" if parts else ""

    def _value(self, door: str, argument: str, declared: Any) -> str:
        value = self._choice(door, argument)
        if value is None and str(declared.type).endswith("!"):
            value = 2 if argument == "first" else ""
        bare_literal = isinstance(value, int) or is_enum_type(get_named_type(declared.type))
        literal = "null" if value is None else str(value) if bare_literal else f'"{value}"'
        if self._chance(0.55):
            return literal
        name = self._name("v")
        kind = str(declared.type)
        bare = kind.rstrip("!")
        if self._chance(0.3) and value is not None:
            self.definitions.append(f"${name}: {self.random.choice((bare, kind))} = {literal}")
            if self._chance(0.3) and (other := self._choice(door, argument)) is not None:
                self.variables[name] = other
            elif not self.sound and self._chance(0.1):
                self.variables[name] = None
        elif declared.default_value is not None and self._chance(0.3):
            # What is not given takes the argument's own default.
            self.definitions.append(f"${name}: {bare}")
            if self._chance(0.3):
                self.variables[name] = value
        else:
            self.definitions.append(f"${name}: {kind}")
            self.variables[name] = value
            if not self.sound and self._chance(0.03):
                self.variables[name] = self.random.choice((True, [], {}, 1.5, "x" * 10, 2**40))
        return f"${name}"

    def _choice(self, door: str, argument: str) -> Any:
        if self.sound and argument == "first":
            return self.random.choice((1, 2, 20, 100))
        if self.sound and argument == "after":
            return self.random.choice((None, "0"))
        if argument == "first":
            return self.random.choice((1, 2, 3, 20, 100, 100, 0, 101))
        if argument == "after":
            return self.random.choice((None, None, "0", "1", "?", ""))
        if argument == "customerNumber":
            return self.random.choice(("C-1", "N-1", "none", ""))
        if argument in ("since", "until"):
            return self.random.choice((None, None, "2026-03-01T08:30:00Z", "2026-03-01T08:30:00.001Z"))
        if argument == "status":
            return self.random.choice((None, "HELD", "CAPTURED"))
        known = self.ids.get("partner" if argument == "partnerId" else door, [])
        if known and (self.sound or self._chance(0.93)):
            return self.random.choice(known)
        return self.random.choice(("", "nobody", 7, "x" * 201))
