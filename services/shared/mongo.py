"""The database: the only place that builds a client, so that a change of driver stays small.

Everything acknowledged to a caller has been written to a majority, journaled. Stores declare their indexes; `prepare`
makes them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import IndexModel, ReadPreference
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

if TYPE_CHECKING:
    from services.shared.outbox import Event

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]
Indexes = Mapping[str, Sequence[IndexModel]]
T = TypeVar("T")

_DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)


@dataclass
class Transaction:
    """One atomic change in progress. Stores write through its session; `events` are sent on after the commit."""

    session: AsyncIOMotorClientSession
    events: list["Event"] = field(default_factory=list)


class Database:
    """A service's own database."""

    def __init__(self, uri: str, name: str, **options: Any) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            appname=name,
            serverSelectionTimeoutMS=3_000,
            connectTimeoutMS=3_000,
            socketTimeoutMS=20_000,
            maxPoolSize=100,
            **options,
        )
        self._database: AsyncIOMotorDatabase[Document] = self._client.get_database(
            name,
            write_concern=_DURABLE,
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )

    def __getitem__(self, collection: str) -> Collection:
        return self._database[collection]

    async def ping(self) -> None:
        """Raises a driver error unless the database answers."""
        await self._database.command("ping")

    async def create_indexes(self, indexes: Indexes) -> None:
        """Makes the indexes that are not there yet; safe to do at every start and in several replicas at once."""
        for collection, models in indexes.items():
            await self._database[collection].create_indexes(list(models))

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]]) -> tuple[T, list["Event"]]:
        """Runs `body` so that all of its writes happen or none. It may run more than once: when others changed the same
        documents meanwhile, it starts over. Answers the body's result and the events that it emitted.
        """
        async with await self._client.start_session() as session:

            async def attempt(session: AsyncIOMotorClientSession) -> tuple[T, list["Event"]]:
                tx = Transaction(session)
                return await body(tx), tx.events

            return await session.with_transaction(
                attempt,
                read_concern=ReadConcern("snapshot"),
                write_concern=_DURABLE,
                read_preference=ReadPreference.PRIMARY,
            )

    def close(self) -> None:
        self._client.close()


def duplicate_index(error: Exception) -> str:
    """The first field of the unique index that a DuplicateKeyError is about, for example "_id"."""
    details: Mapping[str, Any] = getattr(error, "details", None) or {}
    if not details.get("keyPattern"):
        for write_error in details.get("writeErrors", ()):
            details = write_error
    return str(next(iter(details.get("keyPattern") or {"_id": 1})))
