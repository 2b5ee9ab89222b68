"""Acts, claims and factors over gRPC: a real process on a real database, and a stand-in for rewards."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from alliance.accounts.v1 import accounts_pb2 as pb
from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceStub
from alliance.rewards.v1 import rewards_pb2
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceServicer, add_RewardsServiceServicer_to_server
from services.accounts.factors import FACTORS
from services.shared.client import Client
from services.shared.errors import AlreadyExists, InvalidArgument, PermissionDenied
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.support.errors import refused
from tests.support.service import ANYONE, OPERATOR, PATIENCE_SECONDS, ServiceProcess, member, partner, request_id

AccountsClient = Client[AccountsServiceStub]

GROCER, NOODLES = new_id("partner"), new_id("partner")
BUS, METRO, CUP, BILL, PET, BOX = (
    pb.ACT_KIND_BUS_TRIP,
    pb.ACT_KIND_METRO_TRIP,
    pb.ACT_KIND_OWN_CUP,
    pb.ACT_KIND_ELECTRONIC_BILL,
    pb.ACT_KIND_PET_RECYCLING,
    pb.ACT_KIND_BOX_REUSE,
)
CREDITED, DUPLICATE, CAPPED, REFUSED = (
    pb.ACT_STATUS_CREDITED,
    pb.ACT_STATUS_DUPLICATE,
    pb.ACT_STATUS_CAPPED,
    pb.ACT_STATUS_REFUSED,
)


class Rewards(RewardsServiceServicer):
    """What rewards is told; `down` makes it fail."""

    def __init__(self) -> None:
        self.down = False
        self.claims: list[rewards_pb2.ClaimRecorded] = []

    def RecordClaims(self, request: rewards_pb2.RecordClaimsRequest, context: Any):  # noqa: N802
        if self.down:
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        self.claims += request.events
        return rewards_pb2.RecordClaimsResponse()

    def of(self, claim_id: str) -> list[rewards_pb2.ClaimRecorded]:
        """The events of a claim so far; each once, though a delivery whose answer was lost is made again."""
        return list({event.event_id: event for event in self.claims if event.claim_id == claim_id}.values())

    async def told_of(self, claim_id: str) -> list[rewards_pb2.ClaimRecorded]:
        """The same, as soon as there are any: who reported may have been answered before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (events := self.of(claim_id)):
                await asyncio.sleep(0.02)
        return events


@pytest.fixture(scope="module")
def rewards() -> Rewards:
    return Rewards()


