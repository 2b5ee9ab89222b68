"""How long RPCs take, by method and status; the same for those that answer and for those that ask."""

import time
from collections.abc import Callable

from services.shared.metrics.definition import Definition
from services.shared.metrics.instruments import Distribution, Meter


class Calls:
    """Durations by `rpc.method` and `rpc.response.status_code`."""

    def __init__(self, meter: Meter, definition: Definition, faults: Definition | None = None) -> None:
        """`faults`, if given, counts those with a status of its own from 0 on."""
        self._durations = meter.histogram(definition)
        self._faults = {status: cell for (status,), cell in meter.counter(faults).cells()} if faults else {}

    def of(self, path: str) -> Callable[[str, float], None]:
        """To be called when that method has answered: with the status, and `perf_counter` as it was at the start."""
        method = path.removeprefix("/")
        durations, faults, now = self._durations, self._faults, time.perf_counter
        ok: Distribution | None = None  # made with the first call: of most methods a process calls few

        def answered(status: str, began: float) -> None:
            nonlocal ok
            if status != "OK":
                durations.at(method, status).record(now() - began)
                if fault := faults.get(status):
                    fault.add()
                return
            if ok is None:
                ok = durations.at(method, "OK")
            ok.record(now() - began)

        return answered
