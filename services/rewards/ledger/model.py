"""What the ledger is made of: accounts, commands, events. Immutable, pure, and small: named tuples.

Times are milliseconds since 1970 in UTC, values of a point are micros of the alliance's currency, points are whole.
"""

from typing import NamedTuple

LARGEST = 2**53 - 1  # what a JSON number holds exactly: the bound of a balance, an allotment and a liability


class Lot(NamedTuple):
    """Points of one issuer with one value and one expiry. Lots sort by expiry, then issuer, then value."""

    expires: int
    issuer: str
    value: int
    points: int


class Hold(NamedTuple):
    """Points that are promised: they cannot be spent otherwise, until the hold is resolved or its time is up."""

    id: str
    points: int
    placed: int
    expires: int


class Debt(NamedTuple):
    """What is left to repay of a cancelled issue whose points had been spent, and the partner it is owed to.

    `value` is what one of them was worth: no point that repays one is settled for more.
    """

    issue: str
    partner: str
    points: int
    value: int


class Pending(NamedTuple):
    """Points of an issue that the member has from `due` on, unless it is cancelled before."""

    due: int
    issue: str
    lots: tuple[Lot, ...]


class Tally(NamedTuple):
    """What a member has given away on a day; days are counted from 1970, in UTC."""

    day: int = 0
    gifts: int = 0
    points: int = 0


class Member(NamedTuple):
    """A member's account: lots in order of expiry, at most one of each kind; open holds and debts, oldest first;
    pending points, those first that are due first."""

    lots: tuple[Lot, ...] = ()
    holds: tuple[Hold, ...] = ()
    debts: tuple[Debt, ...] = ()
    pending: tuple[Pending, ...] = ()
    tally: Tally = Tally()

    @property
    def balance(self) -> int:
        """All points, held ones included, pending ones not."""
        return sum([lot.points for lot in self.lots])

    @property
    def held(self) -> int:
        return sum([hold.points for hold in self.holds])

    @property
    def shortfall(self) -> int:
        return sum([debt.points for debt in self.debts])

    @property
    def pending_points(self) -> int:
        return sum([lot.points for pending in self.pending for lot in pending.lots])


class Partner(NamedTuple):
    """A partner's sub-account in one partition. `left` is what it may issue here.

    allotted + received + cancelled = issued + sent + left, and
    issued + taken = cancelled + spent + expired + outstanding + given.
    """

    allotted: int = 0
    received: int = 0
    sent: int = 0
    left: int = 0
    issued: int = 0
    cancelled: int = 0
    spent: int = 0
    expired: int = 0
    outstanding: int = 0
    liability: int = 0  # micros: what the outstanding points are worth
    accepted: int = 0  # points of any issuer that were spent at this partner
    given: int = 0  # its points that members here gave away, and their value
    given_value: int = 0
    taken: int = 0  # its points that members here were given, and their value
    taken_value: int = 0


class Passage(NamedTuple):
    """A partner's allotment on its way to another partition."""

    id: str
    partner: str
    points: int
    to: int


class Gift(NamedTuple):
    """A member's points on their way to another member, with issuer, value and expiry as they were."""

    id: str
    giver: str
    to: str
    lots: tuple[Lot, ...]


class Transit(NamedTuple):
    """A partition's in-transit account: what it sent less what it received; passages and gifts not known to have
    arrived."""

    balance: int = 0
    open: tuple[Passage, ...] = ()
    gifts: tuple[Gift, ...] = ()


# Commands. Each has an id, unique for ever within its partition, and names its accounts.


class Allot(NamedTuple):
    """Gives a partner points that it may issue."""

    id: str
    partner: str
    points: int


class Send(NamedTuple):
    """Sends up to `points` of a partner's allotment to another partition; the passage has the command's id."""

    id: str
    partner: str
    points: int
    to: int


class Receive(NamedTuple):
    """Takes in a passage from another partition."""

    id: str
    partner: str
    points: int
    passage: str


class Settle(NamedTuple):
    """Notes where a passage or a gift began that it has arrived."""

    id: str
    passage: str


class Issue(NamedTuple):
    """Gives a member points of one issuer, all lots or none; until `due` they are pending. The command's id is the id
    of the issue."""

    id: str
    member: str
    lots: tuple[Lot, ...]
    due: int = 0


class Place(NamedTuple):
    """Holds points of a member until `expires`. The command's id is the id of the hold."""

    id: str
    member: str
    points: int
    expires: int


class Capture(NamedTuple):
    """Spends held points at a partner, all or a part (the rest is free again)."""

    id: str
    member: str
    hold: str
    points: int
    partner: str


class Void(NamedTuple):
    """Gives a hold up."""

    id: str
    member: str
    hold: str


class Cancel(NamedTuple):
    """Takes back an issue; `lots` are those that it gave."""

    id: str
    member: str
    issue: str
    lots: tuple[Lot, ...]


class Reverse(NamedTuple):
    """Gives back points of a capture; `lots` are all that it took. What stays spent is what a capture of so many fewer
    points would have taken."""

    id: str
    member: str
    hold: str
    partner: str
    lots: tuple[Lot, ...]
    points: int


class Give(NamedTuple):
    """Sends points to another member, within what a member may give on one day. The command's id is the gift's."""

    id: str
    member: str
    to: str
    points: int
    most_points: int
    most_gifts: int


class Take(NamedTuple):
    """Takes in a gift; the giver does if the one it was meant for could not."""

    id: str
    member: str
    gift: str
    giver: str
    lots: tuple[Lot, ...]


class Sweep(NamedTuple):
    """Does nothing but what time demands: due holds end, due points expire, pending points are there."""

    id: str
    member: str


Command = Allot | Send | Receive | Settle | Issue | Place | Capture | Void | Cancel | Sweep | Reverse | Give | Take


# Events: what a command did. Each changes each account by that account's own state alone.


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
    """Points that came in went to a debt: they count as spent at that partner, and each is settled at its own value or
    at `value`, that of the point it replaces, whichever is less."""

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


class Books:
    """The accounts of one partition, or those of them that matter to the work at hand. An absent account is empty."""

    __slots__ = ("members", "partners", "transit")

    def __init__(
        self,
        members: dict[str, Member] | None = None,
        partners: dict[str, Partner] | None = None,
        transit: Transit = Transit(),  # noqa: B008  (immutable)
    ) -> None:
        self.members = {} if members is None else members
        self.partners = {} if partners is None else partners
        self.transit = transit


NO_MEMBER = Member()
NO_PARTNER = Partner()
