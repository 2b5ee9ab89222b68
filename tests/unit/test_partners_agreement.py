"""What a point costs, when, and what a block of them costs."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.partners.domain.agreement import Agreement, Money, PriceTooHigh, agreement_at, price_of

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def agreement(id: str, since: datetime, accepted: datetime | None = START) -> Agreement:
    return Agreement(id, "brand", Money("EUR", 10_000), since, START, accepted)


def test_the_last_to_start_by_then_is_in_force():
    first, second = agreement("a", START), agreement("b", START + 10 * DAY)
    for order in ([first, second], [second, first]):
        assert agreement_at(order, START - DAY) is None
        assert agreement_at(order, START) is first
        assert agreement_at(order, START + 10 * DAY - timedelta(milliseconds=1)) is first
        assert agreement_at(order, START + 10 * DAY) is second


def test_an_offer_without_a_yes_is_not_in_force():
    assert agreement_at([agreement("a", START, accepted=None)], START + DAY) is None


def test_of_two_that_start_together_the_one_accepted_last_counts():
    early, late = agreement("b", START, START + DAY), agreement("a", START, START + 2 * DAY)
    assert agreement_at([late, early], START + 5 * DAY) is late
    assert agreement_at([early, late], START + 5 * DAY) is late


def test_the_first_yes_stands():
    accepted = agreement("a", START, accepted=None).accepted(START + DAY)
    assert accepted.accepted_at == START + DAY
    assert accepted.accepted(START + 2 * DAY) is accepted


@given(st.integers(1, 1_000_000_000), st.integers(1, 1_000_000_000))
def test_a_price_is_exact_or_refused(points: int, micros: int):
    if points * micros <= 2**53 - 1:
        assert price_of(points, Money("EUR", micros)) == Money("EUR", points * micros)
    else:
        with pytest.raises(PriceTooHigh):
            price_of(points, Money("EUR", micros))


def test_a_price_that_is_refused_says_how_many_points_can_be_had():
    with pytest.raises(PriceTooHigh, match="at most 9,007,199;") as caught:
        price_of(9_007_200, Money("EUR", 1_000_000_000))
    assert (caught.value.reason, caught.value.metadata) == ("FIELD_INVALID", {"field": "points"})
    assert price_of(9_007_199, Money("EUR", 1_000_000_000)).micros == 9_007_199_000_000_000
