"""Events to other services: written in the same transaction as the change that causes them, delivered at least once.

The receiver is idempotent on the event, so that its effect happens exactly once. Events of one topic are delivered in
the order of their creation, in batches; the first attempt is made at once.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from google.protobuf.message import Message
from opentelemetry import trace
from pymongo import IndexModel
from pymongo.errors import PyMongoError

from services.shared import telemetry
from services.shared.errors import (
    Aborted,
    DeadlineExceeded,
    DomainError,
    Internal,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from services.shared.ids import new_id
from services.shared.metrics import catalogue
from services.shared.metrics.instruments import Meter
from services.shared.mongo import Collection, Database, Document, Indexes, Transaction
from services.shared.telemetry import log

Deliver = Callable[[Sequence[bytes]], Awaitable[None]]

_COLLECTION = "outbox"
# For so long after its creation an event is the business of the process that made it.
_FIRST_ATTEMPT = timedelta(seconds=5)
_KEEP_DELIVERED = timedelta(days=7)
_POLL_SECONDS = 1.0
_SAMPLE_SECONDS = 5.0
_MOST_COUNTED = 10_000
_BATCH = 200
_IN_MEMORY = 10_000
_BACKOFF_SECONDS = (0.1, 5.0)
_ATTEMPTS_ALONE = 20
_SOON_SECONDS = 0.5
# The other side, not the event, is the trouble: everything of the topic waits.
_PASSING = (Unavailable, DeadlineExceeded, ResourceExhausted, Aborted, Unauthenticated, PermissionDenied)

INDEXES: Indexes = {
    _COLLECTION: [
        IndexModel([("due_at", 1), ("_id", 1)], sparse=True),
        IndexModel([("waiting_since", 1)], sparse=True),
        IndexModel([("parked_at", 1)], sparse=True),
        IndexModel([("delivered_at", 1)], sparse=True, expireAfterSeconds=int(_KEEP_DELIVERED.total_seconds())),
    ]
}


@dataclass(frozen=True)
class Sample:
    """How an outbox stands: events that wait (counted to 10,000), since when the oldest of them, and parked ones."""

    waiting: int
    oldest: datetime | None
    parked: int


@dataclass(frozen=True)
class Parked:
    """An event that its receiver has refused for good, and why."""

    id: str
    topic: str
    at: datetime
    error: str


@dataclass(frozen=True)
class Event:
    """Something that another service has to be told."""

    id: str
    topic: str
    payload: bytes
    trace: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0


class Outbox:
    """The stored events of a service."""

    def __init__(self, database: Database) -> None:
        self._events: Collection = database[_COLLECTION]

    async def emit(self, tx: Transaction, topic: str, payloads: Iterable[tuple[str, Message]]) -> None:
        """Adds events to the transaction: each an id, unique for ever, and the message that the receiver gets."""
        headers = telemetry.carry()
        events = [Event(id, topic, message.SerializeToString(), headers) for id, message in payloads]
        if not events:
            return
        now = datetime.now(UTC)
        await self._events.insert_many(
            [
                {
                    "_id": e.id,
                    "topic": topic,
                    "payload": e.payload,
                    "trace": dict(headers),
                    "attempts": 0,
                    "due_at": now + _FIRST_ATTEMPT,
                    "waiting_since": now,
                }
                for e in events
            ],
            session=tx.session,
        )
        tx.events.extend(events)

    async def due(self, limit: int) -> list[Event]:
        """Events whose time has come: their process died or could not deliver them."""
        rows = self._events.find({"due_at": {"$lte": datetime.now(UTC)}}, sort=[("due_at", 1), ("_id", 1)], limit=limit)
        return sorted([_event(row) async for row in rows], key=lambda event: event.id)

    async def pending(self, ids: Sequence[str]) -> bool:
        """Whether any of the events has not been delivered; one that was parked has not."""
        if not ids:
            return False
        return await self._events.find_one({"_id": {"$in": list(ids)}, "delivered_at": {"$exists": False}}) is not None

    async def waiting(self, ids: Sequence[str]) -> set[str]:
        """Those of the events that have not been delivered."""
        wanted = {"_id": {"$in": list(ids)}, "delivered_at": {"$exists": False}}
        return {row["_id"] async for row in self._events.find(wanted, {"_id": 1})}

    async def delivered(self, ids: Sequence[str]) -> None:
        await self._events.update_many(
            {"_id": {"$in": list(ids)}},
            {"$set": {"delivered_at": datetime.now(UTC)}, "$unset": {"due_at": "", "waiting_since": ""}},
        )

    async def postpone(self, ids: Sequence[str], seconds: float, *, failed: bool = False) -> None:
        """Makes the events due later; with `failed`, the attempt counts against them."""
        due_at = datetime.now(UTC) + timedelta(seconds=seconds)
        await self._events.update_many(
            {"_id": {"$in": list(ids)}}, {"$set": {"due_at": due_at}, "$inc": {"attempts": int(failed)}}
        )

    async def park(self, id: str, error: str) -> None:
        """Gives an event up: it stays in the outbox for an operator to look at."""
        await self._events.update_one(
            {"_id": id},
            {"$set": {"parked_at": datetime.now(UTC), "error": error}, "$unset": {"due_at": "", "waiting_since": ""}},
        )

    async def parked(self, limit: int) -> list[Parked]:
        """Events that were given up, oldest first."""
        ever = {"$gt": datetime.fromtimestamp(0, UTC)}
        rows = self._events.find({"parked_at": ever}, {"payload": 0}, sort=[("parked_at", 1)], limit=limit)
        return [Parked(row["_id"], row["topic"], row["parked_at"], row.get("error", "")) async for row in rows]

    async def unpark(self, id: str) -> bool:
        """Has a parked event delivered after all; False if there is no such one."""
        now = datetime.now(UTC)
        again = {"attempts": 0, "due_at": now, "waiting_since": now}
        return await self._unparked(id, {"$set": again, "$unset": {"parked_at": "", "error": ""}})

    async def settle(self, id: str, why: str) -> bool:
        """Notes that a parked event has been dealt with in another way; False if there is no such one."""
        done = {"delivered_at": datetime.now(UTC), "settled": why}
        return await self._unparked(id, {"$set": done, "$unset": {"parked_at": ""}})

    async def _unparked(self, id: str, change: Document) -> bool:
        done = await self._events.update_one({"_id": id, "parked_at": {"$exists": True}}, change)
        return done.matched_count == 1

    async def sample(self) -> Sample:
        """How it stands now."""
        ever = {"$gt": datetime.fromtimestamp(0, UTC)}
        waiting, parked = {"waiting_since": ever}, {"parked_at": ever}
        oldest = await self._events.find_one(waiting, {"waiting_since": 1}, sort=[("waiting_since", 1)])
        return Sample(
            waiting=await self._events.count_documents(waiting, limit=_MOST_COUNTED) if oldest else 0,
            oldest=oldest["waiting_since"] if oldest else None,
            parked=await self._events.count_documents(parked, limit=_MOST_COUNTED),
        )


class Relay:
    """Delivers a service's events. `run` is a background job of the server."""

    def __init__(self, outbox: Outbox, deliver: Mapping[str, Deliver], meter: Meter | None = None) -> None:
        meter = meter or Meter()
        self._outbox = outbox
        self._gauges = _Gauges(meter)
        self._lanes = {topic: _Lane(topic, outbox, function, meter) for topic, function in deliver.items()}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            group.create_task(self._watch())
            for lane in self._lanes.values():
                group.create_task(lane.run())

    async def settle(self, events: Sequence[Event], within_seconds: float) -> bool:
        """Delivers freshly committed events; True if that succeeded in time. If not, they follow by themselves.

        While there is more to deliver than can be soon, nobody waits for it: to be told at once that it is pending is
        worth more than to be told late.
        """
        behind = any(self._lanes[event.topic].behind for event in events)
        waits = [self._lanes[event.topic].offer(event) for event in events]
        if not waits:
            return True
        if behind:
            return False
        done, waiting = await asyncio.wait(waits, timeout=max(within_seconds, 0))
        return not waiting and not any(future.cancelled() for future in done)

    async def _poll(self) -> None:
        while True:
            for event in await self._outbox.due(_BATCH):
                if lane := self._lanes.get(event.topic):
                    lane.offer(event)
            await asyncio.sleep(_POLL_SECONDS * random.uniform(0.8, 1.2))

    async def _watch(self) -> None:
        while True:
            self._gauges.set(await self._outbox.sample(), datetime.now(UTC))
            await asyncio.sleep(_SAMPLE_SECONDS)


