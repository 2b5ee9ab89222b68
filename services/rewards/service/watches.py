"""Wallets as they change, for whoever watches them: one look for all watchers, however many they are."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from services.rewards.domain.moments import millis
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.model import Member
from services.rewards.service.wallets import Wallets
from services.shared.clock import Clock
from services.shared.errors import ResourceExhausted

_LOOK_SECONDS = 0.05
_MOST = 500


class TooManyWatchers(ResourceExhausted):
    """This process watches as many wallets as it can; read now and then instead."""


@dataclass(eq=False)
class _Watcher:
    """`account` is what is to be sent next, or was sent last, as of the block `head`; time changes it at `until`."""

    member_id: str
    head: int = -1
    until: int | None = None
    account: Member | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Watches:
    """`run` is a job of the server; without it, nothing is sent."""

    def __init__(self, ledger: Ledger, wallets: Wallets, clock: Clock) -> None:
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._watchers: set[_Watcher] = set()

    async def run(self) -> None:
        """Looks after blocks and moments that may have changed what is watched."""
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def watch(self, member_id: str) -> AsyncIterator[Member]:
        """The member's account at once, and after each change: by commands, and by time. TooManyWatchers.

        Nothing is buffered: who is slow to take one gets the latest next.
        """
        if len(self._watchers) >= _MOST:
            raise TooManyWatchers("This process watches as many wallets as it can; read now and then instead.")
        watcher = _Watcher(member_id)
        self._watchers.add(watcher)
        try:
            while True:
                await watcher.changed.wait()
                watcher.changed.clear()
                if watcher.account is not None:
                    yield watcher.account
        finally:
            self._watchers.discard(watcher)

    async def _look(self) -> None:
        now = millis(self._clock())
        heads = {each.partition: each.head for each in self._ledger.engines}  # before accounts are read: none is missed
        due = [
            (watcher, head)
            for watcher in self._watchers
            if watcher.head != (head := heads[self._ledger.partition(watcher.member_id)])
            or (watcher.until is not None and watcher.until <= now)
        ]
        if not due:
            return
        found = await self._wallets.wallets([watcher.member_id for watcher, _ in due])
        for watcher, head in due:
            account = found[watcher.member_id]
            moments = [hold.expires for hold in account.holds] + [lot.expires for lot in account.lots]
            moments += [pending.due for pending in account.pending]
            watcher.head, watcher.until = head, min([at for at in moments if at > now], default=None)
            if account != watcher.account:
                watcher.account = account
                watcher.changed.set()