@pytest.fixture(scope="module")
def process(mongodb_uri: str, keys: Path, workspace: Path, rewards: Rewards) -> Iterator[ServiceProcess]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_RewardsServiceServicer_to_server(rewards, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    log = workspace / "accounts_acts.log"
    process = ServiceProcess("accounts", mongodb_uri, keys, log, ALLIANCE_REWARDS_TARGET=target)
    process.start()
    yield process
    assert process.stop() == 0
    server.stop(None)


@pytest.fixture
async def accounts(process: ServiceProcess) -> AccountsClient:
    return process.client(AccountsServiceStub)


@pytest.fixture
async def logistics(process: ServiceProcess) -> AccountsClient:
    return process.client(AccountsServiceStub, "logistics")


@pytest.fixture
async def ada(accounts: AccountsClient) -> str:
    """A fresh member, known to both brands."""
    return await enrolled(accounts, GROCER, NOODLES)


async def enrolled(accounts: AccountsClient, *brands: str, number: str = "") -> str:
    """A member whom these brands know, all by the same number."""
    number = number or uuid4().hex
    request: Any = pb.EnrolMemberRequest(request_id=request_id(), display_name="Ada", customer_number=number)
    found = (await accounts.call(accounts.stub.EnrolMember, request, caller=partner(brands[0]))).member
    for brand in brands[1:]:
        request = pb.CreateLinkCodeRequest(request_id=request_id())
        code = (await accounts.call(accounts.stub.CreateLinkCode, request, caller=member(found.id))).code
        request = pb.LinkIdentityRequest(request_id=request_id(), code=code, customer_number=number)
        await accounts.call(accounts.stub.LinkIdentity, request, caller=partner(brand))
    return found.id


def now() -> datetime:
    """This moment; where the day counts, tests use NOON."""
    return datetime.now(UTC)


NOON = (datetime.now(UTC) - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)


def act(member_id: str = "", /, kind: int = METRO, quantity: int = 1_000, reference: str = "", **fields: Any) -> Any:
    """A report; its ticket's number is fresh unless given."""
    report = {"kind": kind, "quantity": quantity, "occurred_at": timestamp(NOON), "reference": reference or uuid4().hex}
    who = {} if "customer_number" in fields else {"member_id": member_id}
    return pb.ActReport(**{**report, **who, **fields})


async def reported(accounts: AccountsClient, *reports: pb.ActReport, by: str = GROCER) -> Sequence[pb.Act]:
    request = pb.ReportActsRequest(request_id=request_id(), reports=reports)
    return (await accounts.call(accounts.stub.ReportActs, request, caller=partner(by))).acts


def drop_off(member_id: str, kind: int = PET, quantity: int = 10, **fields: Any) -> pb.DropOffRecorded:
    event = {
        "event_id": new_id("event"),
        "drop_off_id": new_id("dropoff"),
        "member_id": member_id,
        "partner_id": GROCER,
        "kind": kind,
        "quantity": quantity,
        "occurred_at": timestamp(NOON),
        "event_hash": uuid4().hex * 2,
    }
    return pb.DropOffRecorded(**{**event, **fields})


async def recorded(logistics: AccountsClient, *events: pb.DropOffRecorded) -> Sequence[pb.Act]:
    request = pb.RecordDropOffsRequest(events=events)
    return (await logistics.call(logistics.stub.RecordDropOffs, request)).acts


async def claims_of(accounts: AccountsClient, member_id: str) -> Sequence[pb.Claim]:
    request = pb.BatchListClaimsRequest(member_ids=[member_id], page={"first": 100})
    return (await accounts.call(accounts.stub.BatchListClaims, request)).members[0].claims


async def total_of(accounts: AccountsClient, member_id: str) -> tuple[int, int]:
    request = pb.BatchGetCarbonTotalsRequest(member_ids=[member_id])
    total = (await accounts.call(accounts.stub.BatchGetCarbonTotals, request)).totals[0]
    return total.claims, total.co2e_mg


async def summary(accounts: AccountsClient) -> pb.SummarizeActsResponse:
    return await accounts.call(accounts.stub.SummarizeActs, pb.SummarizeActsRequest(), caller=OPERATOR)


def statuses(acts: Sequence[pb.Act]) -> Counter[int]:
    return Counter(found.status for found in acts)


async def test_a_reported_trip_is_an_act_a_claim_and_told_to_rewards(
    accounts: AccountsClient, rewards: Rewards, ada: str
):
    (done,) = await reported(accounts, act(ada, METRO, 8_200, "MT-0042"))
    assert (done.status, done.reason, done.member_id, done.partner_id) == (CREDITED, "", ada, GROCER)
    assert (done.quantity, done.reference, done.new_co2e_mg) == (8_200, "MT-0042", 1_143_490)
    answer = await accounts.call(accounts.stub.BatchGetClaims, pb.BatchGetClaimsRequest(ids=[done.claim_id, "claim_x"]))
    (claim,) = answer.claims
    assert (claim.act_id, claim.member_id, claim.partner_id) == (done.id, ada, GROCER)
    assert (claim.co2e_mg, claim.factor_id, claim.kind) == (1_143_490, "metro-trip-2025", METRO)
    assert claim.occurred_at.ToDatetime(UTC) == NOON
    assert await total_of(accounts, ada) == (1, 1_143_490)
    (event,) = await rewards.told_of(claim.id)
    assert (event.member_id, event.partner_id, event.kind, event.quantity) == (ada, GROCER, METRO, 8_200)
    assert event.occurred_at.ToDatetime(UTC) == NOON
    assert claim.id in event.event_id


async def test_a_report_sent_again_is_answered_again(accounts: AccountsClient, rewards: Rewards, ada: str):
    request = pb.ReportActsRequest(request_id=request_id(), reports=[act(ada), act(ada, CUP, 1)])
    first = await accounts.call(accounts.stub.ReportActs, request, caller=partner(GROCER))
    again = await accounts.call(accounts.stub.ReportActs, request, caller=partner(GROCER))
    assert first == again
    assert statuses(first.acts) == {CREDITED: 2}
    assert len(await rewards.told_of(first.acts[0].claim_id)) == 1
    assert len(await claims_of(accounts, ada)) == 2
    request.reports[0].quantity += 1
    error = await refused(AlreadyExists, accounts.call(accounts.stub.ReportActs, request, caller=partner(GROCER)))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_r14_a_second_programme_gets_the_same_claim_and_no_new_grams(
    accounts: AccountsClient, rewards: Rewards, ada: str
):
    (first,) = await reported(accounts, act(ada, METRO, 8_200, "MT-0042"), by=GROCER)
    (second,) = await reported(accounts, act(ada, METRO, 8_900, "mt 0042"), by=NOODLES)
    assert (second.status, second.reason, second.new_co2e_mg) == (DUPLICATE, "DUPLICATE_ACT", 0)
    assert second.claim_id == first.claim_id
    assert await total_of(accounts, ada) == (1, first.new_co2e_mg)
    assert len(await rewards.told_of(first.claim_id)) == 1, "and no second points"


@pytest.mark.parametrize("first", ["brand", "machine"])
async def test_r14_a_box_that_a_brand_and_a_machine_report_is_one_claim(
    accounts: AccountsClient, logistics: AccountsClient, ada: str, first: str
):
    async def by_brand() -> pb.Act:
        return (await reported(accounts, act(ada, BOX, 1, "BOX-17"), by=NOODLES))[0]

    async def by_machine() -> pb.Act:
        later = timestamp(NOON + timedelta(hours=3))
        return (await recorded(logistics, drop_off(ada, BOX, 1, box_number="box 17", occurred_at=later)))[0]

    one, other = (by_brand, by_machine) if first == "brand" else (by_machine, by_brand)
    credited, again = await one(), await other()
    assert (credited.status, again.status) == (CREDITED, DUPLICATE)
    assert (again.reason, again.claim_id, again.new_co2e_mg) == ("DUPLICATE_ACT", credited.claim_id, 0)
    assert await total_of(accounts, ada) == (1, 37_000_000 // 1_000)


async def test_r14_a_box_that_two_machines_take_in_on_a_day_counts_once_and_on_the_next_day_again(
    logistics: AccountsClient, ada: str
):
    next_day = timestamp(NOON + timedelta(hours=12))
    events = [drop_off(ada, BOX, 1, box_number="BOX-18") for _ in range(2)]
    events += [drop_off(ada, BOX, 1, box_number="BOX-18", occurred_at=next_day), drop_off(ada, BOX, 1)]
    found = await recorded(logistics, *events)
    assert [one.status for one in found] == [CREDITED, DUPLICATE, CREDITED, CREDITED], "the last one has no number"


async def test_r14_a_box_that_is_reported_from_all_sides_at_once_is_one_claim(
    accounts: AccountsClient, logistics: AccountsClient, ada: str
):
    sides = [recorded(logistics, drop_off(ada, BOX, 1, box_number="BOX-19")) for _ in range(5)]
    sides += [reported(accounts, act(ada, BOX, 1, "BOX-19"), by=brand) for brand in (GROCER, NOODLES)]
    found = [one for acts in await asyncio.gather(*sides) for one in acts]
    assert Counter(one.status for one in found) == {CREDITED: 1, DUPLICATE: 6}
    assert len({one.claim_id for one in found}) == 1


async def test_a6_the_sixth_metro_trip_of_a_day_gets_nothing_with_the_reason(accounts: AccountsClient, ada: str):
    acts = await reported(accounts, *(act(ada) for _ in range(6)))
    assert [found.status for found in acts] == [CREDITED] * 5 + [CAPPED]
    assert (acts[5].reason, acts[5].claim_id, acts[5].new_co2e_mg) == ("DAILY_CAP_REACHED", "", 0)
    assert acts[5].message.startswith("5 metro trips a day count")
    assert statuses(await reported(accounts, act(ada), by=NOODLES)) == {CAPPED: 1}, "the day is the member's"
    next_day = act(ada, occurred_at=timestamp(NOON - timedelta(days=1)))
    assert statuses(await reported(accounts, next_day, act(ada, BUS))) == {CREDITED: 2}
    assert (await total_of(accounts, ada))[0] == 7


async def test_a6_own_cups_count_three_a_day_and_avoid_nothing(accounts: AccountsClient, rewards: Rewards, ada: str):
    acts = await reported(accounts, *(act(ada, CUP, 1) for _ in range(4)))
    assert [found.status for found in acts] == [CREDITED] * 3 + [CAPPED]
    assert await total_of(accounts, ada) == (3, 0)
    assert await rewards.told_of(acts[2].claim_id), "points may be given all the same"


async def test_each_refusal_is_stored_with_its_reason_and_holds_nothing_back(accounts: AccountsClient, ada: str):
    stranger = await enrolled(accounts, NOODLES)
    before = {row.reason: row.acts for row in (await summary(accounts)).refusals}
    acts = await reported(
        accounts,
        act(new_id("member")),
        act(customer_number="unknown"),
        act(customer_number='{"$gt": ""}'),
        act(stranger),
        act(ada, occurred_at=timestamp(now() + timedelta(minutes=6))),
        act(ada, occurred_at=timestamp(now() - timedelta(days=401))),
        act(ada, occurred_at=timestamp(datetime(1, 1, 1, tzinfo=UTC))),
        act(ada, occurred_at=timestamp(datetime(9999, 12, 31, tzinfo=UTC))),
        act(ada),
    )
    reasons = [
        "MEMBER_NOT_FOUND",
        "CUSTOMER_NOT_LINKED",
        "CUSTOMER_NOT_LINKED",
        "CUSTOMER_NOT_LINKED",
        "OCCURRED_IN_FUTURE",
        "OCCURRED_TOO_LONG_AGO",
        "OCCURRED_TOO_LONG_AGO",
        "OCCURRED_IN_FUTURE",
    ]
    assert [found.reason for found in acts] == [*reasons, ""]
    assert [found.status for found in acts] == [REFUSED] * 8 + [CREDITED]
    assert all(found.message and not found.claim_id for found in acts[:8])
    assert [bool(found.member_id) for found in acts] == [False] * 4 + [True] * 5
    answer = await accounts.call(accounts.stub.BatchGetActs, pb.BatchGetActsRequest(ids=[one.id for one in acts]))
    assert {one.id: one for one in answer.acts} == {one.id: one for one in acts}
    after = {row.reason: row.acts for row in (await summary(accounts)).refusals}
    assert {reason: after[reason] - before.get(reason, 0) for reason in set(reasons)} == Counter(reasons)
    listed = await accounts.call(accounts.stub.BatchListActs, pb.BatchListActsRequest(member_ids=[stranger, ""]))
    assert [list(row.acts) for row in listed.members] == [[]], "a stranger's report is not put under the member"


async def test_a_partner_names_members_by_its_own_customer_number(accounts: AccountsClient):
    ada = await enrolled(accounts, GROCER, number="G-100")
    eve = await enrolled(accounts, NOODLES, number="G-100")
    by_grocer = await reported(accounts, act(customer_number=" G-100 "), by=GROCER)
    by_noodles = await reported(accounts, act(customer_number="G-100"), by=NOODLES)
    assert [found.member_id for found in (*by_grocer, *by_noodles)] == [ada, eve]


def stamp(seconds: int, nanos: int = 0) -> dict[str, int]:
    return {"seconds": seconds, "nanos": nanos}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": 0}, "kind"),
        ({"kind": 99}, "kind"),
        ({"kind": pb.ACT_KIND_PET_RECYCLING}, "kind"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -5}, "quantity"),
        ({"quantity": 1_000_001}, "quantity"),
        ({"quantity": 2**63 - 1}, "quantity"),
        ({"occurred_at": None}, "occurred_at"),
        ({"occurred_at": stamp(2**62)}, "occurred_at"),
        ({"occurred_at": stamp(-(2**63))}, "occurred_at"),
        ({"occurred_at": stamp(1_700_000_000, -1)}, "occurred_at"),
        ({"reference": "x" * 81}, "reference"),
        ({"reference": " - "}, "reference"),
        ({"reference": "a\x00b"}, "reference"),
        ({"member_id": "partner_01"}, "member_id"),
        ({"member_id": '{"$gt": ""}'}, "member_id"),
        ({"member_id": ""}, "member_id"),
        ({"customer_number": "9" * 65}, "customer_number"),
        ({"customer_number": "a\x07b"}, "customer_number"),
    ],
)
async def test_a_report_that_cannot_be_refuses_the_call_by_field(
    accounts: AccountsClient, ada: str, change: dict[str, Any], field: str
):
    request = pb.ReportActsRequest(request_id=request_id(), reports=[act(ada), act(ada, **change)])
    error = await refused(InvalidArgument, accounts.call(accounts.stub.ReportActs, request, caller=partner(GROCER)))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", f"reports[1].{field}")
    assert await total_of(accounts, ada) == (0, 0), "nothing is stored"
    assert not await claims_of(accounts, ada)


