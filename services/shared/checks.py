"""Bounds on what comes in. Each check answers the clean value or raises FieldInvalid, naming the field."""

import re
import unicodedata
from collections.abc import Collection
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.shared.errors import InvalidArgument
from services.shared.ids import is_id

LARGEST_BATCH = 1_000
LARGEST_NUMBER = 2**53 - 1  # what a JSON number holds exactly


class FieldInvalid(InvalidArgument):
    """A field of the input is not as it must be."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}", field=field)


class BatchTooLarge(InvalidArgument):
    """More was asked for in one call than a call may ask for."""


class BatchEmpty(InvalidArgument):
    """Nothing was asked for."""


def text(value: str, field: str, shortest: int, longest: int) -> str:
    """The text in Unicode's composed form, without space around it and without control characters."""
    clean = unicodedata.normalize("NFC", value).strip()
    if not shortest <= len(clean) <= longest:
        raise FieldInvalid(field, f"needs {shortest} to {longest} characters, has {len(clean)}.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") for character in clean):
        raise FieldInvalid(field, "has characters that cannot be shown; leave them out.")
    return clean


def name(value: str, field: str, shortest: int, longest: int) -> str:
    """Text by which things are told apart, so that two which look the same are the same: nothing in it is invisible
    or changes the direction of writing (Unicode's format characters and separators of lines).
    """
    clean = text(value, field, shortest, longest)
    if any(unicodedata.category(character) in ("Cf", "Zl", "Zp") for character in clean):
        raise FieldInvalid(field, "has characters that cannot be seen; leave them out.")
    return clean


def pattern(value: str, field: str, allowed: "re.Pattern[str]", meaning: str) -> str:
    """The value if it matches as a whole; `meaning` says what is needed."""
    if not allowed.fullmatch(value):
        raise FieldInvalid(field, f"needs {meaning}.")
    return value


def whole(value: int, field: str, least: int, most: int) -> int:
    """The number if it is within bounds."""
    if not least <= value <= most:
        raise FieldInvalid(field, f"needs {least:,} to {most:,}, is {value:,}.")
    return value


def id_of(value: str, field: str, prefix: str) -> str:
    """The id if it has the form of that kind's ids."""
    if not is_id(value, prefix):
        raise FieldInvalid(field, f"needs an id that starts with {prefix}_.")
    return value


def batch(values: Collection[object], most: int = LARGEST_BATCH, *, may_be_empty: bool = True) -> None:
    """Checks how many there are."""
    if len(values) > most:
        raise BatchTooLarge(f"At most {most:,} per call, got {len(values):,}; ask in parts.", most=most)
    if not values and not may_be_empty:
        raise BatchEmpty("The list is empty; send at least one.")


def moment(value: Timestamp, field: str) -> datetime:
    """The moment in UTC, to the millisecond (what the database keeps)."""
    if not value.ByteSize():
        raise FieldInvalid(field, "needs a point in time.")
    try:
        if not 0 <= value.nanos < 1_000_000_000:
            raise ValueError("nanos out of range")
        # Whole seconds first: floats would shift milliseconds.
        return datetime.fromtimestamp(value.seconds, UTC).replace(microsecond=value.nanos // 1_000_000 * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise FieldInvalid(field, "is not a point in time between the years 1 and 9999.") from error
