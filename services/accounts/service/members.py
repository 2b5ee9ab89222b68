"""What the accounts service does for members and their brands."""

import secrets
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from services.accounts.domain.members import (
    LINK_CODE_BITS,
    LINK_CODE_LIFETIME,
    OPEN_LINK_CODES,
    Consent,
    Identity,
    LinkCode,
    Member,
    link_code_hash,
    spell_link_code,
)
from services.accounts.store.members import MemberStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import NotFound, ResourceExhausted
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Page, PageQuery, page_of_each

_LONGEST_NAME = 80
_LONGEST_CUSTOMER_NUMBER = 64
_CONSENTS = 1_000
_LARGEST_PAGES = 200


class MemberNotFound(NotFound):
    """No member has that id."""


class LinkCodeUnknown(NotFound):
    """No open code is like that."""


class TooManyLinkCodes(ResourceExhausted):
    """The member has as many open codes as a member may have."""


class TooManyConsents(ResourceExhausted):
    """The member has spoken on more partners than an alliance has."""


class Members:
    """The use cases. Those that change something run in a transaction that the caller opens and commits."""

    def __init__(self, store: MemberStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def enrol(self, tx: Transaction, *, partner_id: str, display_name: str, customer_number: str) -> Member:
        """A partner brings a new member, with the partner's own customer number as the first identity."""
        now = self._clock()
        name = checks.text(display_name, "display_name", 1, _LONGEST_NAME)
        number = checks.name(customer_number, "customer_number", 1, _LONGEST_CUSTOMER_NUMBER)
        member = Member(new_id("member"), name, now, partner_id)
        await self._store.add_identity(tx, Identity(partner_id, number, member.id, now))
        await self._store.add_member(tx, member)
        return member

    async def create_link_code(self, tx: Transaction, member_id: str) -> tuple[str, datetime]:
        """A fresh code, as a person reads it, and when it expires."""
        now = self._clock()
        await self._must_exist(tx, member_id)
        in_slots = {code.slot: code for code in await self._store.link_codes_of(tx, member_id, OPEN_LINK_CODES)}
        free = [slot for slot in range(OPEN_LINK_CODES) if slot not in in_slots or not in_slots[slot].is_open(now)]
        if not free:
            raise TooManyLinkCodes(f"{OPEN_LINK_CODES} codes are open; use one, or wait until one expires.")
        spelt = spell_link_code(secrets.randbits(LINK_CODE_BITS))
        code = LinkCode(member_id, free[0], link_code_hash(spelt), now + LINK_CODE_LIFETIME)
        await self._store.put_link_code(tx, code, replaces=in_slots.get(free[0]))
        return spelt, code.expires_at

    async def link_identity(self, tx: Transaction, *, partner_id: str, code: str, customer_number: str) -> Identity:
        """A further partner links its customer to the member who made the code."""
        now = self._clock()
        number = checks.name(customer_number, "customer_number", 1, _LONGEST_CUSTOMER_NUMBER)
        used = await self._store.use_link_code(tx, link_code_hash(code), now)
        if used is None:
            raise LinkCodeUnknown("No such code is open; it may have expired. Let the member make a new one.")
        for known in await self._store.identities([(partner_id, number)], tx):
            if known.member_id == used.member_id:
                return known
        identity = Identity(partner_id, number, used.member_id, now)
        await self._store.add_identity(tx, identity)
        return identity

    async def set_consent(self, tx: Transaction, *, member_id: str, partner_id: str, granted: bool) -> Consent:
        """The member's word on a partner; the latest counts."""
        checks.id_of(partner_id, "partner_id", "partner")
        await self._must_exist(tx, member_id)
        if (
            not await self._store.has_consent_row(tx, member_id, partner_id)
            and await self._store.consent_count(member_id, _CONSENTS) >= _CONSENTS
        ):
            raise TooManyConsents(f"A member can speak on {_CONSENTS:,} partners; this would be one more.")
        consent = Consent(member_id, partner_id, granted, self._clock())
        await self._store.set_consent(tx, consent)
        return consent

    async def get(self, ids: Collection[str]) -> list[Member]:
        """Those found."""
        return await self._store.members(ids)

    async def page(self, query: PageQuery) -> Page[Member]:
        """All members, oldest first."""
        return await self._store.member_page(query)

    async def partner_pages(self, partner_ids: Sequence[str], query: PageQuery) -> Mapping[str, Page[Member]]:
        """Of those that let each of at most 200 partners see their data now, oldest member first."""
        checks.batch(partner_ids, _LARGEST_PAGES)
        pages = await page_of_each(partner_ids, lambda id: self._store.consenting_page(id, query))
        wanted = {id for page in pages.values() for id in page.rows}
        found = {member.id: member for member in await self._store.members(wanted)} if wanted else {}
        return {
            partner_id: Page([found[id] for id in page.rows], page.orders, page.has_next)
            for partner_id, page in pages.items()
        }

    async def find_identities(self, keys: Sequence[tuple[str, str]]) -> list[Identity]:
        """Those found, by partner and customer number."""
        return await self._store.identities([(partner_id, _plain_number(number)) for partner_id, number in keys])

    async def identities_of(self, member_ids: Collection[str]) -> list[Identity]:
        """Of all these members."""
        return await self._store.identities_of(member_ids)

    async def consents_of(self, member_ids: Collection[str]) -> list[Consent]:
        """Of all these members, revoked ones included."""
        return await self._store.consents_of(member_ids)

    async def granted(self, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Of pairs of member and partner, those for which consent stands now."""
        found = await self._store.consents(pairs)
        return {(consent.member_id, consent.partner_id) for consent in found if consent.granted}

    async def _must_exist(self, tx: Transaction, member_id: str) -> None:
        if not await self._store.members([member_id], tx):
            raise MemberNotFound("There is no member with that id.", member_id=member_id)


def _plain_number(customer_number: str) -> str:
    """A customer number to look up, in the form in which it is stored."""
    return unicodedata.normalize("NFC", customer_number).strip()
