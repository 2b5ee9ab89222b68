"""One partition's accounts in memory: all partners' sub-accounts, and as many members' as are allowed.

A member's account is, from the outside in: changed and not in the read models yet; being written there; at hand as an
object; in a bucket that is at hand as bytes; or in the database. The first two are never let go (how many they are, the
projector's limit bounds), the next two are caches: of so many accounts, and of so many bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from services.rewards.ledger.block import Posting
from services.rewards.ledger.commands import Command
from services.rewards.ledger.dues import next_due
from services.rewards.ledger.effects import member_after, partner_after, touched, transit_after
from services.rewards.ledger.events import Refusal
from services.rewards.ledger.model import NO_MEMBER, NO_PARTNER, Books, Member, Partner, Transit
from services.rewards.ledger.store import Bucket, Checkpoint, Views


class Held(NamedTuple):
    """An account, the block that touched it last, and one up to which nothing else has: it may be ahead of ours."""

    account: Member
    last: int
    as_of: int


_NOBODY = Held(NO_MEMBER, 0, 0)


class Accounts:
    """Accounts as they are at the partition's head."""

    def __init__(self, partition: int, views: Views, *, cached_members: int, cached_bytes: int) -> None:
        self.partners: Mapping[str, Partner] = {}  # replaced, never changed
        self.transit = Transit()
        self._partition = partition
        self._views = views
        self._cached_members = cached_members
        self._cached_bytes = cached_bytes
        self._changed: dict[str, Held] = {}
        self._leaving: dict[str, Held] = {}
        self._members: dict[str, Held] = {}
        self._loaded: Mapping[str, Held] = {}
        self._buckets: dict[int, Bucket] = {}
        self._bucket_bytes = 0
        self._writes = 0

    def open(self, checkpoint: Checkpoint) -> None:
        """Begins where the read models are."""
        self.partners, self.transit = checkpoint.partners, checkpoint.transit

    async def load(self, commands: Iterable[Command]) -> Books:
        """Books with every account that the commands can touch."""
        ids = {member for command in commands if (member := getattr(command, "member", ""))}
        held = self._loaded = await self._find(ids, keep=True)
        return Books({id: account for id, (account, _, _) in held.items()}, dict(self.partners), self.transit)

    async def replay(self, seq: int, postings: Iterable[Posting]) -> Books:
        """The accounts that a block from elsewhere touched, as they are after it.

        One that was read from the read models may have the block in it already, or even later ones.
        """
        events = [event for _, decision, _ in postings if not isinstance(decision, Refusal) for event in decision]
        names = [touched(event) for event in events]
        held = self._loaded = await self._find({member for member, _, _ in names if member}, keep=True)
        books = Books({}, dict(self.partners), self.transit)
        for event, (member, partners, transit) in zip(events, names, strict=True):
            if member and held[member].as_of < seq:
                account = books.members.get(member) or held[member].account
                books.members[member] = member_after(account, event)
            for partner in partners:
                books.partners[partner] = partner_after(books.partners.get(partner, NO_PARTNER), partner, event)
            if transit:
                books.transit = transit_after(books.transit, event)
        return books

    def changed(self, books: Books) -> dict[str, int]:
        """The members whose accounts the books have changed since they were loaded (or replayed), each with the block
        that touched it last till now.
        """
        loaded = self._loaded
        return {id: loaded[id].last for id, account in books.members.items() if loaded[id].account is not account}

    def install(self, seq: int, books: Books, changed: Iterable[str]) -> None:
        """Makes the books' accounts the current ones; of members', those that the block `seq` has changed."""
        for id in changed:
            self._members.pop(id, None)
            self._changed[id] = Held(books.members[id], seq, seq)
        self.partners, self.transit = books.partners, books.transit
        self._let_go()

    async def members(self, ids: Sequence[str]) -> dict[str, Held]:
        """Members' accounts; an empty one for who has none."""
        return await self._find(ids)

    def due(self, at: int) -> dict[str, int]:
        """Of the members whose accounts are not in the read models yet: on whose something is due, and since when."""
        waiting = {**self._leaving, **self._changed}
        found = {id: next_due(held.account) for id, held in waiting.items()}
        return {id: moment for id, moment in found.items() if moment is not None and moment <= at}

    def leave(self) -> Mapping[str, Held]:
        """What has changed since the last time, to be written; until `left` it stays at hand."""
        self._leaving = {**self._leaving, **self._changed}
        self._changed = {}
        return self._leaving

    def left(self) -> None:
        """What was leaving is in the read models."""
        self._members.update(self._leaving)
        self._leaving = {}
        self._let_go()

    async def buckets(self, numbers: Iterable[int]) -> dict[int, Bucket]:
        """Buckets as they are in the read models; empty ones, too."""
        wanted = list(numbers)
        while True:
            writes = self._writes
            here = {number: self._buckets[number] for number in wanted if number in self._buckets}
            missing = [number for number in wanted if number not in here]
            if not missing:
                return here
            found = await self._views.buckets(self._partition, missing)
            if writes == self._writes:  # else what was read may be older than what has been written meanwhile
                break
        read = {number: found.get(number) or Bucket(0, b"") for number in missing}
        self._keep(read)
        return here | read

    def wrote(self, buckets: Mapping[int, Bucket]) -> None:
        """These are in the read models now."""
        self._writes += 1
        self._keep(buckets)

    def bucket_of(self, member: str) -> int:
        """The bucket of a member's account."""
        return self._views.shape.bucket_of(member)

    def _at_hand(self, id: str) -> Held:
        return self._changed.get(id) or self._leaving.get(id) or self._members.get(id) or _NOBODY

    async def _find(self, ids: Iterable[str], *, keep: bool = False) -> dict[str, Held]:
        found: dict[str, Held] = {}
        cold: defaultdict[int, list[str]] = defaultdict(list)
        for id in ids:
            if (held := self._at_hand(id)) is not _NOBODY:
                found[id] = held
            else:
                cold[self.bucket_of(id)].append(id)
        if cold:
            for number, bucket in (await self.buckets(cold)).items():
                for id in cold[number]:
                    if (held := self._at_hand(id)) is _NOBODY and (stored := bucket.find(id)):
                        held = Held(stored.account, stored.last, bucket.seq)
                        if keep:
                            self._members[id] = held
                    found[id] = held
        return found

    def _keep(self, buckets: Mapping[int, Bucket]) -> None:
        for number, bucket in buckets.items():
            if old := self._buckets.pop(number, None):
                self._bucket_bytes -= len(old.body)
            self._buckets[number] = bucket
            self._bucket_bytes += len(bucket.body)
        while self._bucket_bytes > self._cached_bytes:
            self._bucket_bytes -= len(self._buckets.pop(next(iter(self._buckets))).body)

    def _let_go(self) -> None:
        for id in list(islice(self._members, max(0, len(self._members) - self._cached_members))):
            del self._members[id]
