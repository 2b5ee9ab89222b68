"""Recycling points, machines and drop-offs: types and what their fields read."""

from enum import Enum
from typing import Annotated

import strawberry
from google.type import latlng_pb2

from alliance.logistics.v1 import logistics_pb2 as pb
from gateway.access import INHERITED, OPERATOR, PUBLIC, SIGNED_IN, of_member
from gateway.accounts.sources import acts_by_drop_off, members
from gateway.accounts.types import Act, Member
from gateway.engine.declare import enum_value, federated, join, value
from gateway.logistics import sources
from gateway.nodes import Node
from gateway.partners.sources import partners
from gateway.partners.types import Partner
from gateway.scalars import Base64, DateTime, Long

MachineType = Annotated["Machine", strawberry.lazy("gateway.logistics.types")]


@strawberry.enum(description="What an item is made of.")
class Material(Enum):
    PET = enum_value(pb.MATERIAL_PET, "PET bottles.")
    CARDBOARD = enum_value(pb.MATERIAL_CARDBOARD, "Cardboard.")
    REUSABLE_BOX = enum_value(pb.MATERIAL_REUSABLE_BOX, "A parcel box that goes round again, by the piece.")


@federated(latlng_pb2.LatLng, "A place on earth, WGS 84.", rule=INHERITED, max_age=None)
class Location:
    latitude: float = value("Degrees north, -90 to 90.")
    longitude: float = value("Degrees east, -180 to 180.")


@federated(
    pb.RecyclingPoint,
    "A place with one machine or more.",
    rule=PUBLIC,
    key="id",
    source=sources.recycling_points,
    ids="point",
    max_age=60,
)
class RecyclingPoint(Node):
    id: strawberry.ID = value("TypeID with prefix point.")
    name: str = value("What it is called.")
    location: Location | None = value("Where it is.")
    address: str = value("Where it is, for a person.")
    partner: Partner | None = join(partners, "The partner on whose ground it stands.", on="partner_id")
    materials: list[Material] = value("What its machines take.", size=3)
    created_at: DateTime | None = value("When it was opened.")
    machines: list[MachineType] | None = join(
        sources.machines_of_point,
        "Its machines, oldest first.",
        on="id",
        rule=SIGNED_IN,
        size=10,
    )


@federated(pb.Machine, "A recycling machine.", rule=SIGNED_IN, key="id", source=sources.machines, ids="machine")
class Machine(Node):
    id: strawberry.ID = value("TypeID with prefix machine.")
    recycling_point: RecyclingPoint | None = join(sources.recycling_points, "Where it stands.", on="recycling_point_id")
    partner: Partner | None = join(
        partners, "The partner that runs it, and by whose rules its drop-offs earn.", on="partner_id"
    )
    public_key: Base64 = value("The Ed25519 key by which its records are checked, 32 bytes.")
    retired: bool = value("Whether it is out of service for good.")
    registered_at: DateTime | None = value("When it was registered.")


@federated(
    pb.DropOff,
    "One thing that a member handed in. Immutable.",
    rule=of_member("member_id", "partner_id"),
    key="id",
    source=sources.drop_offs,
    ids="dropoff",
)
class DropOff(Node):
    id: strawberry.ID = value("TypeID with prefix dropoff.")
    member: Member | None = join(members, "Who handed it in.", on="member_id")
    machine: Machine | None = join(sources.machines, "The machine that took it.", on="machine_id")
    recycling_point: RecyclingPoint | None = join(
        sources.recycling_points, "Where the machine stood.", on="recycling_point_id"
    )
    partner: Partner | None = join(partners, "The partner whose machine it was.", on="partner_id")
    material: Material | None = value("What it is made of.")
    weight_grams: Long = value("What it weighs, in grams; 0 for a reusable box.")
    code: str | None = value("The GTIN on the item, or the box's own number.")
    occurred_at: DateTime | None = value("When it was handed in.")
    recorded_at: DateTime | None = value("When the alliance learned of it.")
    event_hash: str = value("SHA-256, hex, over the event's content in canonical form.")
    act: Act | None = join(acts_by_drop_off, "The act that it was recorded as.", on="id")


@federated(pb.SummarizeDropOffsResponse, "What the machines sent, in numbers.", rule=OPERATOR)
class DropOffSummary:
    accepted: Long = value("Items that were stored.")
    duplicates: Long = value("Items that were known already.")
    invalid: Long = value("Items that were refused.")
    batches_refused: Long = value("Batches whose signature did not fit; nothing of them was read.")
