"""Streams that callers hold open: each ends in friendship before its connection does, and all when the process stops.

A caller of a stream that has ended without an error calls again, and goes on at another process if this one has gone.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


class Streams:
    """Of one process. `seconds`: how long a stream lasts at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: set[asyncio.Timeout] = set()
        self._ended = False

    def end(self) -> None:
        """Ends those that are open, and those to come."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            waiting.reschedule(now)

    async def lasting(self, responses: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        """The responses, as long as the stream lasts. It is ended between two of them, never within one."""
        # Of random length: callers who came together do not come back together.
        until = asyncio.get_running_loop().time() + self._seconds * random.uniform(0.8, 1.0)
        async with aclosing(responses):
            while not self._ended:
                waiting = asyncio.timeout_at(until)
                try:
                    async with waiting:
                        self._waiting.add(waiting)
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if waiting.expired():
                        return
                    raise
                finally:
                    self._waiting.discard(waiting)
                yield response
