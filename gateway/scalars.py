"""Scalars of the schema: numbers that do not fit GraphQL's 32 bits, and moments."""

import re
from datetime import datetime
from typing import Any, NewType

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from graphql import GraphQLError

# What a JSON number holds exactly.
LARGEST = 2**53 - 1

Points = NewType("Points", int)
Milligrams = NewType("Milligrams", int)
Long = NewType("Long", int)
DateTime = NewType("DateTime", Timestamp)
Base64 = NewType("Base64", bytes)

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def whole_number(value: Any) -> int:
    """An integer that JSON holds exactly; neither a float nor a string nor a boolean passes for one."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise GraphQLError(f"Needs a whole number between -{LARGEST} and {LARGEST}.")
    return value


def read_moment(value: Any) -> Timestamp:
    """A timestamp from RFC 3339 text."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise GraphQLError("Needs a moment as in RFC 3339, for example 2026-03-01T08:30:00Z.")
    moment = Timestamp()
    try:
        at = datetime.fromisoformat(value.upper().replace(" ", "T"))
        moment.FromDatetime(at)
    except (ValueError, OverflowError) as error:
        raise GraphQLError("Is not a moment between the years 1 and 9999.") from error
    return moment


def write_moment(value: Any) -> str:
    """RFC 3339 in UTC, with as many digits as it takes."""
    return str(value.ToJsonString())


def read_base64(value: Any) -> bytes:
    """Bytes from base64, standard or URL-safe."""
    import base64
    import binascii

    if not isinstance(value, str):
        raise GraphQLError("Needs bytes as base64 text.")
    try:
        text = value.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise GraphQLError("Is not base64.") from error


def write_base64(value: Any) -> str:
    import base64

    return base64.b64encode(value).decode()


def _number(name: str, description: str) -> Any:
    return strawberry.scalar(name=name, description=description, serialize=whole_number, parse_value=whole_number)


SCALARS: dict[object, Any] = {
    Points: _number("Points", "Points, a whole number up to 2^53 - 1; negative where points leave."),
    Milligrams: _number("Milligrams", "Milligrams of CO2e, a whole number up to 2^53 - 1."),
    Long: _number("Long", "A whole number up to 2^53 - 1."),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A moment as in RFC 3339; answers are in UTC.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_moment,
        parse_value=read_moment,
    ),
    Base64: strawberry.scalar(
        name="Base64",
        description="Bytes as base64 text; the URL-safe alphabet is understood too.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc4648#section-4",
        serialize=write_base64,
        parse_value=read_base64,
    ),
}
