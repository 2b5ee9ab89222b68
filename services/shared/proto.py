"""Small bridges between protobuf's types and Python's, for the rpc modules."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at: datetime | None) -> Timestamp | None:
    """For a message's constructor: None leaves the field unset."""
    if at is None:
        return None
    # As Timestamp.FromDatetime does it, in a fifth of its time.
    since = at - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def enum_name(enum: Any, number: int, prefix: str) -> str:
    """A proto enum's value as the domain writes it: without the prefix, lower case; "" if it is unknown or unspecified.

    >>> enum_name(ActKind, ActKind.ACT_KIND_OWN_CUP, "ACT_KIND_")
    'own_cup'
    """
    if number == 0 or number not in enum.values():
        return ""
    return str(enum.Name(number)).removeprefix(prefix).lower()


def enum_number(enum: Any, name: str, prefix: str) -> Any:
    """The reverse of `enum_name`."""
    return enum.Value(prefix + name.upper())
