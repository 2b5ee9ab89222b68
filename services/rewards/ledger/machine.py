"""The ledger's rules, pure: `decide` says what a command does, `apply` does it.

- Points are spent, and repay, earliest expiry first; ties by issuer, then value.
- Time is the block's. Before a command is decided, what is due on its member's account happens: holds end, and
  points expire.
- A hold keeps points alive: of points whose time is up, as many stay as holds promise that were placed before it was.
  They go when the hold does, unless it was captured.
- A cancel takes back what is left of the very lots that were issued, never more than is free of holds. What was spent
  becomes a debt; new points repay debts first, oldest first, and count as spent at the partner that is owed. Points
  whose time was up are neither taken back nor owed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from services.rewards.ledger.model import (
    LARGEST,
    NO_MEMBER,
    NO_PARTNER,
    Allot,
    Allotted,
    Books,
    Cancel,
    Cancelled,
    Capture,
    Captured,
    Command,
    Debt,
    Decision,
    Event,
    Expired,
    Hold,
    Issue,
    Issued,
    Lot,
    Member,
    Partner,
    Passage,
    Place,
    Placed,
    Receive,
    Received,
    Refusal,
    Released,
    Repaid,
    Send,
    Sent,
    Settle,
    Settled,
    Sweep,
    Transit,
    Void,
)

HOLD_NOT_OPEN = "HOLD_NOT_OPEN"
INSUFFICIENT_POINTS = "INSUFFICIENT_POINTS"
PREPAID_BLOCK_EXHAUSTED = "PREPAID_BLOCK_EXHAUSTED"
CAPTURE_OUT_OF_RANGE = "CAPTURE_OUT_OF_RANGE"
ALLOTMENT_LIMIT_REACHED = "ALLOTMENT_LIMIT_REACHED"
BALANCE_LIMIT_REACHED = "BALANCE_LIMIT_REACHED"
LIABILITY_LIMIT_REACHED = "LIABILITY_LIMIT_REACHED"
NOTHING_TO_SEND = "NOTHING_TO_SEND"
COMMAND_INVALID = "COMMAND_INVALID"
LINKED_COMMAND_FAILED = "LINKED_COMMAND_FAILED"

LARGEST_ISSUE = 100  # lots

Events = tuple[Event, ...]


def decide(books: Books, command: Command, at: int) -> Decision:
    """What the command does at that time, as events to be applied in order; or why it does nothing."""
    return _DECIDE[type(command)](books, command, at)


def decide_linked(books: Books, commands: Sequence[Command], at: int) -> list[Decision]:
    """What commands do that happen all or not at all, each deciding on what the ones before it did.

    If one is refused so are all, the others with LINKED_COMMAND_FAILED. Changes nothing itself.
    """
    trial = Books(dict(books.members), dict(books.partners), books.transit)
    decisions: list[Decision] = []
    for command in commands:
        decision = decide(trial, command, at)
        if isinstance(decision, Refusal):
            linked: Decision = Refusal(LINKED_COMMAND_FAILED)
            return [linked] * len(decisions) + [decision] + [linked] * (len(commands) - len(decisions) - 1)
        apply(trial, decision)
        decisions.append(decision)
    return decisions


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


def due(account: Member, member: str, at: int) -> tuple[Member, Events]:
    """What time alone does to an account, and the account after it."""
    events: list[Event] = []
    for hold in account.holds:
        if hold.expires <= at:
            events.append(Released(member, hold.id, True))
    for event in events:
        account = member_after(account, event)
    if expired := tuple(_unprotected(account, at)):
        events.append(Expired(member, expired))
        account = member_after(account, events[-1])
    return account, tuple(events)


def next_due(account: Member) -> int | None:
    """When time will do something to the account next; None if never, as it stands."""
    moments = [hold.expires for hold in account.holds]
    moments += [lot.expires for lot in _unprotected(account, None)][:1]
    return min(moments, default=None)


def touched(event: Event) -> tuple[str, tuple[str, ...], bool]:
    """The accounts that an event changes: a member's, partners' sub-accounts, and whether in-transit."""
    match event:
        case Placed() | Released():
            return event.member, (), False
        case Issued() | Expired():
            return event.member, _issuers(event.lots), False
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
            return Member(_add(lots, event.lots), holds, debts)
        case Captured():
            return Member(_subtract(lots, event.lots), _without(holds, event.hold), debts)
        case Placed():
            return Member(lots, (*holds, event.hold), debts)
        case Released():
            return Member(lots, _without(holds, event.hold), debts)
        case Expired():
            return Member(_subtract(lots, event.lots), holds, debts)
        case Repaid():
            return Member(_subtract(lots, event.lots), holds, _repay(debts, event.issue, _total(event.lots)))
        case Cancelled():
            if event.owed:
                debts = (*debts, Debt(event.issue, event.partner, event.owed))
            return Member(_subtract(lots, event.lots), holds, debts)
        case _:
            raise TypeError(f"{event} does not touch a member")


def partner_after(account: Partner, partner: str, event: Event) -> Partner:
    """A partner's sub-account after an event that touches it."""
    a = account
    match event:
        case Issued():
            points, value = _total(event.lots), _value(event.lots)
            return a._replace(
                left=a.left - points,
                issued=a.issued + points,
                outstanding=a.outstanding + points,
                liability=a.liability + value,
            )
        case Captured() | Repaid():
            mine = [lot for lot in event.lots if lot.issuer == partner]
            points = _total(mine)
            accepted = _total(event.lots) if event.partner == partner else 0
            return a._replace(
                spent=a.spent + points,
                outstanding=a.outstanding - points,
                liability=a.liability - _value(mine),
                accepted=a.accepted + accepted,
            )
        case Cancelled():
            points = _total(event.lots)
            return a._replace(
                left=a.left + points,
                cancelled=a.cancelled + points,
                outstanding=a.outstanding - points,
                liability=a.liability - _value(event.lots),
            )
        case Expired():
            mine = [lot for lot in event.lots if lot.issuer == partner]
            points = _total(mine)
            return a._replace(
                expired=a.expired + points,
                outstanding=a.outstanding - points,
                liability=a.liability - _value(mine),
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


def _allot(books: Books, command: Allot, at: int) -> Decision:
    if command.points < 1:
        return Refusal(COMMAND_INVALID)
    if books.partners.get(command.partner, NO_PARTNER).allotted + command.points > LARGEST:
        return Refusal(ALLOTMENT_LIMIT_REACHED)
    return (Allotted(command.partner, command.points),)


def _send(books: Books, command: Send, at: int) -> Decision:
    points = min(books.partners.get(command.partner, NO_PARTNER).left, command.points)
    if points < 1:
        return Refusal(NOTHING_TO_SEND)
    return (Sent(Passage(command.id, command.partner, points, command.to)),)


def _receive(books: Books, command: Receive, at: int) -> Decision:
    if command.points < 1:
        return Refusal(COMMAND_INVALID)
    return (Received(command.partner, command.points, command.passage),)


def _settle(books: Books, command: Settle, at: int) -> Decision:
    if all(passage.id != command.passage for passage in books.transit.open):
        return Refusal(COMMAND_INVALID)
    return (Settled(command.passage),)


def _issue(books: Books, command: Issue, at: int) -> Decision:
    lots = command.lots
    if not 1 <= len(lots) <= LARGEST_ISSUE or any(
        lot.points < 1 or lot.value < 0 or lot.issuer != lots[0].issuer for lot in lots
    ):
        return Refusal(COMMAND_INVALID)
    issuer = books.partners.get(lots[0].issuer, NO_PARTNER)
    points = _total(lots)
    if points > issuer.left:
        return Refusal(PREPAID_BLOCK_EXHAUSTED, issuer.left, points)
    if issuer.liability + _value(lots) > LARGEST:
        return Refusal(LIABILITY_LIMIT_REACHED)
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at)
    if account.balance + points > LARGEST:
        return Refusal(BALANCE_LIMIT_REACHED)
    events = (*events, Issued(command.member, command.id, _add((), lots)))
    rest = _add((), lots)
    for debt in account.debts:
        if not rest:
            break
        taken, rest = _take(rest, debt.points)
        events = (*events, Repaid(command.member, debt.issue, debt.partner, taken))
    return events


