"""What time alone does to a member's account, and what points that come in, or come free, repay. Pure.

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
- A cancel cannot take what is held. Points that come free of a hold go back first, as far as they are of the kind that
  is owed: those whose time was up, since for what expires nothing is owed, then those that expire first. So it does not
  matter whether a hold is given up before the cancel or behind it. Points of other kinds repay nothing, as they would
  not have if they had been free all the time.
"""

from collections.abc import Iterable

from services.rewards.ledger.effects import member_after
from services.rewards.ledger.events import Captured, Event, Expired, Matured, Released, Repaid
from services.rewards.ledger.lots import points_of, take, without
from services.rewards.ledger.model import Hold, Lot, Member, Pending

Events = tuple[Event, ...]

RULES = 3
"""The version of the ledger's rules. A log holds what was decided by each of them: by 1, points whose time was up when
they were issued repaid debts; by 1 and 2, points that came free repaid nothing, a hold could be captured from
points whose time was up when it was placed, and an account could have any number of holds."""


def due(account: Member, member: str, at: int, rules: int = RULES) -> tuple[Member, Events]:
    """What time alone does to an account, and the account after it. It does not matter how often it is looked at."""
    if not account.holds and not account.pending and (not account.lots or account.lots[0].expires > at):
        return account, ()
    course = _Course(account, member, rules)
    course.until(at)
    return course.account, tuple(course.events)


def ended(account: Member, end: Captured | Released, freed: int, at: int, rules: int = RULES) -> Events:
    """The end of a hold, and what follows from it: points that have come free go back to whom they are owed, and those
    expire that it has kept."""
    course = _Course(account, end.member, rules)
    course.end(end, freed, at)
    course.expire(at)
    return tuple(course.events)


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


class _Course:
    """What happens to an account, one thing after the other."""

    def __init__(self, account: Member, member: str, rules: int) -> None:
        self.account = account
        self.events: list[Event] = []
        self._member = member
        self._rules = rules

    def until(self, at: int) -> None:
        """Everything that time does. Where something is owed it does so in its order, which says what repays it."""
        pending = [(each.due, each) for each in self.account.pending if each.due <= at]
        holds = [(each.expires, each) for each in self.account.holds if each.expires <= at]
        steps: list[tuple[int, Pending | Hold]] = [*pending, *holds]
        in_order = self._gives_back
        if in_order:
            steps.sort(key=lambda step: step[0])
        for moment, each in steps:
            if in_order:
                self.expire(moment - 1)
            if isinstance(each, Pending):
                self._happen(Matured(self._member, each.issue, each.lots))
                self._happen(*repayments(self.account, self._member, alive(each.lots, moment)))
            else:
                self.end(Released(self._member, each.id, True), each.points, moment)
        self.expire(at)

    def end(self, end: Captured | Released, freed: int, at: int) -> None:
        """A hold ends, and so many of its points come free."""
        self._happen(end)
        if self._gives_back:
            freed -= self._give_back(tuple(_unprotected(self.account, at)), freed)
            self.expire(at)
            self._give_back(self.account.lots, min(freed, self.account.balance - self.account.held))

    def expire(self, at: int) -> None:
        """Points expire whose time is up."""
        if expired := tuple(_unprotected(self.account, at)):
            self._happen(Expired(self._member, expired))

    @property
    def _gives_back(self) -> bool:
        return bool(self.account.debts) and self._rules >= 3

    def _give_back(self, lots: tuple[Lot, ...], most: int) -> int:
        """Of these lots, those that are owed go back; how many points."""
        left = most
        for debt in self.account.debts:
            mine = [lot for lot in lots if (lot.issuer, lot.value) == (debt.partner, debt.value)]
            if points := min(debt.points, points_of(mine), left):
                taken, _ = take(tuple(mine), points)
                self._happen(Repaid(self._member, debt.issue, debt.partner, taken, debt.value))
                lots = without(lots, taken)
                left -= points
        return most - left

    def _happen(self, *events: Event) -> None:
        for event in events:
            self.events.append(event)
            self.account = member_after(self.account, event)
