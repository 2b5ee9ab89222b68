"""What brands and operators change in logistics."""

import strawberry
from google.type import latlng_pb2

from alliance.logistics.v1 import logistics_pb2 as pb
from gateway.access import INHERITED
from gateway.engine.declare import federated, given, request_input, value
from gateway.logistics.sources import LOGISTICS
from gateway.logistics.types import Machine, Material, RecyclingPoint
from gateway.mutations import LIMIT, MISSING, REFUSED, REQUEST_ID, mutation
from gateway.scalars import Base64


@request_input(latlng_pb2.LatLng, "A place on earth, WGS 84.")
class LocationInput:
    latitude: float = given("Degrees north, -90 to 90.")
    longitude: float = given("Degrees east, -180 to 180.")


@request_input(pb.CreateRecyclingPointRequest, "A place with machines.")
class CreateRecyclingPointInput:
    request_id: str = given(REQUEST_ID)
    name: str = given("2 to 80 characters.")
    location: LocationInput = given("Where it is.")
    address: str = given("Where it is, for a person; 2 to 200 characters.")
    partner_id: strawberry.ID | None = given(
        "The partner on whose ground it stands; a partner may leave it out: itself.", default=None
    )
    materials: list[Material] = given("What its machines take.")


@federated(pb.CreateRecyclingPointResponse, "The recycling point is open.", rule=INHERITED)
class CreateRecyclingPointPayload:
    recycling_point: RecyclingPoint | None = value("The recycling point.")


@request_input(pb.RegisterMachineRequest, "A machine with the public half of its key.")
class RegisterMachineInput:
    request_id: str = given(REQUEST_ID)
    recycling_point_id: strawberry.ID = given("Where it stands.")
    public_key: Base64 = given("Ed25519, 32 bytes.")


@federated(pb.RegisterMachineResponse, "The machine is registered.", rule=INHERITED)
class RegisterMachinePayload:
    machine: Machine | None = value("The machine.")


@request_input(pb.RetireMachineRequest, "Which machine to take out of service.")
class RetireMachineInput:
    request_id: str = given(REQUEST_ID)
    machine_id: strawberry.ID = given("The machine.")


@federated(pb.RetireMachineResponse, "The machine is out of service for good.", rule=INHERITED)
class RetireMachinePayload:
    machine: Machine | None = value("The machine, as it is now.")


@strawberry.type
class LogisticsMutation:
    """Mutations of logistics."""

    create_recycling_point = mutation(
        LOGISTICS,
        "CreateRecyclingPoint",
        CreateRecyclingPointInput,
        CreateRecyclingPointPayload,
        MISSING,
        REFUSED,
        description="Opens a recycling point. For operators and partners.",
    )
    register_machine = mutation(
        LOGISTICS,
        "RegisterMachine",
        RegisterMachineInput,
        RegisterMachinePayload,
        MISSING,
        REFUSED,
        LIMIT,
        description="Registers a machine of the partner. For partners.",
    )
    retire_machine = mutation(
        LOGISTICS,
        "RetireMachine",
        RetireMachineInput,
        RetireMachinePayload,
        MISSING,
        description="Takes a machine out of service: nothing it signs counts any more. For operators and partners.",
    )
