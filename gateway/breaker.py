"""A circuit breaker per service: who has failed again and again is not called for a while, then tried by one call.

It opens when, since the last answer, so many calls have failed, or one that began after it has let its whole deadline
pass: callers then are told at once, instead of waiting, and a service that comes back is not met by all at once. An
answer that says no is an answer. (Nygard, Release It!, 2nd edition, chapter 5.)
"""

import time
from collections.abc import Callable
from enum import IntEnum

from services.shared.errors import Unavailable

# Each probe that fails doubles the wait for the next, up to so many times the first.
_LONGEST = 8


class State(IntEnum):
    """As the metric has it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Of one service. Call `enter` before a call, and then one of the others, with what it answered."""

    def __init__(
        self, service: str, failures: int, open_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Opens after so many `failures`; never if that is 0."""
        self._service = service
        self._most = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._answered_at = 0.0
        self._wait_seconds = open_seconds
        self._try_at = 0.0
        # When the one call began that tries whether the service is back; None if there is none.
        self._probe: float | None = None
        self.state = State.CLOSED
        self.refused = 0

    def enter(self) -> float:
        """Says when the call begins; Unavailable if there is to be none now."""
        now = self._clock()
        if self.state is State.CLOSED:
            return now
        if self._probe is None and now >= self._try_at:
            self.state = State.HALF_OPEN
            self._probe = now
            return now
        self.refused += 1
        raise Unavailable(
            f"The {self._service} service does not answer; it is tried again in a moment.", reason="CIRCUIT_OPEN"
        )

    def answered(self) -> None:
        """The service did answer, whatever it said."""
        self._answered_at = self._clock()
        self._failures = 0
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._wait_seconds = self._open_seconds
            self._probe = None

    def failed(self, began: float, *, late: bool) -> None:
        """There was no answer; `late` if the whole time for it has passed."""
        if self.state is State.CLOSED:
            self._failures += 1
            if self._most and (self._failures >= self._most or (late and self._answered_at <= began)):
                self._open()
        elif self._probe == began:
            self._wait_seconds = min(2 * self._wait_seconds, _LONGEST * self._open_seconds)
            self._open()

    def given_up(self, began: float) -> None:
        """Whoever called does not wait for the answer any more."""
        if self._probe == began:
            # It has shown nothing; the next call may try.
            self._probe = None

    def _open(self) -> None:
        self.state = State.OPEN
        self._probe = None
        self._failures = 0
        self._try_at = self._clock() + self._wait_seconds
