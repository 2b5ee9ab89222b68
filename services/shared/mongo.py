"""The database: the only place that builds a client, so that a change of driver stays small.

Everything acknowledged to a caller has been written to a majority, journaled. Stores declare their indexes; `prepare`
makes them.
"""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from bson.binary import UUID_SUBTYPE, Binary
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import IndexModel, ReadPreference
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from services.shared import clock, sessions
from services.shared.commands import Commands, Connections
from services.shared.config import ServiceSettings
from services.shared.errors import Aborted, FailedPrecondition
from services.shared.metrics import catalogue
from services.shared.metrics.instruments import Meter
from services.shared.queries import QueryShapes
from services.shared.sessions import Abandoned, Sessions
from services.shared.telemetry import log

if TYPE_CHECKING:
    from services.shared.outbox import Event

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]
Indexes = Mapping[str, Sequence[IndexModel]]
T = TypeVar("T")

_DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)
# How long the driver looks for a server that can be asked.
_LOOKS_SECONDS = 2.0
# A transaction that met another waits before it starts over: at first hardly, then up to the most. Without the wait,
# fifty writers of one document would mostly undo each other.
_CONFLICT_WAIT_SECONDS = (0.004, 0.128)
_CONFLICTS_FOR_SECONDS = 15.0
_DUPLICATE_KEY = 11_000
_MOST_CONNECTIONS = 100
_MOST_CLOCK_DIFFERENCE = timedelta(seconds=60)


class ClockWrong(FailedPrecondition):
    """It is another time here than at the database."""


class LostRace(Exception):
    """Others changed meanwhile what a decision rests on. Raised within a transaction's body, it makes the body run
    again, to read and decide anew.
    """


class _NotBegun(Exception):
    """The database could not be reached before the transaction's first command."""


@contextmanager
def racing() -> Iterator[None]:
    """For writes whose unique keys were free when it was decided to write them: LostRace if one no longer is."""
    try:
        yield
    except DuplicateKeyError as error:
        raise LostRace from error
    except BulkWriteError as error:
        if all(failed["code"] == _DUPLICATE_KEY for failed in error.details["writeErrors"]):
            raise LostRace from error
        raise


@dataclass
class Transaction:
    """One atomic change in progress. Stores write through its session; `events` are sent on after the commit."""

    session: AsyncIOMotorClientSession
    events: list["Event"] = field(default_factory=list)


