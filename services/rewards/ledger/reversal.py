"""How many points of a capture a caller wants back."""

from services.rewards.ledger.lots import points_of
from services.rewards.ledger.model import Lot
from services.shared.errors import InvalidArgument


class ReversalOutOfRange(InvalidArgument):
    """A reversal gives back at least one point and at most what was captured."""


def points_to_reverse(captured: tuple[Lot, ...], points: int) -> int:
    """So many, or with 0 all; ReversalOutOfRange. To be asked first: what the ledger refuses it refuses for ever."""
    most = points_of(captured)
    if not 0 <= points <= most:
        raise ReversalOutOfRange(
            f"points: needs 1 to {most:,}, or 0 for all; is {points:,}.", field="points", captured=most
        )
    return points or most
