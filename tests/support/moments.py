"""Moments that a test has to be ahead of."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from services.shared.errors import DomainError

T = TypeVar("T")

_ATTEMPTS = 6


async def in_time(attempt: Callable[[datetime], Awaitable[T]], seconds: float = 3.0, *, times_longer: float = 3.0) -> T:
    """What comes of an attempt that has to be through before a moment, which it is given.

    Where it fails ahead of that moment, it fails. Where a busy machine did not get through in time, nothing is shown
    either way: it is made anew, and has longer. So it needs members of its own each time.
    """
    for _ in range(_ATTEMPTS - 1):
        due = soon(seconds)
        try:
            return await attempt(due)
        except (AssertionError, DomainError, pytest.fail.Exception):
            if datetime.now(UTC) < due:
                raise
        seconds *= times_longer
    return await attempt(soon(seconds))


def soon(seconds: float) -> datetime:
    """In so many seconds, to the millisecond."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
