"""What members do, what it avoided, and by which figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ActKind(StrEnum):
    """What was done; each kind fixes the unit of its quantity."""

    BUS_TRIP = "bus_trip"
    METRO_TRIP = "metro_trip"
    LIGHT_RAIL_TRIP = "light_rail_trip"
    ELECTRONIC_BILL = "electronic_bill"
    BOX_REUSE = "box_reuse"
    PET_RECYCLING = "pet_recycling"
    CARDBOARD_RECYCLING = "cardboard_recycling"
    OWN_CUP = "own_cup"


TRIPS = frozenset({ActKind.BUS_TRIP, ActKind.METRO_TRIP, ActKind.LIGHT_RAIL_TRIP})
# What a brand cannot report: only a machine has weighed it.
WEIGHED = frozenset({ActKind.PET_RECYCLING, ActKind.CARDBOARD_RECYCLING})
DROP_OFFS = WEIGHED | frozenset({ActKind.BOX_REUSE})


class ActStatus(StrEnum):
    """What came of a report."""

    CREDITED = "credited"
    DUPLICATE = "duplicate"
    CAPPED = "capped"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why an act was not credited."""

    DUPLICATE_ACT = "DUPLICATE_ACT"
    DAILY_CAP_REACHED = "DAILY_CAP_REACHED"
    MEMBER_NOT_FOUND = "MEMBER_NOT_FOUND"
    CUSTOMER_NOT_LINKED = "CUSTOMER_NOT_LINKED"
    OCCURRED_IN_FUTURE = "OCCURRED_IN_FUTURE"
    OCCURRED_TOO_LONG_AGO = "OCCURRED_TOO_LONG_AGO"
    NO_FACTOR_IN_FORCE = "NO_FACTOR_IN_FORCE"


@dataclass(frozen=True)
class Factor:
    """An immutable row of the factor catalogue."""

    id: str
    kind: ActKind
    version: int
    avoided_ug_per_unit: int
    unit: str
    baseline: str
    source: str
    region: str
    grade: str
    valid_from: datetime

    def avoided_mg(self, quantity: int) -> int:
        """Milligrams CO2e that a quantity avoided, rounded down: a claim never says more than the figure does."""
        return quantity * self.avoided_ug_per_unit // 1000


@dataclass(frozen=True)
class Act:
    """One report of something that a member did, and what came of it."""

    id: str
    member_id: str
    partner_id: str
    kind: ActKind
    quantity: int
    occurred_at: datetime
    recorded_at: datetime
    reference: str
    status: ActStatus
    reason: str = ""
    message: str = ""
    claim_id: str = ""
    new_co2e_mg: int = 0
    drop_off_id: str = ""
    event_id: str = ""


@dataclass(frozen=True)
class Claim:
    """Avoided emissions, credited once to one member. `key` says what the act was, and `box_key`, if known, which
    box it was about; so that no second claim has either."""

    id: str
    key: str
    member_id: str
    act_id: str
    partner_id: str
    kind: ActKind
    quantity: int
    co2e_mg: int
    factor_id: str
    occurred_at: datetime
    recorded_at: datetime
    box_key: str = ""


@dataclass(frozen=True)
class CarbonTotal:
    """What a member's claims sum to."""

    member_id: str
    claims: int = 0
    co2e_mg: int = 0


@dataclass(frozen=True)
class ActCount:
    """How many acts of a kind met one fate; `reason` is empty for those credited."""

    kind: ActKind
    reason: str
    acts: int


@dataclass(frozen=True)
class KindImpact:
    """What all claims of one kind sum to."""

    kind: ActKind
    claims: int
    co2e_mg: int


@dataclass(frozen=True)
class ClaimSum:
    """What the claims of one kind by the reports of one partner sum to."""

    kind: ActKind
    partner_id: str
    claims: int
    co2e_mg: int


def factor_in_force(factors: Sequence[Factor], kind: ActKind, at: datetime) -> Factor | None:
    """The kind's latest factor that was valid at that moment."""
    valid = [factor for factor in factors if factor.kind == kind and factor.valid_from <= at]
    return max(valid, key=lambda factor: (factor.valid_from, factor.version), default=None)
