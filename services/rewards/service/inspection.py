"""Closer looks at the ledger: a balance as it was, and where an entry comes from."""

import re
from typing import NamedTuple

from services.rewards.ledger.block import Block, decode
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.postings import records
from services.rewards.service.wallets import WalletEntry
from services.shared.errors import NotFound

_ENTRY_ID = re.compile(r"entry-(\d{1,3})-(\d{1,10})-(\d{1,4})-(\d{1,3})")


class EntryNotFound(NotFound):
    """There is no such entry."""


class Lineage(NamedTuple):
    """An entry, and the block that it is in."""

    entry: WalletEntry
    block: Block
    place: int


class Inspection:
    """Reads of the past."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def balance_at(self, member_id: str, at: int) -> int:
        """The balance as of a moment (R11)."""
        await self._ledger.refresh([member_id])
        return await self._ledger.balance_at(member_id, at)

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
