"""Gifts between members: a code that the receiver shows, and points for whoever showed it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.rewards.domain.gifts import (
    Gift,
    GiftCode,
    GiftCodeNotFound,
    GiftStatus,
    GiftToSelf,
    Limits,
    gift_code_hash,
    new_gift_code,
)
from services.rewards.ledger.ledger import Ledger
from services.rewards.service.half_done import complete_each
from services.rewards.store.gifts import GiftStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.ids import new_id
from services.shared.mongo import Transaction

# After so long the sweeper takes a gift for abandoned, and completes it.
_HALF_DONE = timedelta(seconds=10)


class Gifts:
    """The use cases."""

    def __init__(self, store: GiftStore, ledger: Ledger, clock: Clock, limits: Limits, code_ttl: timedelta) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._code_ttl = code_ttl

    async def create_code(self, tx: Transaction, member_id: str) -> tuple[str, datetime]:
        """A new code for the member, and until when it is good; the one before is over."""
        code = new_gift_code()
        expires_at = self._clock() + self._code_ttl
        await self._store.put_code(tx, GiftCode(member_id, gift_code_hash(code), expires_at))
        return code, expires_at

    async def give(self, tx: Transaction, member_id: str, code: str, points: int) -> str:
        """Points for whose code that is, to be given by `given`; the gift's id. GiftCodeNotFound, GiftToSelf."""
        now = self._clock()
        checks.whole(points, "points", 1, checks.LARGEST_NUMBER)
        found = await self._store.code(gift_code_hash(code))
        if found is None or found.expires_at <= now:
            raise GiftCodeNotFound("There is no such code, or its time is over; let the receiver make a new one.")
        if found.member_id == member_id:
            raise GiftToSelf("This code is your own; type that of the one who is to get the points.", field="code")
        gift = Gift(new_id("gift"), member_id, found.member_id, points, self._limits, now)
        await self._store.add(tx, gift, now + _HALF_DONE)
        return gift.id

    async def given(self, id: str) -> Gift:
        """Completes `give`. FailedPrecondition or ResourceExhausted if it could not be given."""
        (gift,) = await self._store.gifts([id])  # stored in the same transaction as the request
        gift = await self._complete(gift)
        gift.check_given()
        return gift

    async def get(self, ids: Sequence[str]) -> list[Gift]:
        """Those found that were given."""
        return [gift for gift in await self._store.gifts(ids) if gift.lots]

    async def complete_due(self, limit: int) -> int:
        """Completes gifts that were left half done; how many."""
        due = await self._store.due(self._clock(), limit)
        return await complete_each({gift.id: gift for gift in due}, self._complete)

    async def _complete(self, gift: Gift) -> Gift:
        if gift.status is not GiftStatus.PENDING:
            return gift
        outcome, arrived = await self._ledger.give(gift.command())
        after = gift.after(outcome.decision, outcome.at, arrived=arrived)
        await self._store.advance(after)
        return after
