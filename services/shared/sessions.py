"""The database sessions that a process works in, written down, so that after a crash the next one can end them.

A process that is killed within a transaction leaves it open: what it wrote stays locked until the server gives the
transaction up, after a minute. Its successor, the next process of the same instance, ends it before its own first one.
"""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.shared.mongo import Database

COLLECTION = "sessions"
# By it a process finds its predecessor's sessions.
INDEXED = "instance"


class Sessions:
    """`instance` is the same for a process and whoever takes its place, and differs between replicas."""

    def __init__(self, database: "Database", instance: str) -> None:
        self._database = database
        self._rows = database[COLLECTION]
        self._instance = instance
        self._known: set[bytes] = set()
        self._lock = asyncio.Lock()
        self._inherited = True

    async def enter(self, id: bytes) -> None:
        """Before a session's first transaction. Sessions are pooled, so there are as many as there were at one time."""
        if id in self._known:
            return
        async with self._lock:
            if self._inherited:
                await self._end_inherited()
                self._inherited = False
        row = {INDEXED: self._instance, "at": datetime.now(UTC)}
        await self._rows.update_one({"_id": id}, {"$set": row}, upsert=True)
        self._known.add(id)

    async def _end_inherited(self) -> None:
        rows = [row async for row in self._rows.find({INDEXED: self._instance})]
        if rows:
            await self._database.end_sessions([row["_id"] for row in rows])
            await self._rows.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})
