"""What is wrong with a settlement is named, and a finding of the ledger's walk is laid to one invariant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.rewards.domain.settlement import Line, Settlement, lines_hash, positions
from services.rewards.invariants import ACCOUNTS, BOOKS, LOG, subject_of, wrong_with

AT = datetime(2026, 1, 1, tzinfo=UTC)
LINES = [
    Line(f"line-{number}", f"redemption-{number}", "", debtor, creditor, points, 3_333, AT)
    for number, (debtor, creditor, points) in enumerate([("a", "b", 7), ("b", "c", 11), ("c", "a", 2)])
]


def settlement(number: int, lines: list[Line], before: Settlement | None = None) -> Settlement:
    carried = {position.partner_id: position.carried_micros for position in before.positions} if before else {}
    since = before.until if before else AT
    return Settlement(
        f"s{number}",
        number,
        since,
        since + timedelta(days=1),
        {},
        positions(lines, carried),
        len(lines),
        lines_hash(lines),
    )


FIRST = settlement(1, LINES)
SECOND = settlement(2, LINES[:1], FIRST)


def test_settlements_as_they_were_made_are_right():
    assert wrong_with(FIRST, LINES, None) == ""
    assert wrong_with(SECOND, LINES[:1], FIRST) == ""


@pytest.mark.parametrize(
    ("changed", "lines", "before", "finding"),
    [
        (SECOND, LINES[:1], None, "comes behind number 0"),
        (replace(SECOND, since=AT), LINES[:1], FIRST, "does not begin where the one before it ended"),
        (FIRST, LINES[:2], None, "its lines are not those that it was made of"),
        (FIRST, [replace(LINES[0], points=8), *LINES[1:]], None, "its lines are not those that it was made of"),
        (
            replace(FIRST, positions=(replace(FIRST.positions[0], due_micros=0), *FIRST.positions[1:])),
            LINES,
            None,
            "what is due does not sum to zero",
        ),
        (
            replace(FIRST, positions=tuple(replace(each, payable_micros=0) for each in FIRST.positions)),
            LINES,
            None,
            "its positions do not follow from its lines",
        ),
    ],
)
def test_what_is_wrong_with_a_settlement_is_said(
    changed: Settlement, lines: list[Line], before: Settlement | None, finding: str
):
    assert wrong_with(changed, lines, before) == finding


@pytest.mark.parametrize(
    ("finding", "subject"),
    [
        ("partition 0, block 7, the books do not sum to zero", BOOKS),
        ("partition 1, block 3, LIABILITY: 9 in accounts, 10 in the books", BOOKS),
        ("partition 1, passage passage_1: was received and not sent so", BOOKS),
        ("partition 0, account member_1, field lots: the log says otherwise", ACCOUNTS),
        ("partition 1, accounts 3: has 4 accounts, the log makes 5; account member_2 is missing", ACCOUNTS),
        ("partition 1, checkpoint of block 9, account partner_a, field left: the log says otherwise", ACCOUNTS),
        ("partition 0, block 2, field previous: is not the hash of the block before", LOG),
        ("partition 0, block 2, entry 3, field lots: the rules say otherwise", LOG),
    ],
)
def test_a_finding_breaks_one_invariant(finding: str, subject: str):
    assert subject_of(finding) == subject
