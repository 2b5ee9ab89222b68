"""What acts earn: the arithmetic of rules and campaigns, and which of them is in force."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.partners.domain.agreement import Agreement, Money
from services.partners.domain.earning import (
    Book,
    Campaign,
    EarnRule,
    Question,
    decide,
    end_of_month,
    longest_return_window,
    members_in_question,
    taken_by,
)
from services.partners.domain.partner import PartnerStatus

START = datetime(2025, 1, 1, tzinfo=UTC)
ACT = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW = ACT + timedelta(hours=1)
CUP = "own_cup"
points = st.integers(0, 1_000_000)
quantities = st.integers(0, 1_000_000)


def rule(id: str = "rule_1", *, points: int = 10, per: int = 1, since: datetime = START, months: int = 12) -> EarnRule:
    return EarnRule(id, "brand", CUP, 1, points, per, since, months)


def campaign(
    id: str = "campaign_1",
    *,
    percent: int = 100,
    budget: int = 10**9,
    cap: int = 10**9,
    granted: int = 0,
    since: datetime = START,
    until: datetime = ACT + timedelta(days=1),
) -> Campaign:
    expires = until + timedelta(days=30)
    return Campaign(id, "brand", "More", CUP, percent, since, until, budget, cap, expires, granted)


def question(claim: str = "claim_1", *, member: str = "ann", quantity: int = 1, at: datetime = ACT) -> Question:
    return Question(claim, "brand", member, CUP, quantity, at)


def agreement(id: str = "agreement_1", micros: int = 10_000, since: datetime = START) -> Agreement:
    return Agreement(id, "brand", Money("EUR", micros), since, since, since)


def book(*campaigns: Campaign, rules: tuple[EarnRule, ...] = (rule(),), **changes: object) -> Book:
    values: dict[str, object] = {
        "statuses": {"brand": PartnerStatus.APPROVED},
        "agreements": [agreement()],
        "rules": rules,
        "campaigns": campaigns,
        "member_points": {},
    }
    return Book(**{**values, **changes})  # type: ignore[arg-type]


def granted(campaign_id: str, *decisions_of: tuple[Question, ...], using: Book) -> list[int]:
    asked = [question for group in decisions_of for question in group]
    return [
        sum(grant.points for grant in decision.grants if grant.campaign_id == campaign_id)
        for decision in decide(asked, using, NOW)
    ]


@given(quantities, points, st.integers(1, 1_000_000))
def test_points_are_the_exact_quotient_rounded_down(quantity: int, points: int, per: int):
    earned = rule(points=points, per=per).points_for(quantity)
    assert earned * per <= quantity * points < (earned + 1) * per


@given(quantities, quantities, points, st.integers(1, 1_000_000))
def test_who_does_more_never_earns_less(one: int, more: int, points: int, per: int):
    using = rule(points=points, per=per)
    assert using.points_for(one) <= using.points_for(one + more)


@pytest.mark.parametrize(
    ("act", "months", "until"),
    [
        ("2026-01-31T23:59:59.999", 1, "2026-03-01"),
        ("2026-02-28T00:00:00", 0, "2026-03-01"),
        ("2024-02-29T12:00:00", 12, "2025-03-01"),
        ("2023-02-28T12:00:00", 12, "2024-03-01"),
        ("2026-11-30T12:00:00", 1, "2027-01-01"),
        ("2026-12-01T00:00:00", 1, "2027-02-01"),
        ("2026-12-31T23:59:59", 12, "2028-01-01"),
        ("2026-01-01T00:00:00", 60, "2031-02-01"),
    ],
)
def test_points_are_good_until_a_month_has_ended(act: str, months: int, until: str):
    at = datetime.fromisoformat(act).replace(tzinfo=UTC)
    assert end_of_month(at, months) == datetime.fromisoformat(until).replace(tzinfo=UTC)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), st.integers(1, 60))
def test_points_last_for_all_of_their_months_and_no_day_longer(at: datetime, months: int):
    end = end_of_month(at, months)
    last_day = end - timedelta(microseconds=1)
    assert (end.day, end.time()) == (1, datetime.min.time())
    assert (last_day.year * 12 + last_day.month) - (at.year * 12 + at.month) == months


def test_p2_a_late_event_uses_the_rule_that_was_in_force():
    change = datetime(2026, 2, 1, tzinfo=UTC)
    rules = (rule("old", points=10), rule("new", points=70, since=change))
    asked = [question("before", at=change - timedelta(milliseconds=1)), question("after", at=change)]
    before, after = decide(asked, book(rules=rules), NOW)
    assert [(g.rule_id, g.points) for g in before.grants] == [("old", 10)]
    assert [(g.rule_id, g.points) for g in after.grants] == [("new", 70)]


def test_the_value_of_a_point_is_that_of_the_agreement_in_force_at_the_act():
    dearer = agreement("agreement_2", 20_000, ACT)
    asked = [question("before", at=ACT - timedelta(seconds=1)), question("after", at=ACT)]
    before, after = decide(asked, book(agreements=[dearer, agreement()]), NOW)
    assert (before.unit_value, after.unit_value) == (Money("EUR", 10_000), Money("EUR", 20_000))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"statuses": {}}, "PARTNER_NOT_FOUND"),
        ({"statuses": {"brand": PartnerStatus.APPLIED}}, "PARTNER_NOT_FOUND"),
        ({"statuses": {"brand": PartnerStatus.SUSPENDED}}, "PARTNER_SUSPENDED"),
        ({"statuses": {"brand": PartnerStatus.CLOSED}}, "PARTNER_CLOSED"),
        ({"rules": ()}, "NO_EARN_RULE"),
        ({"rules": (rule(since=ACT + timedelta(seconds=1)),)}, "NO_EARN_RULE"),
        ({"agreements": []}, "NO_AGREEMENT_IN_FORCE"),
        ({"agreements": [agreement(since=ACT + timedelta(seconds=1))]}, "NO_AGREEMENT_IN_FORCE"),
    ],
)
def test_a_claim_that_earns_nothing_says_why(change: dict[str, object], reason: str):
    (decision,) = decide([question()], book(campaign(), **change), NOW)
    assert (decision.reason, decision.grants, decision.unit_value) == (reason, (), None)


def test_a_rule_that_gives_nothing_gives_no_grant_and_no_reason():
    (decision,) = decide([question(quantity=9)], book(campaign(), rules=(rule(points=1, per=10),)), NOW)
    assert (decision.reason, decision.grants) == ("", ())


def test_a_campaign_is_in_force_from_its_start_until_before_its_end():
    more = campaign(since=ACT, until=ACT + timedelta(hours=1))
    moments = [ACT - timedelta(milliseconds=1), ACT, more.valid_until - timedelta(milliseconds=1), more.valid_until]
    asked = tuple(question(f"claim_{n}", at=at) for n, at in enumerate(moments))
    assert granted("campaign_1", asked, using=book(more)) == [0, 10, 10, 0]


def test_campaigns_add_up_each_with_points_of_its_own():
    half = campaign("campaign_2", percent=50)
    (decision,) = decide([question(quantity=3)], book(campaign(), half), NOW)
    assert [(g.rule_id, g.campaign_id, g.points) for g in decision.grants] == [
        ("rule_1", "", 30),
        ("", "campaign_1", 30),
        ("", "campaign_2", 15),
    ]
    assert [g.expires_at for g in decision.grants[1:]] == [half.points_expire_at] * 2


def test_what_one_claim_takes_is_not_there_for_the_next():
    asked = tuple(question(f"claim_{n}", member=f"member_{n}") for n in range(4))
    assert granted("campaign_1", asked, using=book(campaign(budget=25))) == [10, 10, 5, 0]


def test_a_member_gets_no_more_than_the_cap_and_others_get_theirs():
    asked = (question("a"), question("b"), question("c", member="bob"))
    using = book(campaign(cap=15), member_points={("campaign_1", "ann"): 3})
    assert granted("campaign_1", asked, using=using) == [10, 2, 10]


quantities_of_members = st.lists(st.tuples(st.sampled_from(["ann", "bob", "cem"]), st.integers(0, 5_000)), max_size=40)


@given(
    quantities_of_members,
    st.integers(1, 1_000),
    st.integers(1, 100_000),
    st.integers(1, 100_000),
    st.integers(0, 100_000),
)
def test_grants_never_exceed_budget_or_cap(
    claims: list[tuple[str, int]], percent: int, budget: int, cap: int, already: int
):
    already = min(already, budget, cap)
    using = book(
        campaign(percent=percent, budget=budget, cap=cap, granted=already),
        rules=(rule(points=3, per=2),),
        member_points={("campaign_1", "ann"): already},
    )
    asked = [question(f"claim_{n}", member=who, quantity=much) for n, (who, much) in enumerate(claims)]
    decisions = decide(asked, using, NOW)
    taken = taken_by(decisions)
    assert already + taken.by_campaign["campaign_1"] <= budget
    assert already + taken.by_member["campaign_1", "ann"] <= cap
    assert all(taken.by_member["campaign_1", who] <= cap for who in ("bob", "cem"))
    assert sum(taken.by_member.values()) == taken.by_campaign["campaign_1"]
    # Nothing is withheld either: each claim gets all that it would, cut to what is left then.
    budget_left, caps_left = budget - already, {"ann": cap - already, "bob": cap, "cem": cap}
    for asked_for, decision in zip(asked, decisions, strict=True):
        got = sum(grant.points for grant in decision.grants if grant.campaign_id)
        wanted = asked_for.quantity * 3 // 2 * percent // 100
        assert got == min(wanted, budget_left, caps_left[asked_for.member_id])
        budget_left -= got
        caps_left[asked_for.member_id] -= got


@given(quantities_of_members)
def test_deciding_is_a_function_of_its_input(claims: list[tuple[str, int]]):
    asked = [question(f"claim_{n}", member=who, quantity=much) for n, (who, much) in enumerate(claims)]
    using = book(campaign(budget=500, cap=200))
    assert decide(asked, using, NOW) == decide(asked, using, NOW)


def test_only_members_whom_a_campaign_could_give_something_are_looked_up():
    over = campaign("campaign_2", until=ACT)
    asked = [question(), question("claim_2", member="bob", at=ACT - timedelta(days=1))]
    assert members_in_question(asked, [campaign(), over]) == {
        ("campaign_1", "ann"),
        ("campaign_1", "bob"),
        ("campaign_2", "bob"),
    }


@pytest.mark.parametrize(("months", "days"), [(1, 27), (2, 58), (3, 88), (6, 180), (12, 364)])
def test_r9_a_return_window_ends_before_the_points_do(months: int, days: int):
    assert longest_return_window(months) == days


@given(st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), st.integers(1, 60))
def test_r9_whenever_the_act_was_the_member_has_the_points_for_a_day(at: datetime, months: int):
    window = min(365, longest_return_window(months))
    available_at = replace(rule(months=months), return_window_days=window).available_at(at)
    assert available_at is not None
    assert end_of_month(at, months) - available_at >= timedelta(days=1)


def test_points_that_would_expire_before_anybody_has_them_are_not_given():
    """A machine was offline for long: of what its act earned only the campaign's points are good still."""
    late = ACT + timedelta(days=70)
    lasting = replace(campaign("campaign_2"), points_expire_at=late + timedelta(milliseconds=1))
    over = replace(campaign(), points_expire_at=late)
    using = book(over, lasting, rules=(rule(months=1),))
    (decision,) = decide([question()], using, late)
    assert [(grant.campaign_id, grant.points) for grant in decision.grants] == [("campaign_2", 10)]
    assert taken_by([decision]).by_campaign == {"campaign_2": 10}, "the other one's budget is as it was"
    (decision,) = decide([question()], book(over, rules=(rule(months=1),)), late)
    assert (decision.reason, decision.grants) == ("POINTS_OVER_ALREADY", ())


