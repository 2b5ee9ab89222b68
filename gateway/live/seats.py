"""How many connections and subscriptions there are, of each client and in all; and no more than there may be."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.config import LiveLimits
from gateway.engine.document import Document
from gateway.errors import TOO_MANY_REQUESTS, FieldError
from gateway.live.measures import LiveMeasures


class Full(Exception):
    """There is no seat; has what the client is told, with the limit and what it is of."""

    def __init__(self, reason: str, message: str, measure: str, limit: int) -> None:
        super().__init__(message)
        self.error = FieldError(TOO_MANY_REQUESTS, message, reason=reason, measure=measure, limit=limit)


def too_many(message: str, measure: str, limit: int) -> Full:
    """Subscriptions."""
    return Full("TOO_MANY_SUBSCRIPTIONS", message, measure, limit)


class Seats:
    """Of one process."""

    def __init__(self, limits: LiveLimits, measures: LiveMeasures) -> None:
        self._limits = limits
        self._measures = measures
        self._clients: Counter[str] = Counter()
        self._strangers = 0
        # How many subscriptions of a client use a document; and how long the client's documents are in all.
        self._uses: Counter[tuple[str, Document]] = Counter()
        self._bytes: Counter[str] = Counter()
        self.connections = 0
        # Set while there is no connection.
        self.vacant = asyncio.Event()
        self.vacant.set()
        self.subscriptions = 0

    @contextmanager
    def connection(self, transport: str) -> Iterator[None]:
        """For as long as a connection is open; Full."""
        most = self._limits.connections
        if self.connections >= most:
            message = "This gateway has as many live connections as it takes; try another."
            raise self._full(message, "live connections", most)
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
    def client(self, client: str, *, stranger: bool) -> Iterator[None]:
        """For as long as a connection is this client's; Full."""
        most, strangers = self._limits.connections_per_client, self._limits.strangers
        if self._clients[client] >= most:
            message = f"A client has at most {most} live connections; close some."
            raise self._full(message, "live connections of a client", most)
        if stranger and self._strangers >= strangers:
            message = f"All who come without a token have at most {strangers} live connections; come with one."
            raise self._full(message, "live connections without a token", strangers)
        self._clients[client] += 1
        self._strangers += stranger
        try:
            yield
        finally:
            self._strangers -= stranger
            _release(self._clients, client)

    @contextmanager
    def subscription(self, topic: str, client: str, document: Document) -> Iterator[None]:
        """For as long as a subscription lasts, and holds its document; Full."""
        most = self._limits.subscriptions
        if self.subscriptions >= most:
            message = "This gateway has as many subscriptions as it takes; try again in a moment."
            raise too_many(message, "subscriptions", most)
        use = client, document
        if use not in self._uses:
            self._check_bytes(client, document)
            self._bytes[client] += document.length
        self._uses[use] += 1
        self.subscriptions += 1
        level = self._measures.subscriptions(topic)
        level.add(1)
        try:
            yield
        finally:
            level.add(-1)
            self.subscriptions -= 1
            _release(self._uses, use)
            if use not in self._uses:
                _release(self._bytes, client, document.length)

    def _check_bytes(self, client: str, document: Document) -> None:
        most, most_of_client = self._limits.document_bytes, self._limits.document_bytes_per_client
        if self._bytes[client] + document.length > most_of_client:
            message = (
                f"The documents of a client's subscriptions have {most_of_client:,} bytes at most; use fewer, "
                "or shorter ones with variables."
            )
            raise too_many(message, "document bytes of a client's subscriptions", most_of_client)
        if self._bytes.total() + document.length > most:
            message = "This gateway keeps as many documents of subscriptions as it can; try again in a moment."
            raise too_many(message, "document bytes of subscriptions", most)

    def _full(self, message: str, measure: str, limit: int) -> Full:
        """No further connection, which is counted, since no subscription comes of it."""
        full = Full("TOO_MANY_CONNECTIONS", message, measure, limit)
        self._measures.ended(full.error)
        return full


def _release(counter: Counter[Any], key: Any, count: int = 1) -> None:
    counter[key] -= count
    if not counter[key]:
        del counter[key]
