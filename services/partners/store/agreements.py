"""Agreements and prepaid blocks."""

from collections.abc import Collection
from dataclasses import asdict

from pymongo import IndexModel

from services.partners.domain.agreement import Agreement, Money, PrepaidBlock
from services.shared.mongo import Database, Document, Indexes, Transaction

INDEXES: Indexes = {
    "agreements": [IndexModel([("partner_id", 1)])],
    "prepaid_blocks": [IndexModel([("partner_id", 1)])],
}


class AgreementStore:
    """What points cost, and points bought ahead."""

    def __init__(self, database: Database) -> None:
        self._agreements = database["agreements"]
        self._blocks = database["prepaid_blocks"]

    async def add_agreement(self, tx: Transaction, agreement: Agreement) -> None:
        row = asdict(agreement)
        await self._agreements.insert_one({"_id": row.pop("id"), **row}, session=tx.session)

    async def agreement(self, tx: Transaction, id: str) -> Agreement | None:
        row = await self._agreements.find_one({"_id": id}, session=tx.session)
        return _agreement(row) if row else None

    async def set_accepted(self, tx: Transaction, agreement: Agreement) -> None:
        change = {"accepted_at": agreement.accepted_at}
        await self._agreements.update_one({"_id": agreement.id}, {"$set": change}, session=tx.session)

    async def agreements(self, partner_ids: Collection[str], tx: Transaction | None = None) -> list[Agreement]:
        """Those of the partners, newest first."""
        rows = self._agreements.find({"partner_id": {"$in": list(partner_ids)}}, session=tx.session if tx else None)
        return sorted([_agreement(row) async for row in rows], key=lambda row: (row.offered_at, row.id), reverse=True)

    async def add_block(self, tx: Transaction, block: PrepaidBlock) -> None:
        row = asdict(block)
        await self._blocks.insert_one({"_id": row.pop("id"), **row}, session=tx.session)

    async def block(self, tx: Transaction, id: str) -> PrepaidBlock | None:
        row = await self._blocks.find_one({"_id": id}, session=tx.session)
        return _block(row) if row else None

    async def set_paid(self, tx: Transaction, block: PrepaidBlock) -> None:
        await self._blocks.update_one({"_id": block.id}, {"$set": {"paid_at": block.paid_at}}, session=tx.session)

    async def blocks(self, partner_ids: Collection[str]) -> list[PrepaidBlock]:
        """Those of the partners, newest first."""
        rows = [_block(row) async for row in self._blocks.find({"partner_id": {"$in": list(partner_ids)}})]
        return sorted(rows, key=lambda row: (row.ordered_at, row.id), reverse=True)


def _agreement(row: Document) -> Agreement:
    return Agreement(
        id=row["_id"],
        partner_id=row["partner_id"],
        unit_value=Money(**row["unit_value"]),
        valid_from=row["valid_from"],
        offered_at=row["offered_at"],
        accepted_at=row["accepted_at"],
    )


def _block(row: Document) -> PrepaidBlock:
    return PrepaidBlock(
        id=row["_id"],
        partner_id=row["partner_id"],
        points=row["points"],
        price=Money(**row["price"]),
        ordered_at=row["ordered_at"],
        paid_at=row["paid_at"],
    )
