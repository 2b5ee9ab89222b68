"""The ledger's rules, pure: `decide` says what a command does; `effects.apply` then does it.

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

from services.rewards.ledger.effects import apply, member_after
from services.rewards.ledger.lots import merged, points_of, take, value_of
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
    Decision,
    Event,
    Expired,
    Hold,
    Issue,
    Issued,
    Lot,
    Member,
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


def due(account: Member, member: str, at: int) -> tuple[Member, Events]:
    """What time alone does to an account, and the account after it."""
    if not account.holds and (not account.lots or account.lots[0].expires > at):
        return account, ()
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
    if not account.holds:
        return account.lots[0].expires if account.lots else None
    moments = [hold.expires for hold in account.holds]
    moments += [lot.expires for lot in _unprotected(account, None)][:1]
    return min(moments, default=None)


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
    points = points_of(lots)
    if points > issuer.left:
        return Refusal(PREPAID_BLOCK_EXHAUSTED, issuer.left, points)
    if issuer.liability + value_of(lots) > LARGEST:
        return Refusal(LIABILITY_LIMIT_REACHED)
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at)
    if account.balance + points > LARGEST:
        return Refusal(BALANCE_LIMIT_REACHED)
    rest = merged((), lots)
    events = (*events, Issued(command.member, command.id, rest))
    for debt in account.debts:
        if not rest:
            break
        taken, rest = take(rest, debt.points)
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
    lots, _ = take(account.lots, command.points)
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
    for lot in merged((), command.lots):
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


def _find(holds: tuple[Hold, ...], id: str) -> Hold | None:
    return next((hold for hold in holds if hold.id == id), None)
