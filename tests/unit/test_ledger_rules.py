"""The ledger's rules by example: what a careful reviewer would ask of each."""

import pytest

from services.rewards.ledger import machine
from services.rewards.ledger.commands import Allot, Cancel, Capture, Command, Issue, Place, Sweep, Void
from services.rewards.ledger.effects import apply
from services.rewards.ledger.events import Captured, Event, Refusal, Released
from services.rewards.ledger.model import LARGEST, Books, Lot, Member

A, B, C = "partner_a", "partner_b", "partner_c"
MEMBER = "member_m"


class Ledger:
    """One partition whose time the test sets."""

    def __init__(self) -> None:
        self.books = Books()
        self.at = 0
        self._ids = iter(range(10_000))
        for partner in (A, B, C):
            self.post(Allot(self.id(), partner, LARGEST))

    def id(self) -> str:
        return f"command_{next(self._ids)}"

    def post(self, command: Command) -> tuple[Event, ...]:
        decision = machine.decide(self.books, command, self.at)
        assert not isinstance(decision, Refusal), decision
        apply(self.books, decision)
        return decision

    def refused(self, command: Command) -> Refusal:
        decision = machine.decide(self.books, command, self.at)
        assert isinstance(decision, Refusal), decision
        return decision

    def issue(self, issuer: str, *lots: tuple[int, int], value: int = 10_000) -> Issue:
        """Lots as (points, expires)."""
        command = Issue(self.id(), MEMBER, tuple(Lot(expires, issuer, value, points) for points, expires in lots))
        self.post(command)
        return command

    def hold(self, points: int, expires: int = 10**6) -> str:
        id = self.id()
        self.post(Place(id, MEMBER, points, expires))
        return id

    def capture(self, hold: str, points: int, partner: str = C) -> dict[str, int]:
        """What was taken, by issuer."""
        taken: dict[str, int] = {}
        for event in self.post(Capture(self.id(), MEMBER, hold, points, partner)):
            if isinstance(event, Captured):
                for lot in event.lots:
                    taken[lot.issuer] = taken.get(lot.issuer, 0) + lot.points
        return taken

    @property
    def member(self) -> Member:
        return self.books.members[MEMBER]

    def lots(self) -> list[tuple[str, int, int]]:
        return [(lot.issuer, lot.points, lot.expires) for lot in self.member.lots]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_r3_a_part_is_captured_and_the_rest_is_free_again(ledger: Ledger):
    ledger.issue(A, (100, 500))
    hold = ledger.hold(80)
    assert ledger.capture(hold, 30) == {A: 30}
    assert (ledger.member.balance, ledger.member.held) == (70, 0)


def test_r3_a_second_resolution_is_refused(ledger: Ledger):
    ledger.issue(A, (100, 500))
    captured, voided, ended = ledger.hold(10), ledger.hold(10), ledger.hold(10, expires=50)
    ledger.capture(captured, 10)
    ledger.post(Void(ledger.id(), MEMBER, voided))
    ledger.at = 50
    assert ledger.refused(Capture(ledger.id(), MEMBER, ended, 5, C)).reason == "HOLD_NOT_OPEN", "its time is up"
    (release,) = ledger.post(Void(ledger.id(), MEMBER, ended))
    assert release == Released(MEMBER, ended, True)
    for hold in (captured, voided, ended):
        assert ledger.refused(Capture(ledger.id(), MEMBER, hold, 5, C)).reason == "HOLD_NOT_OPEN"
        assert ledger.refused(Void(ledger.id(), MEMBER, hold)).reason == "HOLD_NOT_OPEN"


def test_r4_the_sixth_hold_of_1000_on_5000_is_refused(ledger: Ledger):
    ledger.issue(A, (5_000, 500))
    for _ in range(5):
        ledger.hold(1_000)
    refusal = ledger.refused(Place(ledger.id(), MEMBER, 1_000, 10**6))
    assert refusal == Refusal("INSUFFICIENT_POINTS", available=0, required=1_000)


def test_r6_the_earliest_expiry_is_spent_first_and_spent_lots_do_not_expire_again(ledger: Ledger):
    ledger.issue(A, (100, 300))
    ledger.issue(B, (100, 200))
    assert ledger.capture(ledger.hold(150), 150) == {B: 100, A: 50}
    ledger.at = 300
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert ledger.books.partners[A].expired == 50
    assert ledger.books.partners[B].expired == 0
    assert ledger.member.balance == 0


def test_r6_ties_go_by_issuer_and_then_by_value(ledger: Ledger):
    ledger.issue(B, (10, 200), value=1)
    ledger.issue(A, (10, 200), value=9)
    ledger.issue(A, (10, 200), value=5)
    assert [(lot.issuer, lot.value) for lot in ledger.member.lots] == [(A, 5), (A, 9), (B, 1)]


def test_r7_a_void_leaves_the_lots_and_their_expiry_as_they_were(ledger: Ledger):
    ledger.issue(A, (60, 300))
    ledger.issue(B, (60, 200))
    before = ledger.lots()
    ledger.post(Void(ledger.id(), MEMBER, ledger.hold(100)))
    assert ledger.lots() == before


def test_a_hold_keeps_the_points_alive_that_it_was_placed_on(ledger: Ledger):
    ledger.issue(A, (100, 200))
    ledger.issue(B, (100, 900))
    hold = ledger.hold(80)
    ledger.at = 250
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert ledger.lots() == [(A, 80, 200), (B, 100, 900)], "20 points were promised to nobody"
    assert ledger.capture(hold, 50) == {A: 50}
    assert ledger.lots() == [(B, 100, 900)], "what the hold kept and did not spend goes with it"


