"""One request: who asks, and what has been loaded for it so far."""

import asyncio
from collections.abc import Awaitable, Iterable, Set
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from gateway.access import consent_required, require_caller
from gateway.accounts.sources import standing_consents
from gateway.backends import Backends
from gateway.engine.batch import Failed, Future, Outcomes
from gateway.engine.source import Arguments, Key, Source
from services.shared.errors import DeadlineExceeded
from services.shared.identity import Caller, CallerKind


class Request:
    """The context of resolvers. Within a request, a row is loaded once, and a consent asked for once."""

    def __init__(self, viewer: Caller, backends: Backends, id: str, event: Any = None) -> None:
        self.viewer = viewer
        self.id = id
        # Of a subscription: the row of the event that is answered.
        self.event = event
        self._backends = backends
        self._loads: dict[tuple[Source, Key, Arguments], Future] = {}
        # What has been loaded several keys at a time.
        self._outcomes: dict[tuple[Source, Arguments], Outcomes] = {}
        # ... and what is still to come of it.
        self._coming: list[tuple[list[Key], Future]] = []
        self._until: float | None = None
        self._expired: DeadlineExceeded | None = None

    def expires_at(self, until: float) -> asyncio.TimerHandle:
        """At that time of the event loop nothing more is waited for: what is missing then has failed, the rest stands.

        To be cancelled once the answer is there.
        """
        self.expires(until)
        return asyncio.get_running_loop().call_at(until, self.expire, until)

    def expires(self, until: float) -> None:
        """Whoever says so calls `expire` at that time of the event loop."""
        self._until = until

    def expire(self, _: float) -> None:
        """Nothing more is waited for."""
        error = self._expired = DeadlineExceeded("The time for the request ran out.", reason="REQUEST_TIMEOUT")
        for future in self._loads.values():
            if not future.done():
                future.set_exception(error)
                # Perhaps nobody looks at it any more, and there is nothing to report.
                future.exception()
        for keys, future in self._coming:
            if not future.done():
                future.set_result(dict.fromkeys(keys, Failed(error)))

    def load(self, source: Source, key: Key, arguments: Arguments = ()) -> Any:
        """The row, if it is there already, else a future of it."""
        loaded = self._outcomes.get((source, arguments))
        if loaded is not None and key in loaded:
            outcome = loaded[key]
            if type(outcome) is Failed:
                raise outcome.error
            return outcome
        asked = (source, key, arguments)
        future = self._loads.get(asked)
        if future is None:
            if self._expired is not None:
                raise self._expired
            caller = self.viewer if source.as_viewer else None
            future = self._loads[asked] = self._backends.batcher.load(source, key, arguments, caller)
        # Whoever is cancelled while waiting, as a field beside one that failed, does not take it from the others.
        return future.result() if future.done() else asyncio.shield(future)

    def has(self, source: Source, key: Key) -> bool:
        """Whether it is known what has become of a key, so that `load` answers at once."""
        loaded = self._outcomes.get((source, ()))
        if loaded is not None and key in loaded:
            return True
        future = self._loads.get((source, key, ()))
        return future is not None and future.done()

    def load_all(
        self, source: Source, keys: Iterable[Key], arguments: Arguments = ()
    ) -> tuple[Outcomes, Future | None]:
        """What has become of keys of a source before, each a row or `Failed`; and a future of what is missing in it.

        Whoever awaits the future puts what it has into the first.
        """
        loaded = self._outcomes.get((source, arguments))
        if loaded is None:
            loaded = self._outcomes[source, arguments] = {}
        wanted = [key for key in keys if key not in loaded]
        if not wanted:
            return loaded, None
        if self._expired is not None:
            loaded.update(dict.fromkeys(wanted, Failed(self._expired)))
            return loaded, None
        future = self._backends.batcher.load_all(source, wanted, arguments, self.viewer if source.as_viewer else None)
        self._coming.append((wanted, future))
        return loaded, future

    def require(self, kinds: Set[CallerKind], what: str) -> None:
        """FieldError unless the viewer is of one of these kinds."""
        require_caller(self.viewer, kinds, what)

    async def call(self, service: ServiceDescriptor, method: str, request: Message) -> Any:
        """Calls an RPC for the viewer, after which nothing that was loaded before is taken for true."""
        if self._expired is not None:
            raise self._expired
        left = None if self._until is None else self._until - asyncio.get_running_loop().time()
        try:
            return await self._backends.call(service, method, request, self.viewer, within_seconds=left)
        finally:
            self._loads.clear()
            self._outcomes.clear()
            self._coming.clear()

    def consented(self, member_id: str) -> Awaitable[None] | None:
        """None if the member lets the viewing brand see its data, or an awaitable of that; FieldError if not."""
        granted = self.load(standing_consents, (self.viewer.partner_id, member_id))
        if isinstance(granted, asyncio.Future):
            return _granted(granted)
        _check(granted)
        return None


async def _granted(answer: Awaitable[Any]) -> None:
    _check(await answer)


def _check(granted: Any) -> None:
    if granted is None:
        raise consent_required()
