"""Closing a period: what is due happens, then the partners' debts are netted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.rewards.domain.moments import millis, moment
from services.rewards.domain.settlement import Line, Settlement, lines, lines_hash, positions
from services.rewards.ledger.ledger import Ledger
from services.rewards.store.settlements import SettlementStore
from services.shared.clock import Clock
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Page, PageQuery


class Settlements:
    """The use cases of netting."""

    def __init__(
        self, store: SettlementStore, ledger: Ledger, sweep: Callable[[], Awaitable[None]], clock: Clock
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._sweep = sweep
        self._clock = clock
        # To be held while `run` runs. It is right without, since a number is given once; but each would undo the
        # others' work, and some would give up.
        self.turn = asyncio.Lock()

    async def run(self, tx: Transaction) -> Settlement:
        """Settles all spends since the last settlement. Two at once: the second begins where the first ended."""
        await self._sweep()
        # In this order: what the last settlement covers is in the log, so that the cut cannot lie before it.
        last = await self._store.last(tx)
        cut = await self._ledger.cut(millis(self._clock()))
        found = lines(await self._ledger.spends(last.heads if last else {}, cut.heads))
        if last is None:
            began = await self._ledger.began()
            since = moment(cut.at if began is None else began - 1)
        else:
            since = last.until
        carried = {position.partner_id: position.carried_micros for position in last.positions} if last else {}
        settlement = Settlement(
            id=new_id("settlement"),
            number=last.number + 1 if last else 1,
            since=since,
            until=moment(cut.at),
            heads=cut.heads,
            positions=positions(found, carried),
            lines=len(found),
            lines_hash=lines_hash(found),
        )
        await self._store.add(tx, settlement, found)
        return settlement

    async def get(self, ids: Sequence[str]) -> list[Settlement]:
        """Those found."""
        return await self._store.settlements(ids)

    async def page(self, query: PageQuery) -> Page[Settlement]:
        """Newest first."""
        return await self._store.page(query)

    async def line_page(self, settlement_id: str, partner_id: str, query: PageQuery) -> Page[Line]:
        """In the order of the spends; with a partner, only lines in which it owes or is owed."""
        return await self._store.line_page(settlement_id, partner_id, query)
