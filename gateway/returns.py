"""When those who were refused may come again: no more of them per second than can be answered."""

import random
import time
from collections.abc import Callable

_WINDOW_SECONDS = 1.0
# What was seen longer ago says nothing of now.
_STALE_SECONDS = 3.0
LONGEST_SECONDS = 30


class Returns:
    """Counts who is refused and who is answered. All who were refused in the last second take as long to be answered
    as their number, divided by how many are answered per second: over so long a time their returns are spread.
    """

    def __init__(self, least_seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.answered = 0
        self._refused = 0
        self._least = least_seconds
        self._clock = clock
        self._since = clock()
        self._spread = 0

    def refused(self) -> int:
        """One more is refused: in how many seconds it may come again."""
        passed = self._clock() - self._since
        if passed >= _WINDOW_SECONDS:
            seconds = self._refused * passed / max(1, self.answered)
            self._spread = 0 if passed > _STALE_SECONDS else min(LONGEST_SECONDS, round(seconds))
            self._since += passed
            self.answered = self._refused = 0
        self._refused += 1
        return min(LONGEST_SECONDS, self._least + random.randint(0, self._spread))
