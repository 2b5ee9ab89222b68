"""Two replicas of accounts, of partners and of logistics, each pair on one database, attacked at both doors at once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from grpc import aio

from alliance.accounts.v1 import accounts_pb2
from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceStub
from alliance.logistics.v1 import logistics_pb2
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from services.shared.client import Client
from services.shared.errors import DomainError
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.support.machines import Key, batch_of, item, opened, registered, signed
from tests.support.partners import ago, agreed, approved, campaigning, earning
from tests.support.service import OPERATOR, ServiceProcess, member, partner, request_id

METRO, CUP, BOX = accounts_pb2.ACT_KIND_METRO_TRIP, accounts_pb2.ACT_KIND_OWN_CUP, accounts_pb2.ACT_KIND_BOX_REUSE
CREDITED, CAPPED, DUPLICATE = (
    accounts_pb2.ACT_STATUS_CREDITED,
    accounts_pb2.ACT_STATUS_CAPPED,
    accounts_pb2.ACT_STATUS_DUPLICATE,
)
NOON = (datetime.now(UTC) - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
PATIENCE_SECONDS = 30


class Doors(NamedTuple):
    """Both replicas of a service, as one kind of caller sees them."""

    one: Client[Any]
    other: Client[Any]

    async def both(self, method: str, request: Any, caller: Any = None, times: int = 1) -> list[Any]:
        """The answers, or errors, to a request that is sent to both at once, so many times."""
        calls = [self._call(door, method, request, caller) for _ in range(times) for door in self]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def each(self, method: str, requests: Sequence[Any], caller: Any = None) -> list[Any]:
        """The answers, or errors, to requests that are sent at once, to the one and the other in turn."""
        calls = [self._call(self[number % 2], method, request, caller) for number, request in enumerate(requests)]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def _call(self, door: Client[Any], method: str, request: Any, caller: Any) -> Any:
        return await door.call(getattr(door.stub, method), request, caller=caller, timeout_seconds=PATIENCE_SECONDS)


class Pair(NamedTuple):
    """Two processes of a service on one database."""

    one: ServiceProcess
    other: ServiceProcess

    def doors(self, stub: type[Any], caller: str = "gateway") -> Doors:
        return Doors(self.one.client(stub, caller), self.other.client(stub, caller))


Pairs = dict[str, Pair]


@pytest.fixture(scope="module")
def pairs(mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[Pairs]:
    """Logistics tells the replicas of accounts, each one of them."""
    pairs: Pairs = {}
    with ExitStack() as stack:

        def pair(name: str, *environments: dict[str, str]) -> None:
            database = f"test_{name}_{uuid4().hex[:8]}"
            processes = [
                ServiceProcess(
                    name,
                    mongodb_uri,
                    keys,
                    workspace / f"replica-{name}-{number}.log",
                    ALLIANCE_MONGODB_DATABASE=database,
                    **environment,
                )
                for number, environment in enumerate(environments)
            ]
            for process in processes:
                process.launch()
                stack.callback(process.kill)
            pairs[name] = Pair(*processes)

        pair("partners", {}, {})
        pair("accounts", {}, {})
        pair("logistics", *({"ALLIANCE_ACCOUNTS_TARGET": process.target} for process in pairs["accounts"]))
        for processes in pairs.values():
            for process in processes:
                process.wait_until_serving()
        yield pairs
        for processes in pairs.values():
            assert [process.stop() for process in processes] == [0, 0]


@pytest.fixture
async def partners(pairs: Pairs) -> Doors:
    return pairs["partners"].doors(PartnersServiceStub)


@pytest.fixture
async def pricing(pairs: Pairs) -> Doors:
    """As rewards asks what claims earn."""
    return pairs["partners"].doors(PartnersServiceStub, "rewards")


@pytest.fixture
async def accounts(pairs: Pairs) -> Doors:
    return pairs["accounts"].doors(AccountsServiceStub)


@pytest.fixture
async def logistics(pairs: Pairs) -> Doors:
    return pairs["logistics"].doors(LogisticsServiceStub)


def answered(found: Sequence[Any]) -> list[Any]:
    """The answers among them; nothing else than a service's own refusals may be there."""
    assert all(isinstance(one, DomainError) for one in found if isinstance(one, BaseException)), found
    return [one for one in found if not isinstance(one, BaseException)]


