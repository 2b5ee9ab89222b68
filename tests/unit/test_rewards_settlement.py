"""Netting: exact, to the cent, and summing to zero."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rewards.domain.settlement import CENT, Line, lines, lines_hash, positions
from services.rewards.ledger.model import Lot
from services.rewards.ledger.postings import Entry, EntryKind, Spend
from services.rewards.service.settlements import SettlementRunning, Settlements
from services.shared.client import set_deadline, time_left

PARTNERS = [f"partner_{name}" for name in "abcde"]


def line(debtor: str, creditor: str, points: int, value: int = CENT) -> Line:
    return Line("1", "redemption_1", "", debtor, creditor, points, value, datetime(2026, 1, 1, tzinfo=UTC))


some_lines = st.lists(
    st.tuples(
        st.sampled_from(PARTNERS), st.sampled_from(PARTNERS), st.integers(1, 10**6), st.integers(1, 3 * CENT)
    ).filter(lambda row: row[0] != row[1]),
    max_size=20,
).map(lambda rows: [line(*row) for row in rows])


def test_p5_what_two_partners_owe_each_other_is_netted():
    found = positions([line("a", "b", 100), line("b", "a", 30), line("b", "c", 5)], {})
    assert [(p.partner_id, p.receivable_micros, p.payable_micros, p.net_micros) for p in found] == [
        ("a", 30 * CENT, 100 * CENT, -70 * CENT),
        ("b", 100 * CENT, 35 * CENT, 65 * CENT),
        ("c", 5 * CENT, 0, 5 * CENT),
    ]


def test_p5_odd_cents_go_to_the_largest_remainders_and_ties_by_id():
    # a owes 0.5 cents to each of b and c: b gets the cent, c carries half a cent, a has paid half a cent too much.
    found = {p.partner_id: p for p in positions([line("a", "b", 1, 5_000), line("a", "c", 1, 5_000)], {})}
    assert {id: p.due_micros for id, p in found.items()} == {"a": -CENT, "b": CENT, "c": 0}
    assert {id: p.carried_micros for id, p in found.items()} == {"a": 0, "b": -5_000, "c": 5_000}
    later = positions([], {id: p.carried_micros for id, p in found.items()})
    assert [(p.partner_id, p.due_micros, p.carried_micros) for p in later] == [("b", 0, -5_000), ("c", 0, 5_000)]


@given(st.lists(some_lines, min_size=1, max_size=4))
def test_p5_positions_sum_to_zero_and_what_is_paid_follows_what_is_owed(periods: list[list[Line]]):
    carried: dict[str, int] = {}
    owed: defaultdict[str, int] = defaultdict(int)
    paid: defaultdict[str, int] = defaultdict(int)
    for period in periods:
        found = positions(period, carried)
        assert sum(p.net_micros for p in found) == 0
        assert sum(p.due_micros for p in found) == 0
        assert sum(p.carried_micros for p in found) == 0
        assert [p.partner_id for p in found] == sorted(p.partner_id for p in found)
        for p in found:
            assert p.due_micros % CENT == 0
            assert abs(p.carried_micros) < CENT
            assert min(p.receivable_micros, p.payable_micros) >= 0
            owed[p.partner_id] += p.net_micros
            paid[p.partner_id] += p.due_micros
        carried = {p.partner_id: p.carried_micros for p in found}
        for id in owed:
            assert owed[id] - paid[id] == carried.get(id, 0), "over the years nobody gains or loses by rounding"


def spend(
    *lots: tuple[str, int, int], partner: str = "shop", kind: EntryKind = EntryKind.SPEND, value: int = 0
) -> Spend:
    made = tuple(Lot(expires, issuer, CENT, points) for issuer, points, expires in lots)
    return Spend("s1", 1_000, Entry(kind, 0, "reference", partner, made, value))


def test_p5_a_spend_at_the_issuer_makes_no_line_and_lots_of_one_issuer_make_one():
    found = lines([spend(("a", 5, 10), ("shop", 50, 10), ("a", 7, 20), ("b", 1, 30))])
    assert [(row.debtor_partner_id, row.creditor_partner_id, row.points) for row in found] == [
        ("a", "shop", 12),
        ("b", "shop", 1),
    ]
    assert len({row.id for row in found}) == 2
    assert {(row.redemption_id, row.claim_id) for row in found} == {("reference", "")}
    (repaid,) = lines([spend(("a", 5, 10), kind=EntryKind.REPAY, value=CENT)])
    assert (repaid.redemption_id, repaid.claim_id) == ("", "reference")


@given(some_lines)
def test_p5_the_hash_is_over_every_line_in_order(rows: list[Line]):
    assert lines_hash(rows) == lines_hash(list(rows))
    assert lines_hash([*rows, line("a", "b", 1)]) != lines_hash(rows)
    if len(set(rows)) > 1:
        assert lines_hash(rows[::-1]) != lines_hash(rows) or rows == rows[::-1]


async def test_p5_who_asks_again_for_what_takes_longer_than_a_call_gets_what_came_of_it():
    nobody: Any = None
    settlements = Settlements(nobody, nobody, nobody, nobody)
    begun, may_end = [], asyncio.Event()

    async def work() -> int:
        begun.append(time_left(1_000))
        await may_end.wait()
        return 7

    set_deadline(0.05)
    with pytest.raises(SettlementRunning):
        await settlements.in_its_own_time("operator/1", work)
    may_end.set()
    set_deadline(None)
    assert await settlements.in_its_own_time("operator/1", work) == 7
    assert begun == [1_000], "once, and not in the time of the call"
