"""Partner brands and their life in the alliance."""

import unicodedata
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


class PartnerNotApproved(FailedPrecondition):
    """Only an approved partner can do this."""


class PartnerNotActive(FailedPrecondition):
    """Only a partner that is approved or suspended can do this."""


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

    @property
    def active(self) -> bool:
        """Whether it takes part: a suspended partner does, it only cannot issue."""
        return self.status in (PartnerStatus.APPROVED, PartnerStatus.SUSPENDED)

    def moved_to(self, status: PartnerStatus, at: datetime) -> "Partner":
        """The partner with its new status; PartnerStatusConflict if it cannot get there from where it is."""
        if status not in _MOVES[self.status]:
            allowed = ", ".join(sorted(_MOVES[self.status])) or "nothing more"
            raise PartnerStatusConflict(
                f"{self.name} is {self.status}; from there it can become {allowed}.", status=self.status
            )
        return replace(self, status=status, status_changed_at=at)

    def check_approved(self) -> None:
        """PartnerNotApproved unless it is."""
        if self.status is not PartnerStatus.APPROVED:
            raise PartnerNotApproved(
                f"{self.name} is {self.status}; an operator has to approve it first.", status=self.status
            )

    def check_active(self) -> None:
        """PartnerNotActive unless it takes part."""
        if not self.active:
            raise PartnerNotActive(
                f"{self.name} is {self.status}; only an approved or suspended partner can do this.", status=self.status
            )


def name_key(name: str) -> str:
    """Two names with the same key are the same name to a person: case, width, spaces and what cannot be seen do not
    count (after Unicode's NFKC_Casefold, Standard section 3.13).
    """
    seen = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return "".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold()).split())
