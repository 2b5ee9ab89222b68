"""Settlements and the lines behind them, on MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pymongo import IndexModel

from services.rewards.domain.settlement import Line, Position, Settlement
from services.shared.mongo import Database, Document, Indexes, LostRace, Transaction, racing
from services.shared.pages import Page, PageQuery, find_page

INDEXES: Indexes = {
    "settlements": [IndexModel([("number", 1)], unique=True), IndexModel([("order", 1)])],
    # A line is listed under its settlement, and there under each of its two partners.
    "settlement_lines": [IndexModel([("lists", 1), ("order", 1)])],
    # Settlements that are being made, with when they last came further.
    "settlement_drafts": [IndexModel([("at", 1)])],
}
_NOT_DISCARDED = {"discarded": {"$exists": False}}


class SettlementStore:
    """Settlements, numbered from 1 without gaps; each begins where the one before it ended."""

    def __init__(self, database: Database) -> None:
        self._settlements = database["settlements"]
        self._lines = database["settlement_lines"]
        self._drafts = database["settlement_drafts"]

    async def begin(self, settlement_id: str, at: datetime) -> None:
        """A settlement is being made. It may come to no end: then what it has stored is found by this."""
        await self._drafts.insert_one({"_id": settlement_id, "at": at})

    async def add_lines(self, settlement_id: str, place: int, lines: Sequence[Line], at: datetime) -> None:
        """Stores lines of a settlement that is to be added, from that place on. There are too many of them for a
        transaction: without their settlement nobody sees them. LostRace if it has been discarded.
        """
        going = await self._drafts.update_one({"_id": settlement_id, **_NOT_DISCARDED}, {"$set": {"at": at}})
        if not going.matched_count:
            raise LostRace
        rows = [_line_document(settlement_id, place + number, line) for number, line in enumerate(lines)]
        await self._lines.insert_many(rows)

    async def add(self, tx: Transaction, settlement: Settlement) -> None:
        """Adds a settlement whose lines are stored; LostRace if its number has been given meanwhile, or it has been
        discarded."""
        draft = await self._drafts.delete_one({"_id": settlement.id, **_NOT_DISCARDED}, session=tx.session)
        if not draft.deleted_count:
            raise LostRace
        row = asdict(settlement)
        row |= {"_id": row.pop("id"), "order": f"{settlement.number:010d}"}
        with racing():
            await self._settlements.insert_one(row, session=tx.session)

    async def discard(self, before: datetime) -> int:
        """Removes what settlements have stored that have not come further since then, and will not; how many."""
        found = [row["_id"] async for row in self._drafts.find({"at": {"$lte": before}}, {"_id": 1})]
        for id in found:
            # First of all, whoever makes it is kept from adding it.
            await self._drafts.update_one({"_id": id}, {"$set": {"discarded": True}})
            await self._lines.delete_many({"lists": id})
            await self._drafts.delete_one({"_id": id})
        return len(found)

    async def last(self) -> Settlement | None:
        """The one with the highest number."""
        rows = self._settlements.find({"number": {"$gt": 0}}, sort=[("number", -1)], limit=1)
        return next(iter([settlement_of(row) async for row in rows]), None)

    async def settlements(self, ids: Sequence[str]) -> list[Settlement]:
        """Those found."""
        return [settlement_of(row) async for row in self._settlements.find({"_id": {"$in": list(ids)}})]

    async def page(self, query: PageQuery) -> Page[Settlement]:
        """Newest first."""
        page = await find_page(self._settlements, {}, query)
        return Page([settlement_of(row) for row in page.rows], page.orders, page.has_next)

    async def line_page(self, settlement_id: str, partner_id: str, query: PageQuery) -> Page[Line]:
        """In the order of the spends; with a partner, only lines in which it owes or is owed."""
        prefix = {"lists": f"{settlement_id}/{partner_id}" if partner_id else settlement_id}
        page = await find_page(self._lines, prefix, query, descending=False)
        return Page([line_of(row) for row in page.rows], page.orders, page.has_next)


def settlement_of(row: Document) -> Settlement:
    """The settlement that a document holds."""
    return Settlement(
        id=row["_id"],
        number=row["number"],
        since=row["since"],
        until=row["until"],
        heads=row["heads"],
        positions=tuple(Position(**position) for position in row["positions"]),
        lines=row["lines"],
        lines_hash=row["lines_hash"],
    )


def _line_document(settlement_id: str, place: int, line: Line) -> Document:
    parties = (line.debtor_partner_id, line.creditor_partner_id)
    return {
        **asdict(line),
        "_id": f"{settlement_id}/{place}",
        "lists": [settlement_id, *(f"{settlement_id}/{partner}" for partner in parties)],
        "order": f"{place:08d}",
    }


def line_of(row: Document) -> Line:
    """The line that a document holds."""
    return Line(
        id=row["id"],
        redemption_id=row["redemption_id"],
        claim_id=row["claim_id"],
        debtor_partner_id=row["debtor_partner_id"],
        creditor_partner_id=row["creditor_partner_id"],
        points=row["points"],
        unit_value_micros=row["unit_value_micros"],
        spent_at=row["spent_at"],
        reverses=row.get("reverses", False),
    )
