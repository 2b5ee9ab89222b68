"""Stretches of lists: by the moments of rows, and by those of their ids."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from alliance.common.v1.page_pb2 import Period
from services.shared.ids import first_id, is_id, new_id
from services.shared.pages import (
    WHOLE,
    Between,
    PeriodEmpty,
    _bounds,
    between_ids,
    between_times,
    time_order,
)
from services.shared.proto import timestamp

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)


@given(st.lists(MOMENTS, min_size=2, max_size=2, unique=True).map(sorted), MOMENTS)
def test_a_row_is_in_the_period_that_it_happened_in(ends: list[datetime], at: datetime):
    since, until = ends
    between = between_times(Period(since=timestamp(since), until=timestamp(until)))
    order = time_order(at, "dropoff_x")
    assert (between.least <= order < between.below) == (since <= at < until)
    border = time_order(since, "")
    assert between.least == border < time_order(since, "a")


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_the_moments_at_which_they_were_made(one: datetime, other: datetime):
    assert is_id(first_id("act", one), "act")
    assert (first_id("act", one) < first_id("act", other)) == (one < other)


def test_an_id_is_behind_the_first_of_its_moment_and_before_the_first_of_the_next():
    before = datetime.fromtimestamp(time.time() - 0.002, UTC)
    made = new_id("act")
    after = datetime.fromtimestamp(time.time() + 0.002, UTC)
    assert first_id("act", before) < made < first_id("act", after)
    between = between_ids(Period(since=timestamp(before)), "act")
    assert between == Between(first_id("act", before), "")


def test_a_period_without_ends_is_the_whole_list_and_one_that_is_turned_is_refused():
    assert between_times(Period()) == WHOLE
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for until in (at, at - timedelta(seconds=1)):
        with pytest.raises(PeriodEmpty):
            between_times(Period(since=timestamp(at), until=timestamp(until)))


def test_before_1970_nothing_happened():
    assert between_times(Period(until=Timestamp(seconds=-10))) == Between(
        "", time_order(datetime(1970, 1, 1, tzinfo=UTC), "")
    )


@given(
    st.text("ab", max_size=2),
    st.text("ab", max_size=2),
    st.text("ab", max_size=2),
    st.booleans(),
    st.text("ab", min_size=1, max_size=2),
)
def test_a_page_behind_a_row_stays_within_the_stretch(after: str, least: str, below: str, descending: bool, row: str):
    bounds = _bounds(after, Between(least, below), descending=descending)
    within = all(
        {"$gte": row >= value, "$gt": row > value, "$lt": row < value}[bound] for bound, value in bounds.items()
    )
    behind = not after or (row < after if descending else row > after)
    assert within == (behind and row >= least and (not below or row < below))
