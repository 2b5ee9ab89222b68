"""Settlements and the lines behind them, on MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict

from pymongo import IndexModel

from services.rewards.domain.settlement import Line, Position, Settlement
from services.shared.mongo import Database, Document, Indexes, Transaction, racing
from services.shared.pages import Page, PageQuery, find_page

INDEXES: Indexes = {
    "settlements": [IndexModel([("number", 1)], unique=True), IndexModel([("order", 1)])],
    # A line is listed under its settlement, and there under each of its two partners.
    "settlement_lines": [IndexModel([("lists", 1), ("order", 1)])],
}


class SettlementStore:
    """Settlements, numbered from 1 without gaps; each begins where the one before it ended."""

    def __init__(self, database: Database) -> None:
        self._settlements = database["settlements"]
        self._lines = database["settlement_lines"]

    async def add_lines(self, settlement_id: str, place: int, lines: Sequence[Line]) -> None:
        """Stores lines of a settlement that is to be added, from that place on. There are too many of them for a
        transaction: without their settlement nobody sees them.
        """
        rows = [_line_document(settlement_id, place + number, line) for number, line in enumerate(lines)]
        await self._lines.insert_many(rows)

    async def add(self, tx: Transaction, settlement: Settlement) -> None:
        """Adds a settlement whose lines are stored; LostRace if its number has been given meanwhile."""
        row = asdict(settlement)
        row |= {"_id": row.pop("id"), "order": f"{settlement.number:010d}"}
        with racing():
            await self._settlements.insert_one(row, session=tx.session)

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
