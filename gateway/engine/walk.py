"""Tells an answer with its errors, by the resolvers, over rows that a plan has loaded already.

Does for a plan what graphql-core does for a document, error by error: which field is null, which errors go to the
nearest field that may be, at which path. Nothing is awaited, since nothing has to be loaded any more.
"""

from collections.abc import Callable, Coroutine
from types import CoroutineType, SimpleNamespace
from typing import Any

from graphql import GraphQLError, GraphQLNonNull, Undefined, is_leaf_type, is_list_type, located_error

from gateway.engine.admit import is_awaitable
from gateway.engine.plan import Entry, Plan, Selection
from gateway.engine.variables import Variables

Path = tuple[str | int, ...]


class NotLoaded(Exception):
    """A row is still to come; whoever can wait has to answer."""


def walk(plan: Plan, request: Any, variables: Variables) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
    """The answer's data and errors; NotLoaded if the plan's rows are not all there."""
    walker = _Walker(request, variables)
    try:
        data = walker.object(plan.root, None, ())
    except GraphQLError as error:
        walker.errors.append(error)
        data = None
    return data, walker.errors


class _Walker:
    def __init__(self, request: Any, variables: Variables) -> None:
        # All that our resolvers ask of graphql-core's.
        self._info = SimpleNamespace(context=request)
        self._variables = variables
        self.errors: list[GraphQLError] = []

    def object(self, selection: Selection, row: Any, path: Path) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for entry in selection.entries:
            if entry.field is None:
                shown[entry.key] = selection.type.name
                continue
            here = (*path, entry.key)
            shown[entry.key] = self._guarded(entry, entry.field.type, here, self._field, entry, selection, row, here)
        return shown

    def _guarded(self, entry: Entry, type: Any, path: Path, made: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return made(*arguments)
        except NotLoaded:
            raise
        except Exception as raw:
            error = located_error(raw, entry.nodes, list(path))
            if isinstance(type, GraphQLNonNull):
                raise error from None
            self.errors.append(error)
            return None

    def _field(self, entry: Entry, selection: Selection, row: Any, path: Path) -> Any:
        arguments = entry.arguments.values(self._variables) if entry.arguments is not None else {}
        value = ready(entry.field.resolve(row, self._info, **arguments))
        return self._complete(entry, selection, entry.field.type, value, path)

    def _complete(self, entry: Entry, selection: Selection, type: Any, value: Any, path: Path) -> Any:
        value = ready(value)
        if isinstance(value, Exception):
            raise value
        if isinstance(type, GraphQLNonNull):
            completed = self._complete(entry, selection, type.of_type, value, path)
            if completed is None:
                raise TypeError(f"Cannot return null for non-nullable field {selection.type.name}.{entry.name}.")
            return completed
        if value is None or value is Undefined:
            return None
        if is_list_type(type):
            inner = type.of_type
            return [
                self._guarded(entry, inner, here, self._complete, entry, selection, inner, item, here)
                for here, item in (((*path, index), item) for index, item in enumerate(value))
            ]
        if is_leaf_type(type):
            written = type.coerce_output_value(value)
            if written is None or written is Undefined:
                raise TypeError(f"{type} writes {value!r} as null.")
            return written
        if entry.choices is not None:
            name = type.resolve_type(value, self._info, type)
            return self.object(entry.choices[name][0], value, path)
        return self.object(entry.below, value, path)


def ready(value: Any) -> Any:
    """The value that an awaitable has already; NotLoaded if it has none yet."""
    if not is_awaitable(value):
        return value
    if isinstance(value, CoroutineType):
        return _finished(value)
    if not value.done():  # type: ignore[attr-defined]
        raise NotLoaded
    return value.result()  # type: ignore[attr-defined]


def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise NotLoaded
