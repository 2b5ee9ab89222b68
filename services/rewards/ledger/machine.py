"""The ledger's rules, pure: `decide` says what a command does; `effects.apply` then does it.

- Points are spent, and repay, earliest expiry first; ties by issuer, then value. Those whose time is up repay nothing,
  and a hold is not captured from points whose time was up when it was placed.
- Time is the block's. Before a command is decided, what is due on its member's account happens (see `dues`).
- A cancel takes back what is left of the very lots that were issued, never more than is free of holds. What was spent
  (or given away) becomes a debt. Points whose time was up are neither taken back nor owed. An issue that is still
  pending goes back whole.
- A reversal of a capture gives back the very lots that it took, those first that expire last: what stays spent is what
  a capture of so many fewer points would have taken. Points whose time has passed meanwhile expire at once.
- A gift is made of points that are free and not due, by a member without debts, within what may be given on a day. It
  keeps issuer, value and expiry, and is in transit until the receiver's partition has taken it in.
"""

from collections.abc import Callable, Sequence
from typing import Any

from services.rewards.ledger.commands import (
    Allot,
    Cancel,
    Capture,
    Command,
    Give,
    Issue,
    Place,
    Receive,
    Reverse,
    Send,
    Settle,
    Sweep,
    Take,
    Void,
)
from services.rewards.ledger.dues import RULES, Events, alive, due, ended, repayments
from services.rewards.ledger.effects import apply, member_after
from services.rewards.ledger.events import (
    Allotted,
    Cancelled,
    Captured,
    Decision,
    Given,
    Issued,
    Pended,
    Placed,
    Received,
    Refusal,
    Released,
    Reversed,
    Sent,
    Settled,
    Taken,
    Withdrawn,
)
from services.rewards.ledger.lots import merged, points_of, take, value_of
from services.rewards.ledger.model import (
    LARGEST,
    NO_MEMBER,
    NO_PARTNER,
    Books,
    Gift,
    Hold,
    Lot,
    Member,
    Partner,
    Passage,
    Tally,
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

PENDING_LIMIT_REACHED = "PENDING_LIMIT_REACHED"
HOLD_LIMIT_REACHED = "HOLD_LIMIT_REACHED"
REVERSAL_OUT_OF_RANGE = "REVERSAL_OUT_OF_RANGE"
SHORTFALL_OPEN = "SHORTFALL_OPEN"
GIFT_POINTS_LIMIT_REACHED = "GIFT_POINTS_LIMIT_REACHED"
GIFT_COUNT_LIMIT_REACHED = "GIFT_COUNT_LIMIT_REACHED"

LARGEST_ISSUE = 100  # lots
MOST_PENDING = 1_000  # issues that wait on one account
MOST_HOLDS = 1_000  # that are open on one account: it is written as a whole, and read for each command on it
DAY = 86_400_000  # milliseconds


def decide(books: Books, command: Command, at: int, rules: int = RULES) -> Decision:
    """What the command does at that time, as events to be applied in order; or why it does nothing."""
    return _DECIDE[type(command)](books, command, at, rules)


def decided_before(books: Books, command: Command, at: int) -> list[Decision]:
    """What earlier versions of the rules decided."""
    return [decide(books, command, at, rules) for rules in range(1, RULES)]


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


def _allot(books: Books, command: Allot, at: int, rules: int) -> Decision:
    if command.points < 1:
        return Refusal(COMMAND_INVALID)
    if books.partners.get(command.partner, NO_PARTNER).allotted + command.points > LARGEST:
        return Refusal(ALLOTMENT_LIMIT_REACHED)
    return (Allotted(command.partner, command.points),)


def _send(books: Books, command: Send, at: int, rules: int) -> Decision:
    points = min(books.partners.get(command.partner, NO_PARTNER).left, command.points)
    if points < 1:
        return Refusal(NOTHING_TO_SEND)
    return (Sent(Passage(command.id, command.partner, points, command.to)),)


def _receive(books: Books, command: Receive, at: int, rules: int) -> Decision:
    if command.points < 1:
        return Refusal(COMMAND_INVALID)
    return (Received(command.partner, command.points, command.passage),)


def _settle(books: Books, command: Settle, at: int, rules: int) -> Decision:
    under_way = {passage.id for passage in books.transit.open} | {gift.id for gift in books.transit.gifts}
    if command.passage not in under_way:
        return Refusal(COMMAND_INVALID)
    return (Settled(command.passage),)


def _issue(books: Books, command: Issue, at: int, rules: int) -> Decision:
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
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    if _full(account, points):
        return Refusal(BALANCE_LIMIT_REACHED)
    fresh = merged((), lots)
    if command.due > at:
        if len(account.pending) >= MOST_PENDING:
            return Refusal(PENDING_LIMIT_REACHED)
        return (*events, Pended(command.member, command.id, command.due, fresh))
    issued = Issued(command.member, command.id, fresh)
    if not account.debts:
        return (*events, issued)
    return (*events, issued, *repayments(account, command.member, fresh if rules < 2 else alive(fresh, at)))


def _place(books: Books, command: Place, at: int, rules: int) -> Decision:
    if command.points < 1 or command.expires <= at:
        return Refusal(COMMAND_INVALID)
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    available = account.balance - account.held
    if command.points > available:
        return Refusal(INSUFFICIENT_POINTS, available, command.points)
    if rules >= 3 and len(account.holds) >= MOST_HOLDS:
        return Refusal(HOLD_LIMIT_REACHED)
    return (*events, Placed(command.member, Hold(command.id, command.points, at, command.expires)))


def _capture(books: Books, command: Capture, at: int, rules: int) -> Decision:
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    hold = _find(account.holds, command.hold)
    if hold is None:
        return Refusal(HOLD_NOT_OPEN)
    if not 1 <= command.points <= hold.points:
        return Refusal(CAPTURE_OUT_OF_RANGE, hold.points, command.points)
    lots, _ = take(account.lots if rules < 3 else _promised(account, hold), command.points)
    captured = Captured(command.member, hold.id, command.partner, lots)
    return (*events, *ended(account, captured, hold.points - command.points, at, rules))


def _void(books: Books, command: Void, at: int, rules: int) -> Decision:
    before = books.members.get(command.member, NO_MEMBER)
    if (hold := _find(before.holds, command.hold)) is None:
        return Refusal(HOLD_NOT_OPEN)
    account, events = due(before, command.member, at, rules)
    if _find(account.holds, command.hold) is None:
        return events  # its time was up: so it ends in that way
    return (*events, *ended(account, Released(command.member, hold.id, False), hold.points, at, rules))


def _cancel(books: Books, command: Cancel, at: int, rules: int) -> Decision:
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    issuer = command.lots[0].issuer
    if pending := next((each for each in account.pending if each.issue == command.issue), None):
        return (*events, Withdrawn(command.member, command.issue, issuer, pending.lots))
    here = {lot[:3]: lot.points for lot in account.lots}
    free = account.balance - account.held
    taken: list[Lot] = []
    owed: list[Lot] = []
    for lot in alive(merged((), command.lots), at):
        points = min(lot.points, here.get(lot[:3], 0), free)
        free -= points
        if points:
            taken.append(lot._replace(points=points))
        if points < lot.points:
            owed.append(lot._replace(points=lot.points - points))
    return (*events, Cancelled(command.member, command.issue, issuer, tuple(taken), tuple(owed)))


def _reverse(books: Books, command: Reverse, at: int, rules: int) -> Decision:
    taken = points_of(command.lots)
    if not 1 <= command.points <= taken:
        return Refusal(REVERSAL_OUT_OF_RANGE, taken, command.points)
    _, lots = take(merged((), command.lots), taken - command.points)
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    if refusal := _no_room(books, account, lots):
        return refusal
    return _come_in(account, events, Reversed(command.member, command.hold, command.partner, lots), lots, at, rules)


def _give(books: Books, command: Give, at: int, rules: int) -> Decision:
    if command.points < 1 or command.to == command.member:
        return Refusal(COMMAND_INVALID)
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    if account.debts:
        return Refusal(SHORTFALL_OPEN)
    available = account.balance - account.held
    if command.points > available:
        return Refusal(INSUFFICIENT_POINTS, available, command.points)
    today = account.tally if account.tally.day == at // DAY else Tally(at // DAY)
    if today.gifts >= command.most_gifts:
        return Refusal(GIFT_COUNT_LIMIT_REACHED, 0, 1)
    if today.points + command.points > command.most_points:
        return Refusal(GIFT_POINTS_LIMIT_REACHED, max(0, command.most_points - today.points), command.points)
    # Points that only a hold keeps alive are not more than what is held: of the others there are enough.
    lots, _ = take(alive(account.lots, at), command.points)
    gift = Gift(command.id, command.member, command.to, lots)
    return (*events, Given(command.member, gift, Tally(today.day, today.gifts + 1, today.points + command.points)))


def _take(books: Books, command: Take, at: int, rules: int) -> Decision:
    account, events = due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)
    # What comes back to its giver has been there before, and is not to be lost.
    if command.member != command.giver and (refusal := _no_room(books, account, command.lots)):
        return refusal
    taken = Taken(command.member, command.gift, command.giver, command.lots)
    return _come_in(account, events, taken, command.lots, at, rules)


