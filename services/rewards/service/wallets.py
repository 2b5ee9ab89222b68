"""What members and partners have, by the ledger."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.rewards.domain.moments import millis
from services.rewards.ledger.dues import due
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.model import Member
from services.rewards.ledger.postings import Entry
from services.rewards.ledger.totals import Totals
from services.rewards.ledger.verify import Report
from services.shared import checks
from services.shared.clock import Clock
from services.shared.pages import CursorMalformed, Page, PageQuery, page_of_each

# A cursor is the record's place in the log, and the entry's in the record. (Earlier ones began with its time.)
_CURSOR = re.compile(r"(?:[0-9]{13})?([0-9]{10})([0-9]{4})([0-9]{3})")


class WalletEntry(NamedTuple):
    """An entry with its id and its time."""

    id: str
    member_id: str
    at: int
    entry: Entry


class Wallets:
    """Reads of the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def wallets(self, member_ids: Sequence[str], at_least: Mapping[int, int] | None = None) -> dict[str, Member]:
        """Each member's account as time has made it by now, swept or not; an empty one for who has none. With
        `at_least`, it takes in these blocks, by partition, whichever replica wrote them.
        """
        for id in member_ids:
            checks.id_of(id, "member_ids", "member")
        if at_least:
            try:
                await self._ledger.reach(at_least)
            except ValueError as error:
                raise checks.FieldInvalid("at_least", f"names a partition that is not there: {error}.") from error
        else:
            await self._ledger.refresh(member_ids)
        found = await self._ledger.members(member_ids)
        now = millis(self._clock())
        return {id: due(account, id, now)[0] for id, account in found.items()}

    async def entries(self, member_ids: Sequence[str], query: PageQuery) -> dict[str, Page[WalletEntry]]:
        """The same page of each member's entries, newest first."""
        for id in member_ids:
            checks.id_of(id, "member_ids", "member")
        await self._ledger.refresh(member_ids)
        return await page_of_each(member_ids, lambda member_id: self._page(member_id, query))

    async def partner_totals(self, partner_ids: Sequence[str]) -> list[Totals]:
        """These partners', or all."""
        await self._ledger.refresh()
        return await self._ledger.partner_totals(partner_ids or None)

    async def verify(self) -> Report:
        """Checks the whole ledger."""
        return await self._ledger.verify()

    async def _page(self, member_id: str, query: PageQuery) -> Page[WalletEntry]:
        below, number = _position(query.after)
        # One record more than rows are wanted: the first may be the one that the last page ended in.
        records = await self._ledger.entries(member_id, below, query.size + 2)
        rows: list[WalletEntry] = []
        orders: list[str] = []
        for record in records:
            place = (record.seq, record.place)
            for index in range(len(record.entries) - 1, -1, -1):
                if place != below or index < number:
                    id = f"entry-{self._ledger.partition(member_id)}-{record.seq}-{record.place}-{index}"
                    rows.append(WalletEntry(id, member_id, record.at, record.entries[index]))
                    orders.append(f"{record.seq:010d}{record.place:04d}{index:03d}")
        return Page(rows[: query.size], orders[: query.size], len(rows) > query.size)


def _position(after: str) -> tuple[tuple[int, int] | None, int]:
    if not after:
        return None, 0
    match = _CURSOR.fullmatch(after)
    if match is None:
        raise CursorMalformed("`after` is not a cursor of this list; use one from a page's edges.", field="after")
    return (int(match[1]), int(match[2])), int(match[3])
