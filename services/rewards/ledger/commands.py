"""What the ledger can be told to do. Each command has an id, unique for ever within its partition, and names its
accounts."""

from typing import NamedTuple

from services.rewards.ledger.model import Lot


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