class _Gauges:
    """The outbox as it was when it was last looked at."""

    def __init__(self, meter: Meter) -> None:
        self._waiting = meter.gauge(catalogue.OUTBOX_WAITING).at()
        self._oldest = meter.gauge(catalogue.OUTBOX_OLDEST).at()
        self._parked = meter.gauge(catalogue.OUTBOX_PARKED).at()
        self._sampled = meter.gauge(catalogue.OUTBOX_SAMPLED).at()

    def set(self, sample: Sample, now: datetime) -> None:
        self._waiting.set(sample.waiting)
        self._oldest.set((now - sample.oldest).total_seconds() if sample.oldest else 0.0)
        self._parked.set(sample.parked)
        self._sampled.set(now.timestamp())


class _Lane:
    """The events of one topic, one batch at a time; what arrives meanwhile gathers for the next."""

    def __init__(self, topic: str, outbox: Outbox, deliver: Deliver, meter: Meter) -> None:
        attempts = meter.counter(catalogue.OUTBOX_ATTEMPTS)
        self._delivered, self._postponed, self._refused = (
            attempts.at(topic, outcome) for outcome in ("delivered", "postponed", "refused")
        )
        self._sizes = meter.histogram(catalogue.OUTBOX_BATCH).at(topic)
        self._topic = topic
        self._outbox = outbox
        self._deliver = deliver
        self._waiting: deque[Event] = deque()
        self._futures: dict[str, asyncio.Future[None]] = {}
        self._arrived = asyncio.Event()
        self._failures = 0
        self._took_seconds = 0.0  # the last batch that was delivered

    @property
    def behind(self) -> bool:
        """Whether what waits already is likely to take longer than a caller should wait."""
        batches = len(self._waiting) / _BATCH
        return batches > 0 and self._took_seconds * (1 + batches) > _SOON_SECONDS

    def offer(self, event: Event) -> "asyncio.Future[None]":
        """Queues it, unless it is queued; the future is done when it has been delivered."""
        future = self._futures.get(event.id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            if len(self._waiting) >= _IN_MEMORY:
                future.cancel()  # It is stored; the poll will bring it when there is room.
                return future
            self._futures[event.id] = future
            self._waiting.append(event)
            self._arrived.set()
        return future

    async def run(self) -> None:
        while True:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._send(list(islice(self._waiting, _BATCH)))

    async def _send(self, batch: Sequence[Event]) -> bool:
        """Sends the first events of the queue; False if they have to wait. Whatever happens to us meanwhile, an event
        keeps its place until it is done with.
        """
        self._sizes.record(len(batch))
        began = time.monotonic()
        try:
            await self._attempt(batch)
        except _PASSING as error:
            self._postponed.add()
            await self._back_off(error, [event.id for event in batch])
            return False
        except DomainError as error:
            self._refused.add()
            if len(batch) == 1:
                await self._set_aside(batch[0], error)
                return True
            # One of them is the trouble: find it, and let the others through, in their order.
            for event in batch:
                if not await self._send([event]):
                    return False
            return True
        self._delivered.add()
        self._failures = 0
        self._took_seconds = time.monotonic() - began
        await self._outbox.delivered([event.id for event in batch])
        for _ in batch:
            self._finish().set_result(None)
        return True

    async def _attempt(self, batch: Sequence[Event]) -> None:
        links = [
            trace.Link(context)
            for event in batch
            if event.trace
            and (context := trace.get_current_span(telemetry.extract(event.trace)).get_span_context()).is_valid
        ]
        tracer = trace.get_tracer("alliance.outbox")
        parent = telemetry.extract(batch[0].trace)
        with tracer.start_as_current_span(f"relay {self._topic}", parent, trace.SpanKind.PRODUCER, links=links):
            try:
                await self._deliver([event.payload for event in batch])
            except (DomainError, PyMongoError):
                raise
            except Exception as error:
                # Not ended by it, or one event would hold back all others of the service, of every topic.
                log.exception("event cannot be sent", topic=self._topic, event_ids=[event.id for event in batch[:5]])
                raise Internal(f"{type(error).__name__}: {error}", reason="CANNOT_BE_SENT") from error

    async def _back_off(self, error: DomainError, ids: Sequence[str]) -> None:
        first, most = _BACKOFF_SECONDS
        seconds = min(most, first * 2**self._failures) * random.uniform(0.5, 1.0)
        if self._failures == 0:
            log.warning("cannot deliver, will retry", topic=self._topic, reason=error.reason, error=error.message)
        self._failures = min(self._failures + 1, 10)
        await self._outbox.postpone(ids, seconds + _FIRST_ATTEMPT.total_seconds())
        await asyncio.sleep(seconds)

    async def _set_aside(self, event: Event, error: DomainError) -> None:
        if isinstance(error, InvalidArgument) or event.attempts >= _ATTEMPTS_ALONE:
            log.error(
                "event refused for good, parked",
                topic=self._topic,
                event_id=event.id,
                reason=error.reason,
                error=error.message,
            )
            await self._outbox.park(event.id, f"{error.reason}: {error.message}")
        else:
            log.warning("event failed, later again", topic=self._topic, event_id=event.id, reason=error.reason)
            await self._outbox.postpone([event.id], _BACKOFF_SECONDS[1], failed=True)
        self._finish().cancel()

    def _finish(self) -> "asyncio.Future[None]":
        """Takes the first event out of the queue; the future of those who wait for it."""
        return self._futures.pop(self._waiting.popleft().id)


def new_event_id() -> str:
    """For an event that has no natural id of its own."""
    return new_id("event")


def _event(row: Document) -> Event:
    return Event(row["_id"], row["topic"], bytes(row["payload"]), row.get("trace") or {}, row.get("attempts", 0))
