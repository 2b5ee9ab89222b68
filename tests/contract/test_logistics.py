"""The logistics service over gRPC, a real process on a real database: recycling points and their machines."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.type.latlng_pb2 import LatLng

from alliance.logistics.v1 import logistics_pb2 as pb
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from services.shared.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from services.shared.identity import Caller
from services.shared.ids import new_id
from tests.support.errors import refused
from tests.support.machines import Key, LogisticsClient, opened, point_request, registered
from tests.support.service import ANYONE, OPERATOR, ServiceProcess, member, partner, request_id

GROCER, COURIER = new_id("partner"), new_id("partner")


@pytest.fixture(scope="module")
def process(mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess("logistics", mongodb_uri, keys, workspace / "logistics.log")
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
async def logistics(process: ServiceProcess) -> LogisticsClient:
    return process.client(LogisticsServiceStub)


@pytest.fixture
async def point(logistics: LogisticsClient) -> pb.RecyclingPoint:
    return await opened(logistics, GROCER)


async def create(
    logistics: LogisticsClient, request: pb.CreateRecyclingPointRequest, caller: Caller
) -> pb.RecyclingPoint:
    answer = await logistics.call(logistics.stub.CreateRecyclingPoint, request, caller=caller)
    return answer.recycling_point


async def retired(logistics: LogisticsClient, machine_id: str, caller: Caller) -> pb.Machine:
    request = pb.RetireMachineRequest(request_id=request_id(), machine_id=machine_id)
    return (await logistics.call(logistics.stub.RetireMachine, request, caller=caller)).machine


async def machines_at(logistics: LogisticsClient, *point_ids: str) -> dict[str, list[pb.Machine]]:
    request = pb.BatchListMachinesRequest(recycling_point_ids=point_ids)
    answer = await logistics.call(logistics.stub.BatchListMachines, request)
    return {group.recycling_point_id: list(group.machines) for group in answer.points}


async def test_a_point_is_opened_once_whatever_is_repeated(logistics: LogisticsClient):
    request = point_request(materials=[pb.MATERIAL_REUSABLE_BOX, pb.MATERIAL_PET, pb.MATERIAL_PET])
    first = await create(logistics, request, partner(GROCER))
    assert await create(logistics, request, partner(GROCER)) == first
    assert (first.partner_id, first.location.latitude) == (GROCER, 52.0907)
    assert list(first.materials) == [pb.MATERIAL_PET, pb.MATERIAL_REUSABLE_BOX]
    found = await logistics.call(
        logistics.stub.BatchGetRecyclingPoints, pb.BatchGetRecyclingPointsRequest(ids=[first.id, "point_x"])
    )
    assert list(found.recycling_points) == [first]
    request.address = "Elsewhere 1"
    error = await refused(AlreadyExists, create(logistics, request, partner(GROCER)))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_a_partner_opens_points_of_its_own_and_the_operator_of_anybody(logistics: LogisticsClient):
    assert (await create(logistics, point_request(partner_id=COURIER), OPERATOR)).partner_id == COURIER
    assert (await create(logistics, point_request(partner_id=COURIER), partner(COURIER))).partner_id == COURIER
    error = await refused(PermissionDenied, create(logistics, point_request(partner_id=COURIER), partner(GROCER)))
    assert error.reason == "NOT_YOUR_PARTNER"
    for partner_id in ("", "member_01h455vb4pex5vsknk084sn02q", '{"$gt": ""}'):
        invalid = await refused(InvalidArgument, create(logistics, point_request(partner_id=partner_id), OPERATOR))
        assert invalid.metadata == {"field": "partner_id"}
    for caller in (ANYONE, member(new_id("member"))):
        await refused(PermissionDenied, create(logistics, point_request(), caller))


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("name", "x", "name"),
        ("name", "x" * 81, "name"),
        ("address", "", "address"),
        ("address", "x" * 201, "address"),
        ("materials", [], "materials"),
        ("materials", [pb.MATERIAL_PET, 0], "materials"),
        ("materials", [99], "materials"),
        ("location", None, "location"),
        ("location", LatLng(latitude=90.1), "location.latitude"),
        ("location", LatLng(latitude=-91), "location.latitude"),
        ("location", LatLng(latitude=math.nan), "location.latitude"),
        ("location", LatLng(longitude=math.inf), "location.longitude"),
        ("location", LatLng(longitude=180.1), "location.longitude"),
    ],
)
async def test_a_point_that_cannot_be_names_the_field(
    logistics: LogisticsClient, field: str, value: object, named: str
):
    error = await refused(InvalidArgument, create(logistics, point_request(**{field: value}), partner(GROCER)))
    assert (error.reason, error.metadata["field"]) == ("FIELD_INVALID", named)


async def test_points_are_listed_by_name(logistics: LogisticsClient):
    names = {"Zuid", "aan de Werf", "Markt", "markt 2"}
    for name in names:
        await opened(logistics, GROCER, name=name)
    seen: list[str] = []
    after = ""
    while True:
        request = pb.ListRecyclingPointsRequest(page={"first": 3, "after": after})
        answer = await logistics.call(logistics.stub.ListRecyclingPoints, request)
        seen += [row.name for row in answer.recycling_points]
        if not answer.page_info.has_next_page:
            break
        after = answer.page_info.cursors[-1]
    assert seen == sorted(seen, key=lambda name: "".join(name.casefold().split()))
    assert names <= set(seen)


async def test_a_machine_is_registered_once_whatever_is_repeated(logistics: LogisticsClient, point: pb.RecyclingPoint):
    request = pb.RegisterMachineRequest(request_id=request_id(), recycling_point_id=point.id, public_key=Key().public)
    first = (await logistics.call(logistics.stub.RegisterMachine, request, caller=partner(COURIER))).machine
    again = (await logistics.call(logistics.stub.RegisterMachine, request, caller=partner(COURIER))).machine
    assert again == first
    # On another's ground, but its own.
    assert (first.partner_id, first.recycling_point_id, first.retired) == (COURIER, point.id, False)
    found = await logistics.call(
        logistics.stub.BatchGetMachines, pb.BatchGetMachinesRequest(ids=["machine_x", first.id])
    )
    assert list(found.machines) == [first]


async def test_a_key_belongs_to_one_machine_for_ever(logistics: LogisticsClient, point: pb.RecyclingPoint):
    key = Key()
    answers = await asyncio.gather(
        *(registered(logistics, GROCER, point.id, key.public) for _ in range(5)), return_exceptions=True
    )
    (machine,) = [answer for answer in answers if isinstance(answer, pb.Machine)]
    assert {answer.reason for answer in answers if isinstance(answer, AlreadyExists)} == {"PUBLIC_KEY_IN_USE"}
    await retired(logistics, machine.id, partner(GROCER))
    error = await refused(AlreadyExists, registered(logistics, COURIER, point.id, key.public))
    assert error.reason == "PUBLIC_KEY_IN_USE"
    assert [one.id for one in (await machines_at(logistics, point.id))[point.id]] == [machine.id]


@pytest.mark.parametrize("key", [b"", b"short", b"\0" * 32, b"\xff" * 32, b"x" * 33])
async def test_what_is_no_key_is_refused(logistics: LogisticsClient, point: pb.RecyclingPoint, key: bytes):
    error = await refused(InvalidArgument, registered(logistics, GROCER, point.id, key))
    assert (error.reason, error.metadata["field"]) == ("PUBLIC_KEY_INVALID", "public_key")


async def test_a_machine_stands_at_a_point(logistics: LogisticsClient):
    for point_id in ("", "point_x", '{"$ne": ""}'):
        error = await refused(NotFound, registered(logistics, GROCER, point_id, Key().public))
        assert error.reason == "RECYCLING_POINT_NOT_FOUND"


async def test_machines_are_listed_by_point_oldest_first(logistics: LogisticsClient, point: pb.RecyclingPoint):
    other = await opened(logistics, COURIER)
    empty = await opened(logistics, COURIER)
    here = [await registered(logistics, GROCER, point.id, Key().public) for _ in range(3)]
    there = await registered(logistics, GROCER, other.id, Key().public)
    listed = await machines_at(logistics, other.id, point.id, empty.id, "point_x")
    assert listed == {point.id: here, other.id: [there]}


async def test_a_point_has_room_for_so_many_machines(logistics: LogisticsClient, point: pb.RecyclingPoint):
    for _ in range(197):
        await registered(logistics, GROCER, point.id, Key().public)
    answers = await asyncio.gather(
        *(registered(logistics, GROCER, point.id, Key().public) for _ in range(8)), return_exceptions=True
    )
    refusals = [answer for answer in answers if isinstance(answer, ResourceExhausted)]
    assert [error.reason for error in refusals] == ["TOO_MANY_MACHINES"] * 5
    assert len((await machines_at(logistics, point.id))[point.id]) == 200


async def test_a_machine_is_retired_for_good_by_its_owner_or_the_operator(
    logistics: LogisticsClient, point: pb.RecyclingPoint
):
    mine, other = [await registered(logistics, GROCER, point.id, Key().public) for _ in range(2)]
    for machine_id in (mine.id, "machine_x", '{"$gt": ""}'):
        error = await refused(NotFound, retired(logistics, machine_id, partner(COURIER)))
        assert error.reason == "MACHINE_NOT_FOUND"
    request = pb.RetireMachineRequest(request_id=request_id(), machine_id=mine.id)
    first = await logistics.call(logistics.stub.RetireMachine, request, caller=partner(GROCER))
    assert first.machine.retired
    assert await logistics.call(logistics.stub.RetireMachine, request, caller=partner(GROCER)) == first
    assert (await retired(logistics, mine.id, OPERATOR)).retired
    assert (await retired(logistics, other.id, OPERATOR)).retired
    assert [one.retired for one in (await machines_at(logistics, point.id))[point.id]] == [True, True]


async def test_more_than_a_thousand_ids_are_too_many(logistics: LogisticsClient):
    many = ["x"] * 1_001
    stub = logistics.stub
    for call in (
        logistics.call(stub.BatchGetRecyclingPoints, pb.BatchGetRecyclingPointsRequest(ids=many)),
        logistics.call(stub.BatchGetMachines, pb.BatchGetMachinesRequest(ids=many)),
        logistics.call(stub.BatchListMachines, pb.BatchListMachinesRequest(recycling_point_ids=many)),
        logistics.call(stub.BatchGetDropOffs, pb.BatchGetDropOffsRequest(ids=many)),
        logistics.call(stub.BatchListDropOffs, pb.BatchListDropOffsRequest(member_ids=many[:201])),
    ):
        error = await refused(InvalidArgument, call)
        assert error.reason == "BATCH_TOO_LARGE"
