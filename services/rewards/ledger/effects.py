"""What events do to accounts, pure. Each account changes by its own state and the event alone, so that a replay may
skip an account that has the event already."""

from collections.abc import Iterable

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
    Placed,
    Received,
    Released,
    Repaid,
    Reversed,
    Sent,
    Settled,
    Taken,
    Withdrawn,
)
from services.rewards.ledger.lots import merged, points_of, value_of, without
from services.rewards.ledger.model import (
    NO_MEMBER,
    NO_PARTNER,
    Books,
    Debt,
    Hold,
    Lot,
    Member,
    Partner,
    Pending,
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
        case Issued() | Expired() | Pended():
            return event.member, _issuers(event.lots), False
        case Placed() | Released() | Matured():
            return event.member, (), False
        case Captured() | Repaid() | Reversed():
            return event.member, _issuers(event.lots, event.partner), False
        case Cancelled() | Withdrawn():
            return event.member, (event.partner,), False
        case Given():
            return event.member, _issuers(event.gift.lots), True
        case Taken():
            return event.member, _issuers(event.lots), True
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
    lots, holds, debts, pending, tally = account
    match event:
        case Issued() | Reversed() | Taken():
            return Member(merged(lots, event.lots), holds, debts, pending, tally)
        case Captured():
            return Member(without(lots, event.lots), _holds_without(holds, event.hold), debts, pending, tally)
        case Placed():
            return Member(lots, (*holds, event.hold), debts, pending, tally)
        case Released():
            return Member(lots, _holds_without(holds, event.hold), debts, pending, tally)
        case Expired():
            return Member(without(lots, event.lots), holds, debts, pending, tally)
        case Repaid():
            return Member(without(lots, event.lots), holds, _repay(debts, event), pending, tally)
        case Cancelled():
            owed = [Debt(event.issue, event.partner, points, value) for value, points in _by_value(event.owed)]
            return Member(without(lots, event.lots), holds, (*debts, *owed), pending, tally)
        case Pended():
            more = tuple(sorted((*pending, Pending(event.due, event.issue, event.lots))))
            return Member(lots, holds, debts, more, tally)
        case Matured():
            return Member(merged(lots, event.lots), holds, debts, _pending_without(pending, event.issue), tally)
        case Withdrawn():
            return Member(lots, holds, debts, _pending_without(pending, event.issue), tally)
        case Given():
            return Member(without(lots, event.gift.lots), holds, debts, pending, event.tally)
        case _:
            raise TypeError(f"{event} does not touch a member")


def partner_after(account: Partner, partner: str, event: Event) -> Partner:
    """A partner's sub-account after an event that touches it."""
    a = account
    match event:
        case Issued() | Pended():
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
                a.given,
                a.given_value,
                a.taken,
                a.taken_value,
            )
        case Captured() | Repaid() | Reversed():
            mine = [lot for lot in event.lots if lot.issuer == partner]
            sign = -1 if isinstance(event, Reversed) else 1
            points = sign * points_of(mine)
            # A partner's own points for what it is owed were given for nothing, in the end: they go back to it.
            back = points if isinstance(event, Repaid) and event.partner == partner else 0
            accepted = sign * points_of(event.lots) - back if event.partner == partner else 0
            return a._replace(
                left=a.left + back,
                cancelled=a.cancelled + back,
                spent=a.spent + points - back,
                outstanding=a.outstanding - points,
                liability=a.liability - sign * value_of(mine),
                accepted=a.accepted + accepted,
            )
        case Cancelled() | Withdrawn():
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
        case Given():
            mine = [lot for lot in event.gift.lots if lot.issuer == partner]
            points, value = points_of(mine), value_of(mine)
            return a._replace(
                outstanding=a.outstanding - points,
                liability=a.liability - value,
                given=a.given + points,
                given_value=a.given_value + value,
            )
        case Taken():
            mine = [lot for lot in event.lots if lot.issuer == partner]
            points, value = points_of(mine), value_of(mine)
            return a._replace(
                outstanding=a.outstanding + points,
                liability=a.liability + value,
                taken=a.taken + points,
                taken_value=a.taken_value + value,
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
    balance, passages, gifts = account
    match event:
        case Sent():
            return Transit(balance + event.passage.points, (*passages, event.passage), gifts)
        case Received():
            return Transit(balance - event.points, passages, gifts)
        case Given():
            return Transit(balance + points_of(event.gift.lots), passages, (*gifts, event.gift))
        case Taken():
            return Transit(balance - points_of(event.lots), passages, gifts)
        case Settled():
            return Transit(
                balance,
                tuple(passage for passage in passages if passage.id != event.passage),
                tuple(gift for gift in gifts if gift.id != event.passage),
            )
        case _:
            raise TypeError(f"{event} does not touch in-transit")


def _issuers(lots: tuple[Lot, ...], *others: str) -> tuple[str, ...]:
    if len(lots) == 1 and not others:
        return (lots[0].issuer,)
    return tuple(dict.fromkeys([lot.issuer for lot in lots] + [*others]))


def _holds_without(holds: tuple[Hold, ...], id: str) -> tuple[Hold, ...]:
    return tuple([hold for hold in holds if hold.id != id])


def _pending_without(pending: tuple[Pending, ...], issue: str) -> tuple[Pending, ...]:
    return tuple([each for each in pending if each.issue != issue])


def _by_value(lots: tuple[Lot, ...]) -> Iterable[tuple[int, int]]:
    """Points by what one of them is worth, in order of expiry."""
    points: dict[int, int] = {}
    for lot in lots:
        points[lot.value] = points.get(lot.value, 0) + lot.points
    return points.items()


def _repay(debts: tuple[Debt, ...], event: Repaid) -> tuple[Debt, ...]:
    repaid = points_of(event.lots)
    left = [
        debt._replace(points=debt.points - repaid) if (debt.issue, debt.value) == (event.issue, event.value) else debt
        for debt in debts
    ]
    return tuple([debt for debt in left if debt.points])
