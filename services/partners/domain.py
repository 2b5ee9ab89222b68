"""Partner brands and the rules they live by. Pure: no clock, no database."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.shared.errors import FailedPrecondition


class PartnerStatus(StrEnum):
    """Where a partner is in its life."""

    APPLIED = "applied"
    APPROVED = "approved"
    SUSPENDED = "suspended"
    CLOSED = "closed"


_MOVES = {
    PartnerStatus.APPLIED: {PartnerStatus.APPROVED, PartnerStatus.CLOSED},
    PartnerStatus.APPROVED: {PartnerStatus.SUSPENDED, PartnerStatus.CLOSED},
    PartnerStatus.SUSPENDED: {PartnerStatus.APPROVED, PartnerStatus.CLOSED},
    PartnerStatus.CLOSED: set(),
}


class PartnerStatusConflict(FailedPrecondition):
    """A partner cannot go from the status it has to the one asked for."""


@dataclass(frozen=True)
class Partner:
    """A brand of the alliance."""

    id: str
    name: str
    trade: str
    country: str
    logo_url: str
    status: PartnerStatus
    applied_at: datetime
    status_changed_at: datetime

    def moved_to(self, status: PartnerStatus, at: datetime) -> "Partner":
        """The partner with its new status; PartnerStatusConflict if it cannot get there from where it is."""
        if status not in _MOVES[self.status]:
            allowed = ", ".join(sorted(_MOVES[self.status])) or "nothing more"
            raise PartnerStatusConflict(
                f"{self.name} is {self.status}; from there it can become {allowed}.", status=self.status
            )
        return replace(self, status=status, status_changed_at=at)


def name_key(name: str) -> str:
    """Two names with the same key are the same name to a person: case and spaces do not count."""
    return "".join(name.casefold().split())
