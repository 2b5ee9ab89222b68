"""Gifts between members and the codes of those who want some, on MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pymongo import IndexModel

from services.rewards.domain.gifts import Gift, GiftCode, GiftStatus, Limits
from services.rewards.ledger.events import Refusal
from services.rewards.ledger.model import Lot
from services.shared.mongo import Database, Document, Indexes, Transaction, racing

INDEXES: Indexes = {
    # By member; a new code takes the place of the one before.
    "gift_codes": [IndexModel([("hash", 1)], unique=True)],
    # `due` is there until the ledger has had the gift.
    "gifts": [IndexModel([("due", 1)], sparse=True)],
}


class GiftStore:
    """One open code per member, and every gift."""

    def __init__(self, database: Database) -> None:
        self._codes = database["gift_codes"]
        self._gifts = database["gifts"]

    async def put_code(self, tx: Transaction, code: GiftCode) -> None:
        """In place of the member's code before."""
        row = asdict(code)
        row["_id"] = row.pop("member_id")
        with racing():
            await self._codes.replace_one({"_id": row["_id"]}, row, upsert=True, session=tx.session)

    async def code(self, code_hash: bytes) -> GiftCode | None:
        """By what it is looked up."""
        row = await self._codes.find_one({"hash": code_hash})
        return GiftCode(row["_id"], row["hash"], row["expires_at"]) if row else None

    async def add(self, tx: Transaction, gift: Gift, due: datetime) -> None:
        """Stores a PENDING gift, to be looked at again when due."""
        await self._gifts.insert_one({**_document(gift), "due": due}, session=tx.session)

    async def advance(self, gift: Gift) -> None:
        """Stores what came of a gift, which is the same for ever."""
        await self._gifts.replace_one({"_id": gift.id}, _document(gift))

    async def gifts(self, ids: Sequence[str]) -> list[Gift]:
        """Those found."""
        return [_gift(row) async for row in self._gifts.find({"_id": {"$in": list(ids)}})]

    async def due(self, at: datetime, limit: int) -> list[Gift]:
        """Those that were left half done."""
        rows = self._gifts.find({"due": {"$lte": at}}, sort=[("due", 1)], limit=limit)
        return [_gift(row) async for row in rows]


def _document(gift: Gift) -> Document:
    row = asdict(gift)
    row["lots"] = [tuple(lot) for lot in gift.lots]
    row["refusal"] = tuple(gift.refusal) if gift.refusal else None
    return {"_id": row.pop("id"), **row}


def _gift(row: Document) -> Gift:
    return Gift(
        id=row["_id"],
        giver=row["giver"],
        to=row["to"],
        points=row["points"],
        limits=Limits(**row["limits"]),
        given_at=row["given_at"],
        status=GiftStatus(row["status"]),
        lots=tuple(Lot(*lot) for lot in row["lots"]),
        refusal=Refusal(*row["refusal"]) if row["refusal"] else None,
    )
