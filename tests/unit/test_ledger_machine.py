"""The ledger's rules against a model without any cleverness: a wallet there is a list of single points."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.rewards.ledger import machine
from services.rewards.ledger.effects import apply
from services.rewards.ledger.model import (
    Allot,
    Books,
    Cancel,
    Capture,
    Command,
    Decision,
    Issue,
    Lot,
    Place,
    Receive,
    Refusal,
    Send,
    Settle,
    Sweep,
    Void,
)
from services.rewards.ledger.postings import balances, entries, legs

MEMBERS = ("member_a", "member_b")
PARTNERS = ("partner_x", "partner_y", "partner_z")
Point = tuple[int, str, int]  # expiry, issuer, value


@dataclass
class NaiveMember:
    points: list[Point] = field(default_factory=list)
    holds: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # points, placed, expires
    debts: list[tuple[str, str]] = field(default_factory=list)  # one per point: issue, whom it is owed to
    seen: int = 0  # the sum of the entries

    @property
    def held(self) -> int:
        return sum(points for points, _, _ in self.holds.values())

    def pass_time(self, at: int) -> list[Point]:
        """What expires."""
        self.holds = {id: hold for id, hold in self.holds.items() if hold[2] > at}
        gone: list[Point] = []
        kept = 0
        for point in sorted(self.points):
            if point[0] <= at:
                if kept < sum(points for points, placed, _ in self.holds.values() if placed < point[0]):
                    kept += 1
                else:
                    gone.append(point)
        for point in gone:
            self.points.remove(point)
        return gone


@dataclass
class Naive:
    """The whole alliance, without partitions."""

    members: dict[str, NaiveMember] = field(default_factory=lambda: {id: NaiveMember() for id in MEMBERS})
    left: Counter[str] = field(default_factory=Counter)
    totals: dict[str, Counter[str]] = field(default_factory=lambda: {id: Counter() for id in PARTNERS})

    def expire(self, member: str, at: int) -> None:
        for _, issuer, _ in self.members[member].pass_time(at):
            self.totals[issuer]["expired"] += 1

    def spend(self, member: str, count: int, partner: str) -> None:
        wallet = self.members[member]
        for point in sorted(wallet.points)[:count]:
            wallet.points.remove(point)
            self.totals[point[1]]["spent"] += 1
            self.totals[partner]["accepted"] += 1


# Few different times, so that ends and beginnings meet.
soon = st.sampled_from([10, 20, 30, 60])
lots = st.lists(st.tuples(soon, st.integers(0, 1), st.integers(1, 12)), min_size=1, max_size=3)  # in, value, points


class LedgerAgainstNaive(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.at = 1_000
        self.partitions = (Books(), Books())
        self.naive = Naive()
        self.count = 0
        self.issues: list[tuple[str, str, tuple[Lot, ...]]] = []
        self.cancelled: set[str] = set()
        self.holds: list[tuple[str, str]] = []
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
            self.naive.members[member].seen += sum(entry.points for entry in entries(decision))
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

    @rule(member=st.sampled_from(MEMBERS), partner=st.sampled_from(PARTNERS), lots=lots)
    def issue(self, member: str, partner: str, lots: list[tuple[int, int, int]]) -> None:
        id = self.new("issue")
        given = tuple(Lot(self.at + expires, partner, value, points) for expires, value, points in lots)
        books = self.partitions[self.home(member)]
        left = books.partners[partner].left if partner in books.partners else 0
        total = sum(lot.points for lot in given)
        decision = self.do(self.home(member), Issue(id, member, given))
        if total > left:
            assert decision == Refusal(machine.PREPAID_BLOCK_EXHAUSTED, left, total)
            return
        assert not isinstance(decision, Refusal)
        self.issues.append((id, member, given))
        naive, wallet = self.naive, self.naive.members[member]
        naive.expire(member, self.at)
        naive.left[partner] -= total
        naive.totals[partner]["issued"] += total
        fresh = sorted((lot.expires, lot.issuer, lot.value) for lot in given for _ in range(lot.points))
        while fresh and wallet.debts:
            _, owed_to = wallet.debts.pop(0)
            naive.totals[fresh.pop(0)[1]]["spent"] += 1
            naive.totals[owed_to]["accepted"] += 1
        wallet.points += fresh

    @rule(member=st.sampled_from(MEMBERS), points=st.integers(1, 15), lasts=soon)
    def place(self, member: str, points: int, lasts: int) -> None:
        id = self.new("hold")
        wallet = self.naive.members[member]
        decision = self.do(self.home(member), Place(id, member, points, self.at + lasts))
        trial = NaiveMember(list(wallet.points), dict(wallet.holds))
        trial.pass_time(self.at)
        available = len(trial.points) - trial.held
        if points > available:
            assert decision == Refusal(machine.INSUFFICIENT_POINTS, available, points)
            return
        assert not isinstance(decision, Refusal)
        self.naive.expire(member, self.at)
        wallet.holds[id] = (points, self.at, self.at + lasts)
        self.holds.append((id, member))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), points=st.integers(0, 16), partner=st.sampled_from(PARTNERS))
    def capture(self, data: st.DataObject, points: int, partner: str) -> None:
        hold, member = data.draw(st.sampled_from(self.holds))
        wallet = self.naive.members[member]
        decision = self.do(self.home(member), Capture(self.new("capture"), member, hold, points, partner))
        open_hold = wallet.holds.get(hold)
        if open_hold is None or open_hold[2] <= self.at:
            assert decision == Refusal(machine.HOLD_NOT_OPEN), "a second resolution is refused"
            return
        if not 1 <= points <= open_hold[0]:
            assert decision == Refusal(machine.CAPTURE_OUT_OF_RANGE, open_hold[0], points)
            return
        assert not isinstance(decision, Refusal)
        self.naive.expire(member, self.at)
        self.naive.spend(member, points, partner)
        del wallet.holds[hold]
        self.naive.expire(member, self.at)

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        hold, member = data.draw(st.sampled_from(self.holds))
        wallet = self.naive.members[member]
        decision = self.do(self.home(member), Void(self.new("void"), member, hold))
        if hold not in wallet.holds:
            assert decision == Refusal(machine.HOLD_NOT_OPEN)
            return
        del wallet.holds[hold]
        self.naive.expire(member, self.at)

    @precondition(lambda self: len(self.issues) > len(self.cancelled))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        id, member, given = data.draw(st.sampled_from([row for row in self.issues if row[0] not in self.cancelled]))
        self.cancelled.add(id)
        decision = self.do(self.home(member), Cancel("cancel" + id, member, id, given))
        assert not isinstance(decision, Refusal)
        naive, wallet = self.naive, self.naive.members[member]
        naive.expire(member, self.at)
        partner = given[0].issuer
        for point in sorted((lot.expires, lot.issuer, lot.value) for lot in given for _ in range(lot.points)):
            if point[0] <= self.at:
                continue
            if point in wallet.points and len(wallet.points) > wallet.held:
                wallet.points.remove(point)
                naive.left[partner] += 1
                naive.totals[partner]["cancelled"] += 1
            else:
                wallet.debts.append((id, partner))

    @rule(member=st.sampled_from(MEMBERS))
    def sweep(self, member: str) -> None:
        self.do(self.home(member), Sweep(self.new("sweep"), member))
        self.naive.expire(member, self.at)
        account = self.partitions[self.home(member)].members.get(member)
        upcoming = machine.next_due(account) if account else None
        assert upcoming is None or upcoming > self.at, "a sweep leaves nothing that is due"

    @rule(passes=st.sampled_from([5, 10, 10, 20]))
    def wait(self, passes: int) -> None:
        self.at += passes

    @invariant()
    def wallets_are_the_same(self) -> None:
        for id, naive in self.naive.members.items():
            account = self.partitions[self.home(id)].members.get(id)
            if account is None:
                assert not naive.points
                continue
            assert Counter({tuple(lot[:3]): lot.points for lot in account.lots}) == Counter(naive.points)
            assert list(account.lots) == sorted(account.lots), "earliest expiry first"
            assert all(lot.points > 0 for lot in account.lots)
            assert {hold.id: tuple(hold[1:]) for hold in account.holds} == naive.holds
            assert Counter({debt.issue: debt.points for debt in account.debts}) == Counter(i for i, _ in naive.debts)
            assert 0 <= account.held <= account.balance, "what is promised is there"
            assert account.balance == naive.seen, "the entries sum to the balance"

    @invariant()
    def books_sum_to_zero(self) -> None:
        for books in self.partitions:
            general = balances(books)
            assert sum(general.values()) == 0
            assert general[3] == sum(partner.outstanding for partner in books.partners.values())
        in_passage = {id for id, _ in self.passages}
        points = sum(p.points for books in self.partitions for p in books.transit.open if p.id in in_passage)
        assert sum(books.transit.balance for books in self.partitions) == points

    @invariant()
    def partners_are_the_same(self) -> None:
        for id in PARTNERS:
            parts = [books.partners[id] for books in self.partitions if id in books.partners]
            for part in parts:
                assert part.allotted + part.received + part.cancelled == part.issued + part.sent + part.left
                assert part.issued == part.cancelled + part.spent + part.expired + part.outstanding
                assert min(part) >= 0
            naive = self.naive.totals[id]
            for name in ("allotted", "issued", "cancelled", "spent", "expired", "accepted"):
                assert sum(getattr(part, name) for part in parts) == naive[name], name
            assert sum(part.left + part.sent - part.received for part in parts) == self.naive.left[id]
            assert sum(part.liability for part in parts) == sum(self.values_of(id)), "what is outstanding, at its value"

    def values_of(self, partner: str) -> Iterator[int]:
        for member in self.naive.members.values():
            yield from (value for _, issuer, value in member.points if issuer == partner)


LedgerAgainstNaive.TestCase.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
TestR1TheLedgerAgainstANaiveModel = LedgerAgainstNaive.TestCase
