"""What claims earned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.rewards.domain.lots import LotKey
from services.rewards.domain.moments import millis, moment
from services.rewards.ledger.commands import Issue
from services.rewards.ledger.events import Refusal
from services.rewards.ledger.model import Lot
from services.shared.errors import FailedPrecondition, NotFound

RULE_GIVES_ZERO = "RULE_GIVES_ZERO"


class EarningStatus(StrEnum):
    """What came of a claim's points."""

    ISSUED = "issued"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class EarningNotFound(NotFound):
    """The claim has earned nothing that the caller may know of."""


class EarningNotIssued(FailedPrecondition):
    """The claim has no points that could be taken back: it was refused, or they have been taken back."""


@dataclass(frozen=True)
class Claim:
    """A claim that accounts recorded, as far as its points depend on it."""

    id: str
    partner_id: str
    member_id: str
    kind: str
    quantity: int
    occurred_at: datetime


@dataclass(frozen=True)
class Grant:
    """Points of one rule or campaign."""

    rule_id: str
    points: int
    expires_at: datetime


@dataclass(frozen=True)
class Price:
    """What the partner's rules give for a claim; without grants nothing, and the reason says why."""

    grants: tuple[Grant, ...]
    reason: str
    unit_value_micros: int
    agreement_id: str = ""
    available_at: datetime | None = None  # until then the points are pending

    def issue(self, claim: Claim) -> Issue:
        """The ledger's command; its id is the claim's, so that a claim is never paid twice."""
        lots = [
            Lot(millis(grant.expires_at), claim.partner_id, self.unit_value_micros, grant.points)
            for grant in self.grants
        ]
        due = millis(self.available_at) if self.available_at else 0
        return Issue(claim.id, claim.member_id, tuple(lots), due)


@dataclass(frozen=True)
class GivenLot:
    """Points as they were issued, by rule."""

    issuer_partner_id: str
    points: int
    unit_value_micros: int
    expires_at: datetime
    rule_id: str
    # The agreement that fixed the value; empty for what was decided before it was noted.
    agreement_id: str = ""


@dataclass(frozen=True)
class Earning:
    """Points for a claim. `cancelling` is set from the decision to take them back until the ledger has done so.
    `available_at` is set if they were issued as pending until then."""

    claim_id: str
    member_id: str
    partner_id: str
    kind: str
    status: EarningStatus
    reason: str
    lots: tuple[GivenLot, ...]
    decided_at: datetime
    cancelling: bool = False
    returned_points: int = 0
    shortfall_points: int = 0
    available_at: datetime | None = None

    @property
    def points(self) -> int:
        return sum(lot.points for lot in self.lots)

    @property
    def feeds(self) -> tuple[LotKey, ...]:
        """The lots of the member's wallet that the points are or were in."""
        keys = [
            LotKey(self.member_id, lot.issuer_partner_id, lot.unit_value_micros, moment(millis(lot.expires_at)))
            for lot in self.lots
        ]
        return tuple(dict.fromkeys(keys))

    def cancelled(self, returned: int, shortfall: int) -> "Earning":
        return replace(
            self,
            status=EarningStatus.CANCELLED,
            cancelling=False,
            returned_points=returned,
            shortfall_points=shortfall,
        )


def issued(claim: Claim, price: Price, at: int) -> Earning:
    """An earning whose points the ledger issued at that time."""
    lots = [
        GivenLot(
            claim.partner_id,
            grant.points,
            price.unit_value_micros,
            grant.expires_at,
            grant.rule_id,
            price.agreement_id,
        )
        for grant in price.grants
    ]
    decided_at = moment(at)
    pending = price.available_at is not None and price.available_at > decided_at
    return Earning(
        claim_id=claim.id,
        member_id=claim.member_id,
        partner_id=claim.partner_id,
        kind=claim.kind,
        status=EarningStatus.ISSUED,
        reason="",
        lots=tuple(lots),
        decided_at=decided_at,
        available_at=price.available_at if pending else None,
    )


def refused(claim: Claim, reason: str, at: datetime) -> Earning:
    """An earning without points."""
    return Earning(claim.id, claim.member_id, claim.partner_id, claim.kind, EarningStatus.REFUSED, reason, (), at)


def decide(claim: Claim, price: Price, outcome: tuple[int, Refusal | None] | None, now: datetime) -> Earning:
    """The earning; `outcome` is the ledger's time and refusal, None if it was not asked since there is nothing."""
    if outcome is None:
        return refused(claim, price.reason or RULE_GIVES_ZERO, now)
    at, refusal = outcome
    return refused(claim, refusal.reason, moment(at)) if refusal else issued(claim, price, at)


@dataclass(frozen=True)
class KindTotal:
    """Of the claims of a kind that have earned points, and have them still."""

    kind: str
    earnings: int
    points: int


@dataclass(frozen=True)
class RefusalTotal:
    """Of the claims that earned nothing for one reason."""

    reason: str
    earnings: int


def totals(earnings: Sequence[Earning]) -> tuple[list[KindTotal], list[RefusalTotal]]:
    """What these earnings add to the totals; a cancelled one takes off what it had added."""
    kinds: dict[str, KindTotal] = {}
    reasons: dict[str, int] = {}
    for earning in earnings:
        if earning.status is EarningStatus.REFUSED:
            reasons[earning.reason] = reasons.get(earning.reason, 0) + 1
            continue
        sign = 1 if earning.status is EarningStatus.ISSUED else -1
        total = kinds.get(earning.kind, KindTotal(earning.kind, 0, 0))
        kinds[earning.kind] = KindTotal(earning.kind, total.earnings + sign, total.points + sign * earning.points)
    return list(kinds.values()), [RefusalTotal(reason, count) for reason, count in reasons.items()]
