"""Expecting a refusal."""

from collections.abc import Awaitable
from typing import TypeVar

import pytest

from services.shared.errors import DomainError

Kind = TypeVar("Kind", bound=DomainError)


async def refused(kind: type[Kind], call: Awaitable[object]) -> Kind:
    """The error of a call that has to be refused with an error of that kind."""
    with pytest.raises(kind) as caught:
        await call
    return caught.value
