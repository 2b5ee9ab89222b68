"""Mutations happen once: the request's hash and its answer are stored in the same transaction as its effect."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from google.protobuf.message import Message
from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.shared.client import time_left
from services.shared.errors import AlreadyExists, DomainError, InvalidArgument
from services.shared.identity import CallerKind, current_caller
from services.shared.mongo import Database, Document, Transaction
from services.shared.outbox import Event, Outbox, Relay

R = TypeVar("R", bound=Message)
T = TypeVar("T")

_COLLECTION = "requests"
_REQUEST_ID = re.compile(r"[!-~]{1,64}")
# How long a caller is kept waiting for the first delivery of what its call caused.
_SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Done(Generic[R]):
    """A mutation's answer, and whether everything that it causes elsewhere has happened already."""

    response: R
    settled: bool


class RequestIdReused(AlreadyExists):
    """The same request id was used for another input."""


class RequestIdMalformed(InvalidArgument):
    """A request id has 1 to 64 visible ASCII characters."""


class Idempotency:
    """The boundary of every mutation: opens the transaction, stores the answer, sends the events on."""

    def __init__(self, database: Database, relay: Relay | None = None) -> None:
        self._database = database
        self._requests = database[_COLLECTION]
        self._relay = relay
        self._outbox = Outbox(database)

    async def once(
        self,
        request: Message,
        response_type: type[R],
        effect: Callable[[Transaction], Awaitable[R]],
        *,
        stored: Callable[[R], R] | None = None,
    ) -> Done[R]:
        """Runs `effect` unless the current caller's request has been answered before; then that answer, again.

        RequestIdReused if that was another input (of a stranger, it is another request). A request that was refused is
        not stored: it may be tried again.
        `stored` gives what a replay may see, where that is less than the first answer (a secret).
        """
        digest = _digest(request)
        key = _key(request, digest)
        if found := await self._requests.find_one({"_id": key}):
            return await self._replay(found, digest, response_type)

        async def body(tx: Transaction) -> R:
            response = await effect(tx)
            kept = stored(response) if stored else response
            row = {
                "_id": key,
                "digest": digest,
                "response": kept.SerializeToString(),
                "events": [event.id for event in tx.events],
                "at": datetime.now(UTC),
            }
            await self._requests.insert_one(row, session=tx.session)
            return response

        try:
            response, events = await self._database.transaction(body)
        except (DuplicateKeyError, BulkWriteError, DomainError):
            # Perhaps the same request, at the same time, got there first.
            if found := await self._requests.find_one({"_id": key}):
                return await self._replay(found, digest, response_type)
            raise
        return Done(response, await self._settle(events))

    async def commit(self, effect: Callable[[Transaction], Awaitable[T]]) -> tuple[T, bool]:
        """Runs an effect that is idempotent by itself; its result, and whether everything that it causes elsewhere has
        happened already.
        """
        result, events = await self._database.transaction(effect)
        return result, await self._settle(events)

    async def _settle(self, events: Sequence[Event]) -> bool:
        if not events or self._relay is None:
            return True
        return await self._relay.settle(events, time_left(_SETTLE_SECONDS))

    async def _replay(self, row: Document, digest: bytes, response_type: type[R]) -> Done[R]:
        if bytes(row["digest"]) != digest:
            raise RequestIdReused(
                "This request_id was used for another input; use a new one for a new request.",
                request_id=row["_id"].split("/", 2)[2],
            )
        response = response_type()
        response.ParseFromString(bytes(row["response"]))
        return Done(response, settled=not await self._outbox.pending(row["events"]))


def _digest(message: Message) -> bytes:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()


def _key(request: Message, digest: bytes) -> str:
    """A caller's own. Strangers share one scope, in which an id is nobody's: there the same request has the same input,
    too, so that none is told of another's, nor kept from using its id.
    """
    request_id: str = request.request_id  # type: ignore[attr-defined]
    if not _REQUEST_ID.fullmatch(request_id):
        raise RequestIdMalformed(
            "request_id needs 1 to 64 visible ASCII characters; a fresh UUID will do.", field="request_id"
        )
    caller = current_caller()
    of_stranger = f"/{digest.hex()}" if caller.kind is CallerKind.ANYONE else ""
    return f"{caller.scope}/{request.DESCRIPTOR.name}/{request_id}{of_stranger}"
