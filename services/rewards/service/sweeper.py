"""What happens when nobody calls: due points expire, pending ones are there, holds end, and what a crash left half done
is completed."""

import asyncio
import time

from services.rewards.domain.moments import millis
from services.rewards.ledger.commands import Sweep
from services.rewards.ledger.ledger import Ledger
from services.rewards.service.earnings import Earnings
from services.rewards.service.gifts import Gifts
from services.rewards.service.redemptions import Redemptions
from services.shared.clock import Clock

_AT_ONCE = 500


class Sweeper:
    """Everything that it does are commands that anybody could give, and give twice."""

    def __init__(
        self,
        ledger: Ledger,
        earnings: Earnings,
        redemptions: Redemptions,
        gifts: Gifts,
        clock: Clock,
        period_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._earnings = earnings
        self._redemptions = redemptions
        self._gifts = gifts
        self._clock = clock
        self._period_seconds = period_seconds
        self.swept_at = 0.0  # when the last sweep came to its end, in seconds since 1970

    async def run(self) -> None:
        """A job of the server."""
        while True:
            await self.sweep()
            self.swept_at = time.time()
            await asyncio.sleep(self._period_seconds)

    async def sweep(self) -> None:
        """Until nothing is due any more."""
        await self._ledger.complete_passages()
        while await self._redemptions.complete_due(_AT_ONCE) == _AT_ONCE:
            pass
        while await self._earnings.complete_due(_AT_ONCE) == _AT_ONCE:
            pass
        while await self._gifts.complete_due(_AT_ONCE) == _AT_ONCE:
            pass
        while await self._accounts() == _AT_ONCE:
            pass

    async def _accounts(self) -> int:
        now = millis(self._clock())
        members = await self._ledger.due(now, _AT_ONCE)
        await self._ledger.post([Sweep(f"sweep:{member}:{now}", member) for member in members])
        return len(members)
