"""Recycling machines that sign what they send."""

from datetime import datetime
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.type.latlng_pb2 import LatLng

from alliance.logistics.v1 import logistics_pb2 as pb
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from services.shared.client import Client
from services.shared.ids import new_id
from services.shared.proto import timestamp
from tests.support.partners import ago
from tests.support.service import partner, request_id

LogisticsClient = Client[LogisticsServiceStub]

SIGNED_PREFIX = b"alliance.logistics.v1.ItemBatch\n"


class Key:
    """A machine's key pair."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, batch: bytes) -> bytes:
        return self._private.sign(SIGNED_PREFIX + batch)


def item(
    *,
    member_id: str = "",
    material: pb.Material = pb.MATERIAL_PET,
    weight_grams: int = 25,
    code: str = "",
    at: datetime | None = None,
) -> pb.Item:
    """An item that counts; a fresh code makes it an event of its own."""
    return pb.Item(
        member_id=member_id or new_id("member"),
        material=material,
        weight_grams=weight_grams,
        code=code or uuid4().hex,
        occurred_at=timestamp(at or ago(minutes=5)),
    )


def batch_of(
    machine: pb.Machine, *items: pb.Item, batch_id: str = "", mode: pb.CaptureMode = pb.CAPTURE_MODE_PROCEED
) -> pb.ItemBatch:
    return pb.ItemBatch(machine_id=machine.id, batch_id=batch_id or uuid4().hex, mode=mode, items=items)


def signed(batch: pb.ItemBatch, key: Key) -> pb.CaptureItemsRequest:
    content = batch.SerializeToString()
    return pb.CaptureItemsRequest(machine_id=batch.machine_id, batch=content, signature=key.sign(content))


def point_request(**fields: object) -> pb.CreateRecyclingPointRequest:
    """A good request, except for the fields given."""
    values: dict[str, object] = {
        "request_id": request_id(),
        "name": f"Point {uuid4().hex[:12]}",
        "location": LatLng(latitude=52.0907, longitude=5.1214),
        "address": "Stationsplein 1, Utrecht",
        "materials": [pb.MATERIAL_PET, pb.MATERIAL_CARDBOARD, pb.MATERIAL_REUSABLE_BOX],
    }
    return pb.CreateRecyclingPointRequest(**{**values, **fields})  # type: ignore[arg-type]


async def opened(logistics: LogisticsClient, partner_id: str, **fields: object) -> pb.RecyclingPoint:
    request = point_request(**fields)
    answer = await logistics.call(logistics.stub.CreateRecyclingPoint, request, caller=partner(partner_id))
    return answer.recycling_point


async def registered(logistics: LogisticsClient, partner_id: str, point_id: str, public_key: bytes) -> pb.Machine:
    request = pb.RegisterMachineRequest(request_id=request_id(), recycling_point_id=point_id, public_key=public_key)
    return (await logistics.call(logistics.stub.RegisterMachine, request, caller=partner(partner_id))).machine
