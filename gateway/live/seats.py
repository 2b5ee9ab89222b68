"""How many connections and subscriptions there are, of each client and in all; and no more than there may be."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.config import LiveLimits
from gateway.errors import TOO_MANY_REQUESTS, FieldError
from gateway.live.measures import LiveMeasures


class Full(Exception):
    """There is no seat; has what the client is told."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.error = FieldError(TOO_MANY_REQUESTS, message, reason=reason)


def too_many(message: str) -> Full:
    """Subscriptions."""
    return Full("TOO_MANY_SUBSCRIPTIONS", message)


class Seats:
    """Of one process."""

    def __init__(self, limits: LiveLimits, measures: LiveMeasures) -> None:
        self._limits = limits
        self._measures = measures
        self._clients: Counter[str] = Counter()
        self.connections = 0
        # Set while there is no connection.
        self.vacant = asyncio.Event()
        self.vacant.set()
        self.subscriptions = 0

    @contextmanager
    def connection(self, transport: str) -> Iterator[None]:
        """For as long as a connection is open; Full."""
        if self.connections >= self._limits.connections:
            raise Full("TOO_MANY_CONNECTIONS", "This gateway has as many live connections as it takes; try another.")
        level = self._measures.connections(transport)
        self.connections += 1
        level.add(1)
        self.vacant.clear()
        try:
            yield
        finally:
            self.connections -= 1
            level.add(-1)
            if not self.connections:
                self.vacant.set()

    @contextmanager
    def client(self, client: str) -> Iterator[None]:
        """For as long as a connection is this client's; Full."""
        most = self._limits.connections_per_client
        if self._clients[client] >= most:
            raise Full("TOO_MANY_CONNECTIONS", f"A client has at most {most} live connections; close some.")
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def take(self, topic: str) -> None:
        """For one more subscription; Full."""
        if self.subscriptions >= self._limits.subscriptions:
            raise too_many("This gateway has as many subscriptions as it takes; try again in a moment.")
        self.subscriptions += 1
        self._measures.subscriptions(topic).add(1)

    def give_back(self, topic: str) -> None:
        """A subscription has ended."""
        self.subscriptions -= 1
        self._measures.subscriptions(topic).add(-1)
