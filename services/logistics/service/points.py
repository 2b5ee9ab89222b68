"""Recycling points and their machines: opened, registered, retired."""

import math
from collections.abc import Sequence

from services.logistics.domain.keys import is_public_key
from services.logistics.domain.points import Location, Machine, Material, RecyclingPoint
from services.logistics.store.points import PointStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import InvalidArgument, NotFound
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Page, PageQuery


class PublicKeyInvalid(InvalidArgument):
    """The bytes are not an Ed25519 public key."""


class MachineNotFound(NotFound):
    """No machine has that id, or it is another partner's."""


class Points:
    """The use cases. Those that change something run in a transaction that the caller opens and commits."""

    def __init__(self, store: PointStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        tx: Transaction,
        *,
        partner_id: str,
        name: str,
        location: Location,
        address: str,
        materials: Sequence[Material],
    ) -> RecyclingPoint:
        """Opens a recycling point on a partner's ground."""
        if not materials:
            raise checks.FieldInvalid("materials", "needs one material or more.")
        point = RecyclingPoint(
            id=new_id("point"),
            name=checks.text(name, "name", 2, 80),
            location=Location(
                _degrees(location.latitude, "location.latitude", 90),
                _degrees(location.longitude, "location.longitude", 180),
            ),
            address=checks.text(address, "address", 2, 200),
            partner_id=checks.id_of(partner_id, "partner_id", "partner"),
            materials=tuple(material for material in Material if material in materials),
            created_at=self._clock(),
        )
        await self._store.add_point(tx, point)
        return point

    async def register(self, tx: Transaction, *, partner_id: str, point_id: str, public_key: bytes) -> Machine:
        """A partner sets up a machine, whose key it made."""
        if not is_public_key(public_key):
            raise PublicKeyInvalid(
                "public_key: needs the 32 bytes of an Ed25519 public key (RFC 8032).", field="public_key"
            )
        machine = Machine(
            id=new_id("machine"),
            recycling_point_id=point_id,
            partner_id=partner_id,
            public_key=public_key,
            retired=False,
            registered_at=self._clock(),
        )
        await self._store.add_machine(tx, machine)
        return machine

    async def retire(self, tx: Transaction, machine_id: str, owner_id: str) -> Machine:
        """Ends a machine of that owner, or of any if it is empty; one that has ended stays so."""
        machine = await self._store.machine(machine_id, tx)
        if machine is None or owner_id not in ("", machine.partner_id):
            raise MachineNotFound("You have no machine with that id.", machine_id=machine_id)
        if not machine.retired:
            await self._store.retire(tx, machine.id)
        return machine.ended()

    async def points(self, ids: Sequence[str]) -> list[RecyclingPoint]:
        """Those found."""
        return await self._store.points(ids)

    async def page(self, query: PageQuery) -> Page[RecyclingPoint]:
        """All recycling points, by name."""
        return await self._store.point_page(query)

    async def machines(self, ids: Sequence[str]) -> list[Machine]:
        """Those found."""
        return await self._store.machines(ids)

    async def machines_at(self, point_ids: Sequence[str]) -> list[Machine]:
        """Those of the recycling points, oldest first."""
        return await self._store.machines_at(point_ids)


def _degrees(value: float, field: str, most: int) -> float:
    if not (math.isfinite(value) and -most <= value <= most):
        raise checks.FieldInvalid(field, f"needs degrees from -{most} to {most}.")
    return value
