"""Rewards, and their way from a member's wallet to a partner's till.

A redemption and its hold in the ledger are two writes. So what is meant to happen is written first, then done in the
ledger under an id that follows from the redemption's, then noted; whoever finds it half done does the rest, and gets
the same.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.rewards.domain.codes import code_hash, new_code
from services.rewards.domain.moments import millis, moment
from services.rewards.ledger.commands import Capture, Place, Reverse, Void
from services.rewards.ledger.events import Captured, Decision, Refusal, Released, Reversed
from services.rewards.ledger.model import Lot
from services.rewards.ledger.reversal import points_to_reverse
from services.shared.errors import FailedPrecondition, InvalidArgument, NotFound


class RewardNotFound(NotFound):
    """No reward has that id."""


class RewardOutOfStock(FailedPrecondition):
    """Nothing is left of the reward."""


class InsufficientPoints(FailedPrecondition):
    """The wallet has fewer free points than are needed."""


class HoldLimitReached(FailedPrecondition):
    """The member has as many open redemptions as a wallet can have."""


class RedemptionNotFound(NotFound):
    """The caller has no redemption with that id."""


class VoucherNotFound(NotFound):
    """The calling partner has no voucher with that code."""


class RedemptionAlreadyResolved(FailedPrecondition):
    """The redemption has been captured or given up, or its time is over."""


class CaptureOutOfRange(InvalidArgument):
    """A capture takes at least one point and at most what is held."""


class RedemptionNotCaptured(FailedPrecondition):
    """Nothing has been spent for the redemption that could be given back."""


class RedemptionAlreadyReversed(FailedPrecondition):
    """Points of the redemption have been given back; that is done once."""


@dataclass(frozen=True)
class Reward:
    """Something a partner gives for points."""

    id: str
    partner_id: str
    title: str
    description: str
    points: int
    stock: int
    created_at: datetime


class RedemptionStatus(StrEnum):
    """Where a redemption is. PENDING and REFUSED are ours alone: nobody has a redemption yet, or ever had."""

    PENDING = "pending"
    REFUSED = "refused"
    HELD = "held"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"
    REVERSED = "reversed"


class Intent(StrEnum):
    """How an open redemption is to end, once somebody has said so, and that a captured one is to be reversed. The first
    word counts."""

    NONE = ""
    CAPTURE = "capture"
    VOID = "void"
    EXPIRE = "expire"
    REVERSE = "reverse"


@dataclass(frozen=True)
class Redemption:
    """A reward reserved for a member."""

    id: str
    reward_id: str
    member_id: str
    partner_id: str
    status: RedemptionStatus
    points: int  # held
    voucher_code: str
    created_at: datetime
    expires_at: datetime
    intent: Intent = Intent.NONE
    capture_points: int = 0
    resolved_at: datetime | None = None
    lots: tuple[Lot, ...] = ()
    refusal: Refusal | None = None
    reversed_points: int = 0
    reversed_at: datetime | None = None
    reversed_lots: tuple[Lot, ...] = ()
    restock: bool = False  # with the reversal

    @property
    def open(self) -> bool:
        """Whether somebody may still say how it ends."""
        return self.status is RedemptionStatus.HELD and self.intent is Intent.NONE

    @property
    def resting(self) -> bool:
        """Whether nothing is half done."""
        return self.status is not RedemptionStatus.PENDING and self.intent is Intent.NONE

    @property
    def gives_stock_back(self) -> bool:
        """Whether its end leaves the reward to somebody else."""
        ended = self.status in (RedemptionStatus.REFUSED, RedemptionStatus.VOIDED, RedemptionStatus.EXPIRED)
        return ended or (self.status is RedemptionStatus.REVERSED and self.restock)

    def check_open(self, now: datetime) -> None:
        """RedemptionAlreadyResolved unless somebody may still say how it ends."""
        if not self.open or now >= self.expires_at:
            raise RedemptionAlreadyResolved(
                "This redemption is over: it was used or given up, or its time has run out.", redemption_id=self.id
            )

    def as_held(self) -> "Redemption":
        """As it was when it had just been made."""
        unresolved = replace(self, status=RedemptionStatus.HELD, resolved_at=None, lots=(), capture_points=0)
        return unresolved._unreversed()

    def as_captured(self) -> "Redemption":
        """As it was when it had just been captured."""
        return replace(self, status=RedemptionStatus.CAPTURED)._unreversed()

    def _unreversed(self) -> "Redemption":
        return replace(self, reversed_points=0, reversed_at=None, reversed_lots=())

    def capturing(self, points: int) -> "Redemption":
        """To be captured; 0 means all. CaptureOutOfRange if that is not possible."""
        if not 0 <= points <= self.points:
            raise CaptureOutOfRange(
                f"points: needs 1 to {self.points:,}, or 0 for all; is {points:,}.", field="points", held=self.points
            )
        return replace(self, intent=Intent.CAPTURE, capture_points=points or self.points)

    def ending(self, intent: Intent) -> "Redemption":
        """To be given up, or over."""
        return replace(self, intent=intent)

    def reversing(self, points: int, *, restock: bool) -> "Redemption":
        """Points of it to be given back; 0 means all. RedemptionNotCaptured, RedemptionAlreadyReversed,
        ReversalOutOfRange."""
        if self.status is RedemptionStatus.REVERSED or self.intent is Intent.REVERSE:
            raise RedemptionAlreadyReversed("Points of this redemption have been given back.", redemption_id=self.id)
        if self.status is not RedemptionStatus.CAPTURED:
            raise RedemptionNotCaptured("No points of this redemption have been spent.", redemption_id=self.id)
        if self.refusal:
            raise reversal_refused(self.refusal, self.id)
        points = points_to_reverse(self.lots, points)
        return replace(self, intent=Intent.REVERSE, reversed_points=points, restock=restock)

    def command(self) -> Place | Capture | Void | Reverse:
        """What the ledger is to do next; its id follows from the redemption's and the step."""
        if self.status is RedemptionStatus.PENDING:
            return Place(self.id, self.member_id, self.points, millis(self.expires_at))
        if self.intent is Intent.CAPTURE:
            return Capture(f"{self.id}:capture", self.member_id, self.id, self.capture_points, self.partner_id)
        if self.intent is Intent.REVERSE:
            # Named after the capture, as the ledger names reversals.
            id = f"reverse:{self.id}:capture"
            return Reverse(id, self.member_id, self.id, self.partner_id, self.lots, self.reversed_points)
        return Void(f"{self.id}:{self.intent.value}", self.member_id, self.id)

    def after(self, decision: Decision, at: int) -> "Redemption":
        """What the ledger's answer to `command` makes of it."""
        refusal = decision if isinstance(decision, Refusal) else None
        if self.status is RedemptionStatus.PENDING:
            if refusal:
                return replace(self, status=RedemptionStatus.REFUSED, refusal=refusal, resolved_at=moment(at))
            return replace(self, status=RedemptionStatus.HELD)
        if self.intent is Intent.REVERSE:
            return self._reversed(decision, at)
        ended = replace(self, intent=Intent.NONE, resolved_at=moment(at))
        for event in () if refusal else decision:
            if isinstance(event, Captured):
                return replace(ended, status=RedemptionStatus.CAPTURED, lots=event.lots)
            if isinstance(event, Released) and event.hold == self.id and self.intent is Intent.VOID:
                return replace(ended, status=RedemptionStatus.EXPIRED if event.timed_out else RedemptionStatus.VOIDED)
        # We wanted it to end, or the hold was gone when we came: its time was up.
        return replace(ended, status=RedemptionStatus.EXPIRED, capture_points=0)

    def _reversed(self, decision: Decision, at: int) -> "Redemption":
        if isinstance(decision, Refusal):
            return replace(self, intent=Intent.NONE, reversed_points=0, refusal=decision)
        lots = next(event.lots for event in decision if isinstance(event, Reversed))
        status = RedemptionStatus.REVERSED
        return replace(self, intent=Intent.NONE, status=status, reversed_lots=lots, reversed_at=moment(at))


def reversal_refused(refusal: Refusal, id: str) -> FailedPrecondition:
    """Why a reversal cannot be; what the ledger has refused once, it refuses for ever."""
    return FailedPrecondition("That would be more than the ledger can count.", reason=refusal.reason, redemption_id=id)


_GROUPS = (5, 5, 5, 5, 6)


def new_voucher() -> str:
    """128 random bits in Crockford's base 32, in groups that a person can read out."""
    return new_code(128, *_GROUPS)


def maybe_voucher_hash(code: str) -> bytes | None:
    """By what a voucher is looked up, however it is typed; None for what cannot be a code."""
    return code_hash(code, sum(_GROUPS))


def voucher_hash(code: str) -> bytes:
    """The same; VoucherNotFound for what cannot be a code."""
    if (found := maybe_voucher_hash(code)) is None:
        raise VoucherNotFound("There is no such voucher here; type the code as it is printed.")
    return found
