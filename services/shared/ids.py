"""Ids: TypeIDs, a prefix that says what it is and a UUIDv7 that sorts by time (`member_01h...`)."""

import re

from typeid import TypeID

_SUFFIX = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str) -> str:
    """A fresh id; later ones sort after earlier ones of the same prefix, to the millisecond."""
    return str(TypeID(prefix=prefix))


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the form of an id with that prefix; says nothing about whether it exists."""
    head, _, suffix = text.rpartition("_")
    return head == prefix and _SUFFIX.fullmatch(suffix) is not None
