"""The points ledger without any cleverness: a wallet is a list of single points, and there are no partitions."""

from collections import Counter
from dataclasses import dataclass, field

Point = tuple[int, str, int]  # expiry, issuer, value


@dataclass
class NaiveMember:
    points: list[Point] = field(default_factory=list)
    holds: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # points, placed, expires
    debts: list[tuple[str, str, int]] = field(default_factory=list)  # one per point: issue, whom it is owed to, value
    pending: dict[str, tuple[int, list[Point]]] = field(default_factory=dict)  # by issue: when it is due
    given: Counter[int] = field(default_factory=Counter)  # points by day
    gifts: Counter[int] = field(default_factory=Counter)
    seen: int = 0  # the sum of the entries

    @property
    def held(self) -> int:
        return sum(points for points, _, _ in self.holds.values())

    def over(self, at: int) -> list[Point]:
        """Points whose time is up and that no hold keeps."""
        gone: list[Point] = []
        kept = 0
        for point in sorted(self.points):
            if point[0] <= at:
                if kept < sum(points for points, placed, _ in self.holds.values() if placed < point[0]):
                    kept += 1
                else:
                    gone.append(point)
        return gone


class Naive:
    """The whole alliance."""

    def __init__(self, members: tuple[str, ...], partners: tuple[str, ...]) -> None:
        self.members = {id: NaiveMember() for id in members}
        self.left: Counter[str] = Counter()
        self.totals: dict[str, Counter[str]] = {id: Counter() for id in partners}
        self.in_transit: dict[str, list[Point]] = {}
        self.net: Counter[str] = Counter()  # what partners are owed less what they owe, in micros

    def pass_time(self, member: str, at: int) -> None:
        """Pending points come in, holds end, points expire; moment by moment."""
        wallet = self.members[member]
        dues = [due for due, _ in wallet.pending.values()]
        moments = {*dues, *(hold[2] for hold in wallet.holds.values()), *(point[0] for point in wallet.points), at}
        moments |= {point[0] for _, points in wallet.pending.values() for point in points}
        for moment in sorted(moment for moment in moments if moment <= at):
            for issue, (due, points) in sorted(wallet.pending.items()):
                if due == moment:
                    del wallet.pending[issue]
                    self.come_in(member, points, due)
            for id, (count, _, expires) in list(wallet.holds.items()):
                if expires == moment:
                    del wallet.holds[id]
                    self.come_free(member, count, moment)
            self.expire(member, moment)

    def expire(self, member: str, at: int) -> None:
        for point in self.members[member].over(at):
            self.members[member].points.remove(point)
            self.totals[point[1]]["expired"] += 1

    def end_hold(self, member: str, id: str, spent: int, at: int) -> None:
        """A hold is over by somebody's word, of which so many points were spent."""
        count, _, _ = self.members[member].holds.pop(id)
        self.come_free(member, count - spent, at)
        self.expire(member, at)

    def come_free(self, member: str, count: int, at: int) -> None:
        """So many points, of which those go back that are owed, like for like: what would expire, then what is free."""
        wallet = self.members[member]
        for expiring in (True, False):
            if not expiring:
                self.expire(member, at)
            for debt in list(wallet.debts):
                _, owed_to, value = debt
                like = [point for point in sorted(wallet.points) if point[1:] == (owed_to, value)]
                if expiring:
                    like = [point for point in wallet.over(at) if point in like]
                if like and count and len(wallet.points) > wallet.held:
                    count -= 1
                    wallet.debts.remove(debt)
                    wallet.points.remove(like[0])
                    self.left[owed_to] += 1
                    self.totals[owed_to]["cancelled"] += 1

    def come_in(self, member: str, points: list[Point], at: int) -> None:
        """Those that are good at that time repay debts first."""
        wallet = self.members[member]
        wallet.points += points
        for point in sorted(points):
            if wallet.debts and point[0] > at:
                _, owed_to, value = wallet.debts.pop(0)
                wallet.points.remove(point)
                if owed_to == point[1]:
                    self.left[owed_to] += 1
                    self.totals[owed_to]["cancelled"] += 1
                else:
                    self.settle(point, owed_to, min(point[2], value))

    def settle(self, point: Point, partner: str, value: int, sign: int = 1) -> None:
        """A point is spent at a partner, which its issuer pays for; or with -1 the reverse."""
        self.totals[point[1]]["spent"] += sign
        self.totals[partner]["accepted"] += sign
        self.net[point[1]] -= sign * value
        self.net[partner] += sign * value

    def spend(self, member: str, hold: str, count: int, partner: str) -> list[Point]:
        """Of the points that were good when the hold was placed."""
        wallet = self.members[member]
        taken = sorted(point for point in wallet.points if point[0] > wallet.holds[hold][1])[:count]
        for point in taken:
            wallet.points.remove(point)
            self.settle(point, partner, point[2])
        return taken

    def cancel(self, member: str, issue: str, partner: str, given: list[Point], at: int) -> None:
        wallet = self.members[member]
        back = 0
        if issue in wallet.pending:
            back = len(wallet.pending.pop(issue)[1])
        else:
            for point in sorted(given):
                if point[0] <= at:
                    continue
                if point in wallet.points and len(wallet.points) > wallet.held:
                    wallet.points.remove(point)
                    back += 1
                else:
                    wallet.debts.append((issue, partner, point[2]))
            # Of one issue those of one value are one debt.
            values = [value for id, _, value in wallet.debts if id == issue]
            wallet.debts = [debt for debt in wallet.debts if debt[0] != issue]
            wallet.debts += [(issue, partner, value) for value in sorted(values, key=values.index)]
        self.left[partner] += back
        self.totals[partner]["cancelled"] += back

    def give(self, id: str, member: str, count: int, at: int, day: int) -> None:
        wallet = self.members[member]
        self.in_transit[id] = sorted(point for point in wallet.points if point[0] > at)[:count]
        for point in self.in_transit[id]:
            wallet.points.remove(point)
        wallet.given[day] += count
        wallet.gifts[day] += 1
