"""The partners service over gRPC, a real process on a real database: a partner's life, and who may call."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from services.shared.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from tests.support.errors import refused
from tests.support.partners import PartnersClient, applied, moved
from tests.support.service import ANYONE, OPERATOR, ServiceProcess, partner, request_id


@pytest.fixture(scope="module")
def process(mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess("partners", mongodb_uri, keys, workspace / "partners.log")
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
async def partners(process: ServiceProcess) -> PartnersClient:
    return process.client(PartnersServiceStub)


async def test_a_partner_applies_once_whatever_is_repeated(partners: PartnersClient):
    request = pb.ApplyPartnerRequest(request_id=request_id(), name="Groenmarkt", trade="grocer", country="NL")
    first = await partners.call(partners.stub.ApplyPartner, request, caller=ANYONE)
    again = await partners.call(partners.stub.ApplyPartner, request, caller=ANYONE)
    assert first == again


async def test_strangers_do_not_meet_each_others_request_ids(partners: PartnersClient):
    """Nobody knows whose an id is, so none is refused for what another did, nor gets another's answer."""
    one = pb.ApplyPartnerRequest(request_id="1", name="First come", trade="grocer", country="NL")
    other = pb.ApplyPartnerRequest(request_id="1", name="Second come", trade="grocer", country="NL")
    first = (await partners.call(partners.stub.ApplyPartner, one, caller=ANYONE)).partner
    second = (await partners.call(partners.stub.ApplyPartner, other, caller=ANYONE)).partner
    assert (first.name, second.name) == ("First come", "Second come")
    assert first.id != second.id
    assert (await partners.call(partners.stub.ApplyPartner, one, caller=ANYONE)).partner == first


async def test_a_name_that_reads_the_same_is_taken(partners: PartnersClient):
    await applied(partners, "Noodle House")
    error = await refused(AlreadyExists, applied(partners, "  noodlehouse "))
    assert error.reason == "PARTNER_NAME_TAKEN"


async def test_p1_status_moves_only_as_the_lifecycle_allows(partners: PartnersClient):
    brand = await applied(partners, "Swift Courier")

    async def move(status: pb.PartnerStatus) -> pb.Partner:
        return await moved(partners, brand.id, status)

    error = await refused(FailedPrecondition, move(pb.PARTNER_STATUS_SUSPENDED))
    assert error.reason == "PARTNER_STATUS_CONFLICT"
    assert (await move(pb.PARTNER_STATUS_APPROVED)).status == pb.PARTNER_STATUS_APPROVED
    assert (await move(pb.PARTNER_STATUS_SUSPENDED)).status == pb.PARTNER_STATUS_SUSPENDED
    assert (await move(pb.PARTNER_STATUS_CLOSED)).status == pb.PARTNER_STATUS_CLOSED
    await refused(FailedPrecondition, move(pb.PARTNER_STATUS_APPROVED))


async def test_partners_are_listed_by_where_they_are_in_their_life(partners: PartnersClient):
    waiting, active = [(await applied(partners, name)).id for name in ("Late Laundry", "Early Eatery")]
    await moved(partners, active, pb.PARTNER_STATUS_APPROVED)
    for status, there, not_there in (
        (pb.PARTNER_STATUS_APPLIED, waiting, active),
        (pb.PARTNER_STATUS_APPROVED, active, waiting),
    ):
        request = pb.ListPartnersRequest(page={"first": 100}, status=status)
        answer = await partners.call(partners.stub.ListPartners, request, caller=OPERATOR)
        assert {row.status for row in answer.partners} == {status}
        ids = [row.id for row in answer.partners]
        assert there in ids
        assert not_there not in ids


async def test_a_repeated_move_is_answered_again_and_made_once(partners: PartnersClient):
    brand = await applied(partners)
    request = pb.SetPartnerStatusRequest(
        request_id=request_id(), partner_id=brand.id, status=pb.PARTNER_STATUS_APPROVED
    )
    first = await partners.call(partners.stub.SetPartnerStatus, request, caller=OPERATOR)
    await moved(partners, brand.id, pb.PARTNER_STATUS_SUSPENDED)
    assert await partners.call(partners.stub.SetPartnerStatus, request, caller=OPERATOR) == first
    found = await partners.call(partners.stub.BatchGetPartners, pb.BatchGetPartnersRequest(ids=[brand.id, "nobody"]))
    assert [row.status for row in found.partners] == [pb.PARTNER_STATUS_SUSPENDED]