@pytest.mark.parametrize(
    ("size", "reason"), [(0, "BATCH_EMPTY"), (101, "BATCH_TOO_LARGE"), (10_001, "BATCH_TOO_LARGE")]
)
async def test_a_batch_has_1_to_100_reports(accounts: AccountsClient, ada: str, size: int, reason: str):
    request = pb.ReportActsRequest(request_id=request_id(), reports=[act(ada, reference="MT-1")] * size)
    error = await refused(InvalidArgument, accounts.call(accounts.stub.ReportActs, request, caller=partner(GROCER)))
    assert error.reason == reason


async def test_twenty_reports_of_one_act_at_once_make_one_claim(accounts: AccountsClient, rewards: Rewards, ada: str):
    answers = await asyncio.gather(
        *(reported(accounts, act(ada, METRO, 5_000, "MT-77"), by=(GROCER, NOODLES)[turn % 2]) for turn in range(20))
    )
    acts = [found for answer in answers for found in answer]
    assert statuses(acts) == {CREDITED: 1, DUPLICATE: 19}
    assert len({found.claim_id for found in acts}) == 1
    assert await total_of(accounts, ada) == (1, 697_250)
    assert len(await rewards.told_of(acts[0].claim_id)) == 1


async def test_one_request_sent_twenty_times_at_once_is_one(accounts: AccountsClient, ada: str):
    request = pb.ReportActsRequest(request_id=request_id(), reports=[act(ada), act(ada)])
    answers = await asyncio.gather(
        *(accounts.call(accounts.stub.ReportActs, request, caller=partner(GROCER)) for _ in range(20))
    )
    assert all(answer == answers[0] for answer in answers)
    assert (await total_of(accounts, ada))[0] == 2


