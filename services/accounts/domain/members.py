"""Members, the customer numbers that belong to them, and whom they let see their data."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

LINK_CODE_LIFETIME = timedelta(minutes=10)
LINK_CODE_BITS = 80
OPEN_LINK_CODES = 5

# Crockford's base 32: no I, L, O or U, so that nothing is mistaken for a digit (https://www.crockford.com/base32.html).
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH = LINK_CODE_BITS // 5
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1"})


@dataclass(frozen=True)
class Member:
    """A consumer who takes part."""

    id: str
    display_name: str
    enrolled_at: datetime
    enrolled_by_partner_id: str


@dataclass(frozen=True)
class Identity:
    """A partner's own customer number that belongs to a member: one per partner and member, one member per number."""

    partner_id: str
    customer_number: str
    member_id: str
    linked_at: datetime


@dataclass(frozen=True)
class Consent:
    """A member's latest word on whether a partner may see the member's data."""

    member_id: str
    partner_id: str
    granted: bool
    changed_at: datetime


@dataclass(frozen=True)
class LinkCode:
    """A code with which one further partner can link its customer to the member; only its hash is known.

    A member has OPEN_LINK_CODES slots; a slot is taken while its code is neither used nor expired.
    """

    member_id: str
    slot: int
    hash: str
    expires_at: datetime
    used: bool = False

    def is_open(self, now: datetime) -> bool:
        """Whether it can still be used."""
        return not self.used and now < self.expires_at


def spell_link_code(bits: int) -> str:
    """Random bits as a person reads them: XXXX-XXXX-XXXX-XXXX."""
    digits = "".join(_ALPHABET[bits >> shift & 31] for shift in range(LINK_CODE_BITS - 5, -1, -5))
    return "-".join(digits[start : start + 4] for start in range(0, _CODE_LENGTH, 4))


def link_code_hash(typed: str) -> str:
    """SHA-256, hex, of a code however it was typed: case, spaces and dashes do not count, nor O for 0, nor I or L
    for 1. Empty if no code can look like that."""
    digits = "".join(typed.upper().replace("-", "").split()).translate(_MISREAD)
    if len(digits) != _CODE_LENGTH or not set(digits) <= set(_ALPHABET):
        return ""
    return hashlib.sha256(digits.encode()).hexdigest()
