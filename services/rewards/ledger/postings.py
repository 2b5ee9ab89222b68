"""What events mean in books and in wallets: double-entry legs, and the entries that a member reads. Pure."""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from services.rewards.ledger.block import Block, Posting, decode
from services.rewards.ledger.events import (
    Allotted,
    Cancelled,
    Captured,
    Event,
    Expired,
    Given,
    Issued,
    Matured,
    Pended,
    Received,
    Refusal,
    Repaid,
    Reversed,
    Sent,
    Taken,
    Withdrawn,
)
from services.rewards.ledger.lots import points_of
from services.rewards.ledger.model import Books, Lot


class Account(IntEnum):
    """The accounts of the general ledger; each is the sum of what members or partners have in it."""

    SOLD = 1  # the contra account: what has been allotted, negative
    ALLOTMENT = 2  # what partners may still issue
    WALLETS = 3  # what members have
    SPENT = 4
    EXPIRED = 5
    TRANSIT = 6  # on its way between partitions
    PENDING = 7  # what members will have


class EntryKind(IntEnum):
    """What moved a wallet; as in the proto."""

    EARN = 1
    SPEND = 2
    EXPIRE = 3
    CANCEL = 4
    REPAY = 5
    REVERSE = 6
    GIVE = 7
    TAKE = 8


SPENDS = (EntryKind.SPEND, EntryKind.REPAY, EntryKind.REVERSE)  # what partners owe each other for


class Entry(NamedTuple):
    """One movement of a wallet: `points` is what the balance changed by, `lots` what it was made of.

    `reference` is the issue of an EARN, CANCEL or REPAY (there: the one that is repaid), the hold of a SPEND or
    REVERSE, the gift of a GIVE or TAKE; `partner` is where a SPEND was, and whom a REPAY was owed to; `value` is the
    most that a point of a REPAY is settled for.
    """

    kind: EntryKind
    points: int
    reference: str
    partner: str
    lots: tuple[Lot, ...]
    value: int = 0


class Record(NamedTuple):
    """What a command did, as its member sees it, and where in the log it stands.

    Without entries `member` is empty and `at` is 0: then only the place matters.
    """

    command: str
    member: str
    seq: int
    place: int
    at: int
    entries: tuple[Entry, ...]


class Spend(NamedTuple):
    """Points that left a wallet in favour of a partner, or came back: what the settlement nets. `id` sorts as in the
    ledger; the entry's kind is one of SPENDS."""

    id: str
    at: int
    entry: Entry


def legs(event: Event) -> tuple[tuple[Account, int], ...]:
    """The event as a transfer: its legs sum to zero. An event that moves no points has none."""
    match event:
        case Allotted():
            return _transfer(Account.SOLD, Account.ALLOTMENT, event.points)
        case Issued():
            return _transfer(Account.ALLOTMENT, Account.WALLETS, points_of(event.lots))
        case Pended():
            return _transfer(Account.ALLOTMENT, Account.PENDING, points_of(event.lots))
        case Matured():
            return _transfer(Account.PENDING, Account.WALLETS, points_of(event.lots))
        case Withdrawn():
            return _transfer(Account.PENDING, Account.ALLOTMENT, points_of(event.lots))
        case Captured():
            return _transfer(Account.WALLETS, Account.SPENT, points_of(event.lots))
        case Repaid():
            own = points_of(lot for lot in event.lots if lot.issuer == event.partner)
            total = points_of(event.lots)
            return (Account.WALLETS, -total), (Account.SPENT, total - own), (Account.ALLOTMENT, own)
        case Reversed():
            return _transfer(Account.SPENT, Account.WALLETS, points_of(event.lots))
        case Given():
            return _transfer(Account.WALLETS, Account.TRANSIT, points_of(event.gift.lots))
        case Taken():
            return _transfer(Account.TRANSIT, Account.WALLETS, points_of(event.lots))
        case Cancelled():
            return _transfer(Account.WALLETS, Account.ALLOTMENT, points_of(event.lots))
        case Expired():
            return _transfer(Account.WALLETS, Account.EXPIRED, points_of(event.lots))
        case Sent():
            return _transfer(Account.ALLOTMENT, Account.TRANSIT, event.passage.points)
        case Received():
            return _transfer(Account.TRANSIT, Account.ALLOTMENT, event.points)
        case _:
            return ()


def balances(books: Books) -> dict[Account, int]:
    """The general ledger of a partition, from its accounts; the balances sum to zero."""
    partners = books.partners.values()
    return {
        Account.SOLD: -sum(partner.allotted for partner in partners),
        Account.ALLOTMENT: sum(partner.left for partner in partners),
        Account.WALLETS: sum(member.balance for member in books.members.values()),
        Account.SPENT: sum(partner.spent for partner in partners),
        Account.EXPIRED: sum(partner.expired for partner in partners),
        Account.TRANSIT: books.transit.balance,
        Account.PENDING: sum(member.pending_points for member in books.members.values()),
    }


def entries(events: Iterable[Event]) -> list[Entry]:
    """What the member of a command sees of it, in order. Holds move nothing."""
    found: list[Entry] = []
    for event in events:
        match event:
            case Issued() | Matured():
                found.append(Entry(EntryKind.EARN, points_of(event.lots), event.issue, "", event.lots))
            case Captured():
                found.append(Entry(EntryKind.SPEND, -points_of(event.lots), event.hold, event.partner, event.lots))
            case Repaid():
                points = -points_of(event.lots)
                found.append(Entry(EntryKind.REPAY, points, event.issue, event.partner, event.lots, event.value))
            case Expired():
                found.append(Entry(EntryKind.EXPIRE, -points_of(event.lots), "", "", event.lots))
            case Cancelled() if event.lots or event.owed:
                found.append(Entry(EntryKind.CANCEL, -points_of(event.lots), event.issue, event.partner, event.lots))
            case Reversed():
                found.append(Entry(EntryKind.REVERSE, points_of(event.lots), event.hold, event.partner, event.lots))
            case Given():
                lots = event.gift.lots
                found.append(Entry(EntryKind.GIVE, -points_of(lots), event.gift.id, "", lots))
            case Taken():
                found.append(Entry(EntryKind.TAKE, points_of(event.lots), event.gift, "", event.lots))
            case _:
                pass
    return found


def records(seq: int, at: int, postings: Iterable[Posting]) -> list[Record]:
    """The records of a block's postings."""
    return [_record(seq, at, place, posting) for place, posting in enumerate(postings)]


def records_of(block: Block, postings: Iterable[tuple[int, Posting]]) -> list[Record]:
    """The records of some of a block's postings, which come with their places."""
    return [_record(block.seq, block.at, place, posting) for place, posting in postings]


def spends(block: Block) -> list[Spend]:
    """The spends in a block, in order."""
    found = []
    for record in records(block.seq, block.at, decode(block.payload)):
        for number, entry in enumerate(record.entries):
            if entry.kind in SPENDS:
                id = f"{block.at:013d}-{block.partition:04d}{block.seq:010d}{record.place:04d}{number:02d}"
                found.append(Spend(id, block.at, entry))
    return found


def _record(seq: int, at: int, place: int, posting: Posting) -> Record:
    command, decision, _ = posting
    moved = () if isinstance(decision, Refusal) else tuple(entries(decision))
    member: str = getattr(command, "member", "") if moved else ""
    return Record(command.id, member, seq, place, at if moved else 0, moved)


def _transfer(source: Account, target: Account, points: int) -> tuple[tuple[Account, int], ...]:
    return ((source, -points), (target, points))