async def test_a6_twenty_trips_at_once_stay_within_the_cap(accounts: AccountsClient, ada: str):
    answers = await asyncio.gather(*(reported(accounts, act(ada)) for _ in range(20)))
    assert statuses([found for answer in answers for found in answer]) == {CREDITED: 5, CAPPED: 15}
    assert await total_of(accounts, ada) == (5, 5 * 139_450)


async def test_conflicting_batches_at_once_leave_books_that_agree(accounts: AccountsClient):
    both = [await enrolled(accounts, GROCER, NOODLES) for _ in range(2)]

    def batch(turn: int) -> list[pb.ActReport]:
        # Overlapping tickets, members in turns of order: batches meet on claims, caps and totals.
        reports = [act(one, METRO, 1_000, f"T{(turn + step) % 8}") for step in range(4) for one in both]
        return reports if turn % 2 else reports[::-1]

    answers = await asyncio.gather(
        *(reported(accounts, *batch(turn), by=(GROCER, NOODLES)[turn % 2]) for turn in range(20))
    )
    acts = [found for answer in answers for found in answer]
    for one in both:
        claims = await claims_of(accounts, one)
        assert len(claims) == 5
        assert await total_of(accounts, one) == (5, sum(claim.co2e_mg for claim in claims))
        credited = [found for found in acts if found.member_id == one and found.status == CREDITED]
        assert {found.claim_id for found in credited} == {claim.id for claim in claims}
        assert sum(found.new_co2e_mg for found in acts if found.member_id == one) == sum(c.co2e_mg for c in claims)


