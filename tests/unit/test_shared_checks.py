"""Bounds on input, pages and errors: the small rules that every service shares."""

import math
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from alliance.accounts.v1.accounts_pb2 import ActKind
from alliance.common.v1.page_pb2 import PageRequest
from services.shared import checks
from services.shared.checks import FieldInvalid
from services.shared.errors import KINDS, AlreadyExists, DomainError, InvalidArgument
from services.shared.ids import is_id, new_id
from services.shared.pages import CursorMalformed, Page, PageQuery, PageTooLarge, time_order
from services.shared.proto import enum_name, enum_number, timestamp


class IdentityAlreadyLinked(AlreadyExists):
    """For the test below."""


def test_a_failure_is_named_after_its_class():
    error = IdentityAlreadyLinked("That number belongs to a member.", field="customer_number", count=3)
    assert error.reason == "IDENTITY_ALREADY_LINKED"
    assert error.metadata == {"field": "customer_number", "count": "3"}
    assert error.code is grpc.StatusCode.ALREADY_EXISTS


def test_every_kind_of_error_has_a_code_of_its_own():
    assert len({kind.code for kind in KINDS.values()}) == len(KINDS)
    assert all(issubclass(kind, DomainError) for kind in KINDS.values())


@pytest.mark.parametrize("value", ['{"$gt": ""}', "Zoë", "面", "O'Neil <b>"])
def test_text_stays_as_it_was_written(value: str):
    assert checks.text(f"  {value} ", "name", 1, 20) == value


def test_text_is_composed():
    assert checks.text("Zoe\u0308", "name", 4 - 1, 3) == "Zoë"


@pytest.mark.parametrize("value", ["", "   ", "x" * 21, "a\x00b", "a\nb", "\x7f", "a\ud800"])
def test_text_that_cannot_be_is_refused_with_its_field(value: str):
    with pytest.raises(FieldInvalid) as caught:
        checks.text(value, "name", 1, 20)
    assert caught.value.reason == "FIELD_INVALID"
    assert caught.value.metadata["field"] == "name"


@pytest.mark.parametrize("hidden", ["\u200b", "\ufeff", "\u00ad", "\u202e", "\u200d", "\u2028", "\U000e0041"])
def test_a_name_has_nothing_that_cannot_be_seen(hidden: str):
    assert checks.name("Zoë's 面 {$gt}", "name", 1, 20) == "Zoë's 面 {$gt}"
    for value in (f"a{hidden}b", hidden * 3, f"ab{hidden}c"):
        with pytest.raises(FieldInvalid) as caught:
            checks.name(value, "name", 1, 20)
        assert caught.value.metadata["field"] == "name"


@given(st.integers())
def test_a_number_is_kept_or_refused_never_changed(number: int):
    try:
        assert checks.whole(number, "points", 1, checks.LARGEST_NUMBER) == number
        assert 1 <= number < 2**53
    except FieldInvalid:
        assert not 1 <= number < 2**53


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_a_moment_comes_back_to_the_millisecond(at: datetime):
    stamp = timestamp(at)
    assert stamp is not None
    assert checks.moment(stamp, "at") == at.replace(microsecond=at.microsecond // 1000 * 1000)


@pytest.mark.parametrize(
    "stamp",
    [
        Timestamp(),
        Timestamp(seconds=2**62),
        Timestamp(seconds=-(2**62)),
        Timestamp(seconds=1, nanos=-1),
        Timestamp(seconds=1, nanos=2_000_000_000),
        Timestamp(seconds=253_402_300_800),
    ],
)
def test_a_moment_that_cannot_be_is_refused(stamp: Timestamp):
    with pytest.raises(FieldInvalid):
        checks.moment(stamp, "occurred_at")


def test_a_batch_has_bounds():
    checks.batch([], 3)
    checks.batch([1, 2, 3], 3)
    with pytest.raises(InvalidArgument) as caught:
        checks.batch(range(10_001), 1_000)
    assert caught.value.reason == "BATCH_TOO_LARGE"
    with pytest.raises(InvalidArgument) as caught:
        checks.batch([], 3, may_be_empty=False)
    assert caught.value.reason == "BATCH_EMPTY"


def test_ids_sort_by_time_and_say_what_they_are():
    first, second = new_id("member"), new_id("member")
    assert is_id(first, "member")
    assert not is_id(first, "act")
    assert len(first) == len(second)
    assert not is_id('{"$gt": ""}', "member")
    assert not is_id("member_" + "z" * 26, "member")


@given(st.text(max_size=300), st.integers(1, 100))
def test_a_cursor_leads_back_to_its_row(order: str, size: int):
    info = Page(["row"], [order], has_next=True).info()
    assert PageQuery.of(PageRequest(first=size, after=info.cursors[0])) == PageQuery(size, order)


@pytest.mark.parametrize("cursor", ["?", "a b", "%%", "x" * 4_000, "_____w"])
def test_a_cursor_that_was_not_given_out_is_refused(cursor: str):
    with pytest.raises(CursorMalformed):
        PageQuery.of(PageRequest(after=cursor))


@pytest.mark.parametrize("first", [-1, 101, 2**31 - 1])
def test_a_page_has_a_largest_size(first: int):
    with pytest.raises(PageTooLarge):
        PageQuery.of(PageRequest(first=first))


@given(st.datetimes(min_value=datetime(2001, 9, 10), timezones=st.just(UTC)), st.integers(1, 10**9))
def test_order_strings_sort_as_time_does(at: datetime, later_ms: int):
    later = datetime.fromtimestamp(math.floor(at.timestamp() * 1000 + later_ms) / 1000 + 0.001, UTC)
    assert time_order(at, "z") < time_order(later, "a")


def test_enums_have_one_name_in_the_domain():
    assert enum_name(ActKind, ActKind.ACT_KIND_OWN_CUP, "ACT_KIND_") == "own_cup"
    assert enum_number(ActKind, "own_cup", "ACT_KIND_") == ActKind.ACT_KIND_OWN_CUP
    assert enum_name(ActKind, 0, "ACT_KIND_") == ""
    assert enum_name(ActKind, 99, "ACT_KIND_") == ""
