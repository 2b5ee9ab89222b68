"""What all stand-ins have in common: the clock of the tests, pages, streams, and a record of every call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from alliance.common.v1.page_pb2 import PageInfo, PageRequest, Period
from services.shared.errors import InvalidArgument, Unavailable
from services.shared.identity import Caller, current_caller

NOW = Timestamp()
NOW.FromDatetime(datetime(2026, 3, 1, 8, 30, tzinfo=UTC))
LATER = Timestamp()
LATER.FromDatetime(datetime(2027, 4, 1, tzinfo=UTC))


@dataclass
class Call:
    """A call as a service saw it."""

    method: str
    request: Any
    caller: Caller
    metadata: Mapping[str, str | bytes]


@dataclass
class Recorder(aio.ServerInterceptor):
    """Writes calls down, and makes those fail that a test wants to fail."""

    calls: list[Call] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    # What a method waits for before it answers.
    waits: dict[str, asyncio.Event] = field(default_factory=dict)
    # What is done to an answer, by its method, before it is sent.
    finish: Callable[[str, Any], None] = lambda method, answer: None

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        method = details.method.rpartition("/")[2]
        if details.method.startswith("/grpc.health"):
            return handler
        if handler.response_streaming:
            return handler

        async def recorded(request: Any, context: Any) -> Any:
            self.calls.append(Call(method, request, current_caller(), dict(context.invocation_metadata())))
            await asyncio.sleep(self.delays.get(method, 0))
            if method in self.waits:
                await self.waits[method].wait()
            if method in self.failures:
                raise self.failures[method]
            answer = await handler.unary_unary(request, context)
            self.finish(method, answer)
            return answer

        return grpc.unary_unary_rpc_method_handler(recorded, handler.request_deserializer, handler.response_serializer)


def page_of(rows: Sequence[Any], request: PageRequest) -> tuple[Sequence[Any], PageInfo]:
    """The rows behind a cursor, which here is a row's number."""
    if request.after and not request.after.isdigit():
        raise InvalidArgument("`after` is not a cursor.", reason="CURSOR_MALFORMED")
    start = int(request.after) + 1 if request.after else 0
    end = min(start + (request.first or 20), len(rows))
    return rows[start:end], PageInfo(cursors=[str(n) for n in range(start, end)], has_next_page=end < len(rows))


def within(period: Period, at: Timestamp) -> bool:
    """Whether something happened in a period."""
    moment = at.ToNanoseconds()
    early = period.HasField("since") and moment < period.since.ToNanoseconds()
    late = period.HasField("until") and moment >= period.until.ToNanoseconds()
    return not (early or late)


class Stream:
    """What is told to all who listen, and can be cut off."""

    def __init__(self) -> None:
        # How often.
        self.opened = 0
        self._queues: set[asyncio.Queue[Any]] = set()

    def tell(self, message: Any) -> None:
        for queue in self._queues:
            queue.put_nowait(message)

    def cut(self) -> None:
        """As if the process had been killed."""
        self.tell(None)

    @property
    def heard(self) -> bool:
        return bool(self._queues)

    async def messages(self, first: Sequence[Any]) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.add(queue)
        self.opened += 1
        try:
            for message in first:
                yield message
            while (message := await queue.get()) is not None:
                yield message
            raise Unavailable("The connection is gone.", reason="UNAVAILABLE")
        finally:
            self._queues.discard(queue)


def found(rows: dict[str, Any], ids: Iterable[str]) -> list[Any]:
    """The rows that there are, in the order of the ids."""
    return [rows[id] for id in ids if id in rows]
