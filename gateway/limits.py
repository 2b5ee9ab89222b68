"""A token bucket per client: so many requests at once, so many per second after that."""

import time
from collections import OrderedDict
from collections.abc import Callable

_CLIENTS = 10_000


class Buckets:
    """Remembers the last 10,000 clients; one that was forgotten starts with a full bucket."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Takes one; 0 if it was there, else the seconds until it will be."""
        now = self._clock()
        left, at = self._buckets.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._buckets[client] = (left if wait else left - 1, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return wait
