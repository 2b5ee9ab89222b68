"""The partners service over gRPC: credentials, agreements, and points bought ahead."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from pymongo import MongoClient

from alliance.common.v1.money_pb2 import Money
from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from alliance.rewards.v1 import rewards_pb2
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceServicer, add_RewardsServiceServicer_to_server
from deploy.local.keys import operator_secret
from services.shared.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from services.shared.proto import timestamp
from tests.support.errors import refused
from tests.support.partners import CENT, PartnersClient, ago, agreed, ahead, applied, approved, moved, offered
from tests.support.service import OPERATOR, PATIENCE_SECONDS, ServiceProcess, partner, request_id

CLIENTS_PER_PARTNER = 5
DATABASE = "test_partners_commerce"


class Ledger(RewardsServiceServicer):
    """The other service, as far as it matters here: remembers the blocks it was told of, while it is up."""

    def __init__(self) -> None:
        self.target = ""
        self.up = True
        self.told: list[rewards_pb2.PrepaidBlockPaid] = []

    async def AllotPrepaidBlocks(self, request: Any, context: Any) -> rewards_pb2.AllotPrepaidBlocksResponse:  # noqa: N802
        if not self.up:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        self.told += request.events
        return rewards_pb2.AllotPrepaidBlocksResponse()

    def blocks(self, partner_id: str) -> list[tuple[str, int]]:
        """Each event once, though a delivery whose answer was lost is made again."""
        events = {event.event_id: event for event in self.told if event.partner_id == partner_id}
        return [(event.block_id, event.points) for event in events.values()]


@pytest.fixture(scope="module")
async def ledger() -> AsyncIterator[Ledger]:
    ledger = Ledger()
    server = aio.server()
    add_RewardsServiceServicer_to_server(ledger, server)
    ledger.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield ledger
    await server.stop(0)


@pytest.fixture(scope="module")
def process(ledger: Ledger, mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess(
        "partners",
        mongodb_uri,
        keys,
        workspace / "commerce.log",
        ALLIANCE_REWARDS_TARGET=ledger.target,
        ALLIANCE_MONGODB_DATABASE=DATABASE,
    )
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
async def partners(process: ServiceProcess) -> PartnersClient:
    return process.client(PartnersServiceStub)


@pytest.fixture
async def brand(partners: PartnersClient) -> pb.Partner:
    return await approved(partners)


async def made(partners: PartnersClient, brand: pb.Partner, label: str = "shop") -> pb.CreateApiClientResponse:
    request = pb.CreateApiClientRequest(request_id=request_id(), label=label)
    return await partners.call(partners.stub.CreateApiClient, request, caller=partner(brand.id))


async def revoked(partners: PartnersClient, client_id: str, caller=OPERATOR) -> pb.ApiClient:
    request = pb.RevokeApiClientRequest(request_id=request_id(), client_id=client_id)
    return (await partners.call(partners.stub.RevokeApiClient, request, caller=caller)).client


async def authenticated(partners: PartnersClient, client_id: str, secret: str) -> pb.AuthenticateClientResponse:
    request = pb.AuthenticateClientRequest(client_id=client_id, secret=secret)
    return await partners.call(partners.stub.AuthenticateClient, request)


# Credentials


async def test_a_client_s_secret_is_shown_once_and_opens_the_door(partners: PartnersClient, brand: pb.Partner):
    request = pb.CreateApiClientRequest(request_id=request_id(), partner_id=brand.id, label="shop")
    first = await partners.call(partners.stub.CreateApiClient, request, caller=partner(brand.id))
    again = await partners.call(partners.stub.CreateApiClient, request, caller=partner(brand.id))
    assert (first.client, again.secret) == (again.client, "")
    assert len(first.secret) == 43
    answer = await authenticated(partners, first.client.id, first.secret)
    assert (answer.client.partner_id, answer.operator) == (brand.id, False)


async def test_secrets_are_neither_stored_nor_logged(
    process: ServiceProcess, partners: PartnersClient, brand: pb.Partner, mongodb_uri: str, keys: Path
):
    made_here = await made(partners, brand)
    await authenticated(partners, made_here.client.id, made_here.secret)
    await refused(Unauthenticated, authenticated(partners, made_here.client.id, made_here.secret + "x"))
    await authenticated(partners, "operator", operator_secret(keys))
    found = ""
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        database = client[DATABASE]
        for collection in database.list_collection_names():
            found += "".join(map(repr, database[collection].find()))
    assert made_here.client.id in found
    for secret in (made_here.secret, operator_secret(keys)):
        assert secret not in found
        assert secret not in process.log_text()


async def test_all_failures_to_authenticate_are_alike(partners: PartnersClient, brand: pb.Partner, keys: Path):
    good, ended = await made(partners, brand), await made(partners, brand)
    await revoked(partners, ended.client.id)
    closed = await approved(partners)
    of_closed = await made(partners, closed)
    await moved(partners, closed.id, pb.PARTNER_STATUS_CLOSED)
    errors = [
        await refused(Unauthenticated, authenticated(partners, client_id, secret))
        for client_id, secret in (
            ("client_unknown", good.secret),
            ("", ""),
            ('{"$gt": ""}', '{"$gt": ""}'),
            ("x" * 100_000, good.secret),
            (good.client.id, ""),
            (good.client.id, good.secret[:-1]),
            (good.client.id, good.secret + "\0"),
            (good.client.id, "x" * 100_000),
            (good.client.id, ended.secret),
            (good.client.id, operator_secret(keys)),
            (ended.client.id, ended.secret),
            (of_closed.client.id, of_closed.secret),
            ("operator", ""),
            ("operator", good.secret),
        )
    ]
    assert {(error.reason, error.message, str(error.metadata)) for error in errors} == {
        ("CLIENT_CREDENTIALS_INVALID", errors[0].message, "{}")
    }


async def test_a_suspended_partner_still_gets_in(partners: PartnersClient, brand: pb.Partner):
    mine = await made(partners, brand)
    await moved(partners, brand.id, pb.PARTNER_STATUS_SUSPENDED)
    assert (await authenticated(partners, mine.client.id, mine.secret)).client == mine.client


async def test_the_first_operator_s_client_is_the_one_of_the_settings(partners: PartnersClient, keys: Path):
    answer = await authenticated(partners, "operator", operator_secret(keys))
    assert (answer.operator, answer.client.id, answer.client.partner_id) == (True, "operator", "")


async def test_without_an_operator_s_secret_nobody_is_the_operator(mongodb_uri: str, keys: Path, workspace: Path):
    process = ServiceProcess(
        "partners", mongodb_uri, keys, workspace / "no-operator.log", ALLIANCE_OPERATOR_CLIENT_SECRET=""
    )
    process.start()
    partners = process.client(PartnersServiceStub)
    for secret in ("", "operator", "None"):
        await refused(Unauthenticated, authenticated(partners, "operator", secret))
    assert process.stop() == 0


async def test_the_sixth_client_is_refused_also_when_all_come_at_once(partners: PartnersClient, brand: pb.Partner):
    answers = await asyncio.gather(*(made(partners, brand) for _ in range(12)), return_exceptions=True)
    clients = [answer for answer in answers if isinstance(answer, pb.CreateApiClientResponse)]
    assert len(clients) == CLIENTS_PER_PARTNER
    refusals = [answer for answer in answers if isinstance(answer, ResourceExhausted)]
    assert {error.reason for error in refusals} == {"TOO_MANY_API_CLIENTS"}
    assert len(refusals) == 12 - CLIENTS_PER_PARTNER
    # A revoked client makes room for one other, however often it is revoked.
    await asyncio.gather(*(revoked(partners, clients[0].client.id) for _ in range(5)))
    await made(partners, brand)
    await refused(ResourceExhausted, made(partners, brand))


async def test_a_revoked_client_is_out_at_once(partners: PartnersClient, brand: pb.Partner):
    mine = await made(partners, brand)
    request = pb.RevokeApiClientRequest(request_id=request_id(), client_id=mine.client.id)
    first = await partners.call(partners.stub.RevokeApiClient, request, caller=partner(brand.id))
    assert first.client.revoked
    assert await partners.call(partners.stub.RevokeApiClient, request, caller=partner(brand.id)) == first
    await refused(Unauthenticated, authenticated(partners, mine.client.id, mine.secret))


async def test_a_partner_s_clients_in_use_are_listed_newest_first_without_their_secrets(
    partners: PartnersClient, brand: pb.Partner
):
    other = await approved(partners)
    first, ended, last = [await made(partners, brand) for _ in range(3)]
    theirs = await made(partners, other)
    await revoked(partners, ended.client.id)
    request = pb.BatchListApiClientsRequest(partner_ids=[brand.id, other.id, "partner_unknown"])
    answer = await partners.call(partners.stub.BatchListApiClients, request)
    found = {row.partner_id: list(row.clients) for row in answer.partners}
    assert found == {brand.id: [last.client, first.client], other.id: [theirs.client]}
    for caller in (partner(brand.id), OPERATOR):
        await refused(PermissionDenied, partners.call(partners.stub.BatchListApiClients, request, caller=caller))


async def test_clients_are_the_business_of_their_owner(partners: PartnersClient, brand: pb.Partner):
    theirs = await made(partners, await approved(partners))
    request = pb.CreateApiClientRequest(request_id=request_id(), partner_id=theirs.client.partner_id, label="mine now")
    error = await refused(
        PermissionDenied, partners.call(partners.stub.CreateApiClient, request, caller=partner(brand.id))
    )
    assert error.reason == "NOT_YOUR_PARTNER"
    for client_id in (theirs.client.id, "client_unknown"):
        missing = await refused(NotFound, revoked(partners, client_id, partner(brand.id)))
        assert missing.reason == "API_CLIENT_NOT_FOUND"
    assert (await authenticated(partners, theirs.client.id, theirs.secret)).client == theirs.client


async def test_only_an_approved_partner_gets_clients(partners: PartnersClient):
    newcomer = await applied(partners)
    error = await refused(FailedPrecondition, made(partners, newcomer))
    assert error.reason == "PARTNER_NOT_APPROVED"
    for partner_id in ("", "partner_x"):
        request = pb.CreateApiClientRequest(request_id=request_id(), partner_id=partner_id, label="shop")
        missing = await refused(NotFound, partners.call(partners.stub.CreateApiClient, request, caller=OPERATOR))
        assert missing.reason == "PARTNER_NOT_FOUND"


@pytest.mark.parametrize("label", ["", " ", "x" * 81, "a\nb"])
async def test_a_client_s_label_is_a_line_of_text(partners: PartnersClient, brand: pb.Partner, label: str):
    error = await refused(InvalidArgument, made(partners, brand, label))
    assert error.metadata == {"field": "label"}


# Agreements


async def agreements_of(partners: PartnersClient, *partner_ids: str) -> dict[str, list[pb.Agreement]]:
    request = pb.BatchListAgreementsRequest(partner_ids=partner_ids)
    answer = await partners.call(partners.stub.BatchListAgreements, request)
    return {group.partner_id: list(group.agreements) for group in answer.partners}


async def test_an_agreement_is_offered_once_and_accepted_once(partners: PartnersClient, brand: pb.Partner):
    offer = pb.OfferAgreementRequest(
        request_id=request_id(), partner_id=brand.id, unit_value=CENT, valid_from=timestamp(ago(days=1))
    )
    first = await partners.call(partners.stub.OfferAgreement, offer, caller=OPERATOR)
    assert await partners.call(partners.stub.OfferAgreement, offer, caller=OPERATOR) == first
    assert not first.agreement.HasField("accepted_at")

    accept = pb.AcceptAgreementRequest(request_id=request_id(), agreement_id=first.agreement.id)
    accepted = await partners.call(partners.stub.AcceptAgreement, accept, caller=partner(brand.id))
    assert accepted.agreement.HasField("accepted_at")
    assert await partners.call(partners.stub.AcceptAgreement, accept, caller=partner(brand.id)) == accepted
    # The first yes stands, also when it is said anew.
    accept.request_id = request_id()
    assert await partners.call(partners.stub.AcceptAgreement, accept, caller=partner(brand.id)) == accepted
    assert await agreements_of(partners, brand.id, "partner_x") == {brand.id: [accepted.agreement]}


async def test_agreements_are_listed_newest_first(partners: PartnersClient, brand: pb.Partner):
    offers = [await offered(partners, brand.id) for _ in range(3)]
    other = await offered(partners, (await approved(partners)).id)
    assert await agreements_of(partners, brand.id, other.partner_id) == {
        brand.id: offers[::-1],
        other.partner_id: [other],
    }


async def test_an_agreement_is_accepted_by_its_own_partner_alone(partners: PartnersClient, brand: pb.Partner):
    theirs = await offered(partners, (await approved(partners)).id)
    for agreement_id in (theirs.id, "agreement_unknown", '{"$ne": ""}'):
        request = pb.AcceptAgreementRequest(request_id=request_id(), agreement_id=agreement_id)
        error = await refused(NotFound, partners.call(partners.stub.AcceptAgreement, request, caller=partner(brand.id)))
        assert error.reason == "AGREEMENT_NOT_FOUND"
    assert not (await agreements_of(partners, theirs.partner_id))[theirs.partner_id][0].HasField("accepted_at")


async def test_a_closed_partner_accepts_nothing(partners: PartnersClient, brand: pb.Partner):
    offer = await offered(partners, brand.id)
    await moved(partners, brand.id, pb.PARTNER_STATUS_CLOSED)
    request = pb.AcceptAgreementRequest(request_id=request_id(), agreement_id=offer.id)
    error = await refused(
        FailedPrecondition, partners.call(partners.stub.AcceptAgreement, request, caller=partner(brand.id))
    )
    assert error.reason == "PARTNER_NOT_ACTIVE"


@pytest.mark.parametrize(
    ("unit_value", "reason", "field"),
    [
        (Money(currency="USD", micros=1), "CURRENCY_NOT_ACCEPTED", "unit_value.currency"),
        (Money(currency="eur", micros=1), "CURRENCY_NOT_ACCEPTED", "unit_value.currency"),
        (Money(), "CURRENCY_NOT_ACCEPTED", "unit_value.currency"),
        (Money(currency="EUR", micros=0), "FIELD_INVALID", "unit_value.micros"),
        (Money(currency="EUR", micros=-1), "FIELD_INVALID", "unit_value.micros"),
        (Money(currency="EUR", micros=1_000_000_001), "FIELD_INVALID", "unit_value.micros"),
        (Money(currency="EUR", micros=2**63 - 1), "FIELD_INVALID", "unit_value.micros"),
    ],
)
async def test_a_price_per_point_that_cannot_be_is_refused(
    partners: PartnersClient, brand: pb.Partner, unit_value: Money, reason: str, field: str
):
    error = await refused(InvalidArgument, offered(partners, brand.id, unit_value))
    assert (error.reason, error.metadata["field"]) == (reason, field)


async def test_an_agreement_starts_at_a_time_that_can_be(partners: PartnersClient, brand: pb.Partner):
    error = await refused(InvalidArgument, offered(partners, brand.id, CENT, ahead(days=3_700)))
    assert error.metadata == {"field": "valid_from"}
    for start in (None, {"seconds": 2**62}, {"seconds": 1, "nanos": -1}):
        request = pb.OfferAgreementRequest(
            request_id=request_id(), partner_id=brand.id, unit_value=CENT, valid_from=start
        )
        error = await refused(InvalidArgument, partners.call(partners.stub.OfferAgreement, request, caller=OPERATOR))
        assert error.metadata == {"field": "valid_from"}


async def test_agreements_are_offered_to_approved_partners(partners: PartnersClient, brand: pb.Partner):
    error = await refused(FailedPrecondition, offered(partners, (await applied(partners)).id))
    assert error.reason == "PARTNER_NOT_APPROVED"
    missing = await refused(NotFound, offered(partners, "partner_x"))
    assert missing.reason == "PARTNER_NOT_FOUND"


# Points bought ahead


async def ordered(partners: PartnersClient, brand: pb.Partner, points: int = 1_000) -> pb.PrepaidBlock:
    request = pb.OrderPrepaidBlockRequest(request_id=request_id(), points=points)
    return (await partners.call(partners.stub.OrderPrepaidBlock, request, caller=partner(brand.id))).block


async def confirmed(
    partners: PartnersClient, block: pb.PrepaidBlock, as_request: str = ""
) -> pb.ConfirmPrepaidBlockResponse:
    request = pb.ConfirmPrepaidBlockRequest(request_id=as_request or request_id(), block_id=block.id)
    return await partners.call(partners.stub.ConfirmPrepaidBlock, request, caller=OPERATOR)


async def allotted(partners: PartnersClient, block: pb.PrepaidBlock, as_request: str = "") -> pb.PrepaidBlock:
    """The block, confirmed until its points are in the ledger: that may be later than the answer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (answer := await confirmed(partners, block, as_request)).allotted:
            await asyncio.sleep(0.05)
    return answer.block


