"""How much of a kind of act counts for one member on one day (UTC, by when the act happened)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from services.accounts.domain.acts import ActKind


@dataclass(frozen=True)
class DailyCap:
    """The most that counts. `per_unit` caps count the units of the quantity (bills, boxes, cups), others the acts,
    as metres and grams are no count of anything."""

    most: int
    per_unit: bool
    noun: str
    why: str

    def used_by(self, quantity: int) -> int:
        """How much of the cap an act takes."""
        return quantity if self.per_unit else 1


_TWO_COMMUTES = "two return journeys with a change, more is a card in several hands"
_MACHINES = "what a person carries to a machine, more is a waste collector's trade"

DAILY_CAPS = {
    ActKind.BUS_TRIP: DailyCap(5, False, "bus trips", _TWO_COMMUTES),
    ActKind.METRO_TRIP: DailyCap(5, False, "metro trips", _TWO_COMMUTES),
    ActKind.LIGHT_RAIL_TRIP: DailyCap(5, False, "light rail trips", _TWO_COMMUTES),
    ActKind.ELECTRONIC_BILL: DailyCap(10, True, "electronic bills", "a household's bills of a month in one day"),
    ActKind.OWN_CUP: DailyCap(3, True, "own cups", "what a person drinks away from home"),
    ActKind.BOX_REUSE: DailyCap(10, True, "reused boxes", "a household's parcels of a week in one day"),
    ActKind.PET_RECYCLING: DailyCap(100, False, "PET items", _MACHINES),
    ActKind.CARDBOARD_RECYCLING: DailyCap(50, False, "cardboard items", _MACHINES),
}


@dataclass(frozen=True, order=True)
class CapKey:
    """What a cap counts for."""

    member_id: str
    kind: ActKind
    day: date


def cap_key(member_id: str, kind: ActKind, occurred_at: datetime) -> CapKey:
    """The counter that an act falls under."""
    return CapKey(member_id, kind, occurred_at.astimezone(UTC).date())
