"""Recycling points and machines."""

from collections.abc import Collection
from dataclasses import asdict

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.logistics.domain.points import Location, Machine, Material, RecyclingPoint, name_key
from services.shared.errors import AlreadyExists, NotFound, ResourceExhausted
from services.shared.mongo import Database, Document, Indexes, Transaction
from services.shared.pages import Page, PageQuery, find_page

_MACHINES_PER_POINT = 200

INDEXES: Indexes = {
    "recycling_points": [IndexModel([("order", 1)], unique=True)],
    "machines": [IndexModel([("public_key", 1)], unique=True), IndexModel([("recycling_point_id", 1)])],
}


class RecyclingPointNotFound(NotFound):
    """No recycling point has that id."""


class PublicKeyInUse(AlreadyExists):
    """Another machine has, or had, that key."""


class TooManyMachines(ResourceExhausted):
    """The recycling point has as many machines as it may."""


class PointStore:
    """Recycling points by id and name, machines by id and point."""

    def __init__(self, database: Database) -> None:
        self._points = database["recycling_points"]
        self._machines = database["machines"]

    async def add_point(self, tx: Transaction, point: RecyclingPoint) -> None:
        row = asdict(point)
        # A space sorts before all that a key is made of, so that a name comes before those that begin with it.
        order = f"{name_key(point.name)} {point.id}"
        await self._points.insert_one({"_id": row.pop("id"), **row, "order": order, "machines": 0}, session=tx.session)

    async def points(self, ids: Collection[str]) -> list[RecyclingPoint]:
        """Those found."""
        return [_point(row) async for row in self._points.find({"_id": {"$in": list(ids)}})]

    async def point_page(self, query: PageQuery) -> Page[RecyclingPoint]:
        """By name."""
        page = await find_page(self._points, {}, query, descending=False)
        return Page([_point(row) for row in page.rows], page.orders, page.has_next)

    async def add_machine(self, tx: Transaction, machine: Machine) -> None:
        """Stores a new machine at its point; RecyclingPointNotFound, TooManyMachines, PublicKeyInUse.

        The count is part of the point, so that of two transactions that count at once one starts over.
        """
        point = {"_id": machine.recycling_point_id}
        counted = await self._points.update_one(
            {**point, "machines": {"$lt": _MACHINES_PER_POINT}}, {"$inc": {"machines": 1}}, session=tx.session
        )
        if not counted.matched_count:
            if await self._points.find_one(point, session=tx.session) is None:
                raise RecyclingPointNotFound(
                    "There is no recycling point with that id.", recycling_point_id=machine.recycling_point_id
                )
            raise TooManyMachines(
                f"A recycling point has at most {_MACHINES_PER_POINT} machines; open another.", most=_MACHINES_PER_POINT
            )
        row = asdict(machine)
        try:
            await self._machines.insert_one({"_id": row.pop("id"), **row}, session=tx.session)
        except DuplicateKeyError as error:
            raise PublicKeyInUse("A machine has or had this key; make a new key pair for each machine.") from error

    async def machine(self, id: str, tx: Transaction | None = None) -> Machine | None:
        row = await self._machines.find_one({"_id": id}, session=tx.session if tx else None)
        return _machine(row) if row else None

    async def retire(self, tx: Transaction, id: str) -> None:
        await self._machines.update_one({"_id": id}, {"$set": {"retired": True}}, session=tx.session)

    async def machines(self, ids: Collection[str]) -> list[Machine]:
        """Those found."""
        return [_machine(row) async for row in self._machines.find({"_id": {"$in": list(ids)}})]

    async def machines_at(self, point_ids: Collection[str]) -> list[Machine]:
        """Those of the recycling points, oldest first."""
        rows = self._machines.find({"recycling_point_id": {"$in": list(point_ids)}})
        return sorted([_machine(row) async for row in rows], key=lambda row: (row.registered_at, row.id))


def _point(row: Document) -> RecyclingPoint:
    return RecyclingPoint(
        id=row["_id"],
        name=row["name"],
        location=Location(**row["location"]),
        address=row["address"],
        partner_id=row["partner_id"],
        materials=tuple(Material(material) for material in row["materials"]),
        created_at=row["created_at"],
    )


def _machine(row: Document) -> Machine:
    return Machine(
        id=row["_id"],
        recycling_point_id=row["recycling_point_id"],
        partner_id=row["partner_id"],
        public_key=bytes(row["public_key"]),
        retired=row["retired"],
        registered_at=row["registered_at"],
    )
