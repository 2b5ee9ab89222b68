"""Word that a collection has changed, whichever process changed it: one change stream, however many listen.

Nothing is kept or carried: who listens reads for itself what is new. While the change stream cannot be had, listeners
are told once a second that anything may have changed, so that they poll.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymongo.errors import PyMongoError

from services.shared.mongo import Collection
from services.shared.telemetry import log

# Is given the `_id` of the document that was written; None: any may have been.
Listener = Callable[[Any], None]

_POLL_SECONDS = 1.0
# So long the server waits for a change before it answers that there is none.
_AWAIT_MS = 1_000
# Keys are all that anybody wants to know: documents may be large.
_KEYS = [{"$project": {"documentKey": 1}}]


class Tail:
    """Tells of changes of one collection while anybody listens. `run` is a job of the server."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._listeners: list[Listener] = []
        self._wanted = asyncio.Event()
        self._failing = False

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Calls the listener on each change from now on; once soon with None, since it has to begin somewhere."""
        self._listeners.append(listener)
        self._wanted.set()
        try:
            yield
        finally:
            self._listeners.remove(listener)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not self._listeners:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await self._follow()
            except PyMongoError as error:
                if not self._failing:
                    log.warning("no change stream, polling", collection=self._collection.name, error=str(error))
                self._failing = True
                self._tell(None)
                await asyncio.sleep(_POLL_SECONDS)

    async def _follow(self) -> None:
        async with self._collection.watch(_KEYS, max_await_time_ms=_AWAIT_MS) as stream:
            change = await stream.try_next()
            # It is open: whatever came before, during an outage too, is there to be read.
            self._tell(None)
            self._failing = False
            while self._listeners:
                if change is not None:
                    self._tell(change["documentKey"]["_id"])
                change = await stream.try_next()

    def _tell(self, id: Any) -> None:
        for listener in list(self._listeners):
            listener(id)
