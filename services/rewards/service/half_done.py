"""Completing what was left half done: one that cannot be completed does not hold up the others, nor the settlement."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from services.shared.errors import AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound
from services.shared.telemetry import log

T = TypeVar("T")
# What will be no better soon: an operator has to look at it. Whatever else fails, fails for all.
_LASTING = (AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound)


async def complete_each(found: Mapping[str, T], complete: Callable[[T], Awaitable[object]]) -> int:
    """Completes what was found, by its id; how many could be."""
    done = 0
    for id, one in found.items():
        try:
            await complete(one)
            done += 1
        except _LASTING as error:
            log.error("cannot be completed", id=id, reason=error.reason, error=error.message)
    return done