def _place(books: Books, command: Place, at: int) -> Decision:
    if command.points < 1 or command.expires <= at:
        return Refusal(COMMAND_INVALID)
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at)
    available = account.balance - account.held
    if command.points > available:
        return Refusal(INSUFFICIENT_POINTS, available, command.points)
    return (*events, Placed(command.member, Hold(command.id, command.points, at, command.expires)))


def _capture(books: Books, command: Capture, at: int) -> Decision:
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at)
    hold = _find(account.holds, command.hold)
    if hold is None:
        return Refusal(HOLD_NOT_OPEN)
    if not 1 <= command.points <= hold.points:
        return Refusal(CAPTURE_OUT_OF_RANGE, hold.points, command.points)
    lots, _ = _take(account.lots, command.points)
    return _then_due(account, events, Captured(command.member, hold.id, command.partner, lots), command.member, at)


def _void(books: Books, command: Void, at: int) -> Decision:
    before = books.members.get(command.member, NO_MEMBER)
    if _find(before.holds, command.hold) is None:
        return Refusal(HOLD_NOT_OPEN)
    account, events = due(before, command.member, at)
    if _find(account.holds, command.hold) is None:
        return events  # its time was up: so it ends in that way
    return _then_due(account, events, Released(command.member, command.hold, False), command.member, at)