async def blocks_of(partners: PartnersClient, *partner_ids: str) -> dict[str, list[pb.PrepaidBlock]]:
    request = pb.BatchListPrepaidBlocksRequest(partner_ids=partner_ids)
    answer = await partners.call(partners.stub.BatchListPrepaidBlocks, request)
    return {group.partner_id: list(group.blocks) for group in answer.partners}


async def test_p3_a_paid_block_reaches_the_ledger_once(partners: PartnersClient, brand: pb.Partner, ledger: Ledger):
    await agreed(partners, brand.id, Money(currency="EUR", micros=12_345))
    request = pb.OrderPrepaidBlockRequest(request_id=request_id(), points=5_000)
    block = (await partners.call(partners.stub.OrderPrepaidBlock, request, caller=partner(brand.id))).block
    again = (await partners.call(partners.stub.OrderPrepaidBlock, request, caller=partner(brand.id))).block
    assert again == block
    assert (block.points, block.price.currency, block.price.micros) == (5_000, "EUR", 61_725_000)
    assert not block.HasField("paid_at")
    assert ledger.blocks(brand.id) == []

    id = request_id()
    paid = await allotted(partners, block, id)
    assert paid.HasField("paid_at")
    first = pb.ConfirmPrepaidBlockResponse(block=paid, allotted=True)
    assert await confirmed(partners, block, id) == first
    assert await confirmed(partners, block) == first
    answers = await asyncio.gather(*(confirmed(partners, block) for _ in range(10)))
    assert all(answer == first for answer in answers)
    assert ledger.blocks(brand.id) == [(block.id, 5_000)]
    assert await blocks_of(partners, brand.id) == {brand.id: [first.block]}


