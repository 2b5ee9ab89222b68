"""How long the database takes, and how busy the connections to it are: the driver tells, from threads of its own."""

import threading

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from services.shared.metrics import catalogue
from services.shared.metrics.instruments import Distribution, Meter


class Commands(CommandListener):
    """Durations by command and status."""

    def __init__(self, meter: Meter) -> None:
        self._durations = meter.histogram(catalogue.DATABASE)
        self._ok: dict[str, Distribution] = {}
        self._lock = threading.Lock()

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing to do: the reply says how long it took."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        name = event.command_name
        with self._lock:
            cell = self._ok.get(name)
            if cell is None:
                cell = self._ok[name] = self._durations.at(name, "OK")
                # From 0 on: of a count that begins with an outage Prometheus would see no increase.
                self._durations.at(name, "network")
            cell.record(event.duration_micros / 1e6)

    def failed(self, event: CommandFailedEvent) -> None:
        code = event.failure.get("code")
        with self._lock:
            cell = self._durations.at(event.command_name, "network" if code is None else str(code))
            cell.record(event.duration_micros / 1e6)


class Connections(ConnectionPoolListener):
    """How many there are, how many are in use, and how long was waited for one."""

    def __init__(self, meter: Meter, most: int) -> None:
        self._open = self._used = 0
        self._wait = meter.histogram(catalogue.CONNECTION_WAIT).at()
        self._lock = threading.Lock()
        meter.gauge(catalogue.CONNECTIONS_MOST).at().set(most)
        meter.observe(
            catalogue.CONNECTIONS,
            lambda: [(("used",), float(self._used)), (("idle",), float(max(self._open - self._used, 0)))],
        )

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        with self._lock:
            self._open += 1

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        with self._lock:
            self._open -= 1

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        with self._lock:
            self._used += 1
            self._wait.record(event.duration or 0.0)

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        with self._lock:
            self._used -= 1

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        with self._lock:
            self._wait.record(event.duration or 0.0)

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Counted when it has ended."""

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Counted when it was made."""

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Says nothing of connections; so with what follows."""

    def pool_ready(self, event: PoolReadyEvent) -> None: ...

    def pool_cleared(self, event: PoolClearedEvent) -> None: ...

    def pool_closed(self, event: PoolClosedEvent) -> None: ...
