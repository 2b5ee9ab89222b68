"""What points cost a partner, and points that it buys ahead."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.partners.domain.agreement import (
    Agreement,
    CurrencyNotAccepted,
    Money,
    NoAgreementInForce,
    PrepaidBlock,
    agreement_at,
    price_of,
)
from services.partners.events import Events
from services.partners.store.agreements import AgreementStore
from services.partners.store.partners import Limited, PartnerStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import NotFound
from services.shared.ids import new_id
from services.shared.mongo import Transaction

_HIGHEST_UNIT_VALUE_MICROS = 1_000_000_000
_MOST_POINTS = 1_000_000_000
_FARTHEST_AHEAD = timedelta(days=3_653)


class AgreementNotFound(NotFound):
    """No agreement has that id, or it is another partner's."""


class PrepaidBlockNotFound(NotFound):
    """No prepaid block has that id."""


class Agreements:
    """The use cases of agreements and prepaid blocks."""

    def __init__(
        self,
        store: AgreementStore,
        partners: PartnerStore,
        events: Events,
        currency: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._partners = partners
        self._events = events
        self._currency = currency
        self._clock = clock

    async def offer(self, tx: Transaction, partner_id: str, unit_value: Money, valid_from: datetime) -> Agreement:
        """An operator offers a partner a price per point."""
        if unit_value.currency != self._currency:
            raise CurrencyNotAccepted(
                f"unit_value.currency: agreements are in {self._currency}; give the value in it.",
                field="unit_value.currency",
                currency=self._currency,
            )
        checks.whole(unit_value.micros, "unit_value.micros", 1, _HIGHEST_UNIT_VALUE_MICROS)
        now = self._clock()
        if valid_from > now + _FARTHEST_AHEAD:
            raise checks.FieldInvalid("valid_from", "is more than ten years ahead.")
        partner = await self._partners.get(tx, partner_id)
        partner.check_approved()
        await self._partners.take_place(tx, partner.id, Limited.AGREEMENTS)
        agreement = Agreement(new_id("agreement"), partner.id, unit_value, valid_from, offered_at=now)
        await self._store.add_agreement(tx, agreement)
        return agreement

    async def accept(self, tx: Transaction, agreement_id: str, partner_id: str) -> Agreement:
        """The partner's yes; a second one changes nothing."""
        agreement = await self._store.agreement(tx, agreement_id)
        if agreement is None or agreement.partner_id != partner_id:
            raise AgreementNotFound("You have no agreement with that id.", agreement_id=agreement_id)
        (await self._partners.get(tx, partner_id)).check_active()
        accepted = agreement.accepted(self._clock())
        if accepted != agreement:
            await self._store.set_accepted(tx, accepted)
        return accepted

    async def order_block(self, tx: Transaction, partner_id: str, points: int) -> PrepaidBlock:
        """A partner orders points, at the price that is in force now."""
        checks.whole(points, "points", 1, _MOST_POINTS)
        partner = await self._partners.get(tx, partner_id)
        partner.check_active()
        now = self._clock()
        agreement = agreement_at(await self._store.agreements([partner.id], tx), now)
        if agreement is None:
            raise NoAgreementInForce("You have accepted no agreement that is in force now; accept one first.")
        price = price_of(points, agreement.unit_value)
        await self._partners.take_place(tx, partner.id, Limited.OPEN_BLOCKS)
        block = PrepaidBlock(new_id("block"), partner.id, points, price, ordered_at=now)
        await self._store.add_block(tx, block)
        return block

    async def confirm_block(self, tx: Transaction, block_id: str) -> PrepaidBlock:
        """An operator says that a block has been paid; the ledger is told, once."""
        block = await self._store.block(tx, block_id)
        if block is None:
            raise PrepaidBlockNotFound("There is no prepaid block with that id.", block_id=block_id)
        if block.paid_at:
            return block
        paid = replace(block, paid_at=self._clock())
        await self._store.set_paid(tx, paid)
        await self._partners.give_place(tx, block.partner_id, Limited.OPEN_BLOCKS)
        await self._events.block_paid(tx, paid)
        return paid

    async def allotted(self, block_id: str) -> bool:
        """Whether the ledger has a paid block's points already."""
        return await self._events.block_allotted(block_id)

    async def agreements_of(self, partner_ids: Sequence[str]) -> list[Agreement]:
        """Those of the partners, newest first."""
        return await self._store.agreements(partner_ids)

    async def blocks_of(self, partner_ids: Sequence[str]) -> list[PrepaidBlock]:
        """Those of the partners, newest first."""
        return await self._store.blocks(partner_ids)
