"""The ledger's rules against a model without any cleverness: a wallet there is a list of single points."""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.rewards.domain.settlement import lines, positions
from services.rewards.ledger import machine
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
from services.rewards.ledger.dues import next_due
from services.rewards.ledger.effects import apply
from services.rewards.ledger.events import Captured, Decision, Refusal
from services.rewards.ledger.model import Books, Gift, Lot
from services.rewards.ledger.postings import SPENDS, Account, Spend, balances, entries, legs
from tests.support.naive_ledger import Naive, Point

MEMBERS = ("member_a", "member_b")
PARTNERS = ("partner_x", "partner_y", "partner_z")
MOST_POINTS, MOST_GIFTS = 20, 3  # that a member gives on a day

# Few different times, so that ends and beginnings meet.
soon = st.sampled_from([10, 20, 30, 60])
lots = st.lists(st.tuples(soon, st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=3)  # in, value, points


def points_in(lots: tuple[Lot, ...]) -> list[Point]:
    return [(lot.expires, lot.issuer, lot.value) for lot in lots for _ in range(lot.points)]


class LedgerAgainstNaive(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.at = 1_000
        self.partitions = (Books(), Books())
        self.naive = Naive(MEMBERS, PARTNERS)
        self.count = 0
        self.issues: list[tuple[str, str, tuple[Lot, ...]]] = []
        self.cancelled: set[str] = set()
        self.holds: list[tuple[str, str]] = []
        self.captures: list[tuple[str, str, str, Captured, list[Point]]] = []  # not reversed yet
        self.gifts: list[Gift] = []  # that have not arrived
        self.spends: list[Spend] = []
        self.passages: list[tuple[str, int]] = []  # id, source

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def do(self, partition: int, command: Command) -> Decision:
        books = self.partitions[partition]
        decision = machine.decide(books, command, self.at)
        if isinstance(decision, Refusal):
            return decision
        for event in decision:
            assert sum(points for _, points in legs(event)) == 0, "a transfer's legs sum to zero"
        apply(books, decision)
        if member := getattr(command, "member", ""):
            seen = entries(decision)
            self.naive.members[member].seen += sum(entry.points for entry in seen)
            self.spends += [Spend(self.new("spend"), self.at, entry) for entry in seen if entry.kind in SPENDS]
        return decision

    def home(self, member: str) -> int:
        return MEMBERS.index(member)

    @rule(partition=st.integers(0, 1), partner=st.sampled_from(PARTNERS), points=st.integers(20, 100))
    def allot(self, partition: int, partner: str, points: int) -> None:
        assert not isinstance(self.do(partition, Allot(self.new("block"), partner, points)), Refusal)
        self.naive.left[partner] += points
        self.naive.totals[partner]["allotted"] += points

    @rule(partner=st.sampled_from(PARTNERS), points=st.integers(1, 40), source=st.integers(0, 1))
    def send(self, partner: str, points: int, source: int) -> None:
        id = self.new("passage")
        left = self.partitions[source].partners.get(partner)
        decision = self.do(source, Send(id, partner, points, 1 - source))
        if left is None or left.left == 0:
            assert decision == Refusal(machine.NOTHING_TO_SEND)
        else:
            self.passages.append((id, source))

    @precondition(lambda self: self.passages)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        id, source = data.draw(st.sampled_from(self.passages))
        self.passages.remove((id, source))
        passage = next(p for p in self.partitions[source].transit.open if p.id == id)
        assert passage.to == 1 - source
        received = self.do(1 - source, Receive("in" + id, passage.partner, passage.points, id))
        settled = self.do(source, Settle("done" + id, id))
        assert not isinstance(received, Refusal)
        assert not isinstance(settled, Refusal)

    @rule(
        member=st.sampled_from(MEMBERS),
        partner=st.sampled_from(PARTNERS),
        lots=lots,
        window=st.sampled_from([0, 0, 10, 20]),
    )
    def issue(self, member: str, partner: str, lots: list[tuple[int, int, int]], window: int) -> None:
        id = self.new("issue")
        given = tuple(Lot(self.at + expires, partner, value, points) for expires, value, points in lots)
        books = self.partitions[self.home(member)]
        left = books.partners[partner].left if partner in books.partners else 0
        total = sum(lot.points for lot in given)
        decision = self.do(self.home(member), Issue(id, member, given, self.at + window))
        if total > left:
            assert decision == Refusal(machine.PREPAID_BLOCK_EXHAUSTED, left, total)
            return
        assert not isinstance(decision, Refusal)
        self.issues.append((id, member, given))
        naive, wallet = self.naive, self.naive.members[member]
        naive.pass_time(member, self.at)
        naive.left[partner] -= total
        naive.totals[partner]["issued"] += total
        if window:
            wallet.pending[id] = (self.at + window, points_in(given))
        else:
            naive.come_in(member, points_in(given), self.at)

    @rule(member=st.sampled_from(MEMBERS), points=st.integers(1, 15), lasts=soon)
    def place(self, member: str, points: int, lasts: int) -> None:
        id = self.new("hold")
        decision = self.do(self.home(member), Place(id, member, points, self.at + lasts))
        available = self.available(member)
        if points > available:
            assert decision == Refusal(machine.INSUFFICIENT_POINTS, available, points)
            return
        assert not isinstance(decision, Refusal)
        self.naive.pass_time(member, self.at)
        self.naive.members[member].holds[id] = (points, self.at, self.at + lasts)
        self.holds.append((id, member))

    def available(self, member: str) -> int:
        trial = deepcopy(self.naive)
        trial.pass_time(member, self.at)
        return len(trial.members[member].points) - trial.members[member].held

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), points=st.integers(0, 16), partner=st.sampled_from(PARTNERS))
    def capture(self, data: st.DataObject, points: int, partner: str) -> None:
        hold, member = data.draw(st.sampled_from(self.holds))
        wallet = self.naive.members[member]
        id = self.new("capture")
        decision = self.do(self.home(member), Capture(id, member, hold, points, partner))
        open_hold = wallet.holds.get(hold)
        if open_hold is None or open_hold[2] <= self.at:
            assert decision == Refusal(machine.HOLD_NOT_OPEN), "a second resolution is refused"
            return
        if not 1 <= points <= open_hold[0]:
            assert decision == Refusal(machine.CAPTURE_OUT_OF_RANGE, open_hold[0], points)
            return
        assert not isinstance(decision, Refusal)
        self.naive.pass_time(member, self.at)
        taken = self.naive.spend(member, hold, points, partner)
        self.naive.end_hold(member, hold, points, self.at)
        (captured,) = [event for event in decision if isinstance(event, Captured)]
        assert points_in(captured.lots) == taken
        self.captures.append((id, member, partner, captured, taken))

    @precondition(lambda self: self.captures)
    @rule(data=st.data(), points=st.integers(0, 16))
    def reverse(self, data: st.DataObject, points: int) -> None:
        row = data.draw(st.sampled_from(self.captures))
        id, member, partner, captured, taken = row
        command = Reverse(f"reverse:{id}", member, captured.hold, partner, captured.lots, points)
        decision = self.do(self.home(member), command)
        if not 1 <= points <= len(taken):
            assert decision == Refusal(machine.REVERSAL_OUT_OF_RANGE, len(taken), points)
            return
        assert not isinstance(decision, Refusal)
        self.captures.remove(row)
        naive = self.naive
        naive.pass_time(member, self.at)
        back = taken[len(taken) - points :]  # those that a smaller capture would have left
        for point in back:
            naive.settle(point, partner, point[2], -1)
        naive.come_in(member, back, self.at)
        naive.pass_time(member, self.at)

    @rule(giver=st.sampled_from(MEMBERS), points=st.integers(1, 12))
    def give(self, giver: str, points: int) -> None:
        id = self.new("gift")
        (to,) = set(MEMBERS) - {giver}
        available = self.available(giver)
        decision = self.do(self.home(giver), Give(id, giver, to, points, MOST_POINTS, MOST_GIFTS))
        trial = deepcopy(self.naive)
        trial.pass_time(giver, self.at)
        wallet, day = trial.members[giver], self.at // machine.DAY
        if wallet.debts:
            assert decision == Refusal(machine.SHORTFALL_OPEN)
        elif points > available:
            assert decision == Refusal(machine.INSUFFICIENT_POINTS, available, points)
        elif wallet.gifts[day] >= MOST_GIFTS:
            assert decision == Refusal(machine.GIFT_COUNT_LIMIT_REACHED, 0, 1)
        elif (left := MOST_POINTS - wallet.given[day]) < points:
            assert decision == Refusal(machine.GIFT_POINTS_LIMIT_REACHED, left, points)
        else:
            self.naive = trial
            self.naive.give(id, giver, points, self.at, day)
            (gift,) = [gift for gift in self.partitions[self.home(giver)].transit.gifts if gift.id == id]
            assert points_in(gift.lots) == self.naive.in_transit[id]
            self.gifts.append(gift)

    @precondition(lambda self: self.gifts)
    @rule(data=st.data(), returned=st.integers(0, 4))
    def deliver(self, data: st.DataObject, returned: int) -> None:
        gift = data.draw(st.sampled_from(self.gifts))
        self.gifts.remove(gift)
        member = gift.to if returned else gift.giver
        taken = self.do(self.home(member), Take(self.new("take"), member, gift.id, gift.giver, gift.lots))
        assert not isinstance(taken, Refusal)
        assert not isinstance(self.do(self.home(gift.giver), Settle(self.new("done"), gift.id)), Refusal)
        self.naive.pass_time(member, self.at)
        self.naive.come_in(member, self.naive.in_transit.pop(gift.id), self.at)
        self.naive.pass_time(member, self.at)

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        hold, member = data.draw(st.sampled_from(self.holds))
        wallet = self.naive.members[member]
        decision = self.do(self.home(member), Void(self.new("void"), member, hold))
        if hold not in wallet.holds:
            assert decision == Refusal(machine.HOLD_NOT_OPEN)
            return
        self.naive.pass_time(member, self.at)
        if hold in wallet.holds:
            self.naive.end_hold(member, hold, 0, self.at)

    @precondition(lambda self: len(self.issues) > len(self.cancelled))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        id, member, given = data.draw(st.sampled_from([row for row in self.issues if row[0] not in self.cancelled]))
        self.cancelled.add(id)
        decision = self.do(self.home(member), Cancel("cancel" + id, member, id, given))
        assert not isinstance(decision, Refusal)
        self.naive.pass_time(member, self.at)
        self.naive.cancel(member, id, given[0].issuer, points_in(given), self.at)

    @rule(member=st.sampled_from(MEMBERS))
    def sweep(self, member: str) -> None:
        self.do(self.home(member), Sweep(self.new("sweep"), member))
        self.naive.pass_time(member, self.at)
        account = self.partitions[self.home(member)].members.get(member)
        upcoming = next_due(account) if account else None
        assert upcoming is None or upcoming > self.at, "a sweep leaves nothing that is due"

    @rule(passes=st.sampled_from([5, 10, 10, 20] * 3 + [machine.DAY]))
    def wait(self, passes: int) -> None:
        self.at += passes

    @invariant()
    def wallets_are_the_same(self) -> None:
        for id, naive in self.naive.members.items():
            account = self.partitions[self.home(id)].members.get(id)
            if account is None:
                assert not naive.points
                assert not naive.pending
                continue
            assert Counter({tuple(lot[:3]): lot.points for lot in account.lots}) == Counter(naive.points)
            assert list(account.lots) == sorted(account.lots), "earliest expiry first"
            assert all(lot.points > 0 for lot in account.lots)
            assert {hold.id: tuple(hold[1:]) for hold in account.holds} == naive.holds
            debts = [(d.issue, d.partner, d.value) for d in account.debts for _ in range(d.points)]
            assert debts == naive.debts, "oldest first"
            pending = {each.issue: (each.due, points_in(each.lots)) for each in account.pending}
            assert pending == {issue: (due, sorted(points)) for issue, (due, points) in naive.pending.items()}
            assert 0 <= account.held <= account.balance, "what is promised is there"
            assert account.balance == naive.seen, "the entries sum to the balance"

    @invariant()
    def books_sum_to_zero(self) -> None:
        for books in self.partitions:
            general = balances(books)
            assert sum(general.values()) == 0
            outstanding = sum(partner.outstanding for partner in books.partners.values())
            assert general[Account.WALLETS] + general[Account.PENDING] == outstanding
        in_passage = {id for id, _ in self.passages}
        points = sum(p.points for books in self.partitions for p in books.transit.open if p.id in in_passage)
        points += sum(len(points) for points in self.naive.in_transit.values())
        assert sum(books.transit.balance for books in self.partitions) == points

    @invariant()
    def nets_are_the_same_and_sum_to_zero(self) -> None:
        found = positions(lines(self.spends), {})
        assert sum(position.net_micros for position in found) == 0
        nets = {position.partner_id: position.net_micros for position in found if position.net_micros}
        assert nets == {id: micros for id, micros in self.naive.net.items() if micros}

    @invariant()
    def partners_are_the_same(self) -> None:
        for id in PARTNERS:
            parts = [books.partners[id] for books in self.partitions if id in books.partners]
            for part in parts:
                assert part.allotted + part.received + part.cancelled == part.issued + part.sent + part.left
                ends = part.cancelled + part.spent + part.expired + part.outstanding + part.given
                assert part.issued + part.taken == ends
                assert min(part) >= 0
            naive = self.naive.totals[id]
            for name in ("allotted", "issued", "cancelled", "spent", "expired", "accepted"):
                assert sum(getattr(part, name) for part in parts) == naive[name], name
            assert sum(part.left + part.sent - part.received for part in parts) == self.naive.left[id]
            liability = sum(part.liability + part.given_value - part.taken_value for part in parts)
            assert liability == sum(self.values_of(id)), "what is outstanding, in transit or not, at its value"

    def values_of(self, partner: str) -> Iterator[int]:
        for member in self.naive.members.values():
            for points in (member.points, *(points for _, points in member.pending.values())):
                yield from (value for _, issuer, value in points if issuer == partner)
        for points in self.naive.in_transit.values():
            yield from (value for _, issuer, value in points if issuer == partner)


LedgerAgainstNaive.TestCase.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
TestR1TheLedgerAgainstANaiveModel = LedgerAgainstNaive.TestCase