class Database:
    """A service's own database."""

    def __init__(
        self, uri: str, name: str, *, instance: str = "", show_queries: bool = False, meter: Meter | None = None
    ) -> None:
        meter = meter or Meter()
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            appname=name,
            serverSelectionTimeoutMS=round(1_000 * _LOOKS_SECONDS),
            connectTimeoutMS=3_000,
            socketTimeoutMS=20_000,
            maxPoolSize=_MOST_CONNECTIONS,
            event_listeners=[
                Commands(meter),
                Connections(meter, _MOST_CONNECTIONS),
                *([QueryShapes()] if show_queries else []),
            ],
        )
        self._database: AsyncIOMotorDatabase[Document] = self._client.get_database(
            name,
            write_concern=_DURABLE,
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )
        self._sessions = Sessions(self, instance) if instance else None
        self._abandoned = Abandoned(self._end_for_good)
        self._transactions = meter.counter(catalogue.TRANSACTIONS)
        self._retries = meter.counter(catalogue.TRANSACTION_RETRIES).at()

    @classmethod
    def of(cls, settings: ServiceSettings, meter: Meter) -> "Database":
        """The database that the settings name."""
        return cls(
            settings.mongodb_uri.get_secret_value(),
            settings.mongodb_database,
            # A process that is started again in its place has the same host and address.
            instance=f"{socket.gethostname()}/{settings.listen}",
            show_queries=settings.log_level == "DEBUG",
            meter=meter,
        )

    def __getitem__(self, collection: str) -> Collection:
        return self._database[collection]

    async def ping(self) -> None:
        """Raises a driver error unless the database answers; ClockWrong if it is another time there than here."""
        before = clock.now()
        theirs: datetime = (await self._database.command("hello"))["localTime"].replace(tzinfo=UTC)
        difference = max(before - theirs, theirs - clock.now())
        if difference > _MOST_CLOCK_DIFFERENCE:
            raise ClockWrong(
                f"The clock here differs from the database's by {difference.total_seconds():,.0f} s; set it right. "
                "Until then nothing is done here: what expires by a wrong clock is gone for good."
            )

    async def create_indexes(self, indexes: Indexes) -> None:
        """Makes the indexes that are not there yet, and the one that `Sessions` needs; safe to do at every start and in
        several replicas at once.
        """
        for collection, models in {**indexes, sessions.COLLECTION: [IndexModel(sessions.INDEXED)]}.items():
            names = [model.document["name"] for model in models]
            # The last of these lines says what is being built when that takes long.
            log.info("indexes", collection=collection, names=names)
            await self._database[collection].create_indexes(list(models))

    async def end_sessions(self, ids: Sequence[bytes]) -> None:
        """Ends sessions of this user, and with them the transactions that they are in."""
        await self._client.admin.command("killSessions", [{"id": Binary(id, UUID_SUBTYPE)} for id in ids])

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]]) -> tuple[T, list["Event"]]:
        """Runs `body` so that all of its writes happen or none. It may run more than once: when others changed the same
        documents meanwhile, or the body raised LostRace, it starts over, after a moment of random length. Answers the
        body's result and the events that it emitted. Aborted / TOO_MANY_CONFLICTS if others were faster on and on.
        """
        attempts = 0
        until = time.monotonic() + _CONFLICTS_FOR_SECONDS
        first_wait, longest_wait = _CONFLICT_WAIT_SECONDS
        outcome = "failed"
        try:
            while True:
                try:
                    async with self._session() as session:
                        done = await _attempt(session, body)
                except (LostRace, _NotBegun, PyMongoError) as error:
                    if not _may_start_over(error) or time.monotonic() > until:
                        raise _lasting(error) from error
                else:
                    outcome = "committed"
                    return done
                attempts += 1
                self._retries.add()
                # The server's snapshot begins with the body's first operation, so after the wait.
                await asyncio.sleep(random.uniform(0, min(longest_wait, first_wait * 2**attempts)))
        finally:
            self._transactions.at(outcome).add()

    async def _end_for_good(self, ids: Sequence[bytes]) -> bool:
        try:
            await self.end_sessions(ids)
            if self._sessions is not None:
                await self._sessions.forget(ids)
        except ConnectionFailure:
            return False
        except PyMongoError as error:
            log.warning("sessions cannot be ended", sessions=len(ids), error=str(error))
        return True

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncIOMotorClientSession]:
        """A session; one whose last command had no answer is ended on the server, with its transaction, as soon
        as the server can be reached.
        """
        session = await self._client.start_session()
        session_id: Any = session.session_id
        id = bytes(session_id["id"])
        if self._sessions is not None:
            try:
                await self._sessions.enter(id)
            except ConnectionFailure as error:
                raise _NotBegun from error
        answered = False
        try:
            yield session
            answered = True
        except (asyncio.CancelledError, ConnectionFailure):
            # A command may be under way still; whatever were asked of the session now could overtake it.
            raise
        except BaseException:
            answered = True
            raise
        finally:
            # The driver notes so, too, when it gets no answer to an abort, of which it tells nobody.
            if answered and not session.delegate._server_session.dirty:
                await session.end_session()
            else:
                self._abandoned.add(id)

    def close(self) -> None:
        self._abandoned.close()
        self._client.close()


async def _attempt(
    session: AsyncIOMotorClientSession, body: Callable[[Transaction], Awaitable[T]]
) -> tuple[T, list["Event"]]:
    """Motor's own `with_transaction` commits where it does not look at what comes of it, and its `start_transaction`
    aborts while a command may be under way.
    """
    tx = Transaction(session)
    session.start_transaction(ReadConcern("snapshot"), _DURABLE, ReadPreference.PRIMARY)
    try:
        result = await body(tx)
    except (asyncio.CancelledError, ConnectionFailure):
        raise
    except BaseException:
        began = time.monotonic()
        await session.abort_transaction()
        if time.monotonic() - began >= _LOOKS_SECONDS:
            # No server was found to be told, which the driver tells nobody; nor does it note it as if the connection
            # had broken.
            session.delegate._server_session.mark_dirty()
        raise
    await session.commit_transaction()
    return result, tx.events


def _may_start_over(error: Exception) -> bool:
    """Whether nothing of the transaction happened, and the same again may well succeed: others were faster, or the
    server forgot it (it was started again, or another member of the replica set took over).
    """
    return isinstance(error, LostRace | _NotBegun) or (
        isinstance(error, PyMongoError) and error.has_error_label("TransientTransactionError")
    )


def _lasting(error: Exception) -> Exception:
    """What a caller is told when starting over has not helped, or would not."""
    if isinstance(error, _NotBegun) and isinstance(error.__cause__, Exception):
        return error.__cause__
    if isinstance(error, ConnectionFailure) or not _may_start_over(error):
        return error
    return Aborted("Too many change this at the same time; call again.", reason="TOO_MANY_CONFLICTS")


def duplicate_index(error: Exception) -> str:
    """The first field of the unique index that a DuplicateKeyError is about, for example "_id"."""
    details: Mapping[str, Any] = getattr(error, "details", None) or {}
    if not details.get("keyPattern"):
        for write_error in details.get("writeErrors", ()):
            details = write_error
    return str(next(iter(details.get("keyPattern") or {"_id": 1})))
