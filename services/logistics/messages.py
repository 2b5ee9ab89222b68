"""The logistics service's domain as proto messages, and back."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.latlng_pb2 import LatLng

from alliance.logistics.v1 import logistics_pb2 as pb
from services.logistics.domain.capture import Batch, DropOff, ItemResult, Mode
from services.logistics.domain.items import Item
from services.logistics.domain.points import Location, Machine, Material, RecyclingPoint
from services.logistics.service.feed import Accepted
from services.shared import checks
from services.shared.errors import InvalidArgument
from services.shared.proto import enum_name, enum_number, timestamp

_MATERIAL = "MATERIAL_"
_MODE = "CAPTURE_MODE_"
_STATUS = "ITEM_STATUS_"
_BATCH_ID = re.compile(r"[!-~]{1,64}")
_MOST_ITEMS = 500
_MOST_BYTES = 256 << 10


class BatchMalformed(InvalidArgument):
    """What was signed is not a batch of the machine that sent it."""


def recycling_point(found: RecyclingPoint) -> pb.RecyclingPoint:
    return pb.RecyclingPoint(
        id=found.id,
        name=found.name,
        location=LatLng(latitude=found.location.latitude, longitude=found.location.longitude),
        address=found.address,
        partner_id=found.partner_id,
        materials=[enum_number(pb.Material, material, _MATERIAL) for material in found.materials],
        created_at=timestamp(found.created_at),
    )


def machine(found: Machine) -> pb.Machine:
    return pb.Machine(
        id=found.id,
        recycling_point_id=found.recycling_point_id,
        partner_id=found.partner_id,
        public_key=found.public_key,
        retired=found.retired,
        registered_at=timestamp(found.registered_at),
    )


def drop_off(found: DropOff) -> pb.DropOff:
    return pb.DropOff(
        id=found.id,
        member_id=found.member_id,
        machine_id=found.machine_id,
        recycling_point_id=found.recycling_point_id,
        partner_id=found.partner_id,
        material=enum_number(pb.Material, found.material, _MATERIAL),
        weight_grams=found.weight_grams,
        code=found.code,
        occurred_at=timestamp(found.occurred_at),
        recorded_at=timestamp(found.recorded_at),
        event_hash=found.event_hash,
    )


def item_result(result: ItemResult) -> pb.CaptureItemsResponse.ItemResult:
    return pb.CaptureItemsResponse.ItemResult(
        status=enum_number(pb.CaptureItemsResponse.ItemStatus, result.status, _STATUS),
        drop_off_id=result.drop_off_id,
        reason=result.reason,
        message=result.message,
    )


def to_location(request: pb.CreateRecyclingPointRequest) -> Location:
    """FieldInvalid if there is none."""
    if not request.HasField("location"):
        raise checks.FieldInvalid("location", "needs latitude and longitude.")
    return Location(request.location.latitude, request.location.longitude)


def to_materials(numbers: Iterable[int]) -> list[Material]:
    """FieldInvalid if one of them is not known."""
    names = [enum_name(pb.Material, number, _MATERIAL) for number in numbers]
    if "" in names:
        raise checks.FieldInvalid("materials", "needs known materials alone.")
    return [Material(name) for name in names]


def check_size(batch: bytes) -> None:
    """BatchTooLarge if it has more bytes than are looked at."""
    if len(batch) > _MOST_BYTES:
        raise checks.BatchTooLarge(f"A batch has at most {_MOST_BYTES >> 10} KiB; send it in parts.", most=_MOST_BYTES)


def to_batch(signed: bytes, sender: Machine) -> Batch:
    """What the machine signed; BatchMalformed, BatchEmpty, BatchTooLarge. Items are not looked into yet."""
    message = pb.ItemBatch()
    try:
        message.ParseFromString(signed)
    except DecodeError as error:
        raise BatchMalformed("batch: is not a serialized ItemBatch.", field="batch") from error
    if message.machine_id != sender.id:
        raise BatchMalformed("batch.machine_id: is not the machine that sent it.", field="batch.machine_id")
    if not _BATCH_ID.fullmatch(message.batch_id):
        raise BatchMalformed("batch.batch_id: needs 1 to 64 visible ASCII characters.", field="batch.batch_id")
    mode = enum_name(pb.CaptureMode, message.mode, _MODE)
    if not mode:
        raise BatchMalformed("batch.mode: needs ROLLBACK or PROCEED.", field="batch.mode")
    checks.batch(message.items, _MOST_ITEMS, may_be_empty=False)
    items = tuple(_to_item(item) for item in message.items)
    return Batch(sender, message.batch_id, Mode(mode), items, _digest(message))


def _to_item(message: pb.Item) -> Item:
    material = enum_name(pb.Material, message.material, _MATERIAL)
    return Item(
        member_id=message.member_id,
        material=Material(material) if material else None,
        weight_grams=message.weight_grams,
        code=message.code,
        occurred_at=_to_moment(message.occurred_at),
    )


def _to_moment(message: Timestamp) -> datetime | None:
    try:
        return checks.moment(message, "occurred_at")
    except checks.FieldInvalid:
        return None


def _digest(batch: pb.ItemBatch) -> bytes:
    """Over the items alone: the same items under the same id are the same batch, whatever the mode."""
    return hashlib.sha256(pb.ItemBatch(items=batch.items).SerializeToString(deterministic=True)).digest()


def accepted(batch: Accepted) -> pb.AcceptedDropOffs:
    """What a batch brought."""
    return pb.AcceptedDropOffs(place=batch.place, drop_offs=map(drop_off, batch.drop_offs))
