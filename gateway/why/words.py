"""Explanations in words: amounts, arithmetic, and what happened."""

from collections.abc import Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from alliance.accounts.v1 import accounts_pb2 as accounts
from alliance.common.v1.money_pb2 import Money
from alliance.partners.v1.partners_pb2 import Campaign, EarnRule

# The unit of a kind, and what was done in one and in several of it.
_KINDS: Mapping[int, tuple[str, str, str]] = {
    accounts.ACT_KIND_BUS_TRIP: ("m", "a bus trip of {}", "a bus trip of {}"),
    accounts.ACT_KIND_METRO_TRIP: ("m", "a metro trip of {}", "a metro trip of {}"),
    accounts.ACT_KIND_LIGHT_RAIL_TRIP: ("m", "a light rail trip of {}", "a light rail trip of {}"),
    accounts.ACT_KIND_ELECTRONIC_BILL: ("bill", "1 electronic bill", "{:,} electronic bills"),
    accounts.ACT_KIND_BOX_REUSE: ("box", "1 parcel box used again", "{:,} parcel boxes used again"),
    accounts.ACT_KIND_PET_RECYCLING: ("g", "{} of PET for recycling", "{} of PET for recycling"),
    accounts.ACT_KIND_CARDBOARD_RECYCLING: ("g", "{} of cardboard for recycling", "{} of cardboard for recycling"),
    accounts.ACT_KIND_OWN_CUP: ("cup", "1 drink in one's own cup", "{:,} drinks in one's own cup"),
}
_PLURALS = {"bill": "bills", "box": "boxes", "cup": "cups", "point": "points"}
_REFUSALS = {
    "PARTNER_SUSPENDED": "the brand was suspended and could not issue points",
    "PARTNER_CLOSED": "the brand had left the alliance",
    "PARTNER_NOT_FOUND": "the brand was not admitted to the alliance",
    "NO_EARN_RULE": "the brand gave no points for this when it happened",
    "NO_AGREEMENT_IN_FORCE": "the brand had no agreement on the value of a point when it happened",
    "POINTS_OVER_ALREADY": "points for it would have expired before the member could have them",
    "RULE_GIVES_ZERO": "it was too little for a whole point by the brand's rule",
    "PREPAID_BLOCK_EXHAUSTED": "the brand had used up the points that it had bought ahead",
    "BALANCE_LIMIT_REACHED": "the wallet cannot hold more points",
    "LIABILITY_LIMIT_REACHED": "the brand cannot owe more for its points",
}


def unit_of(kind: int) -> str:
    """The unit of a kind's quantity."""
    return _KINDS.get(kind, ("", "", ""))[0]


def deed(kind: int, quantity: int) -> str:
    """What was done: `46 g of PET for recycling`."""
    if kind not in _KINDS:
        return f"something ({quantity:,})"
    unit, one, several = _KINDS[kind]
    text = one if quantity == 1 else several
    return text.format(quantity) if ":" in text else text.format(counted(quantity, unit))


def counted(number: int, unit: str) -> str:
    """`46 g`, `1 point`, `1,200 points`."""
    return f"{number:,} {unit if number == 1 else _PLURALS.get(unit, unit)}".rstrip()


def were(number: int) -> str:
    """`1 point was`, `7 points were`."""
    return f"{counted(number, 'point')} {'was' if number == 1 else 'were'}"


def day(at: Timestamp) -> str:
    """The day of a moment, in UTC."""
    return at.ToJsonString()[:10]


def money(value: Money) -> str:
    """`EUR 0.004`: exact, with two decimals or more."""
    sign = "-" if value.micros < 0 else ""
    units, micros = divmod(abs(value.micros), 1_000_000)
    decimals = f"{micros:06}".rstrip("0").ljust(2, "0")
    return f"{value.currency} {sign}{units:,}.{decimals}".lstrip()


def grams(quantity: int, unit: str, avoided_ug_per_unit: int, co2e_mg: int) -> str:
    """A claim's arithmetic: floor(quantity * factor), in milligrams."""
    return f"{counted(quantity, unit)} × {avoided_ug_per_unit:,} µg per {unit} = {co2e_mg:,} mg CO₂e"


def ruled(rule: EarnRule, quantity: int, points: int) -> str:
    """An earn rule's arithmetic: floor(quantity * points / per_quantity)."""
    unit = unit_of(rule.kind)
    rate = f"{counted(rule.points, 'point')} per {counted(rule.per_quantity, unit) if rule.per_quantity != 1 else unit}"
    return f"{counted(quantity, unit)} × {rate}{_rounded(quantity * rule.points, rule.per_quantity)} = " + counted(
        points, "point"
    )


def topped_up(campaign: Campaign, base: int, points: int, whose: str) -> str:
    """A campaign's arithmetic: floor(base * percent / 100), cut to what its budget and the member's cap had left."""
    full = base * campaign.extra_percent // 100
    rounded = _rounded(base * campaign.extra_percent, 100)
    told = f"{counted(base, 'point')} × {campaign.extra_percent} %{rounded} = {counted(full, 'point')}"
    told += f" by {whose} campaign “{campaign.name}”"
    return told if points == full else f"{told}, cut to {counted(points, 'point')} by its budget or its cap per member"


def refusal(reason: str) -> str:
    """Why there are no points."""
    return _REFUSALS.get(reason, reason)


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _rounded(numerator: int, denominator: int) -> str:
    return ", rounded down" if denominator and numerator % denominator else ""
