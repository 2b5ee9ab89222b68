"""A partner's points over all partitions."""

from collections.abc import Sequence
from typing import NamedTuple

from services.rewards.ledger.model import Partner


class Totals(NamedTuple):
    """A partner's points over all partitions, those in transit included."""

    partner: str
    allotted: int
    left: int
    issued: int
    cancelled: int
    spent: int
    expired: int
    outstanding: int
    liability: int
    accepted: int


def totals_of(id: str, parts: Sequence[Partner]) -> Totals:
    """The sum of its sub-accounts."""
    whole = Partner(*map(sum, zip(*parts, strict=True)))
    return Totals(
        partner=id,
        allotted=whole.allotted,
        # What is in transit has been sent and not received yet; where it arrives, it may be issued.
        left=whole.left + whole.sent - whole.received,
        issued=whole.issued,
        cancelled=whole.cancelled,
        spent=whole.spent,
        expired=whole.expired,
        # Gifts in transit are still somebody's.
        outstanding=whole.outstanding + whole.given - whole.taken,
        liability=whole.liability + whole.given_value - whole.taken_value,
        accepted=whole.accepted,
    )
