"""A stream of a service that is followed while anybody needs it: opened once, and opened again whenever it ends."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.live.measures import LiveMeasures
from services.shared.errors import DomainError
from services.shared.telemetry import log

_BACKOFF_SECONDS = (0.1, 5.0)


def backoff(failures: int) -> float:
    """Seconds before the next attempt, after so many failures in a row: longer each time, and of random length, so that
    gateways do not come back in step.
    """
    first, most = _BACKOFF_SECONDS
    return min(most, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


class Upstream:
    """`follow` reads the stream to its end, and says `alive()` when it has heard something."""

    def __init__(self, name: str, follow: Callable[[], Awaitable[None]], measures: LiveMeasures) -> None:
        self._name = name
        self._measures = measures
        self._follow = follow
        self._users = 0
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def join(self) -> None:
        """One more needs it."""
        self._users += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def leave(self) -> None:
        """One fewer needs it."""
        self._users -= 1
        if not self._users and self._task is not None:
            self._task.cancel()
            self._task = None
            self._measures.stream_down(self._name)

    def alive(self) -> None:
        """It is connected."""
        self._measures.stream_up(self._name)
        if self._failures:
            log.info("live again", topic=self._name)
        self._failures = 0

    async def close(self) -> None:
        """For good."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
                # Servers end streams in friendship too, so that they move on to other processes.
                self._measures.stream_down(self._name)
            except DomainError as error:
                if not self._failures:
                    log.warning("live stream lost", topic=self._name, reason=error.reason, error=error.message)
                self._lost()
            except Exception:
                log.exception("live stream failed", topic=self._name)
                self._lost()
            await asyncio.sleep(backoff(self._failures))

    def _lost(self) -> None:
        self._failures += 1
        self._measures.stream_lost(self._name)
