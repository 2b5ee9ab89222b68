"""What events do to accounts, pure. Each account changes by its own state and the event alone, so that a replay may
skip an account that has the event already."""

from collections.abc import Iterable

from services.rewards.ledger.lots import merged, points_of, value_of, without
from services.rewards.ledger.model import (
    NO_MEMBER,
    NO_PARTNER,
    Allotted,
    Books,
    Cancelled,
    Captured,
    Debt,
    Event,
    Expired,
    Hold,
    Issued,
    Lot,
    Member,
    Partner,
    Placed,
    Received,
    Released,
    Repaid,
    Sent,
    Settled,
    Transit,
)


def apply(books: Books, events: Iterable[Event]) -> None:
    """Changes the accounts that the events touch."""
    for event in events:
        member, partners, transit = touched(event)
        if member:
            books.members[member] = member_after(books.members.get(member, NO_MEMBER), event)
        for partner in partners:
            books.partners[partner] = partner_after(books.partners.get(partner, NO_PARTNER), partner, event)
        if transit:
            books.transit = transit_after(books.transit, event)


def touched(event: Event) -> tuple[str, tuple[str, ...], bool]:
    """The accounts that an event changes: a member's, partners' sub-accounts, and whether in-transit."""
    match event:
        case Issued() | Expired():
            return event.member, _issuers(event.lots), False
        case Placed() | Released():
            return event.member, (), False
        case Captured() | Repaid():
            return event.member, _issuers(event.lots, event.partner), False
        case Cancelled():
            return event.member, (event.partner,), False
        case Allotted():
            return "", (event.partner,), False
        case Received():
            return "", (event.partner,), True
        case Sent():
            return "", (event.passage.partner,), True
        case Settled():
            return "", (), True


def member_after(account: Member, event: Event) -> Member:
    """A member's account after an event that touches it."""
    lots, holds, debts = account
    match event:
        case Issued():
            return Member(merged(lots, event.lots), holds, debts)
        case Captured():
            return Member(without(lots, event.lots), _holds_without(holds, event.hold), debts)
        case Placed():
            return Member(lots, (*holds, event.hold), debts)
        case Released():
            return Member(lots, _holds_without(holds, event.hold), debts)
        case Expired():
            return Member(without(lots, event.lots), holds, debts)
        case Repaid():
            return Member(without(lots, event.lots), holds, _repay(debts, event.issue, points_of(event.lots)))
        case Cancelled():
            if event.owed:
                debts = (*debts, Debt(event.issue, event.partner, event.owed))
            return Member(without(lots, event.lots), holds, debts)
        case _:
            raise TypeError(f"{event} does not touch a member")


def partner_after(account: Partner, partner: str, event: Event) -> Partner:
    """A partner's sub-account after an event that touches it."""
    a = account
    match event:
        case Issued():
            points, value = points_of(event.lots), value_of(event.lots)
            # Spelt out: the most frequent event by far, and `_replace` takes four times as long.
            return Partner(
                a.allotted,
                a.received,
                a.sent,
                a.left - points,
                a.issued + points,
                a.cancelled,
                a.spent,
                a.expired,
                a.outstanding + points,
                a.liability + value,
                a.accepted,
            )
        case Captured() | Repaid():
            mine = [lot for lot in event.lots if lot.issuer == partner]
            points = points_of(mine)
            accepted = points_of(event.lots) if event.partner == partner else 0
            return a._replace(
                spent=a.spent + points,
                outstanding=a.outstanding - points,
                liability=a.liability - value_of(mine),
                accepted=a.accepted + accepted,
            )
        case Cancelled():
            points = points_of(event.lots)
            return a._replace(
                left=a.left + points,
                cancelled=a.cancelled + points,
                outstanding=a.outstanding - points,
                liability=a.liability - value_of(event.lots),
            )
        case Expired():
            mine = [lot for lot in event.lots if lot.issuer == partner]
            points = points_of(mine)
            return a._replace(
                expired=a.expired + points,
                outstanding=a.outstanding - points,
                liability=a.liability - value_of(mine),
            )
        case Allotted():
            return a._replace(allotted=a.allotted + event.points, left=a.left + event.points)
        case Sent():
            return a._replace(sent=a.sent + event.passage.points, left=a.left - event.passage.points)
        case Received():
            return a._replace(received=a.received + event.points, left=a.left + event.points)
        case _:
            raise TypeError(f"{event} does not touch a partner")


def transit_after(account: Transit, event: Event) -> Transit:
    """The in-transit account after an event that touches it."""
    match event:
        case Sent():
            return Transit(account.balance + event.passage.points, (*account.open, event.passage))
        case Received():
            return Transit(account.balance - event.points, account.open)
        case Settled():
            return Transit(account.balance, tuple(p for p in account.open if p.id != event.passage))
        case _:
            raise TypeError(f"{event} does not touch in-transit")


def _issuers(lots: tuple[Lot, ...], *others: str) -> tuple[str, ...]:
    if len(lots) == 1 and not others:
        return (lots[0].issuer,)
    return tuple(dict.fromkeys([lot.issuer for lot in lots] + [*others]))


def _holds_without(holds: tuple[Hold, ...], id: str) -> tuple[Hold, ...]:
    return tuple([hold for hold in holds if hold.id != id])


def _repay(debts: tuple[Debt, ...], issue: str, points: int) -> tuple[Debt, ...]:
    left = [debt._replace(points=debt.points - points) if debt.issue == issue else debt for debt in debts]
    return tuple([debt for debt in left if debt.points])
