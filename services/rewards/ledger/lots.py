"""Arithmetic of lots. Tuples of lots are sorted: earliest expiry first, then issuer, then value."""

from bisect import bisect_left
from collections.abc import Iterable

from services.rewards.ledger.model import Lot


def points_of(lots: Iterable[Lot]) -> int:
    """How many they are."""
    return sum([lot.points for lot in lots])


def value_of(lots: Iterable[Lot]) -> int:
    """What they are worth, in micros."""
    return sum([lot.points * lot.value for lot in lots])


def merged(lots: tuple[Lot, ...], more: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """Lots of the same kind become one."""
    for lot in more:
        expires, issuer, value, points = lot
        place = bisect_left(lots, (expires, issuer, value))  # of the first that is of this kind, or sorts behind it
        if place < len(lots) and lots[place][:3] == lot[:3]:
            lots = (*lots[:place], Lot(expires, issuer, value, lots[place].points + points), *lots[place + 1 :])
        else:
            lots = (*lots[:place], lot, *lots[place:])
    return lots


def without(lots: tuple[Lot, ...], taken: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """What is left of lots after others, which are among them, have been taken."""
    points = {lot[:3]: lot.points for lot in lots}
    for lot in taken:
        points[lot[:3]] -= lot.points
    return tuple([Lot(*kind, left) for kind, left in points.items() if left])


def take(lots: tuple[Lot, ...], points: int) -> tuple[tuple[Lot, ...], tuple[Lot, ...]]:
    """Up to so many points, earliest expiry first, and what is left."""
    taken: list[Lot] = []
    for index, lot in enumerate(lots):
        if points <= lot.points:
            taken.append(lot._replace(points=points))
            rest = (lot._replace(points=lot.points - points),) if points < lot.points else ()
            return tuple(taken), rest + lots[index + 1 :]
        taken.append(lot)
        points -= lot.points
    return tuple(taken), ()
