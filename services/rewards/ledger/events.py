"""What a command did: events, or a refusal. An event changes each account by that account's own state alone."""

from typing import NamedTuple

from services.rewards.ledger.model import Gift, Hold, Lot, Passage, Tally


class Allotted(NamedTuple):
    partner: str
    points: int


class Sent(NamedTuple):
    passage: Passage


class Received(NamedTuple):
    partner: str
    points: int
    passage: str


class Settled(NamedTuple):
    passage: str


class Issued(NamedTuple):
    member: str
    issue: str
    lots: tuple[Lot, ...]


class Pended(NamedTuple):
    """Issued, and not there before `due`."""

    member: str
    issue: str
    due: int
    lots: tuple[Lot, ...]


class Matured(NamedTuple):
    """Pending points are there."""

    member: str
    issue: str
    lots: tuple[Lot, ...]


class Withdrawn(NamedTuple):
    """Pending points went back to the issuer."""

    member: str
    issue: str
    partner: str
    lots: tuple[Lot, ...]


class Repaid(NamedTuple):
    """Points that came in went to a debt. The partner's own go back to it. Others count as spent there, and each is
    settled at its own value or at `value`, that of the point it replaces, whichever is less."""

    member: str
    issue: str
    partner: str
    lots: tuple[Lot, ...]
    value: int


class Placed(NamedTuple):
    member: str
    hold: Hold


class Captured(NamedTuple):
    member: str
    hold: str
    partner: str
    lots: tuple[Lot, ...]


class Released(NamedTuple):
    """A hold ended without a spend: voided, or its time was up."""

    member: str
    hold: str
    timed_out: bool


class Cancelled(NamedTuple):
    """`lots` went back to the issuer; `owed` had been spent and became a debt."""

    member: str
    issue: str
    partner: str
    lots: tuple[Lot, ...]
    owed: tuple[Lot, ...]


class Reversed(NamedTuple):
    """Points that had been spent at a partner are the member's again."""

    member: str
    hold: str
    partner: str
    lots: tuple[Lot, ...]


class Given(NamedTuple):
    """A gift is on its way; `tally` is what its member has given on that day, with it."""

    member: str
    gift: Gift
    tally: Tally


class Taken(NamedTuple):
    """A gift has arrived; back at its giver if it could not elsewhere."""

    member: str
    gift: str
    giver: str
    lots: tuple[Lot, ...]


class Expired(NamedTuple):
    member: str
    lots: tuple[Lot, ...]


Event = (
    Allotted
    | Sent
    | Received
    | Settled
    | Issued
    | Pended
    | Matured
    | Withdrawn
    | Repaid
    | Placed
    | Captured
    | Released
    | Cancelled
    | Expired
    | Reversed
    | Given
    | Taken
)


class Refusal(NamedTuple):
    """Why a command did nothing. A command has one outcome for ever, and this may be it."""

    reason: str
    available: int = 0
    required: int = 0


Decision = tuple[Event, ...] | Refusal
