"""From claims to points: asked of partners, issued by the ledger, noted once."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from services.rewards.domain.earnings import (
    Claim,
    Earning,
    EarningNotFound,
    EarningNotIssued,
    EarningStatus,
    KindTotal,
    Price,
    RefusalTotal,
    decide,
)
from services.rewards.domain.lots import LotKey
from services.rewards.ledger.commands import Allot
from services.rewards.ledger.events import Cancelled, Withdrawn
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.lots import points_of
from services.rewards.partners import RELEASES, Partners, release_of
from services.rewards.service.half_done import complete_each
from services.rewards.store.earnings import EarningStore
from services.shared.clock import Clock
from services.shared.errors import FailedPrecondition, Internal
from services.shared.idempotency import Idempotency
from services.shared.mongo import Transaction
from services.shared.outbox import Outbox
from services.shared.pages import Page, PageQuery, page_of_each

# After so long the sweeper takes a cancel for abandoned, and completes it.
_HALF_DONE = timedelta(seconds=10)


class Block(NamedTuple):
    """A prepaid block that has been paid."""

    id: str
    partner_id: str
    points: int


class Earnings:
    """The use cases of earning. What spans the ledger and the store is done in steps that may be done again."""

    def __init__(
        self,
        store: EarningStore,
        ledger: Ledger,
        partners: Partners,
        outbox: Outbox,
        idempotency: Idempotency,
        clock: Clock,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._partners = partners
        self._outbox = outbox
        self._commit = idempotency.commit
        self._clock = clock

    async def allot(self, blocks: Sequence[Block]) -> None:
        """Puts paid blocks at their partners' disposal; each once. FailedPrecondition if a partner has too much."""
        outcomes = await self._ledger.post([Allot(block.id, block.partner_id, block.points) for block in blocks])
        for outcome in outcomes:
            if outcome.refusal:
                raise FailedPrecondition(
                    "The ledger cannot hold so many points for one partner.", reason=outcome.refusal.reason
                )

    async def record(self, claims: Sequence[Claim]) -> list[Earning]:
        """What the claims earn, in their order. The first outcome stands, however often a claim is recorded.

        Unavailable if partners cannot be asked; then nothing is decided on the claims that are new.
        """
        by_id = {claim.id: claim for claim in claims}
        known = {earning.claim_id: earning for earning in await self._store.earnings(list(by_id))}
        fresh = [claim for claim in by_id.values() if claim.id not in known]
        if fresh:
            prices = await self._partners.price(fresh)
            earnings = await self._issue(fresh, prices)
            # Partners has reserved campaign points for what the ledger then would not issue.
            released = [e.claim_id for e in earnings if e.status is EarningStatus.REFUSED and prices[e.claim_id].grants]
            stored, _ = await self._commit(lambda tx: self._add(tx, earnings, released))
            known |= {earning.claim_id: earning for earning in stored}
        return [known[claim.id] for claim in claims]

    async def intend_cancel(self, tx: Transaction, claim_id: str, partner_id: str) -> None:
        """Decides to take a claim's points back; `partner_id` is empty for an operator.

        EarningNotFound, also for another partner's; EarningNotIssued.
        """
        earning = await self._store.earning(claim_id, tx)
        if earning is None or partner_id not in ("", earning.partner_id):
            raise EarningNotFound("You have no earning for that claim.", claim_id=claim_id)
        if not await self._store.intend_cancel(tx, claim_id, self._clock() + _HALF_DONE):
            raise EarningNotIssued(
                "This claim has no points that could be taken back: they were refused, or taken back already.",
                claim_id=claim_id,
                status=earning.status,
            )

    async def complete_cancel(self, claim_id: str) -> Earning:
        """Does what was decided, and notes it; again and again the same."""
        earning = await self._store.earning(claim_id)
        if earning is None:
            raise EarningNotFound("There is no earning for that claim.", claim_id=claim_id)
        if not earning.cancelling:
            return earning
        outcome = await self._ledger.cancel(claim_id, earning.member_id)
        if outcome is None:
            raise Internal("The ledger does not know of points that were issued.", reason="INTERNAL", claim_id=claim_id)
        done = [event for event in outcome.decision if isinstance(event, Cancelled | Withdrawn)]
        returned = sum(points_of(event.lots) for event in done)
        owed = sum(points_of(event.owed) for event in done if isinstance(event, Cancelled))
        cancelled = earning.cancelled(returned, owed)

        async def note(tx: Transaction) -> None:
            if await self._store.cancelled(tx, cancelled):
                await self._outbox.emit(tx, RELEASES, [release_of(claim_id)])

        await self._commit(note)
        return cancelled

    async def complete_due(self, limit: int) -> int:
        """Completes cancels that were left half done; how many."""
        due = await self._store.half_cancelled(self._clock(), limit)
        return await complete_each({one.claim_id: one.claim_id for one in due}, self.complete_cancel)

    async def get(self, claim_ids: Sequence[str]) -> list[Earning]:
        """Those decided."""
        return await self._store.earnings(claim_ids)

    async def of_lots(self, keys: Sequence[LotKey], query: PageQuery) -> dict[str, Page[Earning]]:
        """What went into lots, newest first: the same page for each, by the lots' ids."""
        of = {key.id: key for key in keys}
        return await page_of_each(of, lambda id: self._store.of_lot(of[id], query))

    async def totals(self) -> tuple[list[KindTotal], list[RefusalTotal]]:
        """Over all earnings."""
        return await self._store.totals()

    async def _issue(self, claims: Sequence[Claim], prices: Mapping[str, Price]) -> list[Earning]:
        commands = {claim.id: prices[claim.id].issue(claim) for claim in claims if prices[claim.id].grants}
        outcomes = await self._ledger.post(list(commands.values()))
        decided = {id: (outcome.at, outcome.refusal) for id, outcome in zip(commands, outcomes, strict=True)}
        now = self._clock()
        return [decide(claim, prices[claim.id], decided.get(claim.id), now) for claim in claims]

    async def _add(self, tx: Transaction, earnings: Sequence[Earning], released: Sequence[str]) -> list[Earning]:
        """The earnings as they are stored: these, or those that somebody else has stored meanwhile."""
        existing = {e.claim_id: e for e in await self._store.earnings([e.claim_id for e in earnings], tx)}
        fresh = [earning for earning in earnings if earning.claim_id not in existing]
        await self._store.add(tx, fresh)
        await self._outbox.emit(tx, RELEASES, [release_of(id) for id in released if id not in existing])
        return [*existing.values(), *fresh]
