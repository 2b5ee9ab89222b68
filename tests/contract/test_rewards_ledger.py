"""The ledger over gRPC, for services and operators: a real rewards process on a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from alliance.rewards.v1 import ledger_pb2 as pb
from alliance.rewards.v1 import rewards_pb2
from alliance.rewards.v1.ledger_pb2_grpc import LedgerServiceStub
from deploy.local.keys import identity_key
from services.shared.client import Client
from services.shared.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from services.shared.identity import Caller, Signer
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.contract.rewards_world import CENT, LATER, World, rewards_world
from tests.support.errors import refused
from tests.support.moments import in_time
from tests.support.service import OPERATOR, PATIENCE_SECONDS, member, partner, request_id


class Books:
    """The ledger, as an operator sees it."""

    def __init__(self, world: World, gateway: Client[Any], partners: Client[Any]) -> None:
        self.world = world
        self.gateway = gateway
        self.partners = partners

    async def call(self, method: str, request: Any, caller: Caller | None = OPERATOR) -> Any:
        return await self.gateway.call(getattr(self.gateway.stub, method), request, caller=caller)

    async def post(self, *commands: pb.Command, linked: bool = False) -> list[pb.Outcome]:
        request = pb.BatchPostRequest(commands=commands, linked=linked)
        return list((await self.call("BatchPost", request)).outcomes)

    async def done(self, *commands: pb.Command) -> list[pb.Outcome]:
        """One after the other."""
        outcomes = [outcome for command in commands for outcome in await self.post(command)]
        assert [outcome.refusal.reason for outcome in outcomes if outcome.refusal.reason] == []
        return outcomes

    async def brand(self, points: int = 1_000_000) -> str:
        id = new_id("partner")
        await self.done(allot(id, points))
        return id

    async def person(self, points: int, brand: str = "") -> str:
        id = new_id("member")
        await self.done(issue(id, brand or await self.brand(), points))
        return id

    async def wallet(self, member_id: str) -> rewards_pb2.Wallet:
        return (await self.call("GetWallet", pb.GetWalletRequest(member_id=member_id))).wallet


@pytest.fixture(scope="module")
async def books(mongodb_uri: str, keys: Path, workspace: Path) -> AsyncIterator[Books]:
    async with rewards_world(mongodb_uri, keys, workspace / "rewards-ledger.log") as world:
        clients = [world.process.client(LedgerServiceStub, name) for name in ("gateway", "partners")]
        yield Books(world, *clients)
        assert await world.verify() == ""
        for client in clients:
            await client.close()


def allot(brand: str, points: int) -> pb.Command:
    return pb.Command(request_id=request_id(), allot=pb.AllotCommand(partner_id=brand, points=points))


def lot(brand: str, points: int, value: int = CENT, expires: datetime = LATER) -> rewards_pb2.Lot:
    return rewards_pb2.Lot(
        issuer_partner_id=brand,
        points=points,
        unit_value={"currency": "EUR", "micros": value},
        expires_at=timestamp(expires),
    )


def issue(person: str, brand: str, points: int) -> pb.Command:
    return pb.Command(request_id=request_id(), issue=pb.IssueCommand(member_id=person, lots=[lot(brand, points)]))


def hold(person: str, points: int, expires: datetime = LATER) -> pb.Command:
    return pb.Command(
        request_id=request_id(),
        hold=pb.HoldCommand(member_id=person, points=points, expires_at=timestamp(expires)),
    )


def capture(person: str, hold_id: str, points: int, shop: str) -> pb.Command:
    what = pb.CaptureCommand(member_id=person, hold_id=hold_id, points=points, partner_id=shop)
    return pb.Command(request_id=request_id(), capture=what)


def void(person: str, hold_id: str) -> pb.Command:
    return pb.Command(request_id=request_id(), void=pb.VoidCommand(member_id=person, hold_id=hold_id))


async def test_r3_a_hold_is_captured_in_part_and_resolved_once(books: Books):
    shop = await books.brand()
    person = await books.person(100)
    held = pb.HoldRequest(request_id="my-hold", hold=hold(person, 80).hold)
    first = await books.call("Hold", held)
    assert await books.call("Hold", held) == first
    wallet = await books.wallet(person)
    assert (wallet.balance, wallet.held, wallet.available) == (100, 80, 20)
    taken = pb.CaptureRequest(request_id=request_id(), capture=capture(person, "my-hold", 30, shop).capture)
    captured = await books.call("Capture", taken)
    assert await books.call("Capture", taken) == captured
    assert [lot.points for lot in captured.outcome.lots] == [30]
    voided = pb.VoidRequest(request_id=request_id(), void=void(person, "my-hold").void)
    for _ in range(2):
        error = await refused(FailedPrecondition, books.call("Void", voided))
        assert error.reason == "HOLD_NOT_OPEN"
    wallet = await books.wallet(person)
    assert (wallet.balance, wallet.held, wallet.available) == (70, 0, 70)


async def test_r13_a_spend_lists_the_amount_per_issuer_and_leads_to_its_block(books: Books):
    one, other, shop = [await books.brand() for _ in range(3)]
    person = new_id("member")
    await books.done(issue(person, one, 60), issue(person, other, 60), held := hold(person, 100))
    (spent,) = await books.done(capture(person, held.request_id, 100, shop))
    shares = dict(zip(sorted([one, other]), (60, 40), strict=True))
    assert {lot.issuer_partner_id: lot.points for lot in spent.lots} == shares
    page = await books.call("ListEntries", pb.ListEntriesRequest(member_id=person, page={"first": 1}))
    (entry,) = page.entries
    assert (entry.points, page.page_info.has_next_page) == (-100, True)
    lineage = await books.call("Lineage", pb.LineageRequest(entry_id=entry.id))
    assert lineage.entry == entry
    assert lineage.place == spent.place
    assert len(lineage.block_hash) == len(lineage.previous_hash) == 32
    for unknown in ("entry-0-999999-0-0", "entry-63-1-0-0", "nonsense", ""):
        await refused(NotFound, books.call("Lineage", pb.LineageRequest(entry_id=unknown)))
    older = pb.ListEntriesRequest(member_id=person, page={"after": page.page_info.cursors[0]})
    assert [entry.points for entry in (await books.call("ListEntries", older)).entries] == [60, 60]


async def test_r8_an_issue_is_taken_back_once_and_what_was_spent_is_owed(books: Books):
    brand = await books.brand(1_000)
    person = new_id("member")
    given = issue(person, brand, 100)
    await books.done(given, held := hold(person, 30))
    await books.done(capture(person, held.request_id, 30, brand))
    request = pb.ReverseRequest(member_id=person, issue_id=given.request_id)
    answer = await books.call("Reverse", request)
    assert (sum(lot.points for lot in answer.outcome.lots), answer.outcome.shortfall_points) == (70, 30)
    assert await books.call("Reverse", request) == answer
    assert (await books.wallet(person)).shortfall == 30
    unknown = pb.ReverseRequest(member_id=person, issue_id="unknown")
    assert (await refused(NotFound, books.call("Reverse", unknown))).reason == "ISSUE_NOT_FOUND"


async def test_r7_a_capture_is_given_back_once_in_part_or_whole(books: Books):
    brand, shop = await books.brand(), await books.brand()
    person = await books.person(100, brand)
    await books.done(held := hold(person, 80))
    await books.done(taken := capture(person, held.request_id, 50, shop))
    request = pb.ReverseRequest(member_id=person, capture_id=taken.request_id, points=20)
    answer = await books.call("Reverse", request)
    assert [(lot.issuer_partner_id, lot.points) for lot in answer.outcome.lots] == [(brand, 20)]
    assert await books.call("Reverse", request) == answer
    assert (await books.wallet(person)).balance == 70
    request.points = 30
    assert (await refused(AlreadyExists, books.call("Reverse", request))).reason == "REQUEST_ID_REUSED"
    for points in (-1, 51):
        request.points = points
        assert (await refused(InvalidArgument, books.call("Reverse", request))).reason == "REVERSAL_OUT_OF_RANGE"
    for unknown in ("unknown", held.request_id):
        wrong = pb.ReverseRequest(member_id=person, capture_id=unknown)
        assert (await refused(NotFound, books.call("Reverse", wrong))).reason == "CAPTURE_NOT_FOUND"
    for fields in ({}, {"issue_id": "a", "capture_id": "b"}):
        both = pb.ReverseRequest(member_id=person, **fields)
        assert (await refused(InvalidArgument, books.call("Reverse", both))).reason == "FIELD_INVALID"


async def test_r9_an_issue_may_wait_and_be_taken_back_whole_meanwhile(books: Books):
    async def waiting_until(soon: datetime) -> tuple[str, pb.Command]:
        brand, person = await books.brand(1_000), new_id("member")
        first, second = issue(person, brand, 60), issue(person, brand, 40)
        first.issue.available_at.FromDatetime(LATER - timedelta(days=1))
        second.issue.available_at.FromDatetime(soon)
        await books.done(first, second)
        wallet = await books.wallet(person)
        assert (wallet.balance, wallet.pending, len(wallet.pending_earnings)) == (0, 100, 2)
        return person, first

    person, first = await in_time(waiting_until)
    answer = await books.call("Reverse", pb.ReverseRequest(member_id=person, issue_id=first.request_id))
    assert ([lot.points for lot in answer.outcome.lots], answer.outcome.shortfall_points) == ([60], 0)
    async with asyncio.timeout(60):
        while (wallet := await books.wallet(person)).pending:
            await asyncio.sleep(0.05)
    assert (wallet.balance, wallet.available) == (40, 40)


async def test_nobody_touches_what_another_caller_posted(books: Books):
    brand = await books.brand()
    person = new_id("member")
    given, held = issue(person, brand, 100), hold(person, 50)
    await books.done(given, held)
    service = books.partners
    voided = pb.VoidRequest(request_id=request_id(), void=void(person, held.request_id).void)
    assert (await refused(FailedPrecondition, service.call(service.stub.Void, voided))).reason == "HOLD_NOT_OPEN"
    reversed_ = pb.ReverseRequest(member_id=person, issue_id=given.request_id)
    assert (await refused(NotFound, service.call(service.stub.Reverse, reversed_))).reason == "ISSUE_NOT_FOUND"
    claimed = await books.world.earn(person, await books.world.new_partner(), 10)
    request = pb.ReverseRequest(member_id=person, issue_id=claimed.claim_id)
    await refused(NotFound, books.call("Reverse", request))
    assert (await books.wallet(person)).balance == 110


async def test_r2_a_command_has_one_outcome_for_ever(books: Books):
    person = await books.person(10)
    too_much = hold(person, 11)
    (first,) = await books.post(too_much)
    assert (first.refusal.reason, first.refusal.available, first.refusal.required) == ("INSUFFICIENT_POINTS", 10, 11)
    await books.done(issue(person, await books.brand(), 100))
    assert await books.post(too_much) == [first], "a refusal is an outcome too"
    error = await refused(FailedPrecondition, books.call("Post", pb.PostRequest(command=too_much)))
    assert (error.reason, error.metadata["available"]) == ("INSUFFICIENT_POINTS", "10")
    other = pb.Command(request_id=too_much.request_id, hold=hold(person, 12).hold)
    for method, request in (
        ("Post", pb.PostRequest(command=other)),
        ("BatchPost", pb.BatchPostRequest(commands=[other])),
    ):
        assert (await refused(AlreadyExists, books.call(method, request))).reason == "REQUEST_ID_REUSED"


async def test_r2_one_batch_sent_many_times_at_once_posts_once(books: Books):
    brand = await books.brand()
    people = [new_id("member") for _ in range(20)]
    commands = [issue(person, brand, 7) for person in people for _ in range(25)]
    first, *others = await asyncio.gather(*(books.post(*commands) for _ in range(4)))
    assert all(other == first for other in others)
    wallets = (await books.call("BatchGetWallets", rewards_pb2.BatchGetWalletsRequest(member_ids=people))).wallets
    assert [wallet.balance for wallet in wallets] == [175] * 20


async def test_r10_linked_commands_happen_together_or_not_at_all(books: Books):
    person = await books.person(100)
    chain = [hold(person, 40) for _ in range(3)]
    outcomes = await books.post(*chain, linked=True)
    assert [outcome.refusal.reason for outcome in outcomes] == [
        *["LINKED_COMMAND_FAILED"] * 2,
        "INSUFFICIENT_POINTS",
    ]
    assert await books.post(*chain, linked=True) == outcomes
    assert (await books.wallet(person)).held == 0
    for wrong in ([hold(person, 1), hold(new_id("member"), 1)], [allot(new_id("partner"), 1)], [chain[0]] * 2):
        assert (await refused(InvalidArgument, books.post(*wrong, linked=True))).reason == "FIELD_INVALID"


async def test_r11_the_balance_as_of_a_moment_is_the_replay(books: Books):
    brand = await books.brand()
    person = new_id("member")
    moments = []
    for points in (5, 7, 11):
        (outcome,) = await books.done(issue(person, brand, points))
        moments.append(outcome.at.ToDatetime(UTC))
        await asyncio.sleep(0.003)  # so that no two have the same millisecond

    async def at(moment: datetime) -> int:
        request = pb.BalanceAtRequest(member_id=person, at=timestamp(moment))
        return int((await books.call("BalanceAt", request)).balance)

    assert [await at(moment) for moment in moments] == [5, 12, 23]
    assert await at(moments[0] - timedelta(milliseconds=1)) == 0
    assert await at(datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC)) == 0
    assert await at(datetime(9999, 12, 31, tzinfo=UTC)) == 23


async def test_p8_the_liability_is_what_members_points_are_worth(books: Books):
    one, other = await books.brand(), await books.brand()
    person = new_id("member")
    await books.done(issue(person, one, 100), issue(person, other, 50), held := hold(person, 20))
    (spent,) = await books.done(capture(person, held.request_id, 20, other))
    answer = await books.call("Liability", pb.LiabilityRequest(partner_ids=[one, other]))
    left = {one: 100, other: 50}
    for taken in spent.lots:
        left[taken.issuer_partner_id] -= taken.points
    assert {points.partner_id: points.outstanding for points in answer.partners} == left
    assert (answer.outstanding, answer.liability.micros) == (130, 130 * CENT)
    everybody = await books.call("Liability", pb.LiabilityRequest())
    assert everybody.liability.micros == sum(points.liability.micros for points in everybody.partners)
    assert {one, other} <= {points.partner_id for points in everybody.partners}


async def test_a_watched_wallet_is_sent_at_once_and_after_each_change(books: Books, keys: Path):
    def watch(person: str) -> Any:
        metadata = [("authorization", f"Bearer {signer(keys).token()}"), ("alliance-caller", OPERATOR.to_header())]
        request = pb.WatchWalletRequest(member_id=person)
        return books.gateway.stub.WatchWallet(request, metadata=metadata, timeout=4 * PATIENCE_SECONDS)

    async def changing_at(soon: datetime) -> tuple[str, Any, datetime]:
        person = await books.person(10)
        stream = watch(person)
        assert (await stream.read()).wallet.balance == 10
        waits = issue(person, await books.brand(), 7)
        waits.issue.available_at.FromDatetime(soon + timedelta(seconds=1))
        await books.done(waits)
        wallet = (await stream.read()).wallet
        assert (wallet.balance, wallet.pending) == (10, 7)
        await books.done(hold(person, 4, expires=soon))
        assert (await stream.read()).wallet.held == 4
        return person, stream, soon

    person, stream, soon = await in_time(changing_at)
    wallet = (await stream.read()).wallet
    assert wallet.held == 0, "its time was up, and nobody called"
    assert datetime.now(UTC) >= soon
    if wallet.pending:  # On a busy machine both times are up when it is looked at.
        wallet = (await stream.read()).wallet
    assert (wallet.balance, wallet.pending) == (17, 0), "its time had come, and nobody called"
    assert datetime.now(UTC) >= soon + timedelta(seconds=1)
    await books.done(issue(new_id("member"), await books.brand(), 1))
    await books.done(issue(person, await books.brand(), 5))
    assert (await stream.read()).wallet.balance == 22, "others' changes are not sent"
    stream.cancel()


async def test_watchers_are_bounded_and_end_with_their_callers(books: Books, keys: Path):
    person = await books.person(10)
    metadata = [("authorization", f"Bearer {signer(keys).token()}"), ("alliance-caller", OPERATOR.to_header())]

    def watch() -> Any:
        request = pb.WatchWalletRequest(member_id=person)
        return books.gateway.stub.WatchWallet(request, metadata=metadata, timeout=4 * PATIENCE_SECONDS)

    streams = [watch() for _ in range(500)]
    first = await asyncio.gather(*(stream.read() for stream in streams))
    assert {answer.wallet.balance for answer in first} == {10}
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await watch().read()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for stream in streams:
        stream.cancel()
    async with asyncio.timeout(60):
        while True:
            with suppress(grpc.aio.AioRpcError):
                again = watch()
                assert (await again.read()).wallet.balance == 10
                again.cancel()
                break


def signer(keys: Path) -> Signer:
    return Signer.from_file("gateway", identity_key(keys, "gateway"))


P, M = new_id("partner"), new_id("member")


@pytest.mark.parametrize(
    "command",
    [
        pb.Command(request_id="x"),
        pb.Command(request_id="", allot=allot(P, 1).allot),
        pb.Command(request_id="y" * 65, allot=allot(P, 1).allot),
        allot("partner_x", 1),
        allot(P, 0),
        allot(P, -1),
        allot(P, 2**63 - 1),
        issue("nobody", P, 1),
        issue(M, P, 0),
        issue(M, P, 2**53),
        pb.Command(request_id="i", issue=pb.IssueCommand(member_id=M)),
        pb.Command(request_id="i", issue=pb.IssueCommand(member_id=M, lots=[lot(P, 1)] * 101)),
        pb.Command(request_id="i", issue=pb.IssueCommand(member_id=M, lots=[lot(P, 1), lot(new_id("partner"), 1)])),
        pb.Command(request_id="i", issue=pb.IssueCommand(member_id=M, lots=[lot(P, 1, value=-1)])),
        pb.Command(request_id="i", issue=pb.IssueCommand(member_id=M, lots=[rewards_pb2.Lot()])),
        hold(M, 0),
        hold('{"$gt": ""}', 1),
        hold(M, 1, expires=datetime(1969, 1, 1, tzinfo=UTC)),
        hold(M, 1, expires=datetime(2001, 1, 1, tzinfo=UTC)),
        capture(M, "", 1, P),
        capture(M, "hold", 0, P),
        capture(M, "hold", 1, M),
        void(M, "two words"),
    ],
    ids=lambda command: str(command.WhichOneof("command")),
)
async def test_a_command_that_cannot_be_is_refused(books: Books, command: pb.Command):
    error = await refused(InvalidArgument, books.call("Post", pb.PostRequest(command=command)))
    assert error.reason in ("FIELD_INVALID", "REQUEST_ID_MALFORMED", "COMMAND_INVALID")


async def test_batches_are_bounded(books: Books):
    assert (await refused(InvalidArgument, books.post())).reason == "BATCH_EMPTY"
    assert (await refused(InvalidArgument, books.post(*[hold(M, 1)] * 1_001))).reason == "BATCH_TOO_LARGE"
    outcomes = await books.post(*[hold(M, 1) for _ in range(1_000)])
    assert {outcome.refusal.reason for outcome in outcomes} == {"INSUFFICIENT_POINTS"}


async def test_only_operators_and_named_services_post_and_only_operators_see_what_is_owed(books: Books):
    posts = pb.PostRequest(command=allot(P, 1))
    for caller in (partner(P), member(M), None):
        assert (await refused(PermissionDenied, books.call("Post", posts, caller))).reason == "CALLER_NOT_ALLOWED"
        await refused(PermissionDenied, books.call("Liability", pb.LiabilityRequest(), caller))
    for caller in (partner(P), member(M)):
        await refused(PermissionDenied, books.call("GetWallet", pb.GetWalletRequest(member_id=M), caller))
    assert (await books.call("GetWallet", pb.GetWalletRequest(member_id=M), None)).wallet.balance == 0
    service = books.partners
    assert (await service.call(service.stub.Post, posts)).outcome.place.block > 0
    await refused(PermissionDenied, service.call(service.stub.GetWallet, pb.GetWalletRequest(member_id=M)))


async def test_each_service_of_the_process_says_that_it_serves(books: Books):
    async with grpc.aio.insecure_channel(books.world.process.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "alliance.rewards.v1.RewardsService", "alliance.rewards.v1.LedgerService"):
            answer: Any = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
