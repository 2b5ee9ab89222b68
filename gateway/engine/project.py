"""Builds, for a plan, the function that makes the answer of its rows: Python source with one comprehension per list.

The function assumes that all went well: every row is there that was asked for, nobody was refused, every value fits its
type. Where that is not so it raises, or must not be called at all; `walk` then tells the errors, each at its place.

A row that is loaded by key is projected once, however often it is shown.
"""

import keyword
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLString,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)

from gateway.engine.admit import is_awaitable
from gateway.engine.derive import made
from gateway.engine.entities import with_prefix
from gateway.engine.plan import Entry, Load, Plan, Selection, Uncovered, nullable
from gateway.engine.reads import Derived, Given, Rule
from gateway.engine.resolve import says_nothing
from gateway.errors import FieldError
from gateway.scalars import whole_number, write_moment

# From the rows by load and key, the doors' keys, which pages were asked for behind a cursor, and the request.
Projector = Callable[[list[dict[Any, Any]], list[Any], list[bool], Any], dict[str, Any]]

# What the JSON encoder writes as GraphQL does.
_AS_IT_IS = {
    (FieldDescriptor.TYPE_STRING, GraphQLString.name),
    (FieldDescriptor.TYPE_STRING, GraphQLID.name),
    (FieldDescriptor.TYPE_INT32, GraphQLInt.name),
    (FieldDescriptor.TYPE_BOOL, GraphQLBoolean.name),
}
_EPOCH_MINUTES = 719_162 * 24 * 60
_LAST_MINUTE = 253_402_300_800 // 60
_EPOCH = datetime(1970, 1, 1)
_SECONDS = tuple(f"{second:02}" for second in range(60))


class Unfit(Exception):
    """A value does not fit its type."""


def projector(plan: Plan) -> Projector:
    """The function for a plan; Uncovered if it cannot be made."""
    return _Source(plan).compiled()


def moment(value: Any) -> str:
    """As Timestamp.ToJsonString, and several times as fast."""
    seconds: int = value.seconds
    nanos: int = value.nanos
    minute, second = divmod(seconds, 60)
    text = _minute(minute) + _SECONDS[second]
    if not nanos:
        return text + "Z"
    if not 0 < nanos < 1_000_000_000:
        raise Unfit
    if not nanos % 1_000_000:
        return f"{text}.{nanos // 1_000_000:03}Z"
    if not nanos % 1_000:
        return f"{text}.{nanos // 1_000:06}Z"
    return f"{text}.{nanos:09}Z"


