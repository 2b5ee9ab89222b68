"""Where changes begin and end: the transaction, the retries when others were faster, the first delivery of events."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from services.accounts.store.races import LostRace
from services.shared.client import time_left
from services.shared.errors import Aborted
from services.shared.idempotency import Idempotency
from services.shared.mongo import Database, Transaction
from services.shared.outbox import Relay

T = TypeVar("T")
R = TypeVar("R", bound=Message)

_ATTEMPTS = 12
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.25
# How long a caller is kept waiting for the first delivery of what its call caused.
_SETTLE_SECONDS = 2.0


class TooMuchContention(Aborted):
    """Others changed the same members' records at the same time, again and again."""


class Boundary:
    """Runs an effect in a transaction, and again on what others left whenever it lost a race."""

    def __init__(self, database: Database, relay: Relay) -> None:
        self._database = database
        self._relay = relay
        self._idempotency = Idempotency(database, relay)

    async def once(
        self,
        request: Message,
        response_type: type[R],
        effect: Callable[[Transaction], Awaitable[R]],
        *,
        stored: Callable[[R], R] | None = None,
    ) -> R:
        """As Idempotency.once. A lost race leaves no trace of the request, so that it can simply be sent in again."""

        async def attempt() -> R:
            return (await self._idempotency.once(request, response_type, effect, stored=stored)).response

        return await _until_decided(attempt)

    async def transaction(self, effect: Callable[[Transaction], Awaitable[T]]) -> T:
        """For an effect that is idempotent by itself."""
        result, events = await _until_decided(lambda: self._database.transaction(effect))
        if events:
            await self._relay.settle(events, time_left(_SETTLE_SECONDS))
        return result


async def _until_decided(attempt: Callable[[], Awaitable[T]]) -> T:
    for number in range(_ATTEMPTS):
        try:
            return await attempt()
        except LostRace:
            longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**number)
            await asyncio.sleep(random.uniform(0, longest))
    raise TooMuchContention("Others report on the same members just now; send the same call again in a moment.")
