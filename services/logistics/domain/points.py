"""Recycling points and their machines."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Material(StrEnum):
    """What an item is made of."""

    PET = "pet"
    CARDBOARD = "cardboard"
    REUSABLE_BOX = "reusable_box"


@dataclass(frozen=True)
class Location:
    """WGS 84, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class RecyclingPoint:
    """A place with one machine or more."""

    id: str
    name: str
    location: Location
    address: str
    partner_id: str
    materials: tuple[Material, ...]
    created_at: datetime


@dataclass(frozen=True)
class Machine:
    """A recycling machine, known by its Ed25519 public key."""

    id: str
    recycling_point_id: str
    partner_id: str
    public_key: bytes
    retired: bool
    registered_at: datetime

    def ended(self) -> "Machine":
        """The machine as it is once it is out of service for good."""
        return replace(self, retired=True)


def name_key(name: str) -> str:
    """By what names are ordered: as a person reads them, without regard to case and spaces."""
    return "".join(name.casefold().split())