def test_r9_points_of_a_campaign_that_end_before_the_return_window_are_not_given():
    returnable = replace(rule(), return_window_days=31)
    (decision,) = decide([question()], book(campaign(), rules=(returnable,)), NOW)
    assert [(grant.rule_id, grant.campaign_id) for grant in decision.grants] == [("rule_1", "")]


@pytest.mark.parametrize(
    ("window", "at", "available"),
    [
        (0, ACT, None),
        (1, datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 3, 12, tzinfo=UTC)),
        (1, datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 12, tzinfo=UTC)),
        (14, ACT, datetime(2026, 3, 25, tzinfo=UTC)),
        (365, ACT, datetime(2027, 3, 11, tzinfo=UTC)),
    ],
)
def test_r9_points_are_pending_until_the_first_midnight_after_the_window_of_the_rule_in_force(
    window: int, at: datetime, available: datetime | None
):
    returnable = replace(rule(since=START), return_window_days=window)
    later = replace(rule("rule_2", since=ACT + timedelta(days=1)), return_window_days=7)
    lasting = replace(campaign(), points_expire_at=ACT + timedelta(days=400))
    (decision,) = decide([question(at=at)], book(lasting, rules=(returnable, later)), NOW)
    assert decision.available_at == available
    assert len(decision.grants) == 2, "campaigns' points wait, too"
    if available:
        assert timedelta(days=window) <= available - at <= timedelta(days=window + 1)
