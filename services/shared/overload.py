"""As many calls at once as are answered in time: more are refused at once, so that those who are let in are answered.

Without a limit, everybody waits longer and longer, until all wait in vain: an answer after its deadline is work for
nothing. How many calls are too many depends on the database and the machine, so it is found out, for each method, from
what is seen at the door: how many are answered per second, and how long each of them was in.

By Little's law the number in flight is the rate times the wait. So while calls take longer than they may, as many are
let in as are answered within that time at the rate that is being reached; while they do not, and callers are turned
away, a tenth more in each window. The rate does not depend on why calls are slow. Of a hundred callers who wait for
the same lock, as many are let in as get it in time, and when the last of them is gone the limit is, too: a queue that
empties was a crowd, not a flood (Nichols and Jacobson, Controlling Queue Delay, 2012). In time is what the caller says:
a call may have to wait for half of the time that it has left.

A method that takes long by nature is judged by how long it takes when it is alone. And while nobody at all is answered
for still longer, no crowd is let in to wait for it.
"""

import math
import time
from collections.abc import Callable

# A window lasts so long, and until so many have been answered in it: fewer say nothing.
_WINDOW_SECONDS = 0.5
_ANSWERS = 4
_TIMES_ALONE = 4.0
_ALONE = 2  # calls in flight, at most, that are in nobody's way
_LEARN = 1 / 8
_DECREASE = 0.5  # at most to so much of it at once
_INCREASE = 1.1
_FEWEST = 8
_CROWD = 32
_STALLED_TIMES = 1.25
# However long a caller says that it has, the queue is no longer than this many times the usual one.
_MOST_PATIENCE = 10.0


class Limit:
    """Of one method, in one process. It begins at `start` (`most` if that is None), and again after a quiet moment;
    `target_seconds` is how long calls may take on average before fewer are let in.
    """

    def __init__(
        self,
        most: int,
        *,
        start: int | None = None,
        target_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self.limit = self._start = float(most if start is None else min(start, most))
        self.in_flight = 0
        self._target = target_seconds
        self._clock = clock
        # How long a call takes that is alone; 0 until one was.
        self._alone = 0.0
        self._lowered_at = -math.inf
        self._answered_at = clock()
        self._peak = 0
        self._open_window(clock())

    def enter(self, left_seconds: float = 0.0) -> float | None:
        """When the call begins, for `leave`; None if it is one too many, for a call that has so long left."""
        now = self._clock()
        patience = min(max(left_seconds / 2 / self._target, 1.0), _MOST_PATIENCE)
        if self.in_flight == 0:
            if now - self._answered_at >= _WINDOW_SECONDS:
                self.limit = max(self.limit, self._start)
                self._open_window(now)
            self._answered_at = now
        most = min(self.limit * patience, self.most)
        if self.in_flight >= most or (self.in_flight >= _CROWD * patience and self._stalled(now)):
            self._turned_away = True
            return None
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        return now

    def leave(self, began: float) -> None:
        """The call has been answered, or has ended without."""
        now = self._clock()
        self.in_flight -= 1
        self._answered_at = now
        self._left += 1
        if self._peak <= _ALONE:
            self._alone += (now - began - self._alone) * (_LEARN if self._alone else 1)
        if began >= self._lowered_at:  # Those before had waited in the old crowd.
            self._answers += 1
            self._seconds += now - began
        if now - self._opened_at >= _WINDOW_SECONDS and self._answers >= _ANSWERS:
            self._adapt(now)
            self._open_window(now)

    def _open_window(self, now: float) -> None:
        self._opened_at = now
        self._left = self._answers = 0
        self._seconds = 0.0
        self._peak = self.in_flight
        self._turned_away = False

    def _adapt(self, now: float) -> None:
        long = self._long()
        if self._seconds / self._answers > long:
            crowd = min(self.limit, self._peak)
            in_time = self._left / (now - self._opened_at) * long
            self.limit = max(min(_FEWEST, self.most), min(crowd, max(in_time, crowd * _DECREASE)))
            self._lowered_at = now
        elif self._turned_away:
            self.limit = min(self.most, self.limit * _INCREASE + 1)

    def _stalled(self, now: float) -> bool:
        return now - self._answered_at > _STALLED_TIMES * self._long()

    def _long(self) -> float:
        return max(self._target, _TIMES_ALONE * self._alone)
