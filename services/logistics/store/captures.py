"""Drop-offs, and the batches in which they came."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from pymongo import IndexModel

from services.logistics.domain.capture import Batch, Captured, DropOff, ItemResult, ItemStatus
from services.logistics.domain.points import Material
from services.shared.mongo import Database, Document, Indexes, Transaction, racing
from services.shared.pages import Between, Page, PageQuery, find_page, time_order

INDEXES: Indexes = {
    "drop_offs": [
        IndexModel([("event_hash", 1)], unique=True),
        IndexModel([("member_id", 1), ("order", 1)]),
        IndexModel([("partner_id", 1), ("order", 1)]),
        IndexModel([("partner_id", 1), ("machine_id", 1), ("order", 1)]),
    ],
}


@dataclass(frozen=True)
class StoredBatch:
    """A batch that has been answered."""

    digest: bytes
    results: tuple[ItemResult, ...]
    drop_off_ids: tuple[str, ...]
    """Of those that it brought."""


class CaptureStore:
    """What machines sent."""

    def __init__(self, database: Database) -> None:
        self._drop_offs = database["drop_offs"]
        self._batches = database["batches"]

    async def batch(self, key: str) -> StoredBatch | None:
        row = await self._batches.find_one({"_id": key})
        if row is None:
            return None
        results = tuple(
            ItemResult(ItemStatus(one["status"]), one["drop_off_id"], one["reason"], one["message"])
            for one in row["results"]
        )
        accepted = tuple(one.drop_off_id for one in results if one.status is ItemStatus.ACCEPTED)
        return StoredBatch(bytes(row["digest"]), results, accepted)

    async def known(self, hashes: Collection[str]) -> Mapping[str, str]:
        """The drop-offs of the events that are stored: ids by hash."""
        rows = self._drop_offs.find({"event_hash": {"$in": list(hashes)}}, {"event_hash": 1})
        return {row["event_hash"]: row["_id"] async for row in rows}

    async def record(self, tx: Transaction, batch: Batch, captured: Captured) -> None:
        """Stores a batch with what came of it; LostRace if it, or one of its events, has been stored meanwhile."""
        row: Document = {
            "_id": batch.key,
            "digest": batch.digest,
            "results": [asdict(result) for result in captured.results],
            "duplicates": captured.count(ItemStatus.DUPLICATE),
            "invalid": captured.count(ItemStatus.INVALID),
        }
        if captured.drop_offs:
            # What the feed needs to give it a place, and to find it there.
            row |= {
                "unplaced": True,
                "brought": [one.id for one in captured.drop_offs],
                "members": list({one.member_id: None for one in captured.drop_offs}),
                "partner_id": captured.drop_offs[0].partner_id,
            }
        with racing():
            await self._batches.insert_one(row, session=tx.session)
            if captured.drop_offs:
                await self._drop_offs.insert_many([*map(_document, captured.drop_offs)], session=tx.session)

    async def drop_offs(self, ids: Collection[str]) -> list[DropOff]:
        """Those found."""
        return [_drop_off(row) async for row in self._drop_offs.find({"_id": {"$in": list(ids)}})]

    async def page(self, member_id: str, query: PageQuery, between: Between) -> Page[DropOff]:
        """The member's, newest first by when they happened."""
        return await self._page({"member_id": member_id}, query, between)

    async def partner_page(self, partner_id: str, machine_id: str, query: PageQuery, between: Between) -> Page[DropOff]:
        """Those on the partner's machines, or on one of them, newest first by when they happened."""
        of_machine = {"machine_id": machine_id} if machine_id else {}
        return await self._page({"partner_id": partner_id, **of_machine}, query, between)

    async def _page(self, owner: Document, query: PageQuery, between: Between) -> Page[DropOff]:
        page = await find_page(self._drop_offs, owner, query, between=between)
        return Page([_drop_off(row) for row in page.rows], page.orders, page.has_next)

    async def counts(self) -> Mapping[ItemStatus, int]:
        """How many items were accepted, were duplicates, were not valid. Reads everything."""
        why = "scan: a report for an operator counts every row"
        accepted = await self._drop_offs.count_documents({}, comment=why)
        sums = {"_id": None, "duplicates": {"$sum": "$duplicates"}, "invalid": {"$sum": "$invalid"}}
        rows = [row async for row in self._batches.aggregate([{"$group": sums}], comment=why)]
        row = rows[0] if rows else {"duplicates": 0, "invalid": 0}
        return {
            ItemStatus.ACCEPTED: accepted,
            ItemStatus.DUPLICATE: row["duplicates"],
            ItemStatus.INVALID: row["invalid"],
        }


def _document(drop_off: DropOff) -> Document:
    row = asdict(drop_off)
    return {"_id": row.pop("id"), **row, "order": time_order(drop_off.occurred_at, drop_off.id)}


def _drop_off(row: Document) -> DropOff:
    return DropOff(
        id=row["_id"],
        member_id=row["member_id"],
        machine_id=row["machine_id"],
        recycling_point_id=row["recycling_point_id"],
        partner_id=row["partner_id"],
        material=Material(row["material"]),
        weight_grams=row["weight_grams"],
        code=row["code"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        event_hash=row["event_hash"],
    )
