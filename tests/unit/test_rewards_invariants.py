"""What is wrong with a settlement is named, and each of the ledger's invariants tells its own state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.rewards.domain.settlement import Line, Settlement, lines_hash, positions
from services.rewards.invariants import wrong_with
from services.rewards.ledger.findings import Findings, Subject

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


def test_of_what_is_found_each_subject_tells_its_own_and_no_more_than_can_be_read():
    findings = Findings()
    assert [findings.of(subject) for subject in Subject] == ["", "", ""]
    assert not findings
    for number in range(1_000):
        findings.note(Subject.ACCOUNTS, f"account {number}")
    findings.cannot_tell(Subject.ACCOUNTS)
    findings.cannot_tell(Subject.BOOKS)
    assert findings.of(Subject.LOG) == ""
    assert findings.of(Subject.BOOKS) is None
    assert findings.of(Subject.ACCOUNTS) == "account 0; account 1; account 2; account 3; account 4; and 995 more"
    assert findings.first == "account 0"
    findings.note(Subject.LOG, "block 7")
    assert findings.first == "block 7", "what others rest on comes first"
    assert len(findings.lines()) == 1 + 1 + 7
