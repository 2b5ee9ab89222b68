"""What machines report: whether an item can be, and whether it is the same event as another (L4)."""

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from services.logistics.domain.points import Material

LONGEST_CODE = 64
HEAVIEST_GRAMS = 100_000
OLDEST = timedelta(days=400)
CLOCK_GRACE = timedelta(minutes=5)

_MEMBER_ID = re.compile(r"member_[0-7][0-9a-hjkmnp-tv-z]{25}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Item:
    """An item as the machine saw it; None where it sent what has no meaning."""

    member_id: str
    material: Material | None
    weight_grams: int
    code: str
    occurred_at: datetime | None


@dataclass(frozen=True)
class Fault:
    """Why an item is not valid: a reason for programs, and a sentence for a person."""

    reason: str
    message: str


@dataclass(frozen=True)
class Event:
    """A valid item: what happened, at which machine."""

    machine_id: str
    member_id: str
    material: Material
    weight_grams: int
    code: str
    occurred_at: datetime

    @cached_property
    def hash(self) -> str:
        """SHA-256, hex, over the content in canonical form, by which the same event is known again (L4).

        The form is JSON with sorted keys (as in RFC 8785), so that neither the order of fields nor the spelling of the
        code matters, and no two contents have the same form.
        """
        content = {
            "code": canonical_code(self.code),
            "machine_id": self.machine_id,
            "material": str(self.material),
            "member_id": self.member_id,
            "occurred_at_ms": (self.occurred_at - _EPOCH) // timedelta(milliseconds=1),
            "weight_grams": self.weight_grams,
        }
        form = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(form.encode()).hexdigest()


def canonical_code(code: str) -> str:
    """Codes that a person reads as the same have the same canonical form.

    Unicode's compatibility caseless form (Unicode Standard, definition D146), without spaces and invisible characters.
    """
    folded = unicodedata.normalize("NFD", code)
    for _ in range(2):
        folded = unicodedata.normalize("NFKD", folded.casefold())
    visible = "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")
    # Accents that a space kept apart stand together now, and have an order among each other.
    return unicodedata.normalize("NFKD", visible)


def check(item: Item, machine_id: str, now: datetime) -> Event | Fault:
    """The event that the item reports, or the first thing that is wrong with it."""
    if not _MEMBER_ID.fullmatch(item.member_id):
        return Fault(
            "MEMBER_ID_MALFORMED", "The member id does not have the form of one; scan the member's code again."
        )
    if item.material is None:
        return Fault("MATERIAL_UNKNOWN", "The material is none of those that are taken.")
    if fault := _weight_fault(item.material, item.weight_grams) or _code_fault(item.material, item.code):
        return fault
    if item.occurred_at is None:
        return Fault("OCCURRED_AT_MALFORMED", "The time is missing, or is not between the years 1 and 9999.")
    if item.occurred_at > now + CLOCK_GRACE:
        return Fault("OCCURRED_IN_FUTURE", "The time is in the future; set the machine's clock.")
    if item.occurred_at < now - OLDEST:
        return Fault("OCCURRED_TOO_LONG_AGO", f"What happened more than {OLDEST.days} days ago no longer counts.")
    code = unicodedata.normalize("NFC", item.code).strip()
    return Event(machine_id, item.member_id, item.material, item.weight_grams, code, item.occurred_at)


def _weight_fault(material: Material, grams: int) -> Fault | None:
    if material is Material.REUSABLE_BOX:
        allowed, meaning = grams == 0, "A reusable box counts by the piece; send weight 0."
    else:
        allowed, meaning = 1 <= grams <= HEAVIEST_GRAMS, f"The weight has to be 1 to {HEAVIEST_GRAMS:,} grams."
    return None if allowed else Fault("WEIGHT_OUT_OF_RANGE", meaning)


def _code_fault(material: Material, code: str) -> Fault | None:
    if len(code) > LONGEST_CODE:
        return Fault("CODE_MALFORMED", f"The code has more than {LONGEST_CODE} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") for character in code):
        return Fault("CODE_MALFORMED", "The code has characters that cannot be shown.")
    if material is Material.REUSABLE_BOX and not canonical_code(code):
        return Fault("CODE_MALFORMED", "A reusable box needs its number as the code.")
    return None