@lru_cache(maxsize=16_384)
def _minute(minutes: int) -> str:
    """A minute since 1970, as text up to its seconds."""
    if not -_EPOCH_MINUTES <= minutes < _LAST_MINUTE:
        raise Unfit
    return (_EPOCH + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:").zfill(17)


def finite(value: float) -> float:
    """A number that JSON has."""
    if not math.isfinite(value):
        raise Unfit
    return value


class _Source:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # What the source names beside its own variables.
        self._names: dict[str, Any] = {"moment": moment, "finite": finite}
        self._constants: dict[int, str] = {}
        self._counter = 0

    def compiled(self) -> Projector:
        lines = ["def project(rows, keys, behind, request):"]
        # What a load's rows show has a lower number, and is made before.
        for load in self._plan.loads:
            lines.append(f"    j{load.number} = {self._loaded(load)}")
        lines.append(f"    return {self._object(self._plan.root, 'None')}")
        source = "\n".join(lines)
        try:
            exec(compile(source, "<plan>", "exec"), self._names)  # noqa: S102 - of names that validation let through
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise Uncovered("nested too deeply for a projector") from error
        project: Projector = self._names["project"]
        return project

    def _new(self, prefix: str) -> str:
        self._counter += 1
        return f"{prefix}{self._counter}"

    def _constant(self, value: Any) -> str:
        """The name by which the source refers to a value."""
        known = self._constants.get(id(value))
        if known is None:
            known = self._constants[id(value)] = self._new("c")
            self._names[known] = value
        return known

    def _loaded(self, load: Load) -> str:
        row = self._new("r")
        each = f"for k, {row} in rows[{load.number}].items()"
        if load.source.paged:
            return f"{{k: {self._page(load, row)} {each}}}"
        if load.many:
            inner = self._new("r")
            return f"{{k: [{self._row(load, inner)} for {inner} in {row}] {each}}}"
        return f"{{k: {self._row(load, row)} {each} if {row} is not None}}"

    def _row(self, load: Load, row: str) -> str:
        if load.then is not None:
            return self._join(load.then, row)
        return self._object(load.below[0], row)

    def _object(self, selection: Selection, row: str) -> str:
        parts = [f"{entry.key!r}: {self._entry(selection, entry, row)}" for entry in selection.entries]
        return "{" + ", ".join(parts) + "}"

    def _entry(self, selection: Selection, entry: Entry, row: str) -> str:
        if entry.field is None:
            return repr(selection.type.name)
        if entry.choices is not None:
            rows = self._chosen(entry.choices)
            return rows if is_list_type(get_nullable_type(entry.field.type)) else f"({rows} or [None])[0]"
        if entry.load is not None:
            return self._join(entry.load, row)
        read = entry.declared.read
        if isinstance(read, Given):
            inner = self._new("r")
            given = f"{self._constant(read.row)}(request)"
            return f"[{self._object(entry.below, inner)} for {inner} in ({given},)][0]"
        if isinstance(read, Derived):
            inner = self._new("r")
            return self._maybe(entry, inner, f"{self._constant(made)}({self._constant(read)}, request, {row})")
        name = read.name or entry.python_name
        if is_leaf_type(get_named_type(entry.field.type)):
            shown = self._leaf(selection, entry, row, name)
            rule = entry.declared.rule
            if entry.declared.silent and rule is not None and not rule.open:
                return f"({shown} if {self._constant(_shown(rule))}(request, {row}) else None)"
            return shown
        return self._embedded(selection, entry, row, name)

    def _chosen(self, choices: Mapping[str, tuple[Selection, Load]]) -> str:
        """In the order in which they are named, each out of what was loaded of its type."""
        tables = ", ".join(f"{name!r}: j{load.number}" for name, (_, load) in choices.items())
        first = min(load.number for _, load in choices.values())
        return f"[t[n].get(k) for t in ({{{tables}}},) for n, k in keys[{first}]]"

    def _join(self, load: Load, row: str) -> str:
        table = f"j{load.number}"
        found = f"keys[{load.number}]" if load.door is not None else _attribute(row, load.on)
        if load.source.paged:
            return f"{table}[{found}]"
        return f"{table}.get({found}, [])" if load.many else f"{table}.get({found})"

    def _embedded(self, selection: Selection, entry: Entry, row: str, name: str) -> str:
        value = _attribute(row, name)
        of_message = selection.declared is not None and selection.declared.message is not None
        if is_list_type(get_nullable_type(entry.field.type)):
            inner = self._new("r")
            keep = ""
            rule = entry.embedded.row_rule
            if entry.embedded.filtered and rule is not None:
                keep = f" if {self._constant(rule)}.shows(request, {inner})"
            return f"[{self._object(entry.below, inner)} for {inner} in {value}{keep}]"
        if of_message and nullable(entry.field):
            return f"({self._object(entry.below, value)} if {row}.HasField({name!r}) else None)"
        if of_message:
            raise Uncovered(f"{entry.name}, a message that may not be null")
        return self._maybe(entry, self._new("r"), value)

    def _maybe(self, entry: Entry, row: str, value: str) -> str:
        """An object that the gateway made itself; it may be none."""
        shown = self._object(entry.below, row)
        if nullable(entry.field):
            shown = f"({shown} if {row} is not None else None)"
        return f"[{shown} for {row} in ({value},)][0]"

    def _page(self, load: Load, page: str) -> str:
        parts = []
        for entry in load.entry.below.entries:
            if entry.field is None:
                made = repr(load.entry.below.type.name)
            elif entry.name == "nodes":
                inner = self._new("r")
                made = f"[{self._object(entry.below, inner)} for {inner} in {page}.rows]"
            elif entry.name == "edges":
                made = self._edges(entry, page)
            elif entry.name == "pageInfo":
                made = self._page_info(load, entry, page)
            else:
                raise Uncovered(entry.name)
            parts.append(f"{entry.key!r}: {made}")
        return "{" + ", ".join(parts) + "}"

    def _edges(self, edges: Entry, page: str) -> str:
        cursor, inner = self._new("s"), self._new("r")
        parts = []
        for entry in edges.below.entries:
            if entry.field is None:
                made = repr(edges.below.type.name)
            elif entry.name == "cursor":
                made = cursor
            elif entry.name == "node":
                made = self._object(entry.below, inner)
            else:
                raise Uncovered(entry.name)
            parts.append(f"{entry.key!r}: {made}")
        made = "{" + ", ".join(parts) + "}"
        return f"[{made} for {cursor}, {inner} in zip({page}.cursors, {page}.rows, strict=True)]"

    def _page_info(self, load: Load, info: Entry, page: str) -> str:
        told = {
            "hasNextPage": f"{page}.has_next_page",
            "hasPreviousPage": f"behind[{load.number}]",
            "startCursor": f"({page}.cursors[0] if {page}.cursors else None)",
            "endCursor": f"({page}.cursors[-1] if {page}.cursors else None)",
        }
        parts = []
        for entry in info.below.entries:
            made = repr(info.below.type.name) if entry.field is None else told.get(entry.name)
            if made is None:
                raise Uncovered(entry.name)
            parts.append(f"{entry.key!r}: {made}")
        return "{" + ", ".join(parts) + "}"

    def _leaf(self, selection: Selection, entry: Entry, row: str, name: str) -> str:
        value = _attribute(row, name)
        if entry.declared.read.prefix:
            return f"{self._constant(with_prefix)}({entry.declared.read.prefix!r}, {value})"
        type: Any = get_named_type(entry.field.type)
        declared = selection.declared
        if declared is None or declared.message is None:
            return f"{self._constant(_serialized(type, nullable(entry.field)))}({value})"
        of_message: Any = declared.message.DESCRIPTOR.fields_by_name[name]
        if of_message.is_repeated:
            inner = self._new("v")
            return f"[{self._one(type, of_message, inner)} for {inner} in {value}]"
        if of_message.type == FieldDescriptor.TYPE_MESSAGE:
            if not nullable(entry.field):
                raise Uncovered(f"{entry.name}, a message that may not be null")
            made = self._one(type, of_message, value)
            return f"({made} if {row}.HasField({name!r}) else None)"
        if not nullable(entry.field):
            return self._one(type, of_message, value)
        if type in (GraphQLString, GraphQLID):
            return f"({value} or None)"
        if isinstance(type, GraphQLEnumType):
            return f"{self._constant(_names(type, of_message, unset=True))}[{value}]"
        shown = self._one(type, of_message, value)
        return f"({shown} if {value} else None)" if says_nothing(of_message) else shown

    def _one(self, type: Any, field: Any, value: str) -> str:
        """A value that is not null, as its type writes it."""
        if isinstance(type, GraphQLEnumType):
            return f"{self._constant(_names(type, field, unset=False))}[{value}]"
        if (field.type, type.name) in _AS_IT_IS:
            return value
        if field.type == FieldDescriptor.TYPE_INT64 and type.coerce_output_value is whole_number:
            # Beyond 53 bits the JSON encoder refuses.
            return value
        if field.type == FieldDescriptor.TYPE_DOUBLE and type is GraphQLFloat:
            return f"finite({value})"
        if field.type == FieldDescriptor.TYPE_MESSAGE and type.coerce_output_value is write_moment:
            return f"moment({value})"
        return f"{self._constant(type.coerce_output_value)}({value})"


def _attribute(row: str, name: str) -> str:
    return f"getattr({row}, {name!r})" if keyword.iskeyword(name) else f"{row}.{name}"


def _names(type: GraphQLEnumType, field: Any, *, unset: bool) -> Mapping[int, str | None]:
    """An enum's names by number; with null for what is not set, if it may be null."""
    named: dict[int, str | None] = {0: None} if unset else {}
    for number in field.enum_type.values_by_number:
        if number in named:
            continue
        try:
            named[number] = type.coerce_output_value(number)
        except Exception:  # noqa: S112 - whatever it raises, it has no name here; to ask for it raises KeyError
            continue
    return named


def _serialized(type: Any, may_be_null: bool) -> Callable[[Any], Any]:
    def serialized(value: Any) -> Any:
        if value is None:
            if may_be_null:
                return None
            raise Unfit
        return type.coerce_output_value(value)

    return serialized


def _shown(rule: Rule) -> Callable[[Any, Any], bool]:
    """Whether a field is shown whose refusal is silent."""

    def shown(request: Any, row: Any) -> bool:
        try:
            pending = rule.check(request, row)
        except FieldError:
            return False
        if is_awaitable(pending):
            pending.close() if hasattr(pending, "close") else None
            raise Unfit
        return True

    return shown