async def test_p3_ten_confirmations_at_once_are_one(partners: PartnersClient, brand: pb.Partner, ledger: Ledger):
    await agreed(partners, brand.id)
    block = await ordered(partners, brand)
    answers = await asyncio.gather(*(confirmed(partners, block) for _ in range(10)))
    assert len({answer.block.SerializeToString(deterministic=True) for answer in answers}) == 1
    await allotted(partners, block)
    assert ledger.blocks(brand.id) == [(block.id, 1_000)]


async def test_p3_while_the_ledger_is_down_the_payment_counts_and_its_points_follow(
    partners: PartnersClient, brand: pb.Partner, ledger: Ledger
):
    await agreed(partners, brand.id)
    block = await ordered(partners, brand)
    ledger.up = False
    first = await confirmed(partners, block)
    another = await confirmed(partners, block)
    assert first.block.HasField("paid_at")
    assert (first.allotted, another.allotted) == (False, False)
    ledger.up = True
    await allotted(partners, block)
    assert ledger.blocks(brand.id) == [(block.id, 1_000)]


async def test_the_price_is_that_of_the_agreement_in_force_now(partners: PartnersClient, brand: pb.Partner):
    error = await refused(FailedPrecondition, ordered(partners, brand))
    assert error.reason == "NO_AGREEMENT_IN_FORCE"
    await offered(partners, brand.id)
    await refused(FailedPrecondition, ordered(partners, brand))
    await agreed(partners, brand.id, CENT, ahead(days=1))
    await refused(FailedPrecondition, ordered(partners, brand))
    start = ago(days=2)
    await agreed(partners, brand.id, CENT, start)
    assert (await ordered(partners, brand, 3)).price.micros == 30_000
    # Two that start together: the one accepted last.
    await agreed(partners, brand.id, Money(currency="EUR", micros=20_000), start)
    assert (await ordered(partners, brand, 3)).price.micros == 60_000