async def test_a_drop_off_is_recorded_once_however_often_it_is_delivered(
    accounts: AccountsClient, logistics: AccountsClient, rewards: Rewards, ada: str
):
    event = drop_off(ada, PET, 24)
    first, twice = await recorded(logistics, event, event)
    (later,) = await recorded(logistics, event)
    assert first == twice == later
    assert (first.status, first.new_co2e_mg, first.drop_off_id) == (CREDITED, 39_600, event.drop_off_id)
    answer = await accounts.call(
        accounts.stub.BatchGetActsByDropOff, pb.BatchGetActsByDropOffRequest(drop_off_ids=[event.drop_off_id, "x"])
    )
    assert list(answer.acts) == [first]
    assert await total_of(accounts, ada) == (1, 39_600)
    assert len(await rewards.told_of(first.claim_id)) == 1


async def test_another_event_with_the_same_hash_is_a_duplicate(logistics: AccountsClient, ada: str):
    event = drop_off(ada)
    again = drop_off(ada, event_hash=event.event_hash)
    (first,) = await recorded(logistics, event)
    (second,) = await recorded(logistics, again)
    assert (second.status, second.claim_id, second.id != first.id) == (DUPLICATE, first.claim_id, True)


async def test_twenty_deliveries_of_the_same_events_at_once_make_one_act_each(
    accounts: AccountsClient, logistics: AccountsClient, ada: str
):
    events = [drop_off(ada) for _ in range(3)]
    answers = await asyncio.gather(
        *(recorded(logistics, *(events if turn % 2 else events[::-1])) for turn in range(20))
    )
    ids = {frozenset(found.id for found in answer) for answer in answers}
    assert len(ids) == 1
    assert await total_of(accounts, ada) == (3, 3 * 16_500)


