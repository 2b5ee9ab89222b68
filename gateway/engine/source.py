"""A batched gRPC read, as data: which RPC, where its keys go, where its rows are, which key a row answers.

Nothing here calls anything; `batch` does, and so can anything else that reads these declarations.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

# A key's own value, or, where `by` names several fields, a tuple of them; None where a source has no keys.
Key = Any
# What goes into a request beside keys, as sorted pairs: part of what makes two loads the same.
Arguments = tuple[tuple[str, Any], ...]

LARGEST_PAGE = 100

# The arguments that are fields of a message within the request, and of which one.
_PART = {"first": "page", "after": "page", "since": "period", "until": "period"}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, as a source answers it."""

    rows: list[Any]
    # As the message has them: few documents ask for any.
    cursors: Sequence[str]
    has_next_page: bool


@dataclass(frozen=True, eq=False)
class Source:
    """One RPC that answers many keys at once. Make it with `source`, which checks it against the proto."""

    service: ServiceDescriptor
    method: str
    # The repeated field of the request that takes the keys; empty for an RPC without keys.
    keys: str
    # The repeated field of the response that has the rows; empty if the response itself is the one row.
    rows: str
    # The fields of a row that are its key, in the order of a key's parts.
    by: tuple[str, ...]
    # The repeated field of a row (or of the response) that has what is wanted; empty if the row itself is.
    nodes: str
    # Whether the request takes a page and the row says where it ended.
    paged: bool
    # The most keys of one call.
    most: int
    # Called for the viewer, whom the service checks, instead of for the gateway itself.
    as_viewer: bool
    # Whether other sources read the same RPC, so that one call may be for all of them.
    shared: bool = False

    @property
    def name(self) -> str:
        """For logs and traces: `AccountsService/BatchGetMembers`."""
        return f"{self.service.name}/{self.method}"

    @property
    def descriptor(self) -> MethodDescriptor:
        return self.service.methods_by_name[self.method]

    @cached_property
    def request_type(self) -> type[Message]:
        return GetMessageClass(self.descriptor.input_type)

    def request(self, keys: list[Key], arguments: Arguments) -> Message:
        """The request for these keys, all with the same arguments."""
        request: Any = self.request_type()
        self.ask_for(request, keys)
        for name, value in arguments:
            setattr(getattr(request, _PART[name]) if name in _PART else request, name, value)
        return request  # type: ignore[no-any-return]

    def ask_for(self, request: Any, keys: Iterable[Key]) -> None:
        """Adds keys to a request."""
        if not self.keys:
            return
        into = getattr(request, self.keys)
        if len(self.by) == 1:
            into.extend(keys)
        else:
            for key in keys:
                into.add(**dict(zip(self.by, key, strict=True)))

    def answers(self, response: Any) -> dict[Key, Any]:
        """What the response says, by key."""
        if not self.rows:
            return {None: self._wanted(response)}
        return {self.key_of(row): self._wanted(row) for row in getattr(response, self.rows)}

    def missing(self) -> Any:
        """What a key without a row is answered with."""
        if self.paged:
            return Page([], [], has_next_page=False)
        return [] if self.nodes else None

    @cached_property
    def key_of(self) -> Any:
        """The function from a row to its key."""
        return attrgetter(*self.by)

    def _wanted(self, row: Any) -> Any:
        if self.paged:
            return Page(list(getattr(row, self.nodes)), row.page_info.cursors, row.page_info.has_next_page)
        return list(getattr(row, self.nodes)) if self.nodes else row


def source(
    service: ServiceDescriptor,
    method: str,
    *,
    keys: str = "",
    rows: str = "",
    by: str | tuple[str, ...] = (),
    nodes: str = "",
    paged: bool = False,
    most: int = 1_000,
    as_viewer: bool = False,
    shared: bool = False,
) -> Source:
    """Declares a batched read; ValueError at once if the proto does not have it that way.

    >>> source(ACCOUNTS, "BatchGetMembers", keys="ids", rows="members", by="id")
    """
    parts = (by,) if isinstance(by, str) else by
    declared = Source(service, method, keys, rows, parts, nodes, paged, most, as_viewer, shared)
    _check(declared)
    return declared


def _check(declared: Source) -> None:
    request = declared.descriptor.input_type
    row: Any = declared.descriptor.output_type
    if bool(declared.keys) != bool(declared.rows) or bool(declared.keys) != bool(declared.by):
        raise ValueError(f"{declared.name}: keys, rows and by belong together")
    if declared.keys:
        _repeated(declared, request.fields_by_name[declared.keys])
        rows = _repeated(declared, row.fields_by_name[declared.rows])
        row = rows.message_type
        for part in declared.by:
            row.fields_by_name[part]
    if declared.nodes:
        _repeated(declared, row.fields_by_name[declared.nodes])
    if declared.paged and not ("page" in request.fields_by_name and "page_info" in row.fields_by_name):
        raise ValueError(f"{declared.name}: takes no page")


def _repeated(declared: Source, field: FieldDescriptor) -> FieldDescriptor:
    if not field.is_repeated:
        raise ValueError(f"{declared.name}: {field.name} is not repeated")
    return field
