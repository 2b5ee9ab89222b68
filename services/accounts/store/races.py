"""Races that a unique index or a conditional update settled."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import BulkWriteError, DuplicateKeyError

_DUPLICATE_KEY = 11_000


class LostRace(Exception):
    """Others changed meanwhile what a decision rests on: read again and decide again."""


@contextmanager
def racing() -> Iterator[None]:
    """For writes whose unique keys were free when the decision was made: LostRace if one no longer is."""
    try:
        yield
    except DuplicateKeyError as error:
        raise LostRace from error
    except BulkWriteError as error:
        if any(one["code"] == _DUPLICATE_KEY for one in error.details["writeErrors"]):
            raise LostRace from error
        raise
