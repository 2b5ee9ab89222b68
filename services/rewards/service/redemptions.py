"""The reward catalogue, and redemptions from the hold to the till."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from weakref import WeakValueDictionary

from services.rewards.domain.moments import millis
from services.rewards.domain.redemptions import (
    HoldLimitReached,
    InsufficientPoints,
    Intent,
    Redemption,
    RedemptionAlreadyResolved,
    RedemptionAlreadyReversed,
    RedemptionNotFound,
    RedemptionStatus,
    Reward,
    RewardNotFound,
    RewardOutOfStock,
    VoucherNotFound,
    maybe_voucher_hash,
    new_voucher,
    reversal_refused,
)
from services.rewards.ledger import machine
from services.rewards.ledger.dues import due
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.model import Member
from services.rewards.partners import Partners
from services.rewards.service.half_done import complete_each
from services.rewards.store.redemptions import RedemptionStore, Which
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import FailedPrecondition
from services.shared.idempotency import Idempotency
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Page, PageQuery, page_of_each

_LARGEST_PRICE = 1_000_000_000
_LARGEST_STOCK = 1_000_000_000
_MOST_OWNERS = 200
# After so long the sweeper takes a step for abandoned, and completes it.
_HALF_DONE = timedelta(seconds=10)


class PartnerNotActive(FailedPrecondition):
    """The partner does not take part now, so that it neither offers rewards nor accepts points."""


class Redemptions:
    """The use cases. What is decided in a transaction is then carried out by `complete`, which may be called again."""

    def __init__(
        self,
        store: RedemptionStore,
        ledger: Ledger,
        partners: Partners,
        idempotency: Idempotency,
        clock: Clock,
        ttl: timedelta,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._partners = partners
        self._commit = idempotency.commit
        self._clock = clock
        self._ttl = ttl
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, reward_id: str) -> asyncio.Lock:
        """To be held while `redeem` runs: those who want the same reward go one after the other.

        It is right without; but a hundred transactions on one stock at once would mostly undo each other.
        """
        return self._turns.setdefault(reward_id, asyncio.Lock())

    async def create_reward(
        self, tx: Transaction, partner_id: str, *, title: str, description: str, points: int, stock: int
    ) -> Reward:
        """A partner offers something. PartnerNotActive; FieldInvalid."""
        reward = Reward(
            id=new_id("reward"),
            partner_id=partner_id,
            title=checks.text(title, "title", 2, 80),
            description=checks.text(description, "description", 0, 500),
            points=checks.whole(points, "points", 1, _LARGEST_PRICE),
            stock=checks.whole(stock, "stock", 0, _LARGEST_STOCK),
            created_at=self._clock(),
        )
        await self._check_active(partner_id)
        await self._store.add_reward(tx, reward)
        return reward

    async def redeem(self, tx: Transaction, member_id: str, reward_id: str) -> str:
        """Takes one of the reward for the member, to be held by `complete`; the redemption's id.

        RewardNotFound, RewardOutOfStock, PartnerNotActive, InsufficientPoints, HoldLimitReached.
        """
        reward = next(iter(await self._store.rewards([reward_id])), None)
        if reward is None:
            raise RewardNotFound("There is no reward with that id.", reward_id=reward_id)
        # Nothing that is certain to be refused takes from the stock, even for a moment.
        account = await self._account(member_id)
        if account.balance - account.held < reward.points:
            await self._ledger.look([self._ledger.partition(member_id)])  # another replica may have given some just now
            account = await self._account(member_id)
            if (available := account.balance - account.held) < reward.points:
                raise _insufficient(available, reward.points)
        if len(account.holds) >= machine.MOST_HOLDS:
            raise _too_many_holds()
        await self._check_active(reward.partner_id)
        if not await self._store.take_one(tx, reward.id):
            raise RewardOutOfStock("Nothing is left of this reward; choose another one.", reward_id=reward.id)
        now = self._clock()
        redemption = Redemption(
            id=new_id("redemption"),
            reward_id=reward.id,
            member_id=member_id,
            partner_id=reward.partner_id,
            status=RedemptionStatus.PENDING,
            points=reward.points,
            voucher_code=new_voucher(),
            created_at=now,
            expires_at=now + self._ttl,
        )
        await self._store.add_redemption(tx, redemption, now + _HALF_DONE)
        return redemption.id

    async def held(self, id: str) -> Redemption:
        """Completes `redeem`: the redemption as it was made. InsufficientPoints or HoldLimitReached if the ledger would
        not hold them."""
        redemption = await self.complete(id)
        if redemption.status is RedemptionStatus.REFUSED and redemption.refusal:
            if redemption.refusal.reason == machine.INSUFFICIENT_POINTS:
                raise _insufficient(redemption.refusal.available, redemption.refusal.required)
            if redemption.refusal.reason == machine.HOLD_LIMIT_REACHED:
                raise _too_many_holds()
            raise RedemptionAlreadyResolved("The time of this redemption was over before its points could be held.")
        return redemption.as_held()

    async def capture(self, tx: Transaction, partner_id: str, code: str, points: int) -> str:
        """A voucher at the till, to be spent by `captured`; the redemption's id.

        VoucherNotFound, RedemptionAlreadyResolved, CaptureOutOfRange.
        """
        redemption = await self._store.by_voucher(code, tx)
        if redemption is None or redemption.partner_id != partner_id or _never_was(redemption):
            raise VoucherNotFound("There is no such voucher here; type the code as it is printed.")
        redemption.check_open(self._clock())
        await self._intend(tx, redemption.capturing(points))
        return redemption.id

    async def captured(self, id: str) -> Redemption:
        """Completes `capture`. RedemptionAlreadyResolved if the hold's time was over."""
        redemption = await self.complete(id)
        if redemption.status not in (RedemptionStatus.CAPTURED, RedemptionStatus.REVERSED):
            raise RedemptionAlreadyResolved("The time of this redemption has run out.", redemption_id=id)
        return redemption.as_captured()

    async def reverse(self, tx: Transaction, id: str, partner_id: str, points: int, *, restock: bool) -> None:
        """Points of a capture are to come back, by `reversed`.

        RedemptionNotFound, RedemptionNotCaptured, RedemptionAlreadyReversed, ReversalOutOfRange.
        """
        redemption = await self._store.redemption(id, tx)
        if redemption is None or redemption.partner_id != partner_id or _never_was(redemption):
            raise RedemptionNotFound("You have no redemption with that id.", redemption_id=id)
        if not await self._store.intend(tx, redemption.reversing(points, restock=restock), self._clock() + _HALF_DONE):
            raise RedemptionAlreadyReversed("Points of this redemption have been given back.", redemption_id=id)

    async def reversed(self, id: str) -> Redemption:
        """Completes `reverse`. FailedPrecondition if the wallet cannot hold so much."""
        redemption = await self.complete(id)
        if redemption.status is not RedemptionStatus.REVERSED and redemption.refusal:
            raise reversal_refused(redemption.refusal, id)
        return redemption

    async def void(self, tx: Transaction, id: str, *, member_id: str, partner_id: str) -> None:
        """Gives a redemption up, for its member or (without a member) the partner that offers the reward.

        RedemptionNotFound, RedemptionAlreadyResolved.
        """
        redemption = await self._store.redemption(id, tx)
        owned = redemption and (redemption.member_id == member_id if member_id else redemption.partner_id == partner_id)
        if redemption is None or not owned or _never_was(redemption):
            raise RedemptionNotFound("You have no redemption with that id.", redemption_id=id)
        redemption.check_open(self._clock())
        await self._intend(tx, redemption.ending(Intent.VOID))

    async def voided(self, id: str) -> Redemption:
        """Completes `void`. RedemptionAlreadyResolved if the hold's time was over."""
        redemption = await self.complete(id)
        if redemption.status is not RedemptionStatus.VOIDED:
            raise RedemptionAlreadyResolved("The time of this redemption has run out.", redemption_id=id)
        return redemption

    async def complete(self, id: str) -> Redemption:
        """Does in the ledger what was decided, and notes it. Whoever does it, and however often: the same."""
        redemption = await self._store.redemption(id)
        if redemption is None:
            raise RedemptionNotFound("There is no redemption with that id.", redemption_id=id)
        if redemption.resting:
            return redemption
        outcome = await self._ledger.post_one(redemption.command())
        after = redemption.after(outcome.decision, outcome.at)
        if after.gives_stock_back:
            await self._commit(lambda tx: self._store.advance(redemption, after, tx))
        else:
            await self._store.advance(redemption, after)
        return after

    async def complete_due(self, limit: int) -> int:
        """Ends holds that are past their time, and completes what was left half done; how many."""
        due = await self._store.due(self._clock(), limit)
        return await complete_each({redemption.id: redemption for redemption in due}, self._end)

    async def rewards(self, ids: Sequence[str]) -> list[Reward]:
        """Those found."""
        return await self._store.rewards(ids)

    async def reward_page(self, partner_id: str, query: PageQuery) -> Page[Reward]:
        """Cheapest first; one partner's, or all."""
        return await self._store.reward_page(partner_id, query)

    async def get(self, ids: Sequence[str]) -> list[Redemption]:
        """Those found."""
        return await self._store.redemptions(ids)

    async def pages_of(
        self, member_ids: Sequence[str], which: Which, query: PageQuery
    ) -> Mapping[str, Page[Redemption]]:
        """Newest first; the same page for each of at most 200 members."""
        checks.batch(member_ids, _MOST_OWNERS)
        return await page_of_each(member_ids, lambda id: self._store.page_of(id, which, query))

    async def partner_pages(
        self, partner_ids: Sequence[str], which: Which, query: PageQuery
    ) -> Mapping[str, Page[Redemption]]:
        """Of the rewards of each of at most 200 partners, newest first."""
        checks.batch(partner_ids, _MOST_OWNERS)
        return await page_of_each(partner_ids, lambda id: self._store.partner_page(id, which, query))

    async def find(self, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """By partner and voucher code, however that is typed: those found, each with its redemption's id."""
        checks.batch(keys, _MOST_OWNERS)
        hashes = {code: found for _, code in keys if (found := maybe_voucher_hash(code)) is not None}
        redemptions = await self._store.by_vouchers(set(hashes.values()))
        return [
            (partner_id, code, one.id)
            for partner_id, code in keys
            if code in hashes and (one := redemptions.get(hashes[code])) is not None and one.partner_id == partner_id
        ]

    async def _end(self, redemption: Redemption) -> None:
        if redemption.open:
            await self._expire(redemption)
        await self.complete(redemption.id)

    async def _account(self, member_id: str) -> Member:
        """As time has made it by now."""
        return due((await self._ledger.members([member_id]))[member_id], member_id, millis(self._clock()))[0]

    async def _expire(self, redemption: Redemption) -> None:
        async def effect(tx: Transaction) -> None:
            # If somebody was faster it ends as they said.
            await self._store.intend(tx, redemption.ending(Intent.EXPIRE), self._clock())

        await self._commit(effect)

    async def _intend(self, tx: Transaction, redemption: Redemption) -> None:
        if not await self._store.intend(tx, redemption, self._clock() + _HALF_DONE):
            raise RedemptionAlreadyResolved("This redemption is over.", redemption_id=redemption.id)

    async def _check_active(self, partner_id: str) -> None:
        if not await self._partners.active(partner_id):
            raise PartnerNotActive("The partner does not take part just now; it has to be approved.")


def _never_was(redemption: Redemption) -> bool:
    return redemption.status in (RedemptionStatus.PENDING, RedemptionStatus.REFUSED)


def _too_many_holds() -> HoldLimitReached:
    return HoldLimitReached(
        f"{machine.MOST_HOLDS:,} of your redemptions are open; use one or give one up, then redeem again."
    )


def _insufficient(available: int, required: int) -> InsufficientPoints:
    return InsufficientPoints(
        f"{required:,} points are needed and {available:,} are free.", available=available, required=required
    )
