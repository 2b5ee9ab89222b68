"""As many calls at once as are answered in time: more are refused at once, so that those who are let in are answered.

Without a limit, everybody waits longer and longer, until all wait in vain: an answer after its deadline is work for
nothing. How many calls are too many depends on the database and the machine, so it is found out, for each method: in
each half second the fastest answer shows how long everybody has to wait at least. If even that one took long, and much
longer than the method takes when there is little to do, so many are let in as can be answered without (Little's law:
the number in flight is the rate times the wait), else a few more than before. The fastest rather than the average,
since a single slow answer is no queue (Nichols and Jacobson, Controlling Queue Delay, 2012). While nobody at all is
answered for still longer, no crowd is let in to wait for it.
"""

import math
import time
from collections.abc import Callable

_WINDOW_SECONDS = 0.5
_ANSWERS = 3  # fewer say nothing
_LONG_SECONDS = 1.0
_TIMES_USUAL = 4.0
_DECREASE = 0.3  # at most to so much of it at once
_INCREASE = 4
# Callers of one thing at once, who lose races against each other, take long, and are no flood.
_FEWEST = 64
_DOUBLINGS = 16  # as many as lead from the fewest to any limit
_CROWD = 64
_STALLED_TIMES = 2.5
# What is usual is forgotten slowly: by so much in each window.
_FORGET = 1.002


class Limit:
    """Of one method, in one process."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._in_flight = 0
        # Until the first answers have come nothing takes too long.
        self._usual = math.inf
        self._answered_at = clock()
        self._lowered_at = -math.inf
        self._fastest = math.inf
        self._answers = 0
        self._window_ends = clock() + _WINDOW_SECONDS
        self.limit = float(most)

    def enter(self) -> float | None:
        """When the call begins, for `leave`; None if it is one too many."""
        now = self._clock()
        if self._in_flight == 0:
            self._answered_at = now
            self._recover(now)
        if self._in_flight >= self.limit:
            return None
        if self._in_flight >= _CROWD and now - self._answered_at > _STALLED_TIMES * self._long():
            return None
        self._in_flight += 1
        return now

    def leave(self, began: float) -> None:
        """The call has been answered, or has ended without."""
        now = self._clock()
        self._in_flight -= 1
        self._answered_at = now
        if began >= self._lowered_at:  # Those before had waited in the old crowd.
            self._answers += 1
            self._fastest = min(self._fastest, now - began)
        if now >= self._window_ends:
            if self._answers >= _ANSWERS:
                self._adapt(now)
            self._fastest, self._answers = math.inf, 0
            self._window_ends = now + _WINDOW_SECONDS

    def _recover(self, now: float) -> None:
        """What was learnt of a crowd fades while nobody calls: there are no answers then to adapt by."""
        if (windows := int((now - self._window_ends) // _WINDOW_SECONDS)) > 0:
            self.limit = min(self._most, self.limit * 2 ** min(windows, _DOUBLINGS))
            self._fastest, self._answers = math.inf, 0
            self._window_ends = now + _WINDOW_SECONDS

    def _adapt(self, now: float) -> None:
        if self._fastest > self._long():
            share = max(_DECREASE, self._long() / self._fastest)
            self.limit = max(_FEWEST, min(self.limit, self._in_flight + 1) * share)
            self._lowered_at = now
        else:
            self.limit = min(self._most, self.limit + _INCREASE)
        self._usual = min(self._usual * _FORGET, self._fastest)

    def _long(self) -> float:
        return max(_LONG_SECONDS, _TIMES_USUAL * self._usual)
