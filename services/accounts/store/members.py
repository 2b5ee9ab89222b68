"""Members, identities, consents and link codes, on MongoDB."""

from collections.abc import Collection as Some
from dataclasses import asdict
from datetime import datetime

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.accounts.domain.members import Consent, Identity, LinkCode, Member
from services.shared.errors import AlreadyExists
from services.shared.mongo import Database, Document, Indexes, Transaction, racing
from services.shared.pages import Page, PageQuery, find_page, time_order

INDEXES: Indexes = {
    "members": [IndexModel([("order", 1)], unique=True)],
    # An identity's _id is "partner/number", a consent's "member/partner", a link code's "member/slot".
    "identities": [IndexModel([("member_id", 1), ("partner_id", 1)], unique=True)],
    "consents": [
        IndexModel([("member_id", 1)]),
        IndexModel([("partner_id", 1), ("granted", 1), ("member_id", 1)]),
    ],
    "link_codes": [IndexModel([("hash", 1)], unique=True)],
}


class IdentityAlreadyLinked(AlreadyExists):
    """The customer number belongs to a member already, or the member has another number at this partner."""


class MemberStore:
    """Who takes part, under which customer numbers, seen by whom."""

    def __init__(self, database: Database) -> None:
        self._members = database["members"]
        self._identities = database["identities"]
        self._consents = database["consents"]
        self._link_codes = database["link_codes"]

    async def add_member(self, tx: Transaction, member: Member) -> None:
        row = {**asdict(member), "order": time_order(member.enrolled_at, member.id)}
        await self._members.insert_one({"_id": row.pop("id"), **row}, session=tx.session)

    async def members(self, ids: Some[str], tx: Transaction | None = None) -> list[Member]:
        """Those found."""
        rows = self._members.find({"_id": {"$in": list(ids)}}, session=_session(tx))
        return [_member(row) async for row in rows]

    async def member_page(self, query: PageQuery) -> Page[Member]:
        """Oldest first."""
        page = await find_page(self._members, {}, query, descending=False)
        return Page([_member(row) for row in page.rows], page.orders, page.has_next)

    async def add_identity(self, tx: Transaction, identity: Identity) -> None:
        """IdentityAlreadyLinked if the number, or the member at this partner, is taken."""
        row = {"_id": _identity_id(identity.partner_id, identity.customer_number), **asdict(identity)}
        try:
            await self._identities.insert_one(row, session=tx.session)
        except DuplicateKeyError as error:
            raise IdentityAlreadyLinked(
                "This customer number belongs to a member already, or the member has another one at this partner; "
                "a number has one member, and a member one number per partner."
            ) from error

    async def identities(self, keys: Some[tuple[str, str]], tx: Transaction | None = None) -> list[Identity]:
        """Those found, by partner and customer number."""
        wanted = [_identity_id(partner_id, number) for partner_id, number in keys]
        rows = self._identities.find({"_id": {"$in": wanted}}, session=_session(tx))
        return [_identity(row) async for row in rows]

    async def identities_of(self, member_ids: Some[str], tx: Transaction | None = None) -> list[Identity]:
        """Of all these members, by member and partner."""
        rows = self._identities.find({"member_id": {"$in": list(member_ids)}}, session=_session(tx))
        return sorted([_identity(row) async for row in rows], key=lambda found: (found.member_id, found.partner_id))

    async def set_consent(self, tx: Transaction, consent: Consent) -> None:
        row = {"_id": _consent_id(consent.member_id, consent.partner_id), **asdict(consent)}
        with racing():
            await self._consents.replace_one({"_id": row["_id"]}, row, upsert=True, session=tx.session)

    async def has_consent_row(self, tx: Transaction, member_id: str, partner_id: str) -> bool:
        """Whether the member has ever said anything on this partner."""
        wanted = {"_id": _consent_id(member_id, partner_id)}
        return await self._consents.find_one(wanted, session=tx.session) is not None

    async def consent_count(self, member_id: str, at_most: int) -> int:
        """On how many partners the member has said something; counts no further than asked."""
        return await self._consents.count_documents({"member_id": member_id}, limit=at_most)

    async def consents_of(self, member_ids: Some[str]) -> list[Consent]:
        """Of all these members, by member and partner."""
        rows = self._consents.find({"member_id": {"$in": list(member_ids)}})
        return sorted([_consent(row) async for row in rows], key=lambda found: (found.member_id, found.partner_id))

    async def consenting_page(self, partner_id: str, query: PageQuery) -> Page[str]:
        """The ids of the members that let a partner see their data now, oldest first: ids sort by time."""
        standing = {"partner_id": partner_id, "granted": True}
        page = await find_page(self._consents, standing, query, descending=False, order="member_id")
        return Page(page.orders, page.orders, page.has_next)

    async def consents(self, pairs: Some[tuple[str, str]]) -> list[Consent]:
        """Those found, by member and partner."""
        wanted = [_consent_id(member_id, partner_id) for member_id, partner_id in pairs]
        return [_consent(row) async for row in self._consents.find({"_id": {"$in": wanted}})]

    async def link_codes_of(self, tx: Transaction, member_id: str, slots: int) -> list[LinkCode]:
        """What is in the member's slots, open or not."""
        wanted = [_slot_id(member_id, slot) for slot in range(slots)]
        rows = self._link_codes.find({"_id": {"$in": wanted}}, session=tx.session)
        return [_link_code(row) async for row in rows]

    async def put_link_code(self, tx: Transaction, code: LinkCode, replaces: LinkCode | None) -> None:
        """Puts a code into its slot, in place of the closed one that is there; LostRace if that has changed."""
        row = {"_id": _slot_id(code.member_id, code.slot), **asdict(code)}
        with racing():
            # A condition that others made false ends in an insert, which the slot's _id then refuses.
            condition = {"_id": row["_id"], "hash": replaces.hash if replaces else ""}
            await self._link_codes.replace_one(condition, row, upsert=True, session=tx.session)

    async def use_link_code(self, tx: Transaction, code_hash: str, now: datetime) -> LinkCode | None:
        """Uses an open code up, whoever comes first; None if there is no open code with that hash."""
        row = await self._link_codes.find_one({"hash": code_hash}, session=tx.session)
        code = _link_code(row) if row else None
        if code is None or not code.is_open(now):
            return None
        condition = {"_id": _slot_id(code.member_id, code.slot), "hash": code_hash, "used": False}
        done = await self._link_codes.update_one(condition, {"$set": {"used": True}}, session=tx.session)
        return code if done.matched_count else None


def _session(tx: Transaction | None) -> object:
    return tx.session if tx else None


def _identity_id(partner_id: str, customer_number: str) -> str:
    # A partner's id has no slash, so that two pairs never meet.
    return f"{partner_id}/{customer_number}"


def _consent_id(member_id: str, partner_id: str) -> str:
    return f"{member_id}/{partner_id}"


def _slot_id(member_id: str, slot: int) -> str:
    return f"{member_id}/{slot}"


def _member(row: Document) -> Member:
    return Member(row["_id"], row["display_name"], row["enrolled_at"], row["enrolled_by_partner_id"])


def _identity(row: Document) -> Identity:
    return Identity(row["partner_id"], row["customer_number"], row["member_id"], row["linked_at"])


def _consent(row: Document) -> Consent:
    return Consent(row["member_id"], row["partner_id"], row["granted"], row["changed_at"])


def _link_code(row: Document) -> LinkCode:
    return LinkCode(row["member_id"], row["slot"], row["hash"], row["expires_at"], row["used"])
