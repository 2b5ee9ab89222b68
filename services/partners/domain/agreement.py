"""What a partner's points cost it, and the points that it buys ahead."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from services.shared.errors import FailedPrecondition, InvalidArgument

# What a JSON number holds exactly; prices are shown as such.
_HIGHEST_PRICE_MICROS = 2**53 - 1


class CurrencyNotAccepted(InvalidArgument):
    """All agreements are in the alliance's one currency."""


class NoAgreementInForce(FailedPrecondition):
    """The partner has accepted no agreement that is in force at the moment in question."""


class PriceTooHigh(InvalidArgument):
    """A block's price is beyond what can be written down exactly."""

    def __init__(self, most_points: int) -> None:
        super().__init__(
            f"points: at this price per point a block has at most {most_points:,}; order several.",
            reason="FIELD_INVALID",
            field="points",
        )


@dataclass(frozen=True)
class Money:
    """An amount: an ISO 4217 currency and millionths of its unit."""

    currency: str
    micros: int


@dataclass(frozen=True)
class Agreement:
    """What a partner pays for one of its points when it is spent at another."""

    id: str
    partner_id: str
    unit_value: Money
    valid_from: datetime
    offered_at: datetime
    accepted_at: datetime | None = None

    def accepted(self, at: datetime) -> "Agreement":
        """The agreement with the partner's yes; the first yes stands."""
        return self if self.accepted_at else replace(self, accepted_at=at)


@dataclass(frozen=True)
class PrepaidBlock:
    """Points bought ahead."""

    id: str
    partner_id: str
    points: int
    price: Money
    ordered_at: datetime
    paid_at: datetime | None = None


def agreement_at(agreements: Iterable[Agreement], at: datetime) -> Agreement | None:
    """The one in force: accepted, and the last to start by then. Of two that start together, the one accepted last."""
    started = [a for a in agreements if a.accepted_at and a.valid_from <= at]
    return max(started, key=lambda a: (a.valid_from, a.accepted_at, a.id), default=None)


def price_of(points: int, unit_value: Money) -> Money:
    """points times unit value, exactly; PriceTooHigh beyond 2^53 - 1 micros."""
    micros = points * unit_value.micros
    if micros > _HIGHEST_PRICE_MICROS:
        raise PriceTooHigh(_HIGHEST_PRICE_MICROS // unit_value.micros)
    return Money(unit_value.currency, micros)
