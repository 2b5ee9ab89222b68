"""What becomes of a batch of reports."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.domain.acts import TRIPS, ActKind, ActStatus, Claim, Reason, factor_in_force
from services.accounts.domain.caps import DAILY_CAPS, cap_key
from services.accounts.domain.decisions import Decision, Known, Report, decide
from services.accounts.factors import FACTORS

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
NOTHING_KNOWN = Known(claims={}, used={}, factors=FACTORS)
CREDITED, DUPLICATE, CAPPED, REFUSED = ActStatus
numbers = count()


def report(kind: ActKind = ActKind.METRO_TRIP, quantity: int = 1_000, reference: str | None = None, **other) -> Report:
    number = next(numbers)
    fields = {
        "act_id": f"act_{number}",
        "claim_id": f"claim_{number}",
        "partner_id": "partner_a",
        "member_id": "member_a",
        "occurred_at": NOW - timedelta(hours=1),
        "reference": f"ticket {number}" if reference is None else reference,
    }
    return Report(kind=kind, quantity=quantity, **{**fields, **other})


def statuses(decision: Decision) -> list[ActStatus]:
    return [act.status for act in decision.acts]


def known_after(*decisions: Decision) -> Known:
    """What is known once these decisions are stored."""
    made = [claim for decision in decisions for claim in decision.claims]
    claims = {key: claim.id for claim in made for key in (claim.key, claim.box_key) if key}
    used = {cap: units for decision in decisions for cap, units in decision.used.items()}
    return Known(claims, used, FACTORS)


def test_a_first_report_makes_an_act_and_a_claim_that_name_each_other():
    metro = report(quantity=8_200, reference="MT-1")
    decision = decide([metro], NOTHING_KNOWN, NOW)
    (act,), (claim,) = decision.acts, decision.claims
    assert (act.id, act.claim_id, act.status, act.reason) == (metro.act_id, claim.id, CREDITED, "")
    assert (claim.act_id, claim.factor_id, claim.key) == (act.id, "metro-trip-2025", metro.key)
    assert claim.co2e_mg == act.new_co2e_mg == 8_200 * 139_450 // 1_000 == 1_143_490
    assert decision.used == {metro.cap: 1}


def test_r14_the_second_programme_gets_the_same_claim_and_no_new_grams():
    first = decide([report(reference="MT-1")], NOTHING_KNOWN, NOW)
    second = decide([report(reference="mt 1", partner_id="partner_b")], known_after(first), NOW)
    (act,) = second.acts
    assert (act.status, act.reason, act.new_co2e_mg) == (DUPLICATE, "DUPLICATE_ACT", 0)
    assert act.claim_id == first.claims[0].id
    assert not second.claims
    assert not second.used


def test_the_same_act_twice_in_one_batch_counts_once():
    decision = decide([report(reference="MT-1"), report(reference="MT1")], NOTHING_KNOWN, NOW)
    assert statuses(decision) == [CREDITED, DUPLICATE]
    assert decision.acts[0].claim_id == decision.acts[1].claim_id


def test_a6_the_sixth_metro_trip_of_a_day_gets_nothing_and_is_told_why():
    decision = decide([report() for _ in range(6)], NOTHING_KNOWN, NOW)
    assert statuses(decision) == [CREDITED] * 5 + [CAPPED]
    sixth = decision.acts[5]
    assert (sixth.reason, sixth.new_co2e_mg, sixth.claim_id) == ("DAILY_CAP_REACHED", 0, "")
    assert sixth.message.startswith("5 metro trips a day count")
    assert len(decision.claims) == 5


def test_a6_the_cap_is_one_members_one_kinds_one_days():
    full = known_after(decide([report() for _ in range(5)], NOTHING_KNOWN, NOW))
    others = [
        report(member_id="member_b"),
        report(ActKind.BUS_TRIP),
        report(occurred_at=NOW - timedelta(days=1)),
    ]
    assert statuses(decide([report(), *others], full, NOW)) == [CAPPED, CREDITED, CREDITED, CREDITED]


def test_a6_the_day_is_when_it_happened_in_utc():
    just_before, just_after = NOW.replace(hour=0, minute=0) - timedelta(milliseconds=1), NOW.replace(hour=0, minute=0)
    keys = {cap_key("m", ActKind.OWN_CUP, at).day.isoformat() for at in (just_before, just_after)}
    assert keys == {"2026-03-13", "2026-03-14"}


def test_a6_duplicates_do_not_use_the_cap_up():
    same = [report(reference="MT-1") for _ in range(9)]
    assert statuses(decide([*same, *(report() for _ in range(5))], NOTHING_KNOWN, NOW)) == (
        [CREDITED] + [DUPLICATE] * 8 + [CREDITED] * 4 + [CAPPED]
    )


def test_a6_what_is_known_already_is_a_duplicate_even_when_the_cap_is_reached():
    full = decide([report(reference=f"MT-{number}") for number in range(5)], NOTHING_KNOWN, NOW)
    assert statuses(decide([report(reference="MT-3")], known_after(full), NOW)) == [DUPLICATE]


def test_a6_bills_boxes_and_cups_count_by_their_number_not_by_their_reports():
    cups = [report(ActKind.OWN_CUP, 2), report(ActKind.OWN_CUP, 2), report(ActKind.OWN_CUP, 1)]
    decision = decide(cups, NOTHING_KNOWN, NOW)
    assert statuses(decision) == [CREDITED, CAPPED, CREDITED]
    assert decision.used == {cups[0].cap: 3}
    assert statuses(decide([report(ActKind.ELECTRONIC_BILL, 1_000_000)], NOTHING_KNOWN, NOW)) == [CAPPED]


def test_an_own_cup_is_a_claim_of_no_grams():
    decision = decide([report(ActKind.OWN_CUP, 1)], NOTHING_KNOWN, NOW)
    assert statuses(decision) == [CREDITED]
    assert [claim.co2e_mg for claim in decision.claims] == [0]


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        (timedelta(minutes=5), ""),
        (timedelta(minutes=5, milliseconds=1), "OCCURRED_IN_FUTURE"),
        (timedelta(days=-400), ""),
        (timedelta(days=-400, milliseconds=-1), "OCCURRED_TOO_LONG_AGO"),
    ],
)
def test_an_act_counts_for_400_days_and_may_be_5_minutes_early(offset: timedelta, reason: str):
    (act,) = decide([report(occurred_at=NOW + offset)], NOTHING_KNOWN, NOW).acts
    assert act.reason == reason
    assert act.status == (REFUSED if reason else CREDITED)


@pytest.mark.parametrize("offset", [timedelta(minutes=5, seconds=2), timedelta(days=-401)])
def test_l10_what_a_machine_was_told_that_counts_does_count_however_late_we_hear_of_it(offset: timedelta):
    drop_off = report(ActKind.PET_RECYCLING, 25, occurred_at=NOW + offset, event_id="dropoff_1", event_hash="0" * 64)
    assert statuses(decide([drop_off], NOTHING_KNOWN, NOW)) == [CREDITED]


@pytest.mark.parametrize("reason", [Reason.MEMBER_NOT_FOUND, Reason.CUSTOMER_NOT_LINKED])
def test_an_act_of_nobody_is_refused_and_touches_nothing(reason: Reason):
    decision = decide([report(member_id="", refusal=reason)], NOTHING_KNOWN, NOW)
    (act,) = decision.acts
    assert (act.status, act.reason, act.member_id, act.claim_id) == (REFUSED, reason, "", "")
    assert act.message
    assert not decision.claims
    assert not decision.used


def test_without_a_factor_in_force_nothing_counts():
    known = replace(NOTHING_KNOWN, factors=[f for f in FACTORS if f.kind != ActKind.METRO_TRIP])
    (act,) = decide([report()], known, NOW).acts
    assert (act.status, act.reason) == (REFUSED, "NO_FACTOR_IN_FORCE")


def test_a_late_trip_is_counted_by_the_factor_of_its_own_year():
    new_year = datetime(2025, 1, 1, tzinfo=UTC)
    trips = [report(ActKind.BUS_TRIP, 10_000, occurred_at=new_year + d) for d in (timedelta(0), timedelta(seconds=-1))]
    claims = decide(trips, NOTHING_KNOWN, new_year + timedelta(days=60)).claims
    assert [(claim.factor_id, claim.co2e_mg) for claim in claims] == [
        ("bus-trip-2025", 634_000),
        ("bus-trip-2024", 584_500),
    ]


reports = st.lists(
    st.builds(
        report,
        kind=st.sampled_from(ActKind),
        quantity=st.integers(1, 12),
        reference=st.sampled_from(["A-1", "a1", "B-2", "C3", "D4", "E5", "F6", "G7"]),
        member_id=st.sampled_from(["member_a", "member_b"]),
        partner_id=st.sampled_from(["partner_a", "partner_b"]),
        occurred_at=st.sampled_from([NOW, NOW - timedelta(days=1), NOW - timedelta(days=500)]),
        event_hash=st.sampled_from(["", "", "ab" * 32]),
    ),
    max_size=40,
)


def check(decision: Decision, batch: Sequence[Report]) -> None:
    """What holds of every decision."""
    assert [act.id for act in decision.acts] == [one.act_id for one in batch]
    credited = [act for act in decision.acts if act.status == CREDITED]
    assert [act.claim_id for act in credited] == [claim.id for claim in decision.claims]
    assert sum(act.new_co2e_mg for act in decision.acts) == sum(claim.co2e_mg for claim in decision.claims)
    assert len({claim.key for claim in decision.claims}) == len(decision.claims)
    assert all(bool(act.reason) == bool(act.message) == (act.status != CREDITED) for act in decision.acts)
    assert all(units <= DAILY_CAPS[cap.kind].most for cap, units in decision.used.items())


@given(reports)
def test_whatever_comes_each_act_is_one_claim_at_most_and_the_sums_agree(batch: list[Report]):
    check(decide(batch, NOTHING_KNOWN, NOW), batch)


@given(reports, st.integers(0, 40))
def test_it_does_not_matter_how_reports_are_cut_into_batches(batch: list[Report], cut: int):
    whole = decide(batch, NOTHING_KNOWN, NOW)
    first = decide(batch[:cut], NOTHING_KNOWN, NOW)
    second = decide(batch[cut:], known_after(first), NOW)
    assert [*first.acts, *second.acts] == whole.acts
    assert [*first.claims, *second.claims] == whole.claims


@given(reports)
def test_reporting_all_again_adds_nothing(batch: list[Report]):
    first = decide(batch, NOTHING_KNOWN, NOW)
    again = decide([replace(one, act_id=f"{one.act_id}x") for one in batch], known_after(first), NOW)
    assert not again.claims or all(
        # Only a cap by units may leave room for a smaller act that an earlier, larger one did not fit into.
        DAILY_CAPS[claim.kind].per_unit
        for claim in again.claims
    )
    for before, after in zip(first.acts, again.acts, strict=True):
        if before.status in (CREDITED, DUPLICATE):
            assert (after.status, after.claim_id) == (DUPLICATE, before.claim_id)


@given(st.data())
def test_the_order_of_reports_does_not_change_how_many_trips_count(data: st.DataObject):
    trips = data.draw(
        st.lists(
            st.builds(
                report,
                kind=st.sampled_from(sorted(TRIPS)),
                reference=st.integers(0, 9).map(str),
                occurred_at=st.just(NOW),
            ),
            max_size=30,
        )
    )
    shuffled = data.draw(st.permutations(trips))

    def counted(batch: Sequence[Report]) -> Counter[ActKind]:
        return Counter(claim.kind for claim in decide(batch, NOTHING_KNOWN, NOW).claims)

    expected = {kind: len({one.key for one in trips if one.kind == kind}) for kind in TRIPS}
    assert counted(trips) == counted(shuffled) == Counter({k: min(n, 5) for k, n in expected.items()})


@given(reports)
def test_r16_recomputing_a_claim_from_its_pinned_factor_gives_the_same_grams(batch: list[Report]):
    rows = {factor.id: factor for factor in FACTORS}

    def recomputed(claim: Claim) -> int:
        return claim.quantity * rows[claim.factor_id].avoided_ug_per_unit // 1_000

    # A factor that comes later has no say in what was claimed before.
    later = [replace(f, id=f"{f.id}-x", version=99, avoided_ug_per_unit=1, valid_from=NOW) for f in FACTORS]
    for factors in (FACTORS, [*FACTORS, *later]):
        claims = decide(batch, replace(NOTHING_KNOWN, factors=factors), NOW).claims
        for claim in claims:
            if claim.factor_id in rows:
                assert claim.co2e_mg == recomputed(claim)
            else:
                assert claim.occurred_at >= NOW
                assert factor_in_force(factors, claim.kind, claim.occurred_at).id == claim.factor_id