@pytest.mark.parametrize("points", [0, -1, 1_000_000_001, 2**63 - 1])
async def test_a_block_has_so_many_points_and_not_more(partners: PartnersClient, brand: pb.Partner, points: int):
    await agreed(partners, brand.id)
    error = await refused(InvalidArgument, ordered(partners, brand, points))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", "points")


async def test_a_price_beyond_what_can_be_written_is_refused(partners: PartnersClient, brand: pb.Partner):
    await agreed(partners, brand.id, Money(currency="EUR", micros=1_000_000_000))
    error = await refused(InvalidArgument, ordered(partners, brand, 1_000_000_000))
    assert error.metadata["field"] == "points"
    assert (await ordered(partners, brand, 9_007_199)).price.micros == 9_007_199 * 10**9


async def test_a_hundred_blocks_may_wait_for_payment(partners: PartnersClient, brand: pb.Partner):
    await agreed(partners, brand.id)
    blocks = [await ordered(partners, brand, points) for points in range(1, 101)]
    error = await refused(ResourceExhausted, ordered(partners, brand))
    assert error.reason == "TOO_MANY_OPEN_BLOCKS"
    await asyncio.gather(*(confirmed(partners, blocks[0]) for _ in range(3)))
    await ordered(partners, brand, 101)
    await refused(ResourceExhausted, ordered(partners, brand))
    listed = (await blocks_of(partners, brand.id))[brand.id]
    assert [block.points for block in listed] == list(range(101, 0, -1))


async def test_a_block_that_is_not_there_cannot_be_paid(partners: PartnersClient):
    for block_id in ("block_unknown", "", '{"$gt": ""}'):
        error = await refused(NotFound, confirmed(partners, pb.PrepaidBlock(id=block_id)))
        assert error.reason == "PREPAID_BLOCK_NOT_FOUND"


async def test_a_partner_cannot_confirm_its_own_payment(partners: PartnersClient, brand: pb.Partner):
    await agreed(partners, brand.id)
    block = await ordered(partners, brand)
    request = pb.ConfirmPrepaidBlockRequest(request_id=request_id(), block_id=block.id)
    error = await refused(
        PermissionDenied, partners.call(partners.stub.ConfirmPrepaidBlock, request, caller=partner(brand.id))
    )
    assert error.reason == "CALLER_NOT_ALLOWED"
