"""Rewards, and their way from a member's wallet to a partner's till.

A redemption and its hold in the ledger are two writes. So what is meant to happen is written first, then done in the
ledger under an id that follows from the redemption's, then noted; whoever finds it half done does the rest, and gets
the same.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.rewards.domain.moments import millis, moment
from services.rewards.ledger.model import Capture, Captured, Decision, Lot, Place, Refusal, Released, Void
from services.shared.errors import FailedPrecondition, InvalidArgument, NotFound


class RewardNotFound(NotFound):
    """No reward has that id."""


class RewardOutOfStock(FailedPrecondition):
    """Nothing is left of the reward."""


class InsufficientPoints(FailedPrecondition):
    """The wallet has fewer free points than are needed."""


class RedemptionNotFound(NotFound):
    """The caller has no redemption with that id."""


class VoucherNotFound(NotFound):
    """The calling partner has no voucher with that code."""


class RedemptionAlreadyResolved(FailedPrecondition):
    """The redemption has been captured or given up, or its time is over."""


class CaptureOutOfRange(InvalidArgument):
    """A capture takes at least one point and at most what is held."""


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


class Intent(StrEnum):
    """How an open redemption is to end, once somebody has said so. The first word counts."""

    NONE = ""
    CAPTURE = "capture"
    VOID = "void"
    EXPIRE = "expire"


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
        return self.status in (RedemptionStatus.REFUSED, RedemptionStatus.VOIDED, RedemptionStatus.EXPIRED)

    def check_open(self, now: datetime) -> None:
        """RedemptionAlreadyResolved unless somebody may still say how it ends."""
        if not self.open or now >= self.expires_at:
            raise RedemptionAlreadyResolved(
                "This redemption is over: it was used or given up, or its time has run out.", redemption_id=self.id
            )

    def as_held(self) -> "Redemption":
        """As it was when it had just been made."""
        return replace(self, status=RedemptionStatus.HELD, resolved_at=None, lots=(), capture_points=0)

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

    def command(self) -> Place | Capture | Void:
        """What the ledger is to do next; its id follows from the redemption's and the step."""
        if self.status is RedemptionStatus.PENDING:
            return Place(self.id, self.member_id, self.points, millis(self.expires_at))
        if self.intent is Intent.CAPTURE:
            return Capture(f"{self.id}:capture", self.member_id, self.id, self.capture_points, self.partner_id)
        return Void(f"{self.id}:{self.intent.value}", self.member_id, self.id)

    def after(self, decision: Decision, at: int) -> "Redemption":
        """What the ledger's answer to `command` makes of it."""
        refusal = decision if isinstance(decision, Refusal) else None
        if self.status is RedemptionStatus.PENDING:
            if refusal:
                return replace(self, status=RedemptionStatus.REFUSED, refusal=refusal, resolved_at=moment(at))
            return replace(self, status=RedemptionStatus.HELD)
        ended = replace(self, intent=Intent.NONE, resolved_at=moment(at))
        for event in () if refusal else decision:
            if isinstance(event, Captured):
                return replace(ended, status=RedemptionStatus.CAPTURED, lots=event.lots)
            if isinstance(event, Released) and event.hold == self.id and self.intent is Intent.VOID:
                return replace(ended, status=RedemptionStatus.EXPIRED if event.timed_out else RedemptionStatus.VOIDED)
        # We wanted it to end, or the hold was gone when we came: its time was up.
        return replace(ended, status=RedemptionStatus.EXPIRED, capture_points=0)


# Crockford's base 32: no I, L, O and U, and whoever reads them means 1, 1 and 0.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26  # 5 bits each: 128 bits, and two that are always 0
_GROUPS = (5, 10, 15, 20)
_READ_AS = str.maketrans("ILO", "110", "- ")
_CODE = re.compile(f"[{_ALPHABET}]{{{_LENGTH}}}")


def new_voucher() -> str:
    """128 random bits in Crockford's base 32, in groups that a person can read out."""
    number = secrets.randbits(128)
    code = "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
    return "-".join(code[start:end] for start, end in zip((0, *_GROUPS), (*_GROUPS, _LENGTH), strict=True))


def voucher_hash(code: str) -> bytes:
    """By what a voucher is looked up; case, spaces, dashes and letters that look like digits do not matter.

    VoucherNotFound for what cannot be a code.
    """
    plain = code[:100].upper().translate(_READ_AS)
    if not _CODE.fullmatch(plain):
        raise VoucherNotFound("There is no such voucher here; type the code as it is printed.")
    return hashlib.sha256(plain.encode()).digest()