def _cancel(books: Books, command: Cancel, at: int) -> Decision:
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at)
    here = {lot[:3]: lot.points for lot in account.lots}
    free = account.balance - account.held
    taken, owed = [], 0
    for lot in sorted(command.lots):
        if lot.expires <= at:
            continue
        points = min(lot.points, here.get(lot[:3], 0), free)
        free -= points
        owed += lot.points - points
        if points:
            taken.append(lot._replace(points=points))
    return (*events, Cancelled(command.member, command.issue, command.lots[0].issuer, tuple(taken), owed))


def _sweep(books: Books, command: Sweep, at: int) -> Decision:
    return due(books.members.get(command.member, NO_MEMBER), command.member, at)[1]


_DECIDE: dict[type, Callable[[Books, Any, int], Decision]] = {
    Allot: _allot,
    Send: _send,
    Receive: _receive,
    Settle: _settle,
    Issue: _issue,
    Place: _place,
    Capture: _capture,
    Void: _void,
    Cancel: _cancel,
    Sweep: _sweep,
}


def _then_due(account: Member, before: Events, event: Event, member: str, at: int) -> Events:
    """The event, and the expiry of points that only the hold which it ends has kept."""
    return (*before, event, *due(member_after(account, event), member, at)[1])


def _unprotected(account: Member, at: int | None) -> Iterable[Lot]:
    """What of the lots that are due (at None: of all) no hold keeps alive, earliest first."""
    kept = 0
    for lot in account.lots:
        if at is not None and lot.expires > at:
            return
        promised = sum([hold.points for hold in account.holds if hold.placed < lot.expires])
        keep = min(lot.points, max(0, promised - kept))
        kept += keep
        if keep < lot.points:
            yield lot._replace(points=lot.points - keep)


def _issuers(lots: tuple[Lot, ...], *others: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([lot.issuer for lot in lots] + [*others]))


def _total(lots: Iterable[Lot]) -> int:
    return sum([lot.points for lot in lots])


def _value(lots: Iterable[Lot]) -> int:
    return sum([lot.points * lot.value for lot in lots])


def _find(holds: tuple[Hold, ...], id: str) -> Hold | None:
    return next((hold for hold in holds if hold.id == id), None)


def _without(holds: tuple[Hold, ...], id: str) -> tuple[Hold, ...]:
    return tuple([hold for hold in holds if hold.id != id])


def _add(lots: tuple[Lot, ...], more: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """Lots of the same kind become one."""
    points = {lot[:3]: lot.points for lot in lots}
    for lot in more:
        points[lot[:3]] = points.get(lot[:3], 0) + lot.points
    return tuple([Lot(*kind, points[kind]) for kind in sorted(points)])


def _subtract(lots: tuple[Lot, ...], taken: tuple[Lot, ...]) -> tuple[Lot, ...]:
    points = {lot[:3]: lot.points for lot in lots}
    for lot in taken:
        points[lot[:3]] -= lot.points
    return tuple([Lot(*kind, left) for kind, left in points.items() if left])


def _take(lots: tuple[Lot, ...], points: int) -> tuple[tuple[Lot, ...], tuple[Lot, ...]]:
    """Up to so many points, earliest expiry first, and what is left."""
    taken: list[Lot] = []
    for index, lot in enumerate(lots):
        if points <= lot.points:
            taken.append(lot._replace(points=points))
            rest = (lot._replace(points=lot.points - points),) if points < lot.points else ()
            return tuple(taken), rest + lots[index + 1 :]
        taken.append(lot)
        points -= lot.points
    return tuple(taken), ()


def _repay(debts: tuple[Debt, ...], issue: str, points: int) -> tuple[Debt, ...]:
    left = [debt._replace(points=debt.points - points) if debt.issue == issue else debt for debt in debts]
    return tuple([debt for debt in left if debt.points])
