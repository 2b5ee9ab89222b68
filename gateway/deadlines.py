"""When requests run out of time. All have the same time, and so end in the order in which they began: one timer does
for all of them, where two for each were a fiftieth of all CPU time.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol


class Expiring(Protocol):
    """What can be told that its time is over."""

    def expire(self, until: float) -> None:
        """Nothing more is waited for."""

    def expires(self, until: float) -> None:
        """That will be at this time of the event loop."""


class Deadline:
    """Of one HTTP request, which is answered by one task."""

    __slots__ = ("_cancelling", "_expiring", "_task", "_was_cut", "until")

    def __init__(self, until: float, task: "asyncio.Task[Any]") -> None:
        self.until = until
        self._task = task
        self._cancelling = task.cancelling()
        self._expiring: list[Expiring] = []
        self._was_cut = False

    def watch(self, request: Expiring) -> None:
        """Tells it, too, when the time is over."""
        self._expiring.append(request)
        request.expires(self.until)

    def expire(self) -> None:
        """What is missing by now is left out of the answer."""
        for request in self._expiring:
            request.expire(self.until)

    def cut(self) -> None:
        """What cannot be left out is cut off: the task is cancelled."""
        self._was_cut = True
        self._task.cancel()

    def passed(self) -> bool:
        """Whether the task was cancelled for this, and for no other reason; to be asked once, when it was."""
        was_cut, self._was_cut = self._was_cut, False
        return was_cut and self._task.uncancel() <= self._cancelling


class Deadlines:
    """One per endpoint."""

    def __init__(self, seconds: float, grace_seconds: float) -> None:
        """After `seconds` a request is to make do with what it has; it is cut off so much later."""
        self._seconds = seconds
        self._expiry = _Line(0.0, Deadline.expire)
        self._cut = _Line(grace_seconds, Deadline.cut)

    def begin(self) -> Deadline:
        """Of the current task, which has to `end` it."""
        loop = asyncio.get_running_loop()
        task: Any = asyncio.current_task(loop)
        deadline = Deadline(loop.time() + self._seconds, task)
        self._expiry.add(deadline, loop)
        self._cut.add(deadline, loop)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """The request is answered, or refused."""
        self._expiry.remove(deadline)
        self._cut.remove(deadline)
        deadline.passed()


class _Line:
    """Those whose turn is still to come, the first one first."""

    def __init__(self, after_seconds: float, act: Callable[[Deadline], None]) -> None:
        self._after_seconds = after_seconds
        self._act = act
        self._waiting: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.until + self._after_seconds, self._due, loop)

    def remove(self, deadline: Deadline) -> None:
        self._waiting.pop(deadline, None)

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        while self._waiting:
            first = next(iter(self._waiting))
            at = first.until + self._after_seconds
            if at > now:
                self._timer = loop.call_at(at, self._due, loop)
                return
            del self._waiting[first]
            self._act(first)
