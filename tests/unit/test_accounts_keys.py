"""When two reports are the same act, and two codes the same code."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.domain.acts import ActKind
from services.accounts.domain.keys import box_key, claim_key, normal_reference
from services.accounts.domain.members import (
    LINK_CODE_BITS,
    LINK_CODE_LIFETIME,
    LinkCode,
    link_code_hash,
    spell_link_code,
)

NOON = datetime(2026, 3, 14, 12, 0, 7, tzinfo=UTC)
MIDNIGHT = NOON.replace(hour=23, minute=59, second=59, microsecond=999_000)
FIELDS = {"kind": ActKind.METRO_TRIP, "member_id": "member_a", "quantity": 5_000, "occurred_at": NOON}


@pytest.mark.parametrize(
    "spelling",
    [
        "MT-2026-00417",
        "mt2026 00417",
        " MT 2026–00417 ",  # en dash
        "MT\u22122026\u221200417",  # minus sign
        "ＭＴ２０２６００４１７",  # full width
        "MT-2026-0\u00ad0417",  # soft hyphen
        "MT\u200b2026\u200d00417",  # zero width
    ],
)
def test_a_reference_is_the_same_however_it_is_spelled(spelling: str):
    assert normal_reference(spelling) == "mt202600417"


@pytest.mark.parametrize("other", ["MT-2026-00418", "MT-2026-0417", "NT-2026-00417", "MT/2026/00417"])
def test_another_number_is_another_reference(other: str):
    assert normal_reference(other) != normal_reference("MT-2026-00417")


@pytest.mark.parametrize("nothing", ["", " ", "---", "\u2014 \u00ad"])
def test_a_reference_of_dashes_is_none(nothing: str):
    assert normal_reference(nothing) == ""


@given(st.text(max_size=80))
def test_the_normal_form_is_final_and_knows_no_case_or_encoding(text: str):
    normal = normal_reference(text)
    assert normal_reference(normal) == normal
    assert normal_reference(unicodedata.normalize("NFD", text)) == normal
    assert normal_reference(f" -{text}- ") == normal


def test_two_reports_with_one_reference_are_one_act_whatever_else_they_say():
    one = claim_key(**FIELDS, reference="MT-1")
    assert one == claim_key(**{**FIELDS, "quantity": 9, "occurred_at": NOON + timedelta(days=1)}, reference="mt1")
    assert one != claim_key(**{**FIELDS, "kind": ActKind.BUS_TRIP}, reference="MT-1")
    assert one != claim_key(**{**FIELDS, "member_id": "member_b"}, reference="MT-1")


def test_without_a_reference_the_second_and_the_quantity_make_the_act():
    one = claim_key(**FIELDS)
    assert one == claim_key(**{**FIELDS, "occurred_at": NOON + timedelta(milliseconds=999)})
    assert one != claim_key(**{**FIELDS, "occurred_at": NOON + timedelta(seconds=1)})
    assert one != claim_key(**{**FIELDS, "quantity": 5_001})
    assert one != claim_key(**{**FIELDS, "member_id": "member_b"})


def test_a_drop_off_is_the_event_it_was():
    one = claim_key(**FIELDS, event_hash="ab" * 32)
    assert one == claim_key(**{**FIELDS, "quantity": 1}, event_hash="ab" * 32)
    assert one != claim_key(**FIELDS, event_hash="cd" * 32)
    assert one != claim_key(**FIELDS, reference="ab" * 32), "a ticket cannot pretend to be an event"


def test_a_box_is_the_same_on_one_day_in_the_same_hands_however_its_number_is_spelled():
    one = box_key("member_a", "BOX-17", NOON)
    assert one == box_key("member_a", " box\u201317", NOON.replace(hour=0)) == box_key("member_a", "BOX17", MIDNIGHT)
    assert one != box_key("member_a", "BOX-17", MIDNIGHT + timedelta(milliseconds=1))
    assert one != box_key("member_b", "BOX-17", NOON)
    assert one != box_key("member_a", "BOX-18", NOON)
    assert box_key("member_a", " - ", NOON) == ""


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=2, max_size=2, unique=True))
def test_a_member_and_a_reference_do_not_run_into_each_other(pairs: list[tuple[str, str]]):
    normal = [(member, normal_reference(reference)) for member, reference in pairs]
    if normal[0] == normal[1] or not all(reference for _, reference in normal):
        return
    keys = {claim_key(**{**FIELDS, "member_id": member}, reference=reference) for member, reference in normal}
    assert len(keys) == 2


@given(st.integers(0, 2**LINK_CODE_BITS - 1))
def test_a_link_code_is_read_however_it_is_typed(bits: int):
    code = spell_link_code(bits)
    assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
    mistyped = code.replace("-", " ").lower().replace("0", "o").replace("1", "l")
    assert link_code_hash(code) == link_code_hash(mistyped) == link_code_hash(f" {code} ") != ""


@given(st.lists(st.integers(0, 2**LINK_CODE_BITS - 1), min_size=2, max_size=2, unique=True))
def test_different_link_codes_stay_different(bits: list[int]):
    assert len({link_code_hash(spell_link_code(one)) for one in bits}) == 2


@pytest.mark.parametrize("typed", ["", "ABCD", "UUUU-UUUU-UUUU-UUUU", "0000-0000-0000-000", '{"$gt": ""}', "é" * 16])
def test_what_cannot_be_a_link_code_is_none(typed: str):
    assert link_code_hash(typed) == ""


def test_a_link_code_is_open_for_its_ten_minutes_and_until_it_is_used():
    code = LinkCode("member_a", 0, "hash", NOON + LINK_CODE_LIFETIME)
    assert code.is_open(NOON + timedelta(minutes=9, seconds=59))
    assert not code.is_open(NOON + timedelta(minutes=10))
    assert not replace(code, used=True).is_open(NOON)
