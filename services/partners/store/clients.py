"""Credentials of partners' backends, as hashes."""

from collections.abc import Collection
from dataclasses import asdict

from pymongo import IndexModel

from services.partners.domain.client import ApiClient
from services.shared.mongo import Database, Document, Indexes, Transaction

INDEXES: Indexes = {"api_clients": [IndexModel([("partner_id", 1)])]}


class ClientStore:
    """API clients by id."""

    def __init__(self, database: Database) -> None:
        self._clients = database["api_clients"]

    async def add(self, tx: Transaction, client: ApiClient) -> None:
        row = asdict(client)
        await self._clients.insert_one({"_id": row.pop("id"), **row}, session=tx.session)

    async def one(self, id: str, tx: Transaction | None = None) -> ApiClient | None:
        row = await self._clients.find_one({"_id": id}, session=tx.session if tx else None)
        return _client(row) if row else None

    async def in_use(self, partner_ids: Collection[str]) -> list[ApiClient]:
        """Those of the partners that have not ended, newest first."""
        rows = [_client(row) async for row in self._clients.find({"partner_id": {"$in": list(partner_ids)}})]
        return sorted((row for row in rows if not row.revoked), key=lambda row: row.id, reverse=True)

    async def revoke(self, tx: Transaction, id: str) -> None:
        await self._clients.update_one({"_id": id}, {"$set": {"revoked": True}}, session=tx.session)


def _client(row: Document) -> ApiClient:
    return ApiClient(
        id=row["_id"],
        partner_id=row["partner_id"],
        label=row["label"],
        secret_hash=bytes(row["secret_hash"]),
        revoked=row["revoked"],
        created_at=row["created_at"],
    )
