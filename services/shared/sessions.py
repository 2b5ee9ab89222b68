"""Transactions that nobody works on any more are ended, and do not keep what they wrote locked until the server gives
them up, after a minute.

A process that is killed leaves its transactions open. The sessions that it works in are written down, so that its
successor, the next process of the same instance, ends them before its own first one. A process that lives on, and has
no answer to a command (its connection broke, the server stood still, the caller has gone meanwhile), ends the session
itself as soon as the server can be reached.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.shared.mongo import Database

COLLECTION = "sessions"
# By it a process finds its predecessor's sessions.
INDEXED = "instance"
_AGAIN_SECONDS = 0.5
# A command that was under way may come in behind the first order to end its session, and would open a transaction anew.
_TIMES = 2


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

    async def forget(self, ids: Sequence[bytes]) -> None:
        """Sessions that have been ended are nobody's business any more."""
        self._known.difference_update(ids)
        await self._rows.delete_many({"_id": {"$in": list(ids)}})

    async def _end_inherited(self) -> None:
        rows = [row async for row in self._rows.find({INDEXED: self._instance})]
        if rows:
            await self._database.end_sessions([row["_id"] for row in rows])
            await self._rows.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})


class Abandoned:
    """Sessions of this process whose last command had no answer. `end` ends those of the ids on the server; False if it
    cannot be reached.
    """

    def __init__(self, end: Callable[[Sequence[bytes]], Awaitable[bool]]) -> None:
        self._end = end
        self._times: dict[bytes, int] = {}  # that each is still to be ended
        self._task: asyncio.Task[None] | None = None

    def add(self, id: bytes) -> None:
        """Nobody uses the session again."""
        self._times[id] = _TIMES
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """What is left stays for the successor."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._times:
            ids = list(self._times)
            if await self._end(ids):
                for id in ids:
                    self._times[id] -= 1
                    if not self._times[id]:
                        del self._times[id]
            await asyncio.sleep(_AGAIN_SECONDS)
