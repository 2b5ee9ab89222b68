"""When two reports are about the same act: they have the same key."""

import hashlib
import json
import unicodedata
from datetime import UTC, datetime

from services.accounts.domain.acts import ActKind

_MINUS = "\u2212"  # looks like a dash, is a symbol
_IGNORED = frozenset({"Cf", "Pd", "Zs"})  # invisible characters, dashes, spaces


def normal_reference(reference: str) -> str:
    """A ticket's or receipt's number without what differs from one spelling to another: width, case, accents' encoding,
    spaces, dashes of any length and characters that cannot be seen."""
    text = reference
    # Case folding may undo the composed form, composing may give a character that folds, and what is left out may have
    # stood between a letter and its accent; twice is enough (after Unicode's toNFKC_Casefold, Standard section 3.13).
    for _ in range(2):
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())
        text = "".join(character for character in text if not _ignored(character))
    return unicodedata.normalize("NFKC", text)


def _ignored(character: str) -> bool:
    return character == _MINUS or character.isspace() or unicodedata.category(character) in _IGNORED


def claim_key(
    kind: ActKind, member_id: str, quantity: int, occurred_at: datetime, *, reference: str = "", event_hash: str = ""
) -> str:
    """SHA-256, hex, of what makes an act unique: the hash of its drop-off event; else kind, member and reference; else
    kind, member, second and quantity."""
    canonical: list[str | int]
    if event_hash:
        canonical = ["drop-off", event_hash]
    elif normal := normal_reference(reference):
        canonical = ["reference", kind.value, member_id, normal]
    else:
        canonical = ["moment", kind.value, member_id, int(occurred_at.timestamp()), quantity]
    return _hash(canonical)


def box_key(member_id: str, box_number: str, occurred_at: datetime) -> str:
    """SHA-256, hex, of what a box's return is, whoever reports it: its number, who returned it, and the day (UTC). The
    next one of the same box takes a parcel between, and is not on the same day. Empty without a number."""
    if not (normal := normal_reference(box_number)):
        return ""
    return _hash(["box", member_id, normal, occurred_at.astimezone(UTC).date().isoformat()])


def _hash(canonical: list[str | int]) -> str:
    # JSON: a list's parts cannot run into each other.
    return hashlib.sha256(json.dumps(canonical, separators=(",", ":")).encode()).hexdigest()