def test_a_later_hold_does_not_keep_points_alive_whose_time_was_up(ledger: Ledger):
    ledger.issue(A, (100, 200))
    ledger.issue(B, (100, 900))
    first = ledger.hold(100)
    ledger.at = 250
    ledger.hold(100)
    ledger.post(Void(ledger.id(), MEMBER, first))
    assert ledger.lots() == [(B, 100, 900)]
    assert ledger.member.held == 100


def test_two_holds_captured_at_once_take_each_point_once(ledger: Ledger):
    ledger.issue(A, (70, 200))
    ledger.issue(B, (70, 900))
    first, second = ledger.hold(60), ledger.hold(60)
    assert ledger.capture(second, 60) == {A: 60}
    assert ledger.capture(first, 60) == {A: 10, B: 50}


def test_r8_a_shortfall_is_recorded_and_repaid_first(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    ledger.capture(ledger.hold(70), 70, partner=B)
    ledger.post(Cancel(ledger.id(), MEMBER, purchase.id, purchase.lots))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 70)
    assert ledger.books.partners[A].cancelled == 30, "what was left went back"
    ledger.issue(C, (50, 500))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 20)
    ledger.issue(C, (50, 500))
    assert (ledger.member.balance, ledger.member.shortfall) == (30, 0)
    assert ledger.books.partners[C].spent == 70
    assert ledger.books.partners[A].accepted == 70, "whose points had been spent is given the new ones"


def test_a_cancel_of_lots_of_one_kind_takes_no_point_twice(ledger: Ledger):
    purchase = ledger.issue(A, (60, 500), (40, 500))  # a rule's and a campaign's
    ledger.capture(ledger.hold(30), 30)
    ledger.post(Cancel(ledger.id(), MEMBER, purchase.id, purchase.lots))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 30)


def test_a_cancel_leaves_what_is_held(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    hold = ledger.hold(60)
    ledger.post(Cancel(ledger.id(), MEMBER, purchase.id, purchase.lots))
    assert (ledger.member.balance, ledger.member.held, ledger.member.shortfall) == (60, 60, 60)
    assert ledger.capture(hold, 60) == {A: 60}


def test_a_cancel_of_an_issue_whose_points_are_partly_captured_and_partly_expired(ledger: Ledger):
    purchase = ledger.issue(A, (40, 200), (60, 900))
    ledger.capture(ledger.hold(50), 50)
    ledger.at = 300
    ledger.post(Cancel(ledger.id(), MEMBER, purchase.id, purchase.lots))
    assert ledger.member.balance == 0
    assert ledger.member.shortfall == 10, "of the lot that has not run out 10 were spent; the other one is over"


def test_r10_of_linked_commands_all_happen_or_none(ledger: Ledger):
    ledger.issue(A, (100, 500))
    commands = [Place(ledger.id(), MEMBER, points, 10**6) for points in (40, 40, 40)]
    before = ledger.member
    decisions = machine.decide_linked(ledger.books, commands, ledger.at)
    linked = Refusal("LINKED_COMMAND_FAILED")
    assert decisions == [linked, linked, Refusal("INSUFFICIENT_POINTS", available=20, required=40)]
    assert ledger.member == before
    assert not any(isinstance(d, Refusal) for d in machine.decide_linked(ledger.books, commands[:2], ledger.at))


def test_r13_a_spend_lists_the_amount_per_issuer_even_of_forty(ledger: Ledger):
    for number in range(40):
        ledger.books.partners[f"partner_{number:02}"] = ledger.books.partners[A]
        ledger.issue(f"partner_{number:02}", (number + 1, 500))
    total = 40 * 41 // 2
    assert ledger.capture(ledger.hold(total), total) == {f"partner_{n:02}": n + 1 for n in range(40)}


def test_p6_lots_keep_the_value_they_were_issued_at(ledger: Ledger):
    ledger.issue(A, (10, 500), value=10_000)
    ledger.issue(A, (10, 500), value=12_000)
    assert [(lot.value, lot.points) for lot in ledger.member.lots] == [(10_000, 10), (12_000, 10)]
    assert ledger.books.partners[A].liability == 10 * 10_000 + 10 * 12_000


def test_the_largest_amounts_are_exact_and_more_is_refused(ledger: Ledger):
    ledger.issue(A, (LARGEST, 500), value=1)
    assert ledger.member.balance == 2**53 - 1
    one_more = Issue(ledger.id(), MEMBER, (Lot(500, B, 1, 1),))
    assert ledger.refused(one_more).reason == "BALANCE_LIMIT_REACHED"
    assert ledger.refused(Allot(ledger.id(), A, 1)).reason == "ALLOTMENT_LIMIT_REACHED"
    dear = Issue(ledger.id(), "member_n", (Lot(500, B, LARGEST, 2),))
    assert ledger.refused(dear).reason == "LIABILITY_LIMIT_REACHED"


@pytest.mark.parametrize("points", [0, -1, -(2**63)])
def test_what_is_not_an_amount_is_refused(ledger: Ledger, points: int):
    commands: list[Command] = [
        Allot("x", A, points),
        Issue("x", MEMBER, (Lot(500, A, 1, points),)),
        Place("x", MEMBER, points, 10**6),
    ]
    assert {ledger.refused(command).reason for command in commands} == {"COMMAND_INVALID"}
