"""The partners themselves, and how much each has of what is limited."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.partners.domain.partner import Partner, PartnerStatus, name_key
from services.shared.errors import AlreadyExists, NotFound, ResourceExhausted
from services.shared.mongo import Database, Document, Indexes, Transaction
from services.shared.pages import Page, PageQuery, find_page

INDEXES: Indexes = {
    "partners": [
        IndexModel([("name_key", 1)], unique=True),
        IndexModel([("order", 1)], unique=True),
        IndexModel([("status", 1), ("order", 1)]),
    ],
}


class PartnerNameTaken(AlreadyExists):
    """Another partner has that name."""


class PartnerNotFound(NotFound):
    """No partner has that id."""


class Limited(StrEnum):
    """What a partner can only have so many of."""

    API_CLIENTS = "api_clients"
    AGREEMENTS = "agreements"
    OPEN_BLOCKS = "open_blocks"
    EARN_RULES = "earn_rules"
    CAMPAIGNS = "campaigns"


_MOST = {
    Limited.API_CLIENTS: 5,
    Limited.AGREEMENTS: 500,
    Limited.OPEN_BLOCKS: 100,
    Limited.EARN_RULES: 500,
    Limited.CAMPAIGNS: 500,
}


class LimitReached(ResourceExhausted):
    """The partner has as many of something as it may; the reason names it, for example TOO_MANY_API_CLIENTS."""

    def __init__(self, limited: Limited, most: int) -> None:
        things = limited.replace("_", " ")
        super().__init__(
            f"A partner has at most {most} {things}; end, pay or reuse one before you make another.",
            reason=f"TOO_MANY_{limited.upper()}",
            most=most,
        )


class PartnerStore:
    """Partners by id and by name."""

    def __init__(self, database: Database) -> None:
        self._partners = database["partners"]

    async def add(self, tx: Transaction, partner: Partner) -> None:
        """Stores a new partner; PartnerNameTaken if its name is not free."""
        try:
            await self._partners.insert_one(_document(partner), session=tx.session)
        except DuplicateKeyError as error:
            raise PartnerNameTaken(f"There is a partner called {partner.name}; choose another name.") from error

    async def set_status(self, tx: Transaction, partner: Partner) -> None:
        """Stores the partner's status and since when it has it."""
        change = {"status": partner.status, "status_changed_at": partner.status_changed_at}
        await self._partners.update_one({"_id": partner.id}, {"$set": change}, session=tx.session)

    async def get(self, tx: Transaction, id: str) -> Partner:
        """The partner as it is in the transaction; PartnerNotFound."""
        row = await self._partners.find_one({"_id": id}, session=tx.session)
        if row is None:
            raise PartnerNotFound("There is no partner with that id.", partner_id=id)
        return _partner(row)

    async def several(self, ids: Sequence[str]) -> list[Partner]:
        """Those found."""
        return [_partner(row) async for row in self._partners.find({"_id": {"$in": list(ids)}})]

    async def statuses(self, ids: Collection[str]) -> Mapping[str, PartnerStatus]:
        """The status of each that is found."""
        rows = self._partners.find({"_id": {"$in": list(ids)}}, {"status": 1})
        return {row["_id"]: PartnerStatus(row["status"]) async for row in rows}

    async def page(self, status: PartnerStatus | None, query: PageQuery) -> Page[Partner]:
        """By name; all, or those that are there in their life."""
        page = await find_page(self._partners, {"status": status} if status else {}, query, descending=False)
        return Page([_partner(row) for row in page.rows], page.orders, page.has_next)

    async def applications(self, at_most: int) -> int:
        """How many applications are open; counts no further than asked."""
        return await self._partners.count_documents({"status": PartnerStatus.APPLIED}, limit=at_most)

    async def take_place(self, tx: Transaction, partner_id: str, limited: Limited) -> None:
        """Counts one more of what is limited; LimitReached if the partner has as many as it may.

        The count is part of the partner, so that of two transactions that count at once one starts over.
        """
        count, most = f"counts.{limited}", _MOST[limited]
        found = await self._partners.update_one(
            {"_id": partner_id, count: {"$lt": most}}, {"$inc": {count: 1}}, session=tx.session
        )
        if not found.matched_count:
            raise LimitReached(limited, most)

    async def give_place(self, tx: Transaction, partner_id: str, limited: Limited) -> None:
        """Counts one less."""
        await self._partners.update_one({"_id": partner_id}, {"$inc": {f"counts.{limited}": -1}}, session=tx.session)

    async def next_version(self, tx: Transaction, partner_id: str, kind: str) -> int:
        """The number of the partner's next earn rule of a kind: 1, 2, 3, ..."""
        version = f"rule_versions.{kind}"
        await self._partners.update_one({"_id": partner_id}, {"$inc": {version: 1}}, session=tx.session)
        row = await self._partners.find_one({"_id": partner_id}, {version: 1}, session=tx.session)
        return int((row or {})["rule_versions"][kind])


def _document(partner: Partner) -> Document:
    row: dict[str, Any] = asdict(partner)
    key = name_key(partner.name)
    counts = {str(limited): 0 for limited in Limited}
    # A space sorts before all that a key is made of, so that a name comes before those that begin with it.
    return {"_id": row.pop("id"), **row, "name_key": key, "order": f"{key} {partner.id}", "counts": counts}


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
