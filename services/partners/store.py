"""What the partners service keeps, on MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.partners.domain import Partner, PartnerStatus, name_key
from services.shared.errors import AlreadyExists
from services.shared.mongo import Database, Document, Indexes, Transaction
from services.shared.pages import Page, PageQuery, find_page

INDEXES: Indexes = {
    "partners": [
        IndexModel([("name_key", 1)], unique=True),
        IndexModel([("order", 1)], unique=True),
        IndexModel([("status", 1)]),
    ],
}


class PartnerNameTaken(AlreadyExists):
    """Another partner has that name."""


class PartnerStore:
    """Partners, their credentials, agreements, blocks, rules and campaigns."""

    def __init__(self, database: Database) -> None:
        self._partners = database["partners"]

    async def add_partner(self, tx: Transaction, partner: Partner) -> None:
        """Stores a new partner; PartnerNameTaken if its name is not free."""
        try:
            await self._partners.insert_one(_document(partner), session=tx.session)
        except DuplicateKeyError as error:
            raise PartnerNameTaken(f"There is a partner called {partner.name}; choose another name.") from error

    async def replace_partner(self, tx: Transaction, partner: Partner) -> None:
        await self._partners.replace_one({"_id": partner.id}, _document(partner), session=tx.session)

    async def partner(self, id: str, tx: Transaction | None = None) -> Partner | None:
        row = await self._partners.find_one({"_id": id}, session=tx.session if tx else None)
        return _partner(row) if row else None

    async def partners(self, ids: Sequence[str]) -> list[Partner]:
        """Those found."""
        return [_partner(row) async for row in self._partners.find({"_id": {"$in": list(ids)}})]

    async def partner_page(self, query: PageQuery) -> Page[Partner]:
        """By name."""
        page = await find_page(self._partners, {}, query, descending=False)
        return Page([_partner(row) for row in page.rows], page.orders, page.has_next)

    async def applications(self, at_most: int) -> int:
        """How many applications are open; counts no further than asked."""
        return await self._partners.count_documents({"status": PartnerStatus.APPLIED}, limit=at_most)


def _document(partner: Partner) -> Document:
    row: dict[str, Any] = asdict(partner)
    key = name_key(partner.name)
    return {"_id": row.pop("id"), **row, "name_key": key, "order": f"{key}:{partner.id}"}


def _partner(row: Document) -> Partner:
    return Partner(
        id=row["_id"],
        name=row["name"],
        trade=row["trade"],
        country=row["country"],
        logo_url=row["logo_url"],
        status=PartnerStatus(row["status"]),
        applied_at=row["applied_at"],
        status_changed_at=row["status_changed_at"],
    )
