"""Points from one member to another.

The receiver makes a code and shows it to the giver, who types it: so nobody has to name a member, and nobody can find
out who is one. A gift and its way through the ledger are several writes; as with redemptions, what is meant to happen
is written first, and whoever finds it half done does the rest.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.rewards.domain.codes import code_hash, new_code
from services.rewards.domain.moments import moment
from services.rewards.ledger import machine
from services.rewards.ledger.commands import Give
from services.rewards.ledger.events import Decision, Given, Refusal
from services.rewards.ledger.model import Lot
from services.shared.errors import DomainError, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted

_GROUPS = (4, 4, 4)


class GiftCodeNotFound(NotFound):
    """Nobody has that code, or it is over."""


class GiftToSelf(InvalidArgument):
    """The code is the giver's own."""


class GiftStatus(StrEnum):
    """What has come of a gift."""

    PENDING = "pending"
    REFUSED = "refused"
    RETURNED = "returned"
    GIVEN = "given"


@dataclass(frozen=True)
class GiftCode:
    """A member's open code; a member has one."""

    member_id: str
    hash: bytes
    expires_at: datetime


@dataclass(frozen=True)
class Limits:
    """What a member may give on a day, in UTC."""

    points: int
    gifts: int


@dataclass(frozen=True)
class Gift:
    """Points for another member. `limits` are those at the time: asked again later, the outcome is the same."""

    id: str
    giver: str
    to: str
    points: int
    limits: Limits
    given_at: datetime
    status: GiftStatus = GiftStatus.PENDING
    lots: tuple[Lot, ...] = ()
    refusal: Refusal | None = None

    def command(self) -> Give:
        """What the ledger is to do."""
        return Give(self.id, self.giver, self.to, self.points, self.limits.points, self.limits.gifts)

    def after(self, decision: Decision, at: int, *, arrived: bool) -> "Gift":
        """What the ledger's answer makes of it."""
        if isinstance(decision, Refusal):
            return replace(self, status=GiftStatus.REFUSED, refusal=decision)
        lots = next(event.gift.lots for event in decision if isinstance(event, Given))
        status = GiftStatus.GIVEN if arrived else GiftStatus.RETURNED
        return replace(self, status=status, lots=lots, given_at=moment(at))

    def check_given(self) -> None:
        """Why it was not given, as an error that says what is possible."""
        if self.status is GiftStatus.RETURNED:
            raise FailedPrecondition(
                "The receiver cannot take so many points; they are yours again.", reason="RECEIVER_HAS_NO_ROOM"
            )
        if self.refusal:
            raise _error(self.refusal, self.limits)


def new_gift_code() -> str:
    """60 random bits in Crockford's base 32, in groups that a person can read out."""
    return new_code(60, *_GROUPS)


def gift_code_hash(typed: str) -> bytes:
    """By what a code is looked up, however it is typed; GiftCodeNotFound for what cannot be one."""
    if (found := code_hash(typed, sum(_GROUPS))) is None:
        raise GiftCodeNotFound("There is no such code; let the receiver show theirs.")
    return found


def _error(refusal: Refusal, limits: Limits) -> DomainError:
    reason, left, required = refusal
    match reason:
        case machine.GIFT_POINTS_LIMIT_REACHED:
            message = f"You can give {left:,} more points today, of {limits.points:,} a day; give less, or tomorrow."
            return ResourceExhausted(message, reason=reason, left=left, limit=limits.points)
        case machine.GIFT_COUNT_LIMIT_REACHED:
            message = f"You have given {limits.gifts:,} times today, which is the most; give again tomorrow."
            return ResourceExhausted(message, reason=reason, left=left, limit=limits.gifts)
        case machine.SHORTFALL_OPEN:
            return FailedPrecondition("You have points to repay first; then you can give some.", reason=reason)
        case _:
            message = f"{required:,} points are needed and {left:,} are free."
            return FailedPrecondition(message, reason=reason, available=left, required=required)
