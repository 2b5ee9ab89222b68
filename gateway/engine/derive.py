"""Rows that are made out of several others: looks up what their functions want, and says what is missing."""

from typing import Any

from gateway.engine.reads import Derived
from gateway.engine.source import Key, Source

# What has to be loaded before a row can be made.
Missing = list[tuple[Source, Key]]


def derive(read: Derived, request: Any, row: Any) -> tuple[Any, Missing]:
    """The row that is made of a row, as far as that can be done, and what is missing for it."""
    missing: Missing = []

    def find(source: Source, key: Key) -> Any:
        if source not in read.reads:
            raise LookupError(f"{source.name} is not among what this is declared to read")
        if not key:
            return source.missing()
        if request.has(source, key):
            return request.load(source, key)
        missing.append((source, key))
        return source.missing()

    return read.make(row, find), missing


def made(read: Derived, request: Any, row: Any) -> Any:
    """The row, from what has been loaded; LookupError if something has not."""
    derived, missing = derive(read, request, row)
    if missing:
        raise LookupError(f"{missing[0][0].name} has not been asked for {missing[0][1]!r}")
    return derived
