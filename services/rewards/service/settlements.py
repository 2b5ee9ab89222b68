"""Closing a period: what is due happens, then the partners' debts are netted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

from services.rewards.domain.moments import millis, moment
from services.rewards.domain.settlement import Line, Netting, Settlement, lines
from services.rewards.ledger.ledger import Ledger
from services.rewards.store.settlements import SettlementStore
from services.shared.client import set_deadline, time_left
from services.shared.clock import Clock
from services.shared.errors import Unavailable
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Page, PageQuery
from services.shared.telemetry import log

T = TypeVar("T")
_LINES_AT_ONCE = 1_000
_LONGEST_WAIT_SECONDS = 60.0
_ABANDONED = timedelta(minutes=10)  # without coming further
_TIME_TO_ANSWER = 0.8  # of what a call has left: the rest is for telling that it takes longer


class SettlementRunning(Unavailable):
    """It takes longer than the call had time; it goes on, and the same request answers what came of it."""


class Settlements:
    """The use cases of netting."""

    def __init__(
        self, store: SettlementStore, ledger: Ledger, sweep: Callable[[], Awaitable[None]], clock: Clock
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._sweep = sweep
        self._clock = clock
        # Held while `run` runs. It is right without, since a number is given once; but each would undo the others'
        # work, and some would give up.
        self._turn = asyncio.Lock()
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def in_its_own_time(self, request: str, work: Callable[[], Awaitable[T]]) -> T:
        """What comes of work that may take longer than a call. It goes on when the time of the call is up; then
        SettlementRunning, and who asks again for the same request gets what comes of it.
        """
        task = self._running.get(request)
        if task is None:
            task = self._running[request] = asyncio.create_task(self._alone(work))
            task.add_done_callback(lambda done: self._ended(request, done))
        done, _ = await asyncio.wait([task], timeout=time_left(_LONGEST_WAIT_SECONDS) * _TIME_TO_ANSWER)
        if not done:
            raise SettlementRunning("The settlement is being made; send the same request again in a moment.")
        return cast(T, task.result())

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        set_deadline(None)  # the call's is not ours
        async with self._turn:
            return await work()

    def _ended(self, request: str, task: "asyncio.Task[Any]") -> None:
        del self._running[request]
        if not task.cancelled() and (error := task.exception()):
            log.warning("no settlement was made", error=repr(error))

    async def run(self, tx: Transaction) -> Settlement:
        """Settles all spends since the last settlement. Two at once: the second begins where the first ended.

        The transaction begins with the settlement itself: before it, lines are stored that nobody sees without it.
        """
        await self._sweep()
        # In this order: what the last settlement covers is in the log, so that the cut cannot lie before it; nor can
        # its time, though the clock may be behind that of the replica which made the last one.
        last = await self._store.last()
        now = max(self._clock(), last.until) if last else self._clock()
        cut = await self._ledger.cut(millis(now))
        if last is None:
            began = await self._ledger.began()
            since = moment(cut.at if began is None else began - 1)
        else:
            since = last.until
        id = new_id("settlement")
        await self._store.begin(id, self._clock())
        netting = Netting({position.partner_id: position.carried_micros for position in last.positions} if last else {})
        chunk: list[Line] = []
        async for spend in self._ledger.spends(last.heads if last else {}, cut.heads):
            chunk += lines([spend])
            if len(chunk) >= _LINES_AT_ONCE:
                await self._store_lines(id, netting, chunk)
                chunk = []
        if chunk:
            await self._store_lines(id, netting, chunk)
        settlement = Settlement(
            id=id,
            number=last.number + 1 if last else 1,
            since=since,
            until=moment(cut.at),
            heads=cut.heads,
            positions=netting.positions(),
            lines=netting.lines,
            lines_hash=netting.lines_hash,
        )
        await self._store.add(tx, settlement)
        return settlement

    async def _store_lines(self, id: str, netting: Netting, chunk: Sequence[Line]) -> None:
        await self._store.add_lines(id, netting.lines, chunk, self._clock())
        for line in chunk:
            netting.add(line)

    async def tidy(self) -> None:
        """A job of the server: removes what settlements have stored that came to no end, as after a crash."""
        while True:
            if found := await self._store.discard(self._clock() - _ABANDONED):
                log.info("settlements that came to no end are discarded", settlements=found)
            await asyncio.sleep(_ABANDONED.total_seconds())

    async def get(self, ids: Sequence[str]) -> list[Settlement]:
        """Those found."""
        return await self._store.settlements(ids)

    async def page(self, query: PageQuery) -> Page[Settlement]:
        """Newest first."""
        return await self._store.page(query)

    async def line_page(self, settlement_id: str, partner_id: str, query: PageQuery) -> Page[Line]:
        """In the order of the spends; with a partner, only lines in which it owes or is owed."""
        return await self._store.line_page(settlement_id, partner_id, query)
