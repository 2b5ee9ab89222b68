"""What a bank's reviewer asks of reversals, pending points, gifts and debts; by example and for any numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rewards.domain.settlement import lines, positions
from services.rewards.ledger import machine
from services.rewards.ledger.commands import Cancel, Capture, Give, Issue, Place, Reverse, Sweep, Take, Void
from services.rewards.ledger.dues import due, next_due
from services.rewards.ledger.effects import apply
from services.rewards.ledger.events import Captured, Event, Given, Refusal, Released, Repaid
from services.rewards.ledger.lots import points_of, value_of
from services.rewards.ledger.model import LARGEST, Lot
from services.rewards.ledger.postings import SPENDS, Entry, Spend, balances, entries
from tests.unit.test_ledger_rules import MEMBER, A, B, C, Ledger

FRIEND = "member_n"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def captured(ledger: Ledger, hold: str, points: int) -> Captured:
    (event,) = [
        event for event in ledger.post(Capture(ledger.id(), MEMBER, hold, points, C)) if isinstance(event, Captured)
    ]
    return event


def reversal(ledger: Ledger, of: Captured, points: int) -> Reverse:
    return Reverse(ledger.id(), MEMBER, of.hold, of.partner, of.lots, points)


def pending(ledger: Ledger, points: int, due: int, expires: int = 10**6, value: int = 10_000) -> Issue:
    command = Issue(ledger.id(), MEMBER, (Lot(expires, A, value, points),), due)
    ledger.post(command)
    return command


def cancel(ledger: Ledger, issue: Issue) -> tuple[Event, ...]:
    return ledger.post(Cancel(ledger.id(), MEMBER, issue.id, issue.lots))


def give(ledger: Ledger, points: int, most_points: int = LARGEST, most_gifts: int = 100) -> Give:
    return Give(ledger.id(), MEMBER, FRIEND, points, most_points, most_gifts)


def books_are_right(ledger: Ledger) -> None:
    assert sum(balances(ledger.books).values()) == 0
    for partner in ledger.books.partners.values():
        assert partner.allotted + partner.received + partner.cancelled == partner.issued + partner.sent + partner.left
        ends = partner.cancelled + partner.spent + partner.expired + partner.outstanding + partner.given
        assert partner.issued + partner.taken == ends
        assert min(partner) >= 0


def test_r7_a_reversal_of_a_partly_captured_hold_gives_back_what_was_captured_and_no_more(ledger: Ledger):
    ledger.issue(A, (60, 300))
    ledger.issue(B, (60, 900))
    before = ledger.lots()
    spent = captured(ledger, ledger.hold(100), 80)
    refusal = ledger.refused(reversal(ledger, spent, 81))
    assert refusal == Refusal("REVERSAL_OUT_OF_RANGE", available=80, required=81)
    ledger.post(reversal(ledger, spent, 80))
    assert ledger.lots() == before
    assert (ledger.member.held, ledger.books.partners[C].accepted) == (0, 0)
    books_are_right(ledger)


def test_r7_what_was_captured_of_forty_issuers_comes_back_to_each(ledger: Ledger):
    for number in range(40):
        ledger.books.partners[f"partner_{number:02}"] = ledger.books.partners[A]
        ledger.issue(f"partner_{number:02}", (number + 1, 500))
    before = ledger.member
    ledger.post(reversal(ledger, captured(ledger, ledger.hold(820), 820), 820))
    assert ledger.member == before
    books_are_right(ledger)


def test_r7_an_open_hold_keeps_points_that_come_back_late_as_if_they_had_never_gone(ledger: Ledger):
    ledger.issue(A, (50, 200))
    ledger.issue(B, (50, 900))
    first, second = ledger.hold(50), ledger.hold(50)
    spent = captured(ledger, first, 50)
    ledger.at = 300
    ledger.post(reversal(ledger, spent, 50))
    assert ledger.lots() == [(A, 50, 200), (B, 50, 900)], "the second hold is older than their end"
    ledger.post(Void(ledger.id(), MEMBER, second))
    assert ledger.lots() == [(B, 50, 900)]


def test_r8_points_that_come_back_repay_what_their_own_cancel_left_owing(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    spent = captured(ledger, ledger.hold(70), 70)
    cancel(ledger, purchase)
    assert ledger.member.shortfall == 70
    ledger.post(reversal(ledger, spent, 70))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 0)
    a, c = ledger.books.partners[A], ledger.books.partners[C]
    assert (a.left, a.cancelled, a.spent, c.accepted) == (LARGEST, 100, 0, 0), "as if nothing had ever happened"
    books_are_right(ledger)


def test_p3_own_points_that_repay_a_shortfall_refill_the_block(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    captured(ledger, ledger.hold(100), 100)
    cancel(ledger, purchase)
    ledger.issue(A, (150, 500))
    a = ledger.books.partners[A]
    assert (ledger.member.balance, ledger.member.shortfall) == (50, 0)
    assert (a.left, a.issued, a.cancelled, a.spent, a.outstanding) == (LARGEST - 150, 250, 100, 100, 50)
    books_are_right(ledger)


def test_r7_the_largest_amount_comes_back_exactly(ledger: Ledger):
    ledger.issue(A, (LARGEST, 500), value=1)
    spent = captured(ledger, ledger.hold(LARGEST), LARGEST)
    ledger.post(reversal(ledger, spent, LARGEST))
    assert ledger.member.balance == LARGEST
    again = captured(ledger, ledger.hold(1), 1)
    ledger.issue(B, (1, 500))
    assert ledger.refused(reversal(ledger, again, 1)).reason == "BALANCE_LIMIT_REACHED"
    assert ledger.refused(Take("x", MEMBER, "gift", FRIEND, (Lot(500, B, 1, 1),))).reason == "BALANCE_LIMIT_REACHED"


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 20), st.integers(1, 4)), min_size=1), st.data())
def test_r7_a_reversal_leaves_what_a_smaller_capture_would_have_taken(
    given_lots: list[tuple[str, int, int]], data: st.DataObject
):
    total = sum(points for _, points, _ in given_lots)
    taken = data.draw(st.integers(1, total))
    back = data.draw(st.integers(1, taken))
    reversed_, smaller = Ledger(), Ledger()
    for ledger in (reversed_, smaller):
        for issuer, points, expires in given_lots:
            ledger.issue(issuer, (points, 1_000 * expires))
    reversed_.post(reversal(reversed_, captured(reversed_, reversed_.hold(total), taken), back))
    hold = smaller.hold(total)
    if taken > back:
        captured(smaller, hold, taken - back)
    else:
        smaller.post(Void(smaller.id(), MEMBER, hold))
    assert reversed_.member == smaller.member
    assert reversed_.books.partners == smaller.books.partners


def test_r9_time_ties_points_are_there_at_the_very_moment_and_gone_at_theirs(ledger: Ledger):
    pending(ledger, 30, due=100, expires=200)
    assert next_due(ledger.member) == 100
    ledger.at = 99
    assert ledger.refused(Place(ledger.id(), MEMBER, 1, 10**6)) == Refusal("INSUFFICIENT_POINTS", 0, 1)
    ledger.at = 100
    ledger.hold(30, expires=150)
    ledger.at = 150
    assert ledger.refused(Capture(ledger.id(), MEMBER, "no", 1, C)).reason == "HOLD_NOT_OPEN"
    ledger.at = 199
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert (ledger.member.balance, ledger.member.held) == (30, 0)
    ledger.at = 200
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert ledger.member.balance == 0
    books_are_right(ledger)


def test_r9_points_whose_time_is_over_before_they_are_there_expire_and_repay_nothing(ledger: Ledger):
    purchase = ledger.issue(A, (10, 10**6))
    captured(ledger, ledger.hold(10), 10)
    cancel(ledger, purchase)
    pending(ledger, 30, due=100, expires=100)
    ledger.at = 100
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 10)
    assert ledger.books.partners[A].expired == 30


def test_r8_points_whose_time_was_up_when_they_were_issued_repay_nothing(ledger: Ledger):
    purchase = ledger.issue(A, (10, 10**6))
    captured(ledger, ledger.hold(10), 10)
    cancel(ledger, purchase)
    ledger.at = 200
    late = Issue(ledger.id(), MEMBER, (Lot(100, B, 10_000, 5), Lot(10**6, B, 10_000, 4)))
    first = machine.decide(ledger.books, late, ledger.at, rules=1)
    assert [points_of(event.lots) for event in first if isinstance(event, Repaid)] == [9]
    assert first in machine.decided_before(ledger.books, late, ledger.at), "and a log may have it so"
    ledger.post(late)
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 6)
    assert (ledger.books.partners[B].expired, ledger.books.partners[B].spent) == (5, 4)
    books_are_right(ledger)


@pytest.mark.parametrize("held", [60, 100])
def test_r8_a_purchase_taken_back_while_its_points_are_held_leaves_nothing_to_spend(ledger: Ledger, held: int):
    purchase = ledger.issue(A, (100, 500))
    hold = ledger.hold(held)
    cancel(ledger, purchase)
    assert ledger.member.shortfall == held, "what is promised to another partner cannot be taken"
    ledger.post(Void(ledger.id(), MEMBER, hold))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 0)
    a = ledger.books.partners[A]
    assert (a.left, a.cancelled, a.spent, a.outstanding) == (LARGEST, 100, 0, 0)
    books_are_right(ledger)


def test_r8_of_a_hold_that_is_captured_in_part_the_rest_goes_back_first(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    hold = ledger.hold(100)
    cancel(ledger, purchase)
    captured(ledger, hold, 30)
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 30), "as if 30 had been spent and then cancelled"
    books_are_right(ledger)


def test_r8_a_hold_whose_time_is_up_leaves_nothing_to_spend_either(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    ledger.issue(B, (100, 500))
    ledger.hold(200, expires=50)
    cancel(ledger, purchase)
    ledger.at = 50
    account, _ = due(ledger.member, MEMBER, 50)
    assert (account.balance, account.shortfall) == (100, 0), "so it is shown before any sweep"
    assert ledger.refused(Place(ledger.id(), MEMBER, 101, 10**6)) == Refusal("INSUFFICIENT_POINTS", 100, 101)
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert ledger.lots() == [(B, 100, 500)]
    books_are_right(ledger)


def test_r8_nothing_is_owed_for_held_points_that_expire_after_their_cancel(ledger: Ledger):
    purchase = ledger.issue(A, (100, 200))
    hold = ledger.hold(100)
    cancel(ledger, purchase)
    ledger.at = 300
    ledger.post(Void(ledger.id(), MEMBER, hold))
    assert (ledger.member.balance, ledger.member.shortfall) == (0, 0)
    assert (ledger.books.partners[A].cancelled, ledger.books.partners[A].expired) == (100, 0)


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=5),
    st.data(),
)
def test_r8_it_does_not_matter_whether_a_hold_ends_before_a_cancel_or_behind_it(
    lots: list[tuple[str, int, int]], data: st.DataObject
):
    """Each lot has a value of its own: points of one kind are all the same."""
    before, behind = Ledger(), Ledger()
    total = sum(points for _, points, _ in lots)
    spent, held = data.draw(st.integers(0, total - 1)), data.draw(st.integers(1, total))
    held = min(held, total - spent)
    which = data.draw(st.integers(0, len(lots) - 1))

    for ledger in (before, behind):
        issues = [ledger.issue(issuer, (points, 100 * end), value=n) for n, (issuer, points, end) in enumerate(lots)]
        if spent:
            captured(ledger, ledger.hold(spent), spent)
        hold = ledger.hold(held)
        ledger.at = 50
        if ledger is before:
            ledger.post(Void(ledger.id(), MEMBER, hold))
        cancel(ledger, issues[which])
        if ledger is behind:
            ledger.post(Void(ledger.id(), MEMBER, hold))
    assert before.member == behind.member
    assert before.books.partners == behind.books.partners


def test_r6_a_hold_is_not_captured_from_points_whose_time_was_up_before_it(ledger: Ledger):
    ledger.issue(A, (100, 200))
    ledger.issue(B, (100, 900))
    first = ledger.hold(100)
    ledger.at = 250
    second = ledger.hold(100)
    assert [lot.issuer for lot in captured(ledger, second, 100).lots] == [B], "those of a wait for the first hold alone"
    ledger.post(Void(ledger.id(), MEMBER, first))
    assert ledger.lots() == [], "their time was up, and nothing else is left"
    assert ledger.books.partners[A].expired == 100
    books_are_right(ledger)


def test_a_log_has_what_the_rules_of_its_time_decided(ledger: Ledger):
    purchase = ledger.issue(A, (100, 500))
    hold = ledger.hold(100)
    cancel(ledger, purchase)
    void = Void(ledger.id(), MEMBER, hold)
    assert machine.decide(ledger.books, void, 0, rules=2) == (Released(MEMBER, hold, False),)
    assert (Released(MEMBER, hold, False),) in machine.decided_before(ledger.books, void, 0)


def test_r9_matured_points_repay_a_shortfall_first(ledger: Ledger):
    purchase = ledger.issue(A, (10, 10**6))
    captured(ledger, ledger.hold(10), 10)
    pending(ledger, 30, due=100)
    cancel(ledger, purchase)
    assert ledger.member.shortfall == 10, "pending points repay nothing yet"
    ledger.at = 100
    ledger.post(Sweep(ledger.id(), MEMBER))
    assert (ledger.member.balance, ledger.member.shortfall) == (20, 0)
    books_are_right(ledger)


def test_r4_an_account_has_room_for_so_many_open_holds(ledger: Ledger):
    ledger.issue(A, (2_000, 10**6))
    holds = [ledger.hold(1) for _ in range(machine.MOST_HOLDS)]
    one_more = Place(ledger.id(), MEMBER, 1, 10**6)
    assert ledger.refused(one_more).reason == "HOLD_LIMIT_REACHED"
    assert not isinstance(machine.decide(ledger.books, one_more, ledger.at, rules=2), Refusal), (
        "there was no end to them"
    )
    ledger.post(Void(ledger.id(), MEMBER, holds[0]))
    ledger.post(one_more)


def test_r9_a_cancel_at_the_very_moment_finds_the_points_there(ledger: Ledger):
    waits = pending(ledger, 30, due=100)
    ledger.at = 100
    cancel(ledger, waits)
    assert (ledger.member.balance, ledger.member.pending, ledger.member.shortfall) == (0, (), 0)
    assert ledger.books.partners[A].cancelled == 30


def test_r9_an_account_has_room_for_so_many_pending_issues(ledger: Ledger):
    for _ in range(machine.MOST_PENDING):
        pending(ledger, 1, due=100)
    one_more = Issue(ledger.id(), MEMBER, (Lot(500, A, 1, 1),), 100)
    assert ledger.refused(one_more).reason == "PENDING_LIMIT_REACHED"
    ledger.post(one_more._replace(due=0))


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 90), st.integers(1, 20), st.sampled_from([A, B])), max_size=6
    ),
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 9)), max_size=3),
    st.data(),
)
def test_r9_it_does_not_matter_how_often_time_is_looked_at(
    rows: list[tuple[int, int, int, str]], holds: list[tuple[int, int]], data: st.DataObject
):
    often, once = Ledger(), Ledger()
    for ledger in (often, once):
        spent = ledger.issue(B, (5, 10**6), value=3)
        captured(ledger, ledger.hold(5), 5)
        held = ledger.issue(B, (40, 70), value=1)
        for ends, points in holds:
            ledger.hold(points, expires=ends)
        for window, expires, points, issuer in rows:
            ledger.post(Issue(ledger.id(), MEMBER, (Lot(expires, issuer, 1, points),), window))
        cancel(ledger, spent)
        cancel(ledger, held)
    for at in sorted(data.draw(st.lists(st.integers(1, 99), max_size=5))):
        often.at = at
        often.post(Sweep(often.id(), MEMBER))
    for ledger in (often, once):
        ledger.at = 100
        ledger.post(Sweep(ledger.id(), MEMBER))
    assert often.member == once.member
    assert often.books.partners == once.books.partners
    assert due(once.member, MEMBER, 100) == (once.member, ())


def test_r21_a_gift_leaves_the_points_that_a_hold_keeps_alive(ledger: Ledger):
    ledger.issue(A, (50, 200))
    ledger.issue(B, (50, 900))
    ledger.hold(50)
    ledger.at = 250
    (sent,) = [event for event in ledger.post(give(ledger, 50)) if isinstance(event, Given)]
    assert [(lot.issuer, lot.points) for lot in sent.gift.lots] == [(B, 50)], "those of a are over but for the hold"
    assert ledger.refused(give(ledger, 1)) == Refusal("INSUFFICIENT_POINTS", 0, 1)
    books_are_right(ledger)
    assert balances(ledger.books)[6] == 50
    ledger.post(Take(ledger.id(), FRIEND, sent.gift.id, MEMBER, sent.gift.lots))
    assert ledger.books.members[FRIEND].lots == sent.gift.lots
    books_are_right(ledger)
    assert balances(ledger.books)[6] == 0


def test_r21_pending_points_and_those_of_who_owes_cannot_be_given(ledger: Ledger):
    pending(ledger, 30, due=100)
    assert ledger.refused(give(ledger, 1)) == Refusal("INSUFFICIENT_POINTS", 0, 1)
    purchase = ledger.issue(A, (10, 10**6))
    captured(ledger, ledger.hold(10), 10)
    ledger.issue(B, (20, 10**6))
    cancel(ledger, purchase)
    assert ledger.refused(give(ledger, 1)).reason == "SHORTFALL_OPEN"
    assert ledger.refused(give(ledger, 1)._replace(to=MEMBER)).reason == "COMMAND_INVALID"


def test_r21_what_arrives_when_its_time_is_over_expires_there(ledger: Ledger):
    ledger.issue(A, (50, 200))
    (sent,) = [event for event in ledger.post(give(ledger, 50)) if isinstance(event, Given)]
    ledger.at = 200
    ledger.post(Take(ledger.id(), FRIEND, sent.gift.id, MEMBER, sent.gift.lots))
    assert ledger.books.members[FRIEND].balance == 0
    assert ledger.books.partners[A].expired == 50
    books_are_right(ledger)


def test_r21_days_begin_at_midnight_in_utc(ledger: Ledger):
    ledger.issue(A, (100, 10**12))
    ledger.at = machine.DAY - 1
    ledger.post(give(ledger, 10, most_points=10))
    assert ledger.refused(give(ledger, 1, most_points=10)) == Refusal("GIFT_POINTS_LIMIT_REACHED", 0, 1)
    ledger.at = machine.DAY
    ledger.post(give(ledger, 10, most_points=10))


values = st.integers(0, 50_000)
loans = st.lists(st.tuples(values, st.integers(1, 30)), min_size=1, max_size=4)


@given(loans, loans)
def test_r8_between_partners_a_repaid_point_is_settled_for_the_lesser_value(
    lent: list[tuple[int, int]], paid: list[tuple[int, int]]
):
    """A's points of these values were spent at C and then cancelled; B's of those values come in."""
    ledger = Ledger()
    purchase = Issue(ledger.id(), MEMBER, tuple(Lot(10**6 + n, A, v, points) for n, (v, points) in enumerate(lent)))
    seen: list[Entry] = list(entries(ledger.post(purchase)))
    owed = sum(points for _, points in lent)
    seen += entries(ledger.post(Capture(ledger.id(), MEMBER, ledger.hold(owed), owed, C)))
    seen += entries(cancel(ledger, purchase))
    assert ledger.member.shortfall == owed
    at_c = nets(seen)
    assert at_c.get(A, 0) == -sum(value * points for value, points in lent)

    came = 0
    repaid: list[Repaid] = []
    for value, points in paid:
        events = ledger.post(Issue(ledger.id(), MEMBER, (Lot(10**6, B, value, points),)))
        seen += entries(events)
        repaid += [event for event in events if isinstance(event, Repaid)]
        came += points
    assert ledger.member.shortfall == max(0, owed - came), "one point for one, whatever they are worth"
    assert ledger.member.balance == max(0, came - owed)
    after = nets(seen)
    assert sum(after.values()) == 0
    got = after.get(A, 0) - at_c.get(A, 0)
    assert got == sum(lot.points * min(lot.value, event.value) for event in repaid for lot in event.lots)
    assert got <= sum(value * points for value, points in lent), "who cancels never gains by it"
    assert -after.get(B, 0) == got <= sum(value_of(event.lots) for event in repaid), "nobody pays more than it promised"
    assert sum(points_of(event.lots) for event in repaid) == min(owed, came)


def nets(seen: list[Entry]) -> dict[str, int]:
    spends = [Spend(f"{number:03}", 0, entry) for number, entry in enumerate(seen) if entry.kind in SPENDS]
    return {position.partner_id: position.net_micros for position in positions(lines(spends), {})}


def test_r10_of_linked_reversals_and_holds_the_third_fails_and_nothing_happens(ledger: Ledger):
    ledger.issue(A, (100, 500))
    spent = captured(ledger, ledger.hold(60), 60)
    before = ledger.books.members[MEMBER]
    chain = [reversal(ledger, spent, 60), Place(ledger.id(), MEMBER, 100, 10**6), Place(ledger.id(), MEMBER, 1, 10**6)]
    decisions = machine.decide_linked(ledger.books, chain, ledger.at)
    assert [decision.reason for decision in decisions if isinstance(decision, Refusal)] == [
        "LINKED_COMMAND_FAILED",
        "LINKED_COMMAND_FAILED",
        "INSUFFICIENT_POINTS",
    ]
    assert ledger.books.members[MEMBER] == before
    for decision in machine.decide_linked(ledger.books, chain[:2], ledger.at):
        assert not isinstance(decision, Refusal)
        apply(ledger.books, decision)
    assert (ledger.member.balance, ledger.member.held) == (100, 100), "the second builds on the first"
