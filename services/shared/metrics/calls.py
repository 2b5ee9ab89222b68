"""How long RPCs take, by method and status; the same for those that answer and for those that ask."""

import time
from collections.abc import Callable

from services.shared.metrics.definition import Definition
from services.shared.metrics.instruments import Distribution, Meter


class Calls:
    """Durations by `rpc.method` and `rpc.response.status_code`."""

    def __init__(self, meter: Meter, definition: Definition) -> None:
        self._durations = meter.histogram(definition)

    def of(self, path: str) -> Callable[[str, float], None]:
        """To be called when that method has answered: with the status, and `perf_counter` as it was at the start."""
        method = path.removeprefix("/")
        durations, now = self._durations, time.perf_counter
        ok: Distribution | None = None  # made with the first call: of most methods a process calls few

        def answered(status: str, began: float) -> None:
            nonlocal ok
            if status != "OK":
                durations.at(method, status).record(now() - began)
                return
            if ok is None:
                ok = durations.at(method, "OK")
            ok.record(now() - began)

        return answered
