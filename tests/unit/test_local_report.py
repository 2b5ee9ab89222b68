"""The day's checks, its last line and its page."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from deploy.local.day import page, tables
from deploy.local.day.account import Account, account
from deploy.local.day.checks import Check, checks
from deploy.local.day.play import Outcome
from deploy.local.day.reckoning import reckon
from deploy.local.day.run import figures
from tests.support.day import as_reckoned


@pytest.fixture
def outcome() -> Outcome:
    return as_reckoned()


def made(outcome: Outcome) -> Account:
    return account(outcome, checks(outcome, reckon(outcome.plan)))


def unmet(outcome: Outcome) -> list[str]:
    return [check.what for check in made(outcome).unmet]


def test_a_day_as_reckoned_meets_every_expectation(outcome: Outcome):
    assert unmet(outcome) == []


def test_a_milligram_too_much_is_noticed(outcome: Outcome):
    outcome.report["acts"]["co2eMg"] += 1
    assert "milligrams avoided" in unmet(outcome)
    assert "the total is the sum over kinds" in unmet(outcome)


def test_a_point_that_went_astray_is_noticed(outcome: Outcome):
    outcome.report["partners"][0]["outstanding"] -= 1
    assert unmet(outcome) == [
        "points outstanding by brand",
        "market: issued = cancelled + spent + expired + outstanding",
    ]


def test_a_cent_that_nobody_gets_is_noticed(outcome: Outcome):
    outcome.settlement["positions"][0]["net"]["micros"] += 10_000
    assert unmet(outcome) == ["net positions sum to zero", "net position by brand, in millionths of a euro"]


def test_a_forged_batch_that_got_in_is_noticed(outcome: Outcome):
    outcome.answers.forged_refused = 0
    assert unmet(outcome) == ["forged batches refused"]


def test_a_ledger_that_does_not_check_is_noticed(outcome: Outcome):
    outcome.report["ledger"] = {"clean": False, "finding": "entry 7 was edited", "entries": 9, "members": 2}
    assert unmet(outcome) == ["the ledger's own check"]


def test_the_last_line_has_the_figures_of_the_day(outcome: Outcome):
    line = json.loads(json.dumps(figures(made(outcome))))
    assert line["points_issued"] == line["points_spent"] + line["points_expired"] + line["points_outstanding"]
    assert line["net_sum"] == 0
    assert line["duplicates_refused"] == 5 + 4
    assert line["forged_refused"] == 1
    assert line["claims"] == reckon(outcome.plan).claims
    assert line["operations_per_second"] == pytest.approx(1_234 / 20, abs=0.1)
    assert {"claimed_mg", "startup_seconds", "seconds"} <= set(line)
    assert line["unmet"] == []


def test_the_page_needs_nothing_else(outcome: Outcome):
    html = page.render(made(outcome))
    assert "<script" not in html
    assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", html.replace("http://www.w3.org", ""))
    assert html.count("<svg") == 3


def test_the_charts_are_sound_svg(outcome: Outcome):
    html = page.render(made(outcome))
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert ElementTree.fromstring(svg).attrib["viewBox"]  # noqa: S314  our own


def test_the_page_shows_every_brand_kind_and_refusal(outcome: Outcome):
    result = made(outcome)
    html = page.render(result).replace("<wbr>", "")
    for text in (
        *(row.name.replace("&", "&amp;") for row in result.brands),
        *(row.name for row in result.kinds),
        *(row.reason for row in result.refusals),
    ):
        assert text in html


def test_what_was_not_met_is_on_the_page_and_escaped(outcome: Outcome):
    result = replace(made(outcome), checks=(Check("<b>grams</b>", 1, 2),))
    html = page.render(result)
    assert "&lt;b&gt;grams&lt;/b&gt;" in html
    assert "1 of 1 expectations not met" in html


def test_the_terminal_shows_what_the_page_shows(outcome: Outcome):
    result = made(outcome)
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    tables.show(replace(result, checks=(*result.checks, Check("net", 0, 3))), console)
    text = console.export_text()
    for row in result.brands:
        assert f"{row.issued:,}" in text
        assert row.name in text
    assert "expected 0" in text
    assert "actual   3" in text