def _sweep(books: Books, command: Sweep, at: int, rules: int) -> Decision:
    return due(books.members.get(command.member, NO_MEMBER), command.member, at, rules)[1]


_DECIDE: dict[type, Callable[[Books, Any, int, int], Decision]] = {
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
    Reverse: _reverse,
    Give: _give,
    Take: _take,
}


def _promised(account: Member, hold: Hold) -> tuple[Lot, ...]:
    """What a hold can be captured from, first that which expires first: not the points that others alone keep alive,
    whose time was up when it was placed. Without those there are enough."""
    return tuple(sorted(account.lots, key=lambda lot: lot.expires <= hold.placed))


def _come_in(
    account: Member, before: Events, event: Reversed | Taken, lots: tuple[Lot, ...], at: int, rules: int
) -> Events:
    """The event that brings points, what of them goes to debts, and the expiry of those whose time is up."""
    account = member_after(account, event)
    repaid = repayments(account, event.member, alive(lots, at))
    for each in repaid:
        account = member_after(account, each)
    return (*before, event, *repaid, *due(account, event.member, at, rules)[1])


def _full(account: Member, points: int) -> bool:
    return account.balance + account.pending_points + points > LARGEST


def _no_room(books: Books, account: Member, lots: tuple[Lot, ...]) -> Refusal | None:
    """Why points cannot come in that have been issued before."""
    if _full(account, points_of(lots)):
        return Refusal(BALANCE_LIMIT_REACHED)
    for issuer in {lot.issuer for lot in lots}:
        partner: Partner = books.partners.get(issuer, NO_PARTNER)
        if partner.liability + value_of(lot for lot in lots if lot.issuer == issuer) > LARGEST:
            return Refusal(LIABILITY_LIMIT_REACHED)
    return None


def _find(holds: tuple[Hold, ...], id: str) -> Hold | None:
    return next((hold for hold in holds if hold.id == id), None)