async def test_a_drop_off_needs_a_member_and_no_customer_number(accounts: AccountsClient, logistics: AccountsClient):
    eve = await enrolled(accounts, NOODLES)
    known, unknown = await recorded(logistics, drop_off(eve), drop_off(new_id("member")))
    assert (known.status, unknown.status, unknown.reason) == (CREDITED, REFUSED, "MEMBER_NOT_FOUND")
    assert await recorded(logistics) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_id": ""}, "event_id"),
        ({"drop_off_id": ""}, "drop_off_id"),
        ({"partner_id": "a b"}, "partner_id"),
        ({"event_hash": ""}, "event_hash"),
        ({"event_hash": "z" * 64}, "event_hash"),
        ({"kind": METRO}, "kind"),
        ({"kind": 0}, "kind"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": 2**62}, "quantity"),
        ({"occurred_at": None}, "occurred_at"),
    ],
)
async def test_a_drop_off_that_cannot_be_refuses_the_call(
    accounts: AccountsClient, logistics: AccountsClient, ada: str, change: dict[str, Any], field: str
):
    error = await refused(InvalidArgument, recorded(logistics, drop_off(ada), drop_off(ada, **change)))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", f"events[1].{field}")
    assert await total_of(accounts, ada) == (0, 0)


async def test_a_delivery_has_500_events_at_most(logistics: AccountsClient, ada: str):
    error = await refused(InvalidArgument, recorded(logistics, *(drop_off(ada) for _ in range(501))))
    assert error.reason == "BATCH_TOO_LARGE"


async def test_the_first_pages_of_many_members_come_in_one_call_newest_first(accounts: AccountsClient):
    members = [await enrolled(accounts, GROCER) for _ in range(3)]
    for turn in range(3):
        await reported(accounts, *(act(one, METRO, 1_000 + turn, f"{turn}") for one in members[:2]))
    request = pb.BatchListActsRequest(member_ids=[*members, members[0]], page={"first": 2})
    answer = await accounts.call(accounts.stub.BatchListActs, request)
    rows = {row.member_id: row for row in answer.members}
    assert len(answer.members) == 3
    assert [found.reference for found in rows[members[0]].acts] == ["2", "1"]
    assert [row.page_info.has_next_page for row in rows.values()] == [True, True, False]
    assert not rows[members[2]].acts
    request.page.after = rows[members[1]].page_info.cursors[-1]
    rest = {row.member_id: row for row in (await accounts.call(accounts.stub.BatchListActs, request)).members}
    assert [found.reference for found in rest[members[1]].acts] == ["0"]
    assert not rest[members[1]].page_info.has_next_page
    claims = await accounts.call(
        accounts.stub.BatchListClaims, pb.BatchListClaimsRequest(member_ids=members, page={"first": 2})
    )
    assert [[claim.quantity for claim in row.claims] for row in claims.members] == [[1_002, 1_001]] * 2 + [[]]


