"""Ids: TypeIDs, a prefix that says what it is and a UUIDv7 that sorts by time (`member_01h...`)."""

import re
from datetime import UTC, datetime, timedelta

from typeid import TypeID

# Of an id's 26 digits the first ten are its milliseconds.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUFFIX = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str) -> str:
    """A fresh id; later ones sort after earlier ones of the same prefix, to the millisecond."""
    return str(TypeID(prefix=prefix))


def first_id(prefix: str, at: datetime) -> str:
    """What sorts before all ids that are made at this moment or later, and behind those made before."""
    milliseconds = max((at - _EPOCH) // timedelta(milliseconds=1), 0)
    digits = "".join(_DIGITS[milliseconds >> shift & 31] for shift in range(45, -1, -5))
    return f"{prefix}_{digits}{'0' * 16}"


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the form of an id with that prefix; says nothing about whether it exists."""
    head, _, suffix = text.rpartition("_")
    return head == prefix and _SUFFIX.fullmatch(suffix) is not None
