"""Which items can be, and which are the same event (L4)."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.logistics.domain.items import Event, Fault, Item, canonical_code, check
from services.logistics.domain.points import Material

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)
MEMBER = "member_01h455vb4pex5vsknk084sn02q"
BOTTLE = Item(MEMBER, Material.PET, 25, "8712345678906", NOW)
BOX = Item(MEMBER, Material.REUSABLE_BOX, 0, "BOX-17", NOW)

codes = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"]), max_size=40)
moments = st.datetimes(datetime(2025, 3, 1), datetime(2026, 3, 10), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
events = st.builds(
    Event,
    machine_id=st.sampled_from(["machine_1", "machine_2"]),
    member_id=st.sampled_from([MEMBER, MEMBER.replace("q", "r")]),
    material=st.sampled_from(Material),
    weight_grams=st.integers(0, 3),
    code=st.sampled_from(["", "a", "ab", "b", '","', '{"code":"a"}', "1", "11"]),
    occurred_at=st.sampled_from([NOW, NOW - MS, NOW - timedelta(days=1)]),
)


def event(code: str = "8712345678906") -> Event:
    return Event("machine_1", MEMBER, Material.PET, 25, code, NOW)


def checked(item: Item) -> Event | Fault:
    return check(item, "machine_1", NOW)


@given(events, events)
def test_l4_events_have_the_same_hash_if_and_only_if_they_are_the_same(one: Event, other: Event):
    assert (one.hash == other.hash) == (one == other)


@given(codes)
@example("Ć¸")
def test_l4_the_canonical_code_is_its_own_canonical_code(code: str):
    assert canonical_code(canonical_code(code)) == canonical_code(code)


@given(codes, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_l4_the_way_a_code_is_encoded_does_not_matter(code: str, form: str):
    assert event(unicodedata.normalize(form, code)).hash == event(code).hash


@given(codes, st.sampled_from([" ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff"]), st.integers(0, 40))
def test_l4_spaces_do_not_matter(code: str, space: str, at: int):
    assert event(code[:at] + space + code[at:]).hash == event(code).hash


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=40))
def test_l4_case_does_not_matter(code: str):
    assert event(code.upper()).hash == event(code.lower()).hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("BOX-17", " box - 17 "),
        ("ＢＯＸ-１７", "box-17"),
        ("STRASSE 1", "Straße 1"),
        ("\u212bngström", "A\u030angstro\u0308m"),
        ("ﬁre", "FIRE"),
        ("C\u0301 \u0327", "c\u0327\u0301"),
    ],
)
def test_l4_spellings_of_one_code_are_one_event(one: str, other: str):
    assert event(one).hash == event(other).hash


@pytest.mark.parametrize(("one", "other"), [("BOX-17", "BOX-71"), ("0", "O"), ("box17", "box-17"), ("1", "")])
def test_l4_codes_that_differ_to_a_person_are_two_events(one: str, other: str):
    assert event(one).hash != event(other).hash


def test_l4_every_part_of_an_event_counts():
    base = event()
    others = [
        replace(base, machine_id="machine_2"),
        replace(base, member_id=MEMBER.replace("q", "r")),
        replace(base, material=Material.CARDBOARD),
        replace(base, weight_grams=26),
        replace(base, code="8712345678907"),
        replace(base, occurred_at=NOW + MS),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 7


def test_l4_the_hash_stays_the_same_from_version_to_version():
    # Stored hashes decide what is a duplicate: a change of the canonical form would credit old events again.
    assert event(" 8712345 678906").hash == "0c4bc5ece9fef49e054f4dd81550c9e19fa7bfddfb695781cf5d8f6d28c76abb"


@given(codes, moments)
def test_a_valid_item_is_an_event_with_all_that_it_says(code: str, at: datetime):
    item = replace(BOTTLE, code=code, occurred_at=at)
    found = checked(item)
    assert isinstance(found, Event)
    assert (found.machine_id, found.member_id, found.material) == ("machine_1", MEMBER, Material.PET)
    assert (found.weight_grams, found.occurred_at) == (25, at)
    assert canonical_code(found.code) == canonical_code(code)


@pytest.mark.parametrize(
    "item",
    [
        replace(BOTTLE, weight_grams=1),
        replace(BOTTLE, weight_grams=100_000),
        replace(BOTTLE, code=""),
        replace(BOTTLE, code="x" * 64),
        replace(BOTTLE, code='{"$gt": ""}'),
        replace(BOTTLE, occurred_at=NOW + timedelta(minutes=5)),
        replace(BOTTLE, occurred_at=NOW - timedelta(days=400)),
        BOX,
    ],
)
def test_what_is_just_within_the_bounds_is_valid(item: Item):
    assert isinstance(checked(item), Event)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (replace(BOTTLE, member_id=""), "MEMBER_ID_MALFORMED"),
        (replace(BOTTLE, member_id="partner_01h455vb4pex5vsknk084sn02q"), "MEMBER_ID_MALFORMED"),
        (replace(BOTTLE, member_id=MEMBER.upper()), "MEMBER_ID_MALFORMED"),
        (replace(BOTTLE, member_id=f"{MEMBER}\n"), "MEMBER_ID_MALFORMED"),
        (replace(BOTTLE, member_id='{"$gt": ""}'), "MEMBER_ID_MALFORMED"),
        (replace(BOTTLE, material=None), "MATERIAL_UNKNOWN"),
        (replace(BOTTLE, weight_grams=0), "WEIGHT_OUT_OF_RANGE"),
        (replace(BOTTLE, weight_grams=-1), "WEIGHT_OUT_OF_RANGE"),
        (replace(BOTTLE, weight_grams=100_001), "WEIGHT_OUT_OF_RANGE"),
        (replace(BOTTLE, weight_grams=2**63 - 1), "WEIGHT_OUT_OF_RANGE"),
        (replace(BOX, weight_grams=1), "WEIGHT_OUT_OF_RANGE"),
        (replace(BOTTLE, code="x" * 65), "CODE_MALFORMED"),
        (replace(BOTTLE, code="a\x00b"), "CODE_MALFORMED"),
        (replace(BOX, code=""), "CODE_MALFORMED"),
        (replace(BOX, code=" \u200b "), "CODE_MALFORMED"),
        (replace(BOTTLE, occurred_at=None), "OCCURRED_AT_MALFORMED"),
        (replace(BOTTLE, occurred_at=NOW + timedelta(minutes=5) + MS), "OCCURRED_IN_FUTURE"),
        (replace(BOTTLE, occurred_at=NOW - timedelta(days=400) - MS), "OCCURRED_TOO_LONG_AGO"),
    ],
)
def test_what_cannot_be_says_why(item: Item, reason: str):
    found = checked(item)
    assert isinstance(found, Fault)
    assert found.reason == reason
    assert found.message.endswith(".")


@given(st.text(max_size=40))
def test_no_code_is_too_strange_to_be_looked_at(code: str):
    found = checked(replace(BOX, code=code))
    assume(isinstance(found, Fault))
    assert found.reason == "CODE_MALFORMED"