async def test_a_partner_lists_its_acts_and_claims_by_what_came_of_them_and_when(
    accounts: AccountsClient, logistics: AccountsClient
):
    brand, other = new_id("partner"), new_id("partner")
    ada = await enrolled(accounts, brand, other)
    trip = act(ada, BUS, reference="T-1")
    (first,) = await reported(accounts, trip, by=brand)
    (again,) = await reported(accounts, trip, by=other)
    (third,) = await recorded(logistics, drop_off(ada, partner_id=brand))
    assert statuses([first, again, third]) == {CREDITED: 2, DUPLICATE: 1}

    async def acts(*partner_ids: str, **wanted: Any) -> dict[str, list[str]]:
        request = pb.BatchListPartnerActsRequest(partner_ids=partner_ids, **wanted)
        answer = await accounts.call(accounts.stub.BatchListPartnerActs, request)
        return {page.partner_id: [row.id for row in page.acts] for page in answer.partners}

    async def claims(**wanted: Any) -> list[str]:
        request = pb.BatchListPartnerClaimsRequest(partner_ids=[brand], **wanted)
        (page,) = (await accounts.call(accounts.stub.BatchListPartnerClaims, request)).partners
        return [row.id for row in page.claims]

    assert await acts(brand, other) == {brand: [third.id, first.id], other: [again.id]}
    assert await acts(brand, other, status=DUPLICATE) == {brand: [], other: [again.id]}
    assert await acts(brand, status=CREDITED, page={"first": 1}) == {brand: [third.id]}
    assert await claims() == [third.claim_id, first.claim_id]
    assert await claims(page={"first": 1}) == [third.claim_id]
    # A whole second before and behind, since ids are made some milliseconds sooner or later.
    second = timedelta(seconds=1)
    before = timestamp(first.recorded_at.ToDatetime(UTC) - second)
    behind = timestamp(third.recorded_at.ToDatetime(UTC) + second)
    for wanted in ({"since": before}, {"until": behind}, {"since": before, "until": behind}):
        assert await acts(brand, period=wanted) == {brand: [third.id, first.id]}
        assert await claims(period=wanted) == [third.claim_id, first.claim_id]
    for wanted in ({"until": before}, {"since": behind}):
        assert await acts(brand, period=wanted, status=CREDITED) == {brand: []}
        assert await claims(period=wanted) == []
    request = pb.BatchListActsRequest(member_ids=[ada], period={"until": before})
    assert not (await accounts.call(accounts.stub.BatchListActs, request)).members[0].acts
    turned = acts(brand, period={"since": behind, "until": before})
    assert (await refused(InvalidArgument, turned)).reason == "PERIOD_EMPTY"
    assert (await refused(InvalidArgument, acts(brand, status=99))).reason == "FIELD_INVALID"


async def test_totals_have_zeros_for_who_did_nothing_and_room_for_who_did_much(
    accounts: AccountsClient, logistics: AccountsClient, ada: str
):
    nobody = new_id("member")
    await recorded(logistics, *(drop_off(ada, PET, 1_000_000) for _ in range(3)))
    await recorded(logistics, drop_off(ada, PET, 1))
    request = pb.BatchGetCarbonTotalsRequest(member_ids=[nobody, ada, nobody])
    totals = (await accounts.call(accounts.stub.BatchGetCarbonTotals, request)).totals
    assert [(row.member_id, row.claims, row.co2e_mg) for row in totals] == [
        (nobody, 0, 0),
        (ada, 4, 3 * 1_650_000_000 + 1_650),
    ]


async def test_the_catalogue_is_listed_by_kind_and_got_by_id(accounts: AccountsClient):
    listed = (await accounts.call(accounts.stub.ListFactors, pb.ListFactorsRequest(), caller=OPERATOR)).factors
    assert [row.id for row in listed] == [factor.id for factor in FACTORS]
    bus = {row.id: row for row in listed}["bus-trip-2024"]
    assert (bus.avoided_ug_per_unit, bus.unit, bus.version, bus.grade, bus.region) == (58_450, "m", 2, "A", "GB")
    got = await accounts.call(accounts.stub.BatchGetFactors, pb.BatchGetFactorsRequest(ids=["bus-trip-2024", "x"]))
    assert list(got.factors) == [bus]


async def test_r16_recomputing_a_stored_claim_from_its_factor_gives_the_same_grams(
    accounts: AccountsClient, logistics: AccountsClient, ada: str
):
    await reported(accounts, *(act(ada, kind, 3 if kind == CUP else 7) for kind in (BUS, METRO, BILL, CUP)))
    await recorded(logistics, drop_off(ada, PET, 13), drop_off(ada, pb.ACT_KIND_CARDBOARD_RECYCLING, 777))
    claims = await claims_of(accounts, ada)
    assert len(claims) == 6
    request = pb.BatchGetFactorsRequest(ids={claim.factor_id for claim in claims})
    rows = {row.id: row for row in (await accounts.call(accounts.stub.BatchGetFactors, request)).factors}
    for claim in claims:
        assert claim.co2e_mg == claim.quantity * rows[claim.factor_id].avoided_ug_per_unit // 1_000
        assert rows[claim.factor_id].kind == claim.kind


