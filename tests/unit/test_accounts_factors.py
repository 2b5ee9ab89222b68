"""The catalogue says what its sources say."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.domain.acts import ActKind, Factor, factor_in_force
from services.accounts.domain.caps import DAILY_CAPS
from services.accounts.factors import FACTORS

ROWS = {factor.id: factor for factor in FACTORS}


@pytest.mark.parametrize(
    ("id", "grams_per_unit", "unit"),
    [
        # Trips: car minus ride, grams per kilometre, so thousandths of it per metre.
        ("bus-trip-2023", (Fraction("166.64") - Fraction("102.15")) / 1000, "m"),
        ("bus-trip-2024", (Fraction("166.91") - Fraction("108.46")) / 1000, "m"),
        ("bus-trip-2025", (Fraction("167.25") - Fraction("103.85")) / 1000, "m"),
        ("metro-trip-2025", (Fraction("167.25") - Fraction("27.80")) / 1000, "m"),
        ("light-rail-trip-2025", (Fraction("167.25") - Fraction("28.60")) / 1000, "m"),
        ("electronic-bill-2023", Fraction("18.9"), "bill"),
        ("box-reuse-2019", Fraction(37), "box"),
        ("pet-recycling-2025", Fraction("3.8639") - Fraction("2.2139"), "g"),
        ("cardboard-recycling-2025", Fraction("0.10"), "g"),
        ("own-cup-0", Fraction(0), "cup"),
    ],
)
def test_each_figure_is_exactly_its_sources(id: str, grams_per_unit: Fraction, unit: str):
    assert ROWS[id].avoided_ug_per_unit == grams_per_unit * 1_000_000
    assert ROWS[id].unit == unit


def test_every_kind_has_a_factor_for_any_act_that_can_still_count_and_a_cap():
    start = datetime(2023, 1, 1, tzinfo=UTC)
    for kind in ActKind:
        assert factor_in_force(FACTORS, kind, start) is not None
        assert factor_in_force(FACTORS, kind, start - timedelta(milliseconds=1)) is None
        assert DAILY_CAPS[kind].most > 0


def test_versions_count_up_from_one_in_time():
    by_kind: dict[ActKind, list[Factor]] = defaultdict(list)
    for factor in FACTORS:
        by_kind[factor.kind].append(factor)
    for factors in by_kind.values():
        assert [factor.version for factor in factors] == list(range(1, len(factors) + 1))
        assert factors == sorted(factors, key=lambda factor: factor.valid_from)


def test_every_row_says_where_it_comes_from_and_how_sound_that_is():
    assert len(ROWS) == len(FACTORS)
    for factor in FACTORS:
        assert all((factor.source, factor.baseline, factor.region))
        assert factor.grade in ("A", "B", "C", "none")
        assert (factor.grade == "none") == (factor.avoided_ug_per_unit == 0), "without a source, no grams"


@given(st.sampled_from(FACTORS), st.integers(1, 1_000_000))
def test_r16_milligrams_are_whole_and_never_more_than_the_figure_says(factor: Factor, quantity: int):
    exact = Fraction(quantity * factor.avoided_ug_per_unit, 1_000)
    milligrams = factor.avoided_mg(quantity)
    assert milligrams <= exact < milligrams + 1
    assert milligrams < 2**53
