"""The plan of the day: pure data, the same on every machine, and with everything in it that a day has to show."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.day.cast import CAPPED_BY_PIECE, DAILY_CAPS, KIND_OF_MATERIAL
from deploy.local.day.plan import Plan, Scale
from deploy.local.day.planner import make_plan
from deploy.local.day.reckoning import is_bad, month_end, reckon
from tests.support.day import DAY, SMALL

dates = st.dates(date(2025, 1, 1), date(2040, 12, 31))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(DAY)


def test_the_same_scale_gives_the_same_plan(plan: Plan):
    assert make_plan(DAY) == plan
    assert make_plan(replace(DAY, seed=7)) != plan


def test_request_ids_follow_from_the_plan_and_the_step(plan: Plan):
    assert plan.request_id("Redeem", "m0001") == make_plan(DAY).request_id("Redeem", "m0001")
    others = {
        plan.request_id("Redeem", "m0002"),
        make_plan(replace(DAY, seed=7)).request_id("Redeem", "m0001"),
        make_plan(SMALL).request_id("Redeem", "m0001"),
    }
    assert plan.request_id("Redeem", "m0001") not in others
    assert UUID(plan.request_id("Redeem", "m0001")).version == 5


def test_a_day_has_its_brands_places_members_and_acts(plan: Plan):
    assert {"grocer", "noodle maker", "courier", "coffee chain"} <= {brand.trade for brand in plan.brands}
    assert len(plan.places) == 6
    assert all(52.2 < place.latitude < 52.5 and 4.7 < place.longitude < 5.1 for place in plan.places)
    assert len(plan.members) == 200
    items = sum(not is_bad(item) for batch in plan.batches if credited(batch.fate) for item in batch.items)
    reports = sum(len(call.reports) for call in plan.calls)
    assert (items, reports) == (750, 750)


def credited(fate: str) -> bool:
    return fate in ("CREDITED", "PARTLY", "TWICE")


def test_every_kind_of_trouble_happens(plan: Plan):
    assert {batch.fate for batch in plan.batches} == {"CREDITED", "PARTLY", "NOT", "TWICE", "KNOWN", "FORGED"}
    modes = {batch.fate: batch.mode for batch in plan.batches}
    assert modes["NOT"] == "ROLLBACK"
    assert modes["PARTLY"] == "PROCEED"
    result = reckon(plan)
    assert {"DAILY_CAP_REACHED", "DUPLICATE_ACT", "CUSTOMER_NOT_LINKED"} <= set(result.acts_refused)
    assert {"NO_EARN_RULE", "PREPAID_BLOCK_EXHAUSTED", "POINTS_OVER_ALREADY"} <= set(result.earnings_refused)
    assert [spend.refused for spend in plan.spends].count(True) == 1
    assert any(spend.captured is None and not spend.refused for spend in plan.spends)
    assert any(spend.captured and spend.captured < plan.reward(spend.reward).points for spend in plan.spends)


def test_one_trip_is_reported_by_two_brands_in_two_spellings(plan: Plan):
    trips = {(r.member, r.reference) for call in plan.calls for r in call.reports if r.brand == "transit"}
    by_market = [r for call in plan.repeats for r in call.reports if r.brand == "market"]
    assert len(by_market) == 1
    assert (by_market[0].member, by_market[0].reference) not in trips
    assert (by_market[0].member, by_market[0].reference.upper().replace(" ", "-")) in trips


@pytest.mark.parametrize("scale", [DAY, SMALL, replace(SMALL, day=date(2028, 2, 29)), replace(DAY, seed=9)])
def test_who_comes_first_never_decides_the_totals(scale: Scale):
    plan = make_plan(scale)
    used: Counter[tuple[str, str, date]] = Counter()
    brands: dict[tuple[str, str, date], set[str]] = defaultdict(set)
    brand_of = {place.key: place.brand for place in plan.places}
    for call in plan.calls:
        for report in call.reports:
            key = (report.member, report.kind, report.occurred_at.date())
            used[key] += report.quantity if report.kind in CAPPED_BY_PIECE else 1
            brands[key].add(report.brand)
    for batch in plan.batches:
        for item in batch.items if credited(batch.fate) else ():
            key = (item.member, KIND_OF_MATERIAL[item.material], item.occurred_at.date())
            used[key] += 1
            # A machine's drop-offs reach the accounts at any time, so they must stay below the cap whatever the order.
            brands[key] |= {brand_of[batch.machine], "machines"}
    for key, use in used.items():
        if key[0] and use > DAILY_CAPS[key[1]]:  # type: ignore[index]
            assert len(brands[key]) == 1, key


@pytest.mark.parametrize("scale", [DAY, SMALL])
def test_a_spend_takes_the_oldest_points_first_without_a_tie(scale: Scale):
    wallets = reckon(replace(make_plan(scale), spends=())).wallets
    for member, lots in wallets.items():
        moments = [lot.expires_at for lot in lots]
        assert moments == sorted(moments)
        assert len(set(moments)) == len(moments), member


@pytest.mark.parametrize("scale", [DAY, SMALL])
def test_members_spend_what_they_have_mostly_elsewhere(scale: Scale):
    plan = make_plan(scale)
    before = reckon(replace(plan, spends=()))
    abroad = 0
    for spend in plan.spends:
        reward = plan.reward(spend.reward)
        assert spend.member not in before.uncertain
        assert (reward.points <= before.balance(spend.member)) != spend.refused
        abroad += reward.brand not in {lot.issuer for lot in before.wallets[spend.member]}
    assert abroad > len(plan.spends) / 2
    spenders = [spend.member for spend in plan.spends if not spend.refused]
    assert len(set(spenders)) == len(spenders)


def test_items_are_distinct_events(plan: Plan):
    events = Counter((batch.machine, item) for batch in plan.batches if credited(batch.fate) for item in batch.items)
    assert max(events.values()) == 1


@settings(max_examples=40, deadline=None)
@given(dates, st.integers(0, 2**32))
def test_on_any_date_nothing_is_older_than_it_may_be_and_the_season_is_over(day: date, seed: int):
    plan = make_plan(Scale(seed, day, members=40, acts=200))
    now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    for batch in plan.batches:
        for item in batch.items:
            assert timedelta(0) < now - item.occurred_at < timedelta(days=399)
    assert all(now - rule.valid_from < timedelta(days=390) for rule in plan.rules)
    assert reckon(plan).earnings_refused["POINTS_OVER_ALREADY"] > 0


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.integers(1, 60))
def test_points_are_good_until_a_month_ends(at: datetime, months: int):
    end = month_end(at.replace(tzinfo=UTC), months)
    assert (end.day, end.hour) == (1, 0)
    last = end - timedelta(seconds=1)
    assert (last.year - at.year) * 12 + last.month - at.month == months