async def test_the_summary_adds_up(accounts: AccountsClient, logistics: AccountsClient):
    members = [await enrolled(accounts, GROCER) for _ in range(2)]
    before = await summary(accounts)
    for brand in (GROCER, NOODLES, GROCER):
        await recorded(logistics, *(drop_off(members[turn % 2], PET, 10, partner_id=brand) for turn in range(100)))
    after = await summary(accounts)
    of_kind = {row.kind: row for row in after.kinds}[PET]
    earlier = {row.kind: row for row in before.kinds}.get(PET, pb.SummarizeActsResponse.KindTotal())
    # Of 300 items of 2 members, 100 a day count for each.
    assert (of_kind.acts - earlier.acts, of_kind.claims - earlier.claims) == (300, 200)
    assert of_kind.co2e_mg - earlier.co2e_mg == 200 * 16_500
    assert after.claims - before.claims == 200
    for rows in (after.kinds, after.partners):
        assert sum(row.claims for row in rows) == after.claims
        assert sum(row.co2e_mg for row in rows) == after.co2e_mg
    changed = [row.partner_id for row in after.partners if row not in before.partners]
    assert sorted(changed) == sorted((GROCER, NOODLES))
    capped = {row.reason: row.acts for row in after.refusals}["DAILY_CAP_REACHED"]
    assert capped - {row.reason: row.acts for row in before.refusals}.get("DAILY_CAP_REACHED", 0) == 100


async def test_while_rewards_is_down_acts_count_and_points_follow(accounts: AccountsClient, rewards: Rewards, ada: str):
    rewards.down = True
    try:
        acts = await reported(accounts, act(ada), act(ada))
        assert statuses(acts) == {CREDITED: 2}
        assert not rewards.of(acts[0].claim_id)
    finally:
        rewards.down = False
    told = [event for found in acts for event in await rewards.told_of(found.claim_id)]
    assert len({event.event_id for event in told}) == 2


async def test_more_than_a_batch_holds_is_refused(accounts: AccountsClient):
    stub, ids = accounts.stub, ["x"] * 10_001
    for method, request, most in (
        (stub.BatchGetActs, pb.BatchGetActsRequest(ids=ids), 1_000),
        (stub.BatchGetActsByDropOff, pb.BatchGetActsByDropOffRequest(drop_off_ids=ids), 1_000),
        (stub.BatchListActs, pb.BatchListActsRequest(member_ids=ids), 200),
        (stub.BatchGetClaims, pb.BatchGetClaimsRequest(ids=ids), 1_000),
        (stub.BatchListClaims, pb.BatchListClaimsRequest(member_ids=ids), 200),
        (stub.BatchGetCarbonTotals, pb.BatchGetCarbonTotalsRequest(member_ids=ids), 1_000),
        (stub.BatchGetFactors, pb.BatchGetFactorsRequest(ids=ids), 1_000),
    ):
        error = await refused(InvalidArgument, accounts.call(method, request))
        assert (error.reason, error.metadata["most"]) == ("BATCH_TOO_LARGE", str(most))
        nothing = await accounts.call(method, type(request)())
        assert nothing.ByteSize() == 0, "nothing asked for, nothing found"


async def test_who_may_not_call_is_told_so(process: ServiceProcess, accounts: AccountsClient, ada: str):
    stub = accounts.stub
    for method, request, callers in (
        (stub.ReportActs, pb.ReportActsRequest(), (member(ada), OPERATOR, ANYONE, None)),
        (stub.RecordDropOffs, pb.RecordDropOffsRequest(), (partner(GROCER), OPERATOR, member(ada), None)),
        (stub.SummarizeActs, pb.SummarizeActsRequest(), (partner(GROCER), member(ada), None)),
        (stub.BatchGetClaims, pb.BatchGetClaimsRequest(), (partner(GROCER), member(ada), OPERATOR)),
    ):
        for caller in callers:
            error = await refused(PermissionDenied, accounts.call(method, request, caller=caller))
            assert error.reason == "CALLER_NOT_ALLOWED"
    rewards = process.client(AccountsServiceStub, "rewards")
    await refused(PermissionDenied, rewards.call(rewards.stub.RecordDropOffs, pb.RecordDropOffsRequest()))
    await refused(PermissionDenied, rewards.call(rewards.stub.BatchGetActs, pb.BatchGetActsRequest()))
