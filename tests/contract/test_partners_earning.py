"""The partners service over gRPC: by which rules acts earn, and what they earn."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from alliance.accounts.v1 import accounts_pb2
from alliance.common.v1.money_pb2 import Money
from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from services.partners.domain.earning import end_of_month
from services.shared.errors import AlreadyExists, FailedPrecondition, InvalidArgument, PermissionDenied
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.support.errors import refused
from tests.support.partners import (
    PartnersClient,
    ago,
    agreed,
    ahead,
    applied,
    approved,
    campaign_request,
    campaigning,
    earning,
    moved,
    rule_request,
    ruled,
)
from tests.support.service import OPERATOR, ServiceProcess, partner

CUP = accounts_pb2.ACT_KIND_OWN_CUP
METRO = accounts_pb2.ACT_KIND_METRO_TRIP


@pytest.fixture(scope="module")
def process(mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess("partners", mongodb_uri, keys, workspace / "earning.log")
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
async def partners(process: ServiceProcess) -> PartnersClient:
    return process.client(PartnersServiceStub)


@pytest.fixture
async def rewards(process: ServiceProcess) -> PartnersClient:
    """The client that may ask what claims earn."""
    return process.client(PartnersServiceStub, "rewards")


@pytest.fixture
async def brand(partners: PartnersClient) -> pb.Partner:
    """Gives 10 points for a cup."""
    return await earning(partners)


def question(
    brand: pb.Partner,
    *,
    claim_id: str = "",
    member_id: str = "",
    quantity: int = 1,
    at: datetime | None = None,
    kind: accounts_pb2.ActKind = CUP,
) -> pb.EarnQuestion:
    return pb.EarnQuestion(
        claim_id=claim_id or new_id("claim"),
        partner_id=brand.id,
        member_id=member_id or new_id("member"),
        kind=kind,
        quantity=quantity,
        occurred_at=timestamp(at or ago(hours=1)),
    )


async def decided(rewards: PartnersClient, *questions: pb.EarnQuestion) -> Sequence[pb.EarnDecision]:
    request = pb.BatchEvaluateEarnsRequest(questions=questions)
    return (await rewards.call(rewards.stub.BatchEvaluateEarns, request)).decisions


async def released(rewards: PartnersClient, *claim_ids: str) -> None:
    await rewards.call(rewards.stub.BatchReleaseEarns, pb.BatchReleaseEarnsRequest(claim_ids=claim_ids))


async def granted(partners: PartnersClient, campaign: pb.Campaign) -> int:
    """What the campaign says it has given."""
    request = pb.BatchGetEarnRulesRequest(campaign_ids=[campaign.id])
    (found,) = (await partners.call(partners.stub.BatchGetEarnRules, request)).campaigns
    return found.granted_points


def extra(decisions: Sequence[pb.EarnDecision], campaign: pb.Campaign) -> int:
    grants = [grant for decision in decisions for grant in decision.grants]
    return sum(grant.points for grant in grants if grant.campaign_id == campaign.id)


# Rules and campaigns


async def test_a_rule_is_made_once_whatever_is_repeated(partners: PartnersClient, brand: pb.Partner):
    request = rule_request(kind=METRO, points=3, per_quantity=1_000)
    first = await partners.call(partners.stub.CreateEarnRule, request, caller=partner(brand.id))
    assert await partners.call(partners.stub.CreateEarnRule, request, caller=partner(brand.id)) == first
    request.points = 4
    error = await refused(AlreadyExists, partners.call(partners.stub.CreateEarnRule, request, caller=partner(brand.id)))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_rules_are_numbered_per_kind_and_listed_newest_first(partners: PartnersClient):
    brand = await approved(partners)
    cups = [await ruled(partners, brand.id, valid_from=timestamp(ago(days=day))) for day in (30, 10, 20)]
    metro = await ruled(partners, brand.id, kind=METRO)
    assert [rule.version for rule in [*cups, metro]] == [1, 2, 3, 1]
    campaign = await campaigning(partners, brand.id)
    request = pb.BatchListEarnRulesRequest(partner_ids=[brand.id, "partner_x"])
    (listed,) = (await partners.call(partners.stub.BatchListEarnRules, request)).partners
    assert list(listed.rules) == [metro, *cups[::-1]]
    assert list(listed.campaigns) == [campaign]
    by_id = pb.BatchGetEarnRulesRequest(rule_ids=[metro.id, "rule_x"], campaign_ids=[campaign.id, metro.id])
    found = await partners.call(partners.stub.BatchGetEarnRules, by_id)
    assert (list(found.rules), list(found.campaigns)) == ([metro], [campaign])


async def test_of_rules_with_the_same_start_one_is_made(partners: PartnersClient):
    brand = await approved(partners)
    start = timestamp(ago(days=3))
    answers = await asyncio.gather(
        *(ruled(partners, brand.id, valid_from=start, points=n) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, pb.EarnRule) for answer in answers) == 1
    refusals = [answer for answer in answers if isinstance(answer, AlreadyExists)]
    assert [error.reason for error in refusals] == ["RULE_STARTS_ALREADY"] * 4
    await ruled(partners, brand.id, valid_from=start, kind=METRO)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 0),
        ("kind", 99),
        ("points", -1),
        ("points", 1_000_001),
        ("points", 2**63 - 1),
        ("per_quantity", 0),
        ("per_quantity", 1_000_001),
        ("points_valid_months", 0),
        ("points_valid_months", 61),
        ("return_window_days", -1),
        ("return_window_days", 365),  # the points may be over by then
        ("valid_from", None),
        ("valid_from", {"seconds": -(2**62)}),
        ("valid_from", timestamp(ago(days=401))),
        ("valid_from", timestamp(ahead(days=3_654))),
    ],
)
async def test_a_rule_that_cannot_be_names_the_field(
    partners: PartnersClient, brand: pb.Partner, field: str, value: object
):
    request = rule_request(**{field: value})
    error = await refused(
        InvalidArgument, partners.call(partners.stub.CreateEarnRule, request, caller=partner(brand.id))
    )
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 81),
        ("kind", 0),
        ("extra_percent", 0),
        ("extra_percent", 1_001),
        ("budget_points", 0),
        ("budget_points", 2**63 - 1),
        ("member_cap_points", 0),
        ("member_cap_points", 1_000_000_001),
        ("valid_from", timestamp(ago(days=401))),
        ("valid_until", timestamp(ago(days=30))),
        ("valid_until", timestamp(ahead(days=3_654))),
        ("points_expire_at", timestamp(ahead(days=29))),
        ("points_expire_at", timestamp(ahead(days=8_000))),
        ("points_expire_at", None),
    ],
)
async def test_a_campaign_that_cannot_be_names_the_field(
    partners: PartnersClient, brand: pb.Partner, field: str, value: object
):
    request = campaign_request(**{field: value})
    error = await refused(
        InvalidArgument, partners.call(partners.stub.CreateCampaign, request, caller=partner(brand.id))
    )
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", field)


async def test_a_campaign_is_made_once_whatever_is_repeated(partners: PartnersClient, brand: pb.Partner):
    request = campaign_request()
    first = await partners.call(partners.stub.CreateCampaign, request, caller=partner(brand.id))
    assert await partners.call(partners.stub.CreateCampaign, request, caller=partner(brand.id)) == first
    listing = pb.BatchListEarnRulesRequest(partner_ids=[brand.id])
    (listed,) = (await partners.call(partners.stub.BatchListEarnRules, listing)).partners
    assert list(listed.campaigns) == [first.campaign]


async def test_who_does_not_take_part_makes_no_rules(partners: PartnersClient):
    newcomer = await applied(partners)
    closed = await approved(partners)
    await moved(partners, closed.id, pb.PARTNER_STATUS_CLOSED)
    for brand in (newcomer, closed):
        for making in (ruled(partners, brand.id), campaigning(partners, brand.id)):
            error = await refused(FailedPrecondition, making)
            assert error.reason == "PARTNER_NOT_ACTIVE"
    error = await refused(
        PermissionDenied, partners.call(partners.stub.CreateEarnRule, rule_request(), caller=OPERATOR)
    )
    assert error.reason == "CALLER_NOT_ALLOWED"


# What claims earn


async def test_a_claim_earns_by_the_rule_and_its_points_last_to_the_end_of_a_month(
    rewards: PartnersClient, brand: pb.Partner
):
    asked = question(brand, quantity=7)
    (decision,) = await decided(rewards, asked)
    (grant,) = decision.grants
    assert (decision.claim_id, decision.partner_id, decision.reason) == (asked.claim_id, brand.id, "")
    assert decision.unit_value == Money(currency="EUR", micros=10_000)
    assert (grant.points, grant.campaign_id) == (70, "")
    assert grant.rule_id.startswith("rule_")
    act = asked.occurred_at.ToDatetime()
    assert grant.expires_at == timestamp(end_of_month(act, 12))


async def test_the_first_decision_stands(partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner):
    campaign = await campaigning(partners, brand.id)
    asked = question(brand, quantity=2)
    first = await decided(rewards, asked)
    assert await decided(rewards, asked) == first
    await ruled(partners, brand.id, points=50, valid_from=timestamp(ago(days=2)))
    asked.quantity = 9
    assert await decided(rewards, asked) == first
    assert await granted(partners, campaign) == 20


async def test_a_claim_twice_in_a_batch_is_decided_once(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    campaign = await campaigning(partners, brand.id)
    asked, other = question(brand), question(brand, quantity=3)
    answers = await decided(rewards, asked, other, asked)
    assert [answer.claim_id for answer in answers] == [asked.claim_id, other.claim_id, asked.claim_id]
    assert answers[0] == answers[2]
    assert await granted(partners, campaign) == 40


async def test_the_same_batch_sent_ten_times_at_once_is_decided_once(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    campaign = await campaigning(partners, brand.id, budget_points=45)
    asked = [question(brand) for _ in range(6)]
    answers = await asyncio.gather(*(decided(rewards, *asked) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert extra(answers[0], campaign) == await granted(partners, campaign) == 45


async def test_p1_a_suspended_partner_cannot_issue_until_it_is_back(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    before = question(brand)
    decision = await decided(rewards, before)
    await moved(partners, brand.id, pb.PARTNER_STATUS_SUSPENDED)
    # Judged now, not as of the act; what was decided before stands.
    late = question(brand, at=ago(days=20))
    assert [answer.reason for answer in await decided(rewards, late, before)] == ["PARTNER_SUSPENDED", ""]
    await moved(partners, brand.id, pb.PARTNER_STATUS_APPROVED)
    assert [answer.reason for answer in await decided(rewards, question(brand), late)] == ["", "PARTNER_SUSPENDED"]
    assert await decided(rewards, before) == decision
    await moved(partners, brand.id, pb.PARTNER_STATUS_CLOSED)
    assert [answer.reason for answer in await decided(rewards, question(brand))] == ["PARTNER_CLOSED"]


async def test_a_claim_that_earns_nothing_says_why(partners: PartnersClient, rewards: PartnersClient):
    brand = await approved(partners)
    nobody, newcomer = pb.Partner(id="partner_x"), await applied(partners)
    asked = [question(nobody), question(newcomer), question(brand)]
    reasons = [answer.reason for answer in await decided(rewards, *asked)]
    assert reasons == ["PARTNER_NOT_FOUND", "PARTNER_NOT_FOUND", "NO_EARN_RULE"]
    await ruled(partners, brand.id, points=0)
    assert [answer.reason for answer in await decided(rewards, question(brand))] == ["NO_AGREEMENT_IN_FORCE"]
    await agreed(partners, brand.id)
    (zero,) = await decided(rewards, question(brand))
    assert (zero.reason, list(zero.grants)) == ("", [])
    assert [answer.reason for answer in await decided(rewards, question(brand, kind=METRO))] == ["NO_EARN_RULE"]


async def test_p2_a_late_event_uses_rule_agreement_and_campaign_of_its_time(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    change = ago(days=10)
    await ruled(partners, brand.id, points=25, valid_from=timestamp(change))
    await agreed(partners, brand.id, Money(currency="EUR", micros=30_000), change)
    over = await campaigning(
        partners,
        brand.id,
        valid_from=timestamp(ago(days=40)),
        valid_until=timestamp(ago(days=20)),
        points_expire_at=timestamp(ahead(days=90)),
    )
    late, between, recent = await decided(
        rewards,
        question(brand, at=ago(days=30)),
        question(brand, at=ago(days=15)),
        question(brand, at=change),
    )
    assert [[grant.points for grant in answer.grants] for answer in (late, between, recent)] == [[10, 10], [10], [25]]
    assert [answer.unit_value.micros for answer in (late, between, recent)] == [10_000, 10_000, 30_000]
    assert late.grants[1].campaign_id == over.id
    assert late.grants[1].expires_at == over.points_expire_at


async def test_p2_fifty_evaluations_at_once_take_the_budget_and_no_point_more(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    campaign = await campaigning(partners, brand.id, budget_points=777)
    answers = await asyncio.gather(*(decided(rewards, *(question(brand) for _ in range(4))) for _ in range(50)))
    given = [extra(answer, campaign) for answer in answers]
    assert sum(given) == await granted(partners, campaign) == 777
    assert all(sum(1 for decision in answer if decision.grants[0].points == 10) == 4 for answer in answers)


async def test_p2_fifty_evaluations_at_once_give_a_member_the_cap_and_no_point_more(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    campaign = await campaigning(partners, brand.id, member_cap_points=123)
    ann, bob = new_id("member"), new_id("member")
    answers = await asyncio.gather(
        *(decided(rewards, *(question(brand, member_id=who) for who in (ann, bob))) for _ in range(50))
    )
    of_ann = sum(extra(answer[:1], campaign) for answer in answers)
    of_bob = sum(extra(answer[1:], campaign) for answer in answers)
    assert (of_ann, of_bob) == (123, 123)
    assert await granted(partners, campaign) == 246


async def test_what_was_not_issued_goes_back_once(partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner):
    campaign = await campaigning(partners, brand.id, budget_points=30, member_cap_points=20)
    ann = new_id("member")
    first, second = question(brand, member_id=ann), question(brand, member_id=ann)
    kept = question(brand)
    decisions = await decided(rewards, first, second, kept)
    assert extra(decisions, campaign) == await granted(partners, campaign) == 30
    await asyncio.gather(*(released(rewards, first.claim_id, "claim_unknown", first.claim_id) for _ in range(10)))
    assert await granted(partners, campaign) == 20
    # The decision itself stands; what it gave back is there for another, within budget and cap.
    assert (await decided(rewards, first))[0] == decisions[0]
    again = await decided(rewards, question(brand, member_id=ann, quantity=5))
    assert extra(again, campaign) == 10
    assert await granted(partners, campaign) == 30
    await released(rewards)


async def test_releases_and_evaluations_at_once_leave_the_budget_right(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    campaign = await campaigning(partners, brand.id, budget_points=100)
    early = [question(brand) for _ in range(10)]
    await decided(rewards, *early)
    answers = await asyncio.gather(
        *(released(rewards, one.claim_id) for one in early), *(decided(rewards, question(brand)) for _ in range(10))
    )
    given = sum(extra(answer, campaign) for answer in answers if answer is not None)
    assert await granted(partners, campaign) == given <= 100


async def test_five_hundred_claims_are_decided_in_one_call(
    partners: PartnersClient, rewards: PartnersClient, brand: pb.Partner
):
    campaign = await campaigning(partners, brand.id, budget_points=1_234)
    asked = [question(brand) for _ in range(500)]
    answers = await decided(rewards, *asked)
    assert [answer.claim_id for answer in answers] == [one.claim_id for one in asked]
    assert extra(answers, campaign) == await granted(partners, campaign) == 1_234
    for request in (asked + asked[:1], [question(brand) for _ in range(10_001)]):
        error = await refused(InvalidArgument, decided(rewards, *request))
        assert error.reason == "BATCH_TOO_LARGE"
    error = await refused(InvalidArgument, released(rewards, *(["claim_x"] * 501)))
    assert error.reason == "BATCH_TOO_LARGE"
    assert list(await decided(rewards)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("claim_id", ""),
        ("claim_id", '{"$gt": ""}'),
        ("member_id", "ann"),
        ("kind", 0),
        ("kind", 99),
        ("quantity", -1),
        ("quantity", 2**63 - 1),
        ("occurred_at", {"seconds": 2**60}),
        ("occurred_at", None),
    ],
)
async def test_a_question_that_cannot_be_is_named_and_none_is_decided(
    rewards: PartnersClient, brand: pb.Partner, field: str, value: object
):
    good, bad = question(brand), question(brand)
    bad.ClearField(field)
    bad.MergeFrom(pb.EarnQuestion(**{field: value}))
    error = await refused(InvalidArgument, decided(rewards, good, bad))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", f"questions[1].{field}")
    good.quantity = 2
    (decision,) = await decided(rewards, good)
    assert decision.grants[0].points == 20


async def test_only_rewards_asks_what_claims_earn(process: ServiceProcess, brand: pb.Partner):
    for name in ("gateway", "accounts", "logistics"):
        client = process.client(PartnersServiceStub, name)
        for call in (decided(client, question(brand)), released(client, "claim_x")):
            error = await refused(PermissionDenied, call)
            assert error.reason == "CALLER_NOT_ALLOWED"
