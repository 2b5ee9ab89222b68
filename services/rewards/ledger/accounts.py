"""One partition's accounts in memory: all partners' sub-accounts that were needed, and as many members' as are allowed.

What is not in the read models yet is never let go; everything else can be read again from there.
"""

from collections.abc import Iterable, Sequence

from services.rewards.ledger.block import Posting
from services.rewards.ledger.effects import member_after, partner_after, touched, transit_after
from services.rewards.ledger.model import (
    NO_MEMBER,
    NO_PARTNER,
    Books,
    Command,
    Member,
    Partner,
    Refusal,
    Transit,
)
from services.rewards.ledger.projector import Projector
from services.rewards.ledger.store import Views


class Accounts:
    """Accounts as they are at the partition's head, each with the block that touched it last."""

    def __init__(self, partition: int, views: Views, projector: Projector, cached_members: int) -> None:
        self._partition = partition
        self._views = views
        self._projector = projector
        self._cached_members = cached_members
        self._members: dict[str, tuple[Member, int]] = {}
        self._partners: dict[str, tuple[Partner, int]] = {}
        self._transit: tuple[Transit, int] = (Transit(), 0)

    async def open(self) -> None:
        self._transit = await self._views.transit(self._partition)

    @property
    def transit(self) -> Transit:
        return self._transit[0]

    async def load(self, commands: Sequence[Command]) -> Books:
        """Books with every account that the commands can touch."""
        members = {member for command in commands if (member := getattr(command, "member", ""))}
        await self._load_members(members)
        books = Books({id: self._members[id][0] for id in members}, {}, self.transit)
        partners: set[str] = set()
        for command in commands:
            if partner := getattr(command, "partner", ""):
                partners.add(partner)
            partners.update([lot.issuer for lot in getattr(command, "lots", ())])
        for account in books.members.values():
            partners.update([lot.issuer for lot in account.lots])
            partners.update([debt.partner for debt in account.debts])
            partners.update([lot.issuer for pending in account.pending for lot in pending.lots])
        await self._load_partners(partners)
        books.partners = {id: self._partners[id][0] for id in partners}
        return books

    async def replay(self, seq: int, postings: Iterable[Posting]) -> Books:
        """The accounts that a block from elsewhere touched, as they are after it.

        One that was read from the read models may have the block in it already, or even later ones.
        """
        events = [event for _, decision, _ in postings if not isinstance(decision, Refusal) for event in decision]
        names = [touched(event) for event in events]
        await self._load_members({member for member, _, _ in names if member})
        await self._load_partners({partner for _, partners, _ in names for partner in partners})
        books = Books({}, {}, self.transit)
        for event, (member, partners, transit) in zip(events, names, strict=True):
            if member and self._members[member][1] < seq:
                account = books.members.get(member) or self._members[member][0]
                books.members[member] = member_after(account, event)
            for partner in partners:
                if self._partners[partner][1] < seq:
                    sub = books.partners.get(partner) or self._partners[partner][0]
                    books.partners[partner] = partner_after(sub, partner, event)
            if transit and self._transit[1] < seq:
                books.transit = transit_after(books.transit, event)
        return books

    def install(self, seq: int, books: Books) -> tuple[dict[str, Member], dict[str, Partner], Transit | None]:
        """Makes the books' accounts the current ones; answers those that have changed."""
        members = {id: account for id, account in books.members.items() if account is not self._members[id][0]}
        partners = {id: account for id, account in books.partners.items() if account is not self._partners[id][0]}
        transit = books.transit if books.transit is not self._transit[0] else None
        for id, account in members.items():
            del self._members[id]  # so that it goes to the end: the first are those unused for longest
            self._members[id] = (account, seq)
        for id, sub in partners.items():
            self._partners[id] = (sub, seq)
        if transit is not None:
            self._transit = (transit, seq)
        self._let_go()
        return members, partners, transit

    async def members(self, ids: Sequence[str]) -> dict[str, Member]:
        """Members' accounts; an empty one for who has none."""
        # Whoever is not in memory now has nothing that the read models lack.
        here = {id: self._members[id][0] for id in ids if id in self._members}
        found = await self._views.members([id for id in ids if id not in here])
        return {id: here[id] if id in here else found.get(id, (NO_MEMBER, 0))[0] for id in ids}

    async def partners(self, ids: Sequence[str]) -> dict[str, Partner]:
        """Partners' sub-accounts here; an empty one for who has none."""
        await self._load_partners(set(ids))
        return {id: self._partners[id][0] for id in ids}

    @property
    def known_partners(self) -> set[str]:
        return {id for id, (account, _) in self._partners.items() if account != NO_PARTNER}

    async def _load_members(self, ids: set[str]) -> None:
        missing = [id for id in ids if id not in self._members]
        if missing:
            found = await self._views.members(missing)
            for id in missing:
                self._members[id] = found.get(id, (NO_MEMBER, 0))

    async def _load_partners(self, ids: set[str]) -> None:
        missing = [id for id in ids if id not in self._partners]
        if missing:
            found = await self._views.partners(self._partition, missing)
            for id in missing:
                self._partners.setdefault(id, found.get(id, (NO_PARTNER, 0)))

    def _let_go(self) -> None:
        excess = len(self._members) - self._cached_members
        if excess <= 0:
            return
        written = self._projector.done
        clean = [id for id, (_, seq) in self._members.items() if seq <= written]
        for id in clean[:excess]:
            del self._members[id]
