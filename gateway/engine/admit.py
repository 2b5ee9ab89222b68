"""Rules at work: what the viewer may not see is neither loaded nor shown."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType, SimpleNamespace
from typing import Any, TypeGuard

from gateway.engine.reads import Rule
from gateway.engine.source import Arguments, Key, Source
from gateway.errors import FieldError

Resolver = Callable[..., Any]

_LONGEST_KEY = 200


def is_awaitable(value: Any) -> TypeGuard[Awaitable[Any]]:
    """The only kinds of awaitable that our resolvers answer with; quicker than asking any object."""
    return isinstance(value, asyncio.Future) or type(value) is CoroutineType


async def settled(value: Any) -> Any:
    """The value, awaited if it is still to come."""
    return await value if is_awaitable(value) else value


def guarded(rule: Rule, resolve: Resolver, *, silent: bool) -> Resolver:
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
        return await settled(resolve(row, info, **arguments))

    return guarded


class Gate:
    """Loads rows of a type whose rule has to be met: before the call where the key tells enough, else after."""

    def __init__(self, rule: Rule | None, source: Source) -> None:
        self._rule = rule
        self._by_key = rule is not None and not source.nodes and bool(source.keys) and rule.fields <= set(source.by)
        self._part = source.by[0] if source.by else ""

    def lookup(self, request: Any, source: Source, key: Key) -> Any:
        """As `load`, for a key that a caller wrote."""
        if not sound(key):
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
        return await settled(request.load(source, key, arguments))

    def _enter(self, rule: Rule, request: Any, loaded: Any) -> Any:
        if isinstance(loaded, asyncio.Future):
            return self._enter_later(rule, request, loaded)
        return admit_all(rule, request, loaded) if isinstance(loaded, list) else admit(rule, request, loaded)

    async def _enter_later(self, rule: Rule, request: Any, loaded: Awaitable[Any]) -> Any:
        return await settled(self._enter(rule, request, await loaded))


def admit(rule: Rule | None, request: Any, row: Any) -> Any:
    """The row if the viewer may see it, or an awaitable of it."""
    if rule is None or row is None:
        return row
    pending = rule.check(request, row)
    return row if pending is None else _admit_later(pending, row)


async def _admit_later(pending: Awaitable[None], row: Any) -> Any:
    await pending
    return row


def admit_all(rule: Rule | None, request: Any, rows: Any, *, filtered: bool = False) -> list[Any]:
    """Each row, an awaitable of it, or the error that stands in its place."""
    if rule is None:
        return list(rows)
    if filtered:
        return [row for row in rows if rule.shows(request, row)]
    return [caught(admit, rule, request, row) for row in rows]


def caught(function: Callable[..., Any], *arguments: Any) -> Any:
    """An error of one item is the item's own: graphql-core reports an exception in a list at its place."""
    try:
        return function(*arguments)
    except Exception as error:
        # Also what kept a row from being loaded, where that is known already.
        return error


def sound(key: Key) -> bool:
    """Whether a key that a caller wrote can be one at all; what cannot must not spoil the call it would share."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or 0 < len(part) <= _LONGEST_KEY for part in parts)
