"""Closer looks at the ledger: a wallet as it changes, and where an entry comes from."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from services.rewards.domain.moments import millis
from services.rewards.ledger.block import Block, decode
from services.rewards.ledger.engine import Engine
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.model import Member
from services.rewards.ledger.postings import records
from services.rewards.service.wallets import WalletEntry, Wallets
from services.shared.clock import Clock
from services.shared.errors import NotFound, ResourceExhausted

_ENTRY_ID = re.compile(r"entry-(\d{1,3})-(\d{1,10})-(\d{1,4})-(\d{1,3})")
_LOOK_SECONDS = 0.05
_MOST_WATCHERS = 500
_LAST_MOMENT = 9_999_999_999_998  # what the order of records can tell from later ones: in the year 2286


class TooManyWatchers(ResourceExhausted):
    """This process watches as many wallets as it can; read now and then instead."""


class EntryNotFound(NotFound):
    """There is no such entry."""


class Lineage(NamedTuple):
    """An entry, and the block that it is in."""

    entry: WalletEntry
    block: Block
    place: int


class Inspection:
    """Reads of single wallets and entries."""

    def __init__(self, ledger: Ledger, wallets: Wallets, clock: Clock) -> None:
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._watchers = 0

    async def watch(self, member_id: str) -> AsyncIterator[Member]:
        """The member's account at once, and after each change: by commands, and by time. TooManyWatchers.

        Nothing is buffered: who is slow to take one gets the latest next.
        """
        if self._watchers >= _MOST_WATCHERS:
            raise TooManyWatchers("This process watches as many wallets as it can; read now and then instead.")
        self._watchers += 1
        try:
            last: Member | None = None
            engine = self._ledger.engines[self._ledger.partition(member_id)]
            while True:
                head = engine.head  # before the account is read, so that no change falls between the two
                account = (await self._wallets.wallets([member_id]))[member_id]
                if account != last:
                    last = account
                    yield account
                await self._change(engine, head, account)
        finally:
            self._watchers -= 1

    async def balance_at(self, member_id: str, at: int) -> int:
        """The balance as of a moment (R11)."""
        return await self._ledger.balance_at(member_id, min(at, _LAST_MOMENT))

    async def lineage(self, entry_id: str) -> Lineage:
        """EntryNotFound."""
        match = _ENTRY_ID.fullmatch(entry_id)
        if match is None:
            raise EntryNotFound("There is no entry with that id.", entry_id=entry_id[:64])
        partition, seq, place, index = map(int, match.groups())
        block = await self._ledger.log.block(partition, seq)
        found = records(seq, block.at, decode(block.payload)) if block else []
        if block is None or place >= len(found) or index >= len(found[place].entries):
            raise EntryNotFound("There is no entry with that id.", entry_id=entry_id)
        record = found[place]
        return Lineage(WalletEntry(entry_id, record.member, record.at, record.entries[index]), block, place)

    async def _change(self, engine: Engine, head: int, account: Member) -> None:
        """Returns when the account may have changed: a block was written, or something is due."""
        moments = [hold.expires for hold in account.holds] + [lot.expires for lot in account.lots]
        now = millis(self._clock())
        until = min([at for at in moments if at > now], default=None)
        while engine.head == head:
            await asyncio.sleep(_LOOK_SECONDS)
            if until is not None and millis(self._clock()) >= until:
                return
