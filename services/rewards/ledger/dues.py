"""What time alone does to a member's account, and what points that come in repay. Pure.

- Holds end at their time, pending points are there from theirs on, and points expire at theirs.
- A hold keeps points alive: of points whose time is up, as many stay as holds promise that were placed before it was.
  They go when the hold does, unless it was captured.
- Points that come in, by whatever way, repay debts first, oldest first: one point for one, as the member has been told.
  Between partners a point is settled at its own value or at that of the point it replaces, whichever is less. So the
  partner that is owed gets at most what it had paid, and no issuer pays more than it promised: with points of 2 cents
  for a debt in points of 1 cent their issuer pays 1 cent, and with points of 1 cent for a debt in points of 2 cents it
  pays 1 cent, too. What is not paid stays with the issuer of the points, as if they had expired. Points of the partner
  itself that it is owed for go back to its block: of 100 that were issued, spent and cancelled, and 100 more that repay
  them, its block is 100 short, as the member has had 100.
"""

from collections.abc import Iterable

from services.rewards.ledger.effects import member_after
from services.rewards.ledger.events import Event, Expired, Matured, Released, Repaid
from services.rewards.ledger.lots import take
from services.rewards.ledger.model import Lot, Member

Events = tuple[Event, ...]


def due(account: Member, member: str, at: int) -> tuple[Member, Events]:
    """What time alone does to an account, and the account after it. It does not matter how often it is looked at."""
    if not account.holds and not account.pending and (not account.lots or account.lots[0].expires > at):
        return account, ()
    events: list[Event] = []

    def happen(*more: Event) -> None:
        nonlocal account
        for event in more:
            events.append(event)
            account = member_after(account, event)

    for pending in account.pending:
        if pending.due <= at:
            happen(Matured(member, pending.issue, pending.lots))
            happen(*repayments(account, member, alive(pending.lots, pending.due)))
    happen(*[Released(member, hold.id, True) for hold in account.holds if hold.expires <= at])
    if expired := tuple(_unprotected(account, at)):
        happen(Expired(member, expired))
    return account, tuple(events)


def next_due(account: Member) -> int | None:
    """When time will do something to the account next; None if never, as it stands."""
    if not account.holds and not account.pending:
        return account.lots[0].expires if account.lots else None
    moments = [hold.expires for hold in account.holds]
    moments += [lot.expires for lot in _unprotected(account, None)][:1]
    moments += [pending.due for pending in account.pending[:1]]
    return min(moments, default=None)


def repayments(account: Member, member: str, lots: tuple[Lot, ...]) -> Events:
    """What of points that the account has just got goes to its debts."""
    events: list[Event] = []
    for debt in account.debts:
        if not lots:
            break
        taken, lots = take(lots, debt.points)
        events.append(Repaid(member, debt.issue, debt.partner, taken, debt.value))
    return tuple(events)


def alive(lots: Iterable[Lot], at: int) -> tuple[Lot, ...]:
    """Those whose time is not up."""
    return tuple([lot for lot in lots if lot.expires > at])


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
