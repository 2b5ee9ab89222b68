"""What claims earned, on MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pymongo import IndexModel

from services.rewards.domain.earnings import (
    Earning,
    EarningStatus,
    GivenLot,
    KindTotal,
    RefusalTotal,
    totals,
)
from services.rewards.domain.lots import LotKey
from services.shared.mongo import Database, Document, Indexes, Transaction, racing
from services.shared.pages import Page, PageQuery, find_page

INDEXES: Indexes = {
    # `due` is there while a cancel is half done.
    # `feeds` are the member's lots that it went into.
    "earnings": [IndexModel([("due", 1)], sparse=True), IndexModel([("feeds", 1), ("_id", 1)])],
    "earning_totals": [IndexModel([("of", 1)])],
}


class EarningStore:
    """Earnings by claim id, and their totals."""

    def __init__(self, database: Database) -> None:
        self._earnings = database["earnings"]
        self._totals = database["earning_totals"]

    async def earnings(self, claim_ids: Sequence[str], tx: Transaction | None = None) -> list[Earning]:
        """Those found."""
        session = tx.session if tx else None
        rows = self._earnings.find({"_id": {"$in": list(dict.fromkeys(claim_ids))}}, session=session)
        return [_earning(row) async for row in rows]

    async def earning(self, claim_id: str, tx: Transaction | None = None) -> Earning | None:
        return next(iter(await self.earnings([claim_id], tx)), None)

    async def of_lot(self, key: LotKey, query: PageQuery) -> Page[Earning]:
        """What went into a lot, newest first."""
        page = await find_page(self._earnings, {"feeds": key.id}, query, order="_id")
        return Page([_earning(row) for row in page.rows], page.orders, page.has_next)

    async def add(self, tx: Transaction, earnings: Sequence[Earning]) -> None:
        """Stores new earnings and adds them to the totals."""
        if not earnings:
            return
        with racing():
            await self._earnings.insert_many([_document(earning) for earning in earnings], session=tx.session)
        await self._count(tx, earnings)

    async def intend_cancel(self, tx: Transaction, claim_id: str, due: datetime) -> bool:
        """Notes that the points are to be taken back; False if that is not possible or was noted before."""
        result = await self._earnings.update_one(
            {"_id": claim_id, "status": EarningStatus.ISSUED, "cancelling": False},
            {"$set": {"cancelling": True, "due": due}},
            session=tx.session,
        )
        return result.modified_count == 1

    async def cancelled(self, tx: Transaction, earning: Earning) -> bool:
        """Stores the outcome of a cancel; False if that has been done."""
        result = await self._earnings.replace_one(
            {"_id": earning.claim_id, "status": EarningStatus.ISSUED}, _document(earning), session=tx.session
        )
        if result.modified_count != 1:
            return False
        await self._count(tx, [earning])
        return True

    async def half_cancelled(self, at: datetime, limit: int) -> list[Earning]:
        """Cancels that should have been completed by then."""
        rows = self._earnings.find({"due": {"$lte": at}}, sort=[("due", 1)], limit=limit)
        return [_earning(row) async for row in rows]

    async def totals(self) -> tuple[list[KindTotal], list[RefusalTotal]]:
        """Over all earnings; by kind, and by reason."""
        kinds = [row async for row in self._totals.find({"of": "kind"})]
        reasons = [row async for row in self._totals.find({"of": "reason"})]
        return (
            sorted((KindTotal(r["name"], r["earnings"], r["points"]) for r in kinds), key=lambda total: total.kind),
            sorted((RefusalTotal(r["name"], r["earnings"]) for r in reasons), key=lambda total: total.reason),
        )

    async def _count(self, tx: Transaction, earnings: Sequence[Earning]) -> None:
        kinds, reasons = totals(earnings)
        for kind in kinds:
            await self._add(tx, "kind", kind.kind, {"earnings": kind.earnings, "points": kind.points})
        for reason in reasons:
            await self._add(tx, "reason", reason.reason, {"earnings": reason.earnings})

    async def _add(self, tx: Transaction, of: str, name: str, numbers: Document) -> None:
        with racing():
            await self._totals.update_one(
                {"_id": f"{of}/{name}"},
                {"$inc": numbers, "$setOnInsert": {"of": of, "name": name}},
                upsert=True,
                session=tx.session,
            )


def _document(earning: Earning) -> Document:
    row = asdict(earning)
    return {"_id": row.pop("claim_id"), **row, "feeds": [key.id for key in earning.feeds]}


def _earning(row: Document) -> Earning:
    return Earning(
        claim_id=row["_id"],
        member_id=row["member_id"],
        partner_id=row["partner_id"],
        kind=row["kind"],
        status=EarningStatus(row["status"]),
        reason=row["reason"],
        lots=tuple(GivenLot(**lot) for lot in row["lots"]),
        decided_at=row["decided_at"],
        cancelling=row["cancelling"],
        returned_points=row["returned_points"],
        shortfall_points=row["shortfall_points"],
        available_at=row.get("available_at"),
    )
