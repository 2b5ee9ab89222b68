"""What has to come of a plan, on cases small enough to be worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.day.plan import Agreement, Batch, Campaign, Item, Plan, Report, ReportCall, Reward, Rule, Spend
from deploy.local.day.planner import make_plan
from deploy.local.day.reckoning import factor, reckon, spelled_alike
from tests.support.day import SMALL

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EARLY = datetime(2025, 6, 1, tzinfo=UTC)


def plan(**parts: object) -> Plan:
    """A day with one market rule, one coffee rule and nothing that happens."""
    empty = replace(make_plan(SMALL), batches=(), calls=(), repeats=(), spends=(), campaigns=(), rewards=())
    usual = {
        "agreements": (Agreement("market", 10_000, EARLY, 100), Agreement("coffee", 15_000, EARLY, 1_000)),
        "rules": (
            Rule("m", "market", "PET_RECYCLING", 1, 5, EARLY, 12),
            Rule("c", "coffee", "OWN_CUP", 5, 1, EARLY, 6),
        ),
    }
    return replace(empty, **{**usual, **parts})  # type: ignore[arg-type]


def trip(reference: str, brand: str = "transit", member: str = "m1", metres: int = 1_001) -> Report:
    return Report(brand, member, "N1", "METRO_TRIP", metres, NOON, reference)


def cup(second: int, member: str = "m1") -> Report:
    return Report("coffee", member, "N1", "OWN_CUP", 1, NOON.replace(second=second))


def calls(*reports: Report) -> tuple[ReportCall, ...]:
    return (ReportCall("one", "any", reports),)


def pet(grams: int, at: datetime = NOON, member: str = "m1") -> Item:
    return Item(member, "PET", grams, "", at)


def upload(*items: Item, fate: str = "CREDITED", mode: str = "PROCEED") -> tuple[Batch, ...]:
    return (Batch("b", "centraal", mode, items, fate),)  # type: ignore[arg-type]


def test_grams_are_rounded_down():
    # 1,001 m at 139.45 g/km are 139.58945 g.
    assert reckon(plan(calls=calls(trip("T1")))).co2e_mg == 139_589


@pytest.mark.parametrize(("year", "value"), [(2023, 64_490), (2024, 58_450), (2025, 63_400), (2026, 63_400)])
def test_the_factor_in_force_when_it_happened_counts(year: int, value: int):
    assert factor("BUS_TRIP", datetime(year, 7, 1, tzinfo=UTC)) == value


def test_own_cups_give_points_and_no_grams():
    result = reckon(plan(calls=calls(cup(1), cup(2))))
    assert (result.claims, result.co2e_mg, result.brands["coffee"].issued) == (2, 0, 10)


def test_the_sixth_metro_trip_of_a_day_does_not_count():
    result = reckon(plan(calls=calls(*(trip(f"T{number}") for number in range(6)))))
    assert (result.claims, result.acts_refused) == (5, {"DAILY_CAP_REACHED": 1})


def test_one_ticket_counts_once_whoever_reports_it_and_however_it_is_spelled():
    result = reckon(plan(calls=calls(trip("TL-1"), trip("tl 1", brand="market"), trip("TL-1", member="m2"))))
    assert (result.claims, result.acts_refused) == (2, {"DUPLICATE_ACT": 1})


def test_a_repeated_act_is_a_duplicate_even_when_the_cap_is_reached():
    result = reckon(plan(calls=calls(cup(1), cup(2), cup(3), cup(1), cup(4))))
    assert result.acts_refused == {"DUPLICATE_ACT": 1, "DAILY_CAP_REACHED": 1}


def test_points_are_rounded_down_and_nothing_is_no_points():
    result = reckon(plan(batches=upload(pet(14), pet(4, NOON.replace(second=1)))))
    assert (result.brands["market"].issued, result.earnings_refused) == (2, {"RULE_GIVES_ZERO": 1})


def test_a_late_act_earns_by_the_rule_in_force_when_it_happened():
    rules = (
        Rule("1", "market", "PET_RECYCLING", 1, 10, EARLY, 1),
        Rule("2", "market", "PET_RECYCLING", 1, 2, datetime(2026, 2, 1, tzinfo=UTC), 12),
    )
    late = pet(20, datetime(2025, 10, 1, tzinfo=UTC))
    result = reckon(plan(rules=rules, batches=upload(pet(20), late)))
    market = result.brands["market"]
    assert (market.issued, market.outstanding, result.earnings_refused) == (10, 10, {"POINTS_OVER_ALREADY": 1})
    longer = (replace(rules[0], valid_months=12), rules[1])
    assert reckon(plan(rules=longer, batches=upload(late))).brands["market"].issued == 2


def test_before_the_first_rule_there_are_grams_and_no_points():
    result = reckon(plan(batches=upload(pet(20, datetime(2025, 5, 1, tzinfo=UTC)))))
    assert (result.co2e_mg, result.earnings_refused) == (33_000, {"NO_EARN_RULE": 1})


def test_a_campaign_adds_up_to_the_members_cap():
    campaign = Campaign("k", "coffee", "k", "OWN_CUP", 100, EARLY, NOON.replace(hour=20), 1_000, 7, NOON)
    result = reckon(plan(campaigns=(campaign,), calls=calls(cup(1), cup(2), cup(3), cup(1, "m2"))))
    assert result.brands["coffee"].issued == 20 + 7 + 5


def test_nothing_is_issued_beyond_the_block():
    result = reckon(plan(batches=upload(pet(400), pet(200, NOON.replace(second=1)), pet(100, NOON.replace(second=2)))))
    assert result.brands["market"].issued == 80 + 20
    assert result.earnings_refused == {"PREPAID_BLOCK_EXHAUSTED": 1}
    assert result.uncertain == {"m1"}


@pytest.mark.parametrize(
    ("fate", "mode", "accepted", "duplicate", "invalid", "forged"),
    [
        ("CREDITED", "ROLLBACK", 1, 0, 0, 0),
        ("TWICE", "ROLLBACK", 1, 0, 0, 0),
        ("KNOWN", "PROCEED", 0, 1, 0, 0),
        ("FORGED", "PROCEED", 0, 0, 0, 1),
    ],
)
def test_what_becomes_of_a_batch(fate: str, mode: str, accepted: int, duplicate: int, invalid: int, forged: int):
    result = reckon(plan(batches=upload(pet(20), fate=fate, mode=mode)))
    found = (result.items_accepted, result.items_duplicate, result.items_invalid, result.batches_forged)
    assert found == (accepted, duplicate, invalid, forged)
    assert result.claims == accepted


@pytest.mark.parametrize(("mode", "fate", "accepted"), [("ROLLBACK", "NOT", 0), ("PROCEED", "PARTLY", 1)])
def test_a_bad_item_takes_the_others_along_only_in_a_rollback_batch(mode: str, fate: str, accepted: int):
    result = reckon(plan(batches=upload(pet(20), pet(0), fate=fate, mode=mode)))
    assert (result.items_accepted, result.items_invalid, result.claims) == (accepted, 1, accepted)


def test_points_are_spent_earliest_expiry_first_and_their_issuer_pays():
    spends = (Spend("s", "m1", "r", 12),)
    result = reckon(
        plan(
            calls=calls(cup(1), cup(2)),
            batches=upload(pet(50)),
            rewards=(Reward("r", "market", "Apples", 12, 9),),
            spends=spends,
        )
    )
    coffee, market = result.brands["coffee"], result.brands["market"]
    assert (coffee.spent, market.spent, market.accepted) == (10, 2, 12)
    # Ten points of coffee at 0.015; what the market issued itself nobody owes.
    assert (coffee.net_micros, market.net_micros) == (-150_000, 150_000)
    assert result.balance("m1") == 8


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_no_point_is_made_or_lost_and_nets_sum_to_zero(seed: int):
    result = reckon(make_plan(replace(SMALL, seed=seed)))
    assert result.points("spent") == result.points("accepted")
    assert sum(brand.net_micros for brand in result.brands.values()) == 0
    assert result.points("outstanding") == sum(lot.points for lots in result.wallets.values() for lot in lots)
    assert result.points("issued") == sum(kind.points for kind in result.kinds.values())


@given(st.text("abcXYZ019- /", max_size=20))
def test_spelling_does_not_matter(reference: str):
    assert spelled_alike(reference) == spelled_alike(reference.upper().replace("-", " "))