def reasons(found: Sequence[Any]) -> Counter[str]:
    return Counter(one.reason for one in found if isinstance(one, DomainError))


async def decisions(pricing: Doors, brand: str, people: Sequence[str]) -> list[pb.EarnDecision]:
    """For one claim of each, in their order."""
    requests = [
        pb.BatchEvaluateEarnsRequest(
            questions=[
                pb.EarnQuestion(
                    claim_id=new_id("claim"),
                    partner_id=brand,
                    member_id=person,
                    kind=CUP,
                    quantity=1,
                    occurred_at=timestamp(ago(hours=1)),
                )
            ]
        )
        for person in people
    ]
    found = await pricing.each("BatchEvaluateEarns", requests)
    return [answer.decisions[0] for answer in answered(found)]


def extra(found: Sequence[pb.EarnDecision]) -> int:
    return sum(grant.points for decision in found for grant in decision.grants if grant.campaign_id)


async def given_by(partners: Doors, campaign: pb.Campaign) -> int:
    request = pb.BatchGetEarnRulesRequest(campaign_ids=[campaign.id])
    (found,) = (await partners.one.call(partners.one.stub.BatchGetEarnRules, request)).campaigns
    return int(found.granted_points)


async def test_p2_a_budget_and_a_members_cap_hold_at_both(partners: Doors, pricing: Doors):
    brand = await earning(partners.one)
    campaign = await campaigning(partners.one, brand.id, budget_points=75, member_cap_points=25)
    people = [new_id("member") for _ in range(3)]
    asked = people * 6 + [new_id("member")] * 2
    found = await decisions(pricing, brand.id, asked)
    assert len(found) == 20, "each is decided"
    assert extra(found) == await given_by(partners, campaign) == 75
    for person in people:
        assert extra([decision for who, decision in zip(asked, found, strict=True) if who == person]) <= 25


async def test_p2_what_a_claim_took_is_given_back_once_at_both(partners: Doors, pricing: Doors):
    brand = await earning(partners.one)
    campaign = await campaigning(partners.one, brand.id, budget_points=100)
    kept, back = await decisions(pricing, brand.id, [new_id("member")] * 2)
    answered(await pricing.both("BatchReleaseEarns", pb.BatchReleaseEarnsRequest(claim_ids=[back.claim_id]), times=5))
    assert await given_by(partners, campaign) == extra([kept]) == 10


async def test_p1_a_brand_that_was_closed_at_one_stays_closed_whatever_the_other_was_told(partners: Doors):
    for _ in range(3):
        brand = await approved(partners.one)
        requests = [
            pb.SetPartnerStatusRequest(request_id=request_id(), partner_id=brand.id, status=status)
            for status in (pb.PARTNER_STATUS_SUSPENDED, pb.PARTNER_STATUS_CLOSED) * 2
        ]
        found = await partners.each("SetPartnerStatus", requests, OPERATOR)
        assert pb.PARTNER_STATUS_CLOSED in {answer.partner.status for answer in answered(found)}
        assert set(reasons(found)) <= {"PARTNER_STATUS_CONFLICT"}
        request = pb.BatchGetPartnersRequest(ids=[brand.id])
        for answer in await partners.both("BatchGetPartners", request):
            assert answer.partners[0].status == pb.PARTNER_STATUS_CLOSED


