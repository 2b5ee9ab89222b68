"""What the ledger is made of: accounts; beside them commands and events. Immutable, pure, and small: named tuples.

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
