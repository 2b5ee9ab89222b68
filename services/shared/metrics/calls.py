"""How long RPCs take, by method and status; the same for those that answer and for those that ask."""

import time
from collections.abc import Callable

from services.shared.metrics.definition import Definition
from services.shared.metrics.instruments import Meter


class Calls:
    """Durations by `rpc.method` and `rpc.response.status_code`."""

    def __init__(self, meter: Meter, definition: Definition) -> None:
        self._durations = meter.histogram(definition)

    def of(self, path: str) -> Callable[[str, float], None]:
        """To be called when that method has answered: with the status, and `perf_counter` as it was at the start."""
        method = path.removeprefix("/")
        durations, record_ok = self._durations, self._durations.at(method, "OK").record
        now = time.perf_counter

        def answered(status: str, began: float) -> None:
            if status == "OK":
                record_ok(now() - began)
            else:
                durations.at(method, status).record(now() - began)

        return answered