async def test_p3_a_block_is_confirmed_once_by_whatever_requests_at_both(partners: Doors):
    brand = await approved(partners.one)
    await agreed(partners.one, brand.id)
    orders = [pb.OrderPrepaidBlockRequest(request_id=request_id(), points=100) for _ in range(6)]
    blocks = [
        answer.block.id for answer in answered(await partners.each("OrderPrepaidBlock", orders, partner(brand.id)))
    ]
    requests = [pb.ConfirmPrepaidBlockRequest(request_id=request_id(), block_id=id) for id in blocks for _ in (1, 2)]
    found = answered(await partners.each("ConfirmPrepaidBlock", requests, OPERATOR))
    paid = Counter((answer.block.id, answer.block.paid_at.ToNanoseconds()) for answer in found)
    assert sorted(paid.values()) == [2] * 6, "of two confirmations the first one's moment stands"


async def test_r2_one_request_at_both_is_one(partners: Doors):
    brand = await approved(partners.one)
    await agreed(partners.one, brand.id)
    request = pb.OrderPrepaidBlockRequest(request_id=request_id(), points=100)
    found = answered(await partners.both("OrderPrepaidBlock", request, partner(brand.id), times=5))
    assert len(found) == 10
    assert len({answer.block.id for answer in found}) == 1


async def test_api_clients_are_five_at_most_and_a_revoked_one_makes_room_once(partners: Doors):
    brand = await approved(partners.one)

    async def made() -> list[Any]:
        requests = [pb.CreateApiClientRequest(request_id=request_id(), label="till") for _ in range(8)]
        return [
            answer.client.id for answer in answered(await partners.each("CreateApiClient", requests, partner(brand.id)))
        ]

    clients = await made()
    assert len(clients) == 5
    revokes = [pb.RevokeApiClientRequest(request_id=request_id(), client_id=clients[0]) for _ in range(6)]
    answered(await partners.each("RevokeApiClient", revokes, partner(brand.id)))
    assert len(await made()) == 1


async def enrolled(accounts: Doors, brand: str, number: str = "") -> str:
    request = accounts_pb2.EnrolMemberRequest(
        request_id=request_id(), display_name="Ada", customer_number=number or uuid4().hex
    )
    return str((await accounts.one.call(accounts.one.stub.EnrolMember, request, caller=partner(brand))).member.id)


def trip(person: str, kind: int = METRO, reference: str = "") -> accounts_pb2.ReportActsRequest:
    report = accounts_pb2.ActReport(
        member_id=person,
        kind=kind,  # type: ignore[arg-type]
        quantity=1_000 if kind == METRO else 1,
        occurred_at=timestamp(NOON),
        reference=reference or uuid4().hex,
    )
    return accounts_pb2.ReportActsRequest(request_id=request_id(), reports=[report])


async def totals(accounts: Doors, person: str) -> tuple[int, int]:
    request = accounts_pb2.BatchGetCarbonTotalsRequest(member_ids=[person])
    (total,) = (await accounts.other.call(accounts.other.stub.BatchGetCarbonTotals, request)).totals
    return total.claims, total.co2e_mg


async def test_a6_a_days_cap_holds_at_both(accounts: Doors):
    brand = new_id("partner")
    person = await enrolled(accounts, brand)
    found = answered(await accounts.each("ReportActs", [trip(person) for _ in range(16)], partner(brand)))
    assert Counter(answer.acts[0].status for answer in found) == {CREDITED: 5, CAPPED: 11}
    assert await totals(accounts, person) == (5, 5 * 139_450)


async def test_r14_one_trip_told_to_both_is_one_claim(accounts: Doors):
    brand = new_id("partner")
    person = await enrolled(accounts, brand)
    reports = [trip(person, reference="MT-1") for _ in range(10)]
    found = answered(await accounts.each("ReportActs", reports, partner(brand)))
    assert Counter(answer.acts[0].status for answer in found) == {CREDITED: 1, DUPLICATE: 9}
    assert await totals(accounts, person) == (1, 139_450)


