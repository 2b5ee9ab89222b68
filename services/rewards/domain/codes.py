"""Codes that people read out and type: random, in Crockford's base 32, kept as hashes."""

import hashlib
import re
import secrets

# No I, L, O and U; whoever reads them means 1, 1 and 0.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("ILO", "110", "- ")


def new_code(bits: int, *groups: int) -> str:
    """So many random bits in groups of so many characters, which have to be enough; spare bits are 0."""
    length = sum(groups)
    number = secrets.randbits(bits)
    digits = iter("".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (length - 1), -1, -5)))
    return "-".join("".join(next(digits) for _ in range(group)) for group in groups)


def code_hash(typed: str, length: int) -> bytes | None:
    """By what a code of so many characters is looked up; case, spaces, dashes and letters that look like digits do not
    matter. None for what cannot be a code."""
    plain = typed[:100].upper().translate(_READ_AS)
    if not re.fullmatch(f"[{_ALPHABET}]{{{length}}}", plain):
        return None
    return hashlib.sha256(plain.encode()).digest()