async def test_of_two_moves_at_once_the_lifecycle_allows_what_it_allows_one_after_the_other(partners: PartnersClient):
    brand = await applied(partners)
    moves = [moved(partners, brand.id, pb.PARTNER_STATUS_APPROVED) for _ in range(5)]
    answers = await asyncio.gather(*moves, return_exceptions=True)
    assert sum(isinstance(answer, pb.Partner) for answer in answers) == 1
    assert sum(isinstance(answer, FailedPrecondition) for answer in answers) == 4


async def test_a_partner_that_is_not_there_has_no_status(partners: PartnersClient):
    for partner_id in ("partner_x", "", '{"$ne": ""}'):
        error = await refused(NotFound, moved(partners, partner_id, pb.PARTNER_STATUS_APPROVED))
        assert error.reason == "PARTNER_NOT_FOUND"


@pytest.mark.parametrize("status", [pb.PARTNER_STATUS_UNSPECIFIED, 99, -1])
async def test_an_unknown_status_is_refused(partners: PartnersClient, status: pb.PartnerStatus):
    error = await refused(InvalidArgument, moved(partners, (await applied(partners)).id, status))
    assert error.metadata == {"field": "status"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x"),
        ("name", " " * 40),
        ("name", "x" * 81),
        ("name", "a\x00b"),
        ("name", "Green\u200bgage"),
        ("trade", ""),
        ("country", "nl"),
        ("country", "NLD"),
        ("logo_url", "http://brand.example/logo.svg"),
        ("logo_url", "javascript:alert(1)"),
        ("logo_url", 'https://brand.example/"><script>'),
        ("logo_url", "https://shop.example@brand.example/logo.svg"),
        ("logo_url", "https:///logo.svg"),
    ],
)
async def test_an_application_that_is_not_right_names_the_field(partners: PartnersClient, field: str, value: str):
    request = pb.ApplyPartnerRequest(request_id=request_id(), name="Brand", trade="grocer", country="NL")
    setattr(request, field, value)
    error = await refused(InvalidArgument, partners.call(partners.stub.ApplyPartner, request, caller=ANYONE))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", field)


async def test_more_than_a_thousand_ids_are_too_many(partners: PartnersClient):
    request = pb.BatchGetPartnersRequest(ids=["partner_x"] * 1_001)
    error = await refused(InvalidArgument, partners.call(partners.stub.BatchGetPartners, request))
    assert error.reason == "BATCH_TOO_LARGE"
    none = await partners.call(partners.stub.BatchGetPartners, pb.BatchGetPartnersRequest())
    assert list(none.partners) == []


async def test_who_may_not_call_is_told_so(partners: PartnersClient):
    request = pb.SetPartnerStatusRequest(
        request_id=request_id(), partner_id="partner_x", status=pb.PARTNER_STATUS_APPROVED
    )
    for caller in (ANYONE, partner("partner_x"), None):
        error = await refused(PermissionDenied, partners.call(partners.stub.SetPartnerStatus, request, caller=caller))
        assert error.reason == "CALLER_NOT_ALLOWED"


async def test_a_service_cannot_speak_for_others(process: ServiceProcess):
    logistics = process.client(PartnersServiceStub, "logistics")
    request = pb.ListPartnersRequest()
    error = await refused(PermissionDenied, logistics.call(logistics.stub.ListPartners, request, caller=OPERATOR))
    assert error.reason == "DELEGATION_NOT_ALLOWED"


async def test_lists_go_on_behind_a_cursor(partners: PartnersClient):
    for name in ("Paged 1", "paged", "Paged 0", "Paged 10"):
        await applied(partners, name)
    seen: list[str] = []
    after = ""
    while True:
        request = pb.ListPartnersRequest(page={"first": 2, "after": after})
        answer = await partners.call(partners.stub.ListPartners, request)
        seen += [row.name for row in answer.partners]
        if not answer.page_info.has_next_page:
            break
        after = answer.page_info.cursors[-1]
    assert seen == sorted(seen, key=lambda name: "".join(name.casefold().split()))
    assert [name for name in seen if "aged" in name] == ["paged", "Paged 0", "Paged 1", "Paged 10"]


@pytest.mark.parametrize(
    ("page", "reason"),
    [({"first": 101}, "PAGE_TOO_LARGE"), ({"first": -1}, "PAGE_TOO_LARGE"), ({"after": "?"}, "CURSOR_MALFORMED")],
)
async def test_a_page_that_cannot_be_is_refused(partners: PartnersClient, page, reason: str):
    error = await refused(InvalidArgument, partners.call(partners.stub.ListPartners, pb.ListPartnersRequest(page=page)))
    assert error.reason == reason


async def test_an_operator_in_an_input_stays_a_string(partners: PartnersClient):
    assert (await applied(partners, '{"$gt": ""}')).name == '{"$gt": ""}'