async def test_a1_a_customer_number_and_a_link_code_are_used_once_at_both(accounts: Doors):
    first, second = new_id("partner"), new_id("partner")
    number = uuid4().hex
    enrolments = [
        accounts_pb2.EnrolMemberRequest(request_id=request_id(), display_name="Ada", customer_number=number)
        for _ in range(8)
    ]
    found = await accounts.each("EnrolMember", enrolments, partner(first))
    (answer,) = answered(found)
    assert reasons(found) == {"IDENTITY_ALREADY_LINKED": 7}
    request = accounts_pb2.CreateLinkCodeRequest(request_id=request_id())
    door = accounts.one
    code = (await door.call(door.stub.CreateLinkCode, request, caller=member(answer.member.id))).code
    links = [
        accounts_pb2.LinkIdentityRequest(request_id=request_id(), code=code, customer_number=f"{number}-{n}")
        for n in range(8)
    ]
    found = await accounts.each("LinkIdentity", links, partner(second))
    assert len(answered(found)) == 1
    assert set(reasons(found)) <= {"LINK_CODE_UNKNOWN", "IDENTITY_ALREADY_LINKED"}


async def test_a2_a_consent_that_was_revoked_at_one_is_revoked_at_the_other_at_once(accounts: Doors):
    brand = new_id("partner")
    person = await enrolled(accounts, brand)
    pair = accounts_pb2.BatchCheckConsentsRequest(pairs=[{"member_id": person, "partner_id": brand}])
    for number, granted in enumerate([True, False] * 3):
        told, asked = accounts[number % 2], accounts[(number + 1) % 2]
        request = accounts_pb2.SetConsentRequest(request_id=request_id(), partner_id=brand, granted=granted)
        await told.call(told.stub.SetConsent, request, caller=member(person))
        assert bool((await asked.call(asked.stub.BatchCheckConsents, pair)).granted) is granted


async def acts_of(accounts: Doors, drop_off_ids: Sequence[str]) -> list[accounts_pb2.Act]:
    """When they are all there."""
    request = accounts_pb2.BatchGetActsByDropOffRequest(drop_off_ids=drop_off_ids)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            acts = list((await accounts.one.call(accounts.one.stub.BatchGetActsByDropOff, request)).acts)
            if len(acts) >= len(set(drop_off_ids)):
                return acts
            await asyncio.sleep(0.05)


async def test_l2_a_record_that_is_replayed_at_both_counts_once_and_l6_a_box_once_a_day(
    pairs: Pairs, logistics: Doors, accounts: Doors
):
    brand, key = new_id("partner"), Key()
    person = await enrolled(accounts, brand)
    door = logistics.one
    machine = await registered(door, brand, (await opened(door, brand)).id, key.public)
    bottle = item(member_id=person, weight_grams=40, at=NOON)
    boxes = [
        item(member_id=person, material=logistics_pb2.MATERIAL_REUSABLE_BOX, weight_grams=0, code=code, at=at)
        for code, at in (("BOX-1", NOON), ("box 1", NOON + timedelta(hours=1)))
    ]
    batch = batch_of(machine, bottle, *boxes)
    again = batch_of(machine, *boxes[::-1], bottle)  # the same items in a batch of another name
    sent: list[Awaitable[Any]] = []
    one, other = (aio.insecure_channel(process.target) for process in pairs["logistics"])
    async with one, other:
        for stub in (LogisticsServiceStub(one), LogisticsServiceStub(other)):
            sent += [stub.CaptureItems(signed(each, key), timeout=PATIENCE_SECONDS) for each in (batch, again) * 3]
        answers = await asyncio.gather(*sent)
    ids = {result.drop_off_id for answer in answers for result in answer.results}
    assert len(ids) == 3, "each item is one drop-off"
    acts = await acts_of(accounts, list(ids))
    assert Counter((act.kind, act.status) for act in acts) == {
        (accounts_pb2.ACT_KIND_PET_RECYCLING, CREDITED): 1,
        (BOX, CREDITED): 1,
        (BOX, DUPLICATE): 1,
    }
    assert await totals(accounts, person) == (2, 40 * 1_650 + 37_000)
