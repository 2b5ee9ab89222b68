"""Expecting a refusal at the public doors."""

from collections.abc import Awaitable

import pytest

from deploy.local.day.doors import Refused


async def reason_of(call: Awaitable[object]) -> str:
    """The reason for which a call has to be refused; its code where it has no reason."""
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.reason or caught.value.code
