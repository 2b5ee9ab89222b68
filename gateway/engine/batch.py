"""Collects keys over a few turns of the event loop, across all requests in flight, and loads them in one call each.

A load that begins while a call is on its way does not join it: what that call answers may be older than the asker,
who may have just changed something.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from google.protobuf.message import Message
from opentelemetry import trace

from gateway.engine.source import Arguments, Key, Source
from services.shared.identity import Caller
from services.shared.spans import shared_by

# Sends a request of a source, for the gateway itself or for a caller.
Call = Callable[[Source, Message, Caller | None], Awaitable[Any]]
Future = asyncio.Future[Any]


# Turns of the event loop until what was asked for goes out. It takes two: resolvers that were woken by one answer ask
# for the next level in the turn after. In each turn more requests are read that have come meanwhile, so that with six
# there are 11 keys in a call instead of 7 at 16 connections, 38 instead of 17 at 64, and a fifth of all CPU time is
# saved. Where nothing else goes on, it would be waited for in vain: then three are enough.
_TURNS = 6
_TURNS_IN_VAIN = 3

# What became of keys: a row each, or why there is none.
Outcomes = dict[Key, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands where a row would: the call that asked for it failed."""

    error: Exception


@dataclass(slots=True)
class _Waiting:
    """Loads that go out together: of one source, with the same arguments, for the same caller."""

    # Those who wait for a key; and those who wait for several at once, among them keys that nobody else waits for.
    futures: dict[Key, list[Future]] = field(default_factory=dict)
    many: list[Future] = field(default_factory=list)
    # The sampled spans that the shared call is done for.
    spans: list[trace.Span] = field(default_factory=list)


class Batcher:
    """One per process."""

    def __init__(
        self, call: Call, *, traced: bool = False, measure: Callable[[Source, int], None] | None = None
    ) -> None:
        """`traced`: calls know the sampled requests in them. `measure` is told of each call, and how many keys it asks
        for.
        """
        self._call = call
        self._traced = traced
        self._measure = measure or (lambda source, keys: None)
        self._waiting: dict[tuple[Source, Arguments, Caller | None], _Waiting] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Turns since anything was asked for.
        self._in_vain = 0

    def load(self, source: Source, key: Key, arguments: Arguments = (), caller: Caller | None = None) -> Future:
        """The row of a key, to come; a DomainError if the call that asked for it failed."""
        future = self._running().create_future()
        self._group(source, arguments, caller).futures.setdefault(key, []).append(future)
        return future

    def load_all(
        self, source: Source, keys: Iterable[Key], arguments: Arguments = (), caller: Caller | None = None
    ) -> Future:
        """What becomes of the keys, to come: an `Outcomes` of them and maybe others, not to be changed. Never fails."""
        future = self._running().create_future()
        group = self._group(source, arguments, caller)
        for key in keys:
            if key not in group.futures:
                group.futures[key] = []
        group.many.append(future)
        return future

    def _group(self, source: Source, arguments: Arguments, caller: Caller | None) -> _Waiting:
        self._in_vain = 0
        if not self._waiting:
            self._wait(_TURNS)
        group = self._waiting.get((source, arguments, caller))
        if group is None:
            group = self._waiting[source, arguments, caller] = _Waiting()
        if self._traced and (span := trace.get_current_span()).is_recording():
            group.spans.append(span)
        return group

    def _running(self) -> asyncio.AbstractEventLoop:
        """The event loop, which is always the same; to ask for it costs a call of the kernel each time."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _wait(self, turns: int) -> None:
        if turns and self._in_vain < _TURNS_IN_VAIN:
            self._in_vain += 1
            self._running().call_soon(self._wait, turns - 1)
        else:
            self._send()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        shared: dict[tuple[str, Arguments, Caller | None], list[tuple[Source, _Waiting]]] = {}
        for (source, arguments, caller), group in waiting.items():
            if source.shared:
                shared.setdefault((source.name, arguments, caller), []).append((source, group))
            else:
                self._begin(self._load_group(source, arguments, caller, group))
        for (_, arguments, caller), groups in shared.items():
            if sum(len(group.futures) for _, group in groups) <= groups[0][0].most:
                self._begin(self._load_together(arguments, caller, groups))
            else:
                for source, group in groups:
                    self._begin(self._load_group(source, arguments, caller, group))

    def _begin(self, loading: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(loading)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _load_together(
        self, arguments: Arguments, caller: Caller | None, groups: list[tuple[Source, _Waiting]]
    ) -> None:
        """Several sources of one RPC by one call, of whose answer each takes its part."""
        wanted: dict[str, tuple[Source, dict[Key, None]]] = {}
        for source, group in groups:
            wanted.setdefault(source.keys, (source, {}))[1].update(dict.fromkeys(group.futures))
        first = groups[0][0]
        try:
            request = first.request([], arguments)
            for source, keys in wanted.values():
                source.ask_for(request, keys)
            asked = sum(len(keys) for _, keys in wanted.values())
            response = await self._ask(first, request, asked, caller, [s for _, group in groups for s in group.spans])
            outcomes = [_kept(source, group.futures, source.answers(response)) for source, group in groups]
        except Exception as error:
            outcomes = [_failed(group.futures, error) for _, group in groups]
        for (_, group), outcome in zip(groups, outcomes, strict=True):
            for future in group.many:
                if not future.done():
                    future.set_result(outcome)

    async def _load_group(self, source: Source, arguments: Arguments, caller: Caller | None, group: _Waiting) -> None:
        if len(group.futures) <= source.most:
            outcomes = await self._load(source, arguments, caller, group.futures, group.spans)
        else:
            parts = _parts(group.futures, source.most)
            loads = [self._load(source, arguments, caller, part, group.spans) for part in parts]
            outcomes = {}
            for part in await asyncio.gather(*loads):
                outcomes.update(part)
        for future in group.many:
            if not future.done():
                future.set_result(outcomes)

    async def _load(
        self,
        source: Source,
        arguments: Arguments,
        caller: Caller | None,
        futures: dict[Key, list[Future]],
        spans: list[trace.Span],
    ) -> Outcomes:
        try:
            response = await self._ask(source, source.request(list(futures), arguments), len(futures), caller, spans)
            return _kept(source, futures, source.answers(response))
        except Exception as error:
            return _failed(futures, error)

    async def _ask(
        self, source: Source, request: Message, keys: int, caller: Caller | None, spans: list[trace.Span]
    ) -> Any:
        self._measure(source, keys)
        with shared_by(spans, keys=keys) if spans else nullcontext():
            return await self._call(source, request, caller)


def _kept(source: Source, futures: dict[Key, list[Future]], rows: Outcomes) -> Outcomes:
    """Gives everybody the row that they wait for, and those without a row what stands for none."""
    missing = source.missing()
    for key, waiting in futures.items():
        row = rows.setdefault(key, missing)
        for future in waiting:
            if not future.done():
                future.set_result(row)
    return rows


def _failed(futures: dict[Key, list[Future]], error: Exception) -> Outcomes:
    for future in _unanswered(futures):
        future.set_exception(error)
    return dict.fromkeys(futures, Failed(error))


def _parts(futures: dict[Key, list[Future]], most: int) -> Iterator[dict[Key, list[Future]]]:
    items = iter(futures.items())
    while part := dict(islice(items, most)):
        yield part


def _unanswered(futures: dict[Key, list[Future]]) -> Iterator[Future]:
    return (future for waiting in futures.values() for future in waiting if not future.done())
