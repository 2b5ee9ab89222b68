"""Keyset pages: a row has one `order` string, unique within its list; a cursor is that string, opaque to callers.

One string, rather than several columns, keeps the query a plain range on one index.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from alliance.common.v1.page_pb2 import PageInfo, PageRequest, Period
from services.shared import checks
from services.shared.errors import InvalidArgument
from services.shared.ids import first_id
from services.shared.mongo import Collection, Document

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_SIZE = 20
_LARGEST_SIZE = 100
_LONGEST_CURSOR = 2_000
_QUERIES_AT_ONCE = 16


class PageTooLarge(InvalidArgument):
    """More rows were asked for than a page can have."""


class CursorMalformed(InvalidArgument):
    """The cursor is not one that was given out."""


class PeriodEmpty(InvalidArgument):
    """The period ends before it begins."""


@dataclass(frozen=True)
class Between:
    """A stretch of a list by its order strings: from `least` on, and before `below`; empty: without that end."""

    least: str = ""
    below: str = ""


WHOLE = Between()


@dataclass(frozen=True)
class PageQuery:
    """Which page: at most `size` rows, behind the row whose order string is `after` (empty: from the start)."""

    size: int
    after: str

    @classmethod
    def of(cls, request: PageRequest) -> "PageQuery":
        """The query of a request; PageTooLarge or CursorMalformed if it is not right."""
        if not 0 <= request.first <= _LARGEST_SIZE:
            raise PageTooLarge(f"A page has 1 to {_LARGEST_SIZE} rows; ask for fewer and page on.", field="first")
        return cls(request.first or _DEFAULT_SIZE, _decode(request.after))


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, with each row's order string."""

    rows: Sequence[T]
    orders: Sequence[str]
    has_next: bool

    def info(self) -> PageInfo:
        """The page's part of a response."""
        return PageInfo(cursors=[_encode(order) for order in self.orders], has_next_page=self.has_next)


def time_order(at: datetime, id: str) -> str:
    """An order string by time, to the millisecond, and then by id."""
    return f"{(at - _EPOCH) // timedelta(milliseconds=1):013d}:{id}"


def between_times(period: Period) -> Between:
    """The stretch of a list ordered by `time_order` that happened in the period; PeriodEmpty, FieldInvalid."""
    # An order without an id is what all rows of its millisecond are behind.
    return _between(period, lambda at: time_order(max(at, _EPOCH), ""))


def between_ids(period: Period, prefix: str) -> Between:
    """The stretch of a list ordered by ids of this prefix that were made in the period; PeriodEmpty, FieldInvalid."""
    return _between(period, lambda at: first_id(prefix, at))


def _between(period: Period, order: Callable[[datetime], str]) -> Between:
    since, until = [
        checks.moment(getattr(period, name), name) if period.HasField(name) else None for name in ("since", "until")
    ]
    if since is not None and until is not None and since >= until:
        raise PeriodEmpty("`since` has to be before `until`.", field="since")
    return Between(order(since) if since else "", order(until) if until else "")


async def page_of_each(owners: Iterable[str], page: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """What `page` finds for each of the owners, asked for once each and a few at a time: one query cannot give each of
    many owners a limit.
    """
    turn = asyncio.Semaphore(_QUERIES_AT_ONCE)

    async def one(owner: str) -> T:
        async with turn:
            return await page(owner)

    wanted = list(dict.fromkeys(owners))
    return dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))


async def find_page(
    collection: Collection,
    prefix: Document,
    query: PageQuery,
    *,
    descending: bool = True,
    order: str = "order",
    between: Between = WHOLE,
) -> Page[Document]:
    """The page of the rows that equal `prefix`, by their `order` field; served by an index on prefix and order."""
    wanted: dict[str, Any] = dict(prefix)
    if bounds := _bounds(query.after, between, descending=descending):
        wanted[order] = bounds
    cursor = collection.find(wanted, sort=[(order, -1 if descending else 1)], limit=query.size + 1)
    rows = [row async for row in cursor]
    shown = rows[: query.size]
    return Page(shown, [row[order] for row in shown], has_next=len(rows) > query.size)


def _bounds(after: str, between: Between, *, descending: bool) -> dict[str, str]:
    """The range of order strings that is behind a row, within a stretch of the list."""
    bounds = {"$gte": between.least, "$lt": between.below}
    if after and descending:
        bounds["$lt"] = min(after, between.below or after)
    elif after and after >= between.least:
        bounds = {"$gt": after, "$lt": between.below}
    return {bound: value for bound, value in bounds.items() if value}


def _encode(order: str) -> str:
    return base64.urlsafe_b64encode(order.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        if len(cursor) > _LONGEST_CURSOR:
            raise ValueError("too long")
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise CursorMalformed(
            "`after` is not a cursor of this list; use one from a page's edges.", field="after"
        ) from error
