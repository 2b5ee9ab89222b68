"""Showing what happens within a bound that has to be short, since the bound is what ends it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def within_some(seconds: float, attempt: Callable[[float], Awaitable[T]]) -> T:
    """What an attempt shows within a bound; within one of ten or a hundred times as long, if this machine was too slow.

    For what must hold for some bound, never for what must be fast: a defect shows at the last one, too.
    """
    for bound in (seconds, 10 * seconds):
        with suppress(Exception):  # Whatever it was: if it is not the machine, it is the same at the last one.
            return await attempt(bound)
    return await attempt(100 * seconds)
