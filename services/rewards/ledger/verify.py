"""Walks the whole log and all read models, and names the first thing that is wrong.

Of each partition: blocks without gaps, each with the hash of its content and of the block before it, times that never
go back, payloads written in the one way there is, every command deciding again what it decided then, legs and books
that sum to zero. Between partitions: what is received was sent. Of the read models: accounts as the log makes them, and
records neither more nor fewer nor other than those of the log. The ledger may be in use meanwhile.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from services.rewards.ledger import machine
from services.rewards.ledger.block import GENESIS, Block, Posting, decode, encode
from services.rewards.ledger.dues import Events, next_due
from services.rewards.ledger.effects import apply, touched
from services.rewards.ledger.log import Log
from services.rewards.ledger.model import (
    NO_MEMBER,
    NO_PARTNER,
    Books,
    Cancel,
    Captured,
    Decision,
    Gift,
    Given,
    Issue,
    Member,
    Partner,
    Received,
    Refusal,
    Reverse,
    Sent,
    Taken,
)
from services.rewards.ledger.postings import Account, Record, balances, legs, records
from services.rewards.ledger.store import Views

# A passage between partitions: partner, points, and where it goes; or a gift.
_Sent = tuple[str, int, int] | Gift

_RETRIES = 50
_RETRY_SECONDS = 0.1


class Report(NamedTuple):
    """`finding` is empty when all is well; `commands` and `members` say how much was checked."""

    finding: str
    commands: int
    members: int

    @property
    def clean(self) -> bool:
        return not self.finding


class _Wrong(Exception):
    """The first thing that is wrong."""


async def verify(
    log: Log,
    views: Views,
    partitions: int,
    partition_of: Callable[[str], int],
    progress: Callable[[int, int], Awaitable[None]] | None = None,
) -> Report:
    """Reads everything. `progress` is told partition and block now and then."""
    walks = [_Walk(number, log, views, progress) for number in range(partitions)]
    finding = ""
    try:
        for walk in walks:
            await walk.forward()
        await _check_passages(walks)
        await _caught_up(walks, views)
        for walk in walks:
            await walk.check_undone()
        await _check_records(walks, views)
        await _check_accounts(walks, views, partition_of)
    except _Wrong as wrong:
        finding = str(wrong)
    return Report(finding, sum(walk.commands for walk in walks), sum(len(walk.books.members) for walk in walks))


class _Walk:
    """A partition's log replayed from its first block."""

    def __init__(
        self, partition: int, log: Log, views: Views, progress: Callable[[int, int], Awaitable[None]] | None
    ) -> None:
        self.partition = partition
        self.head = 0
        self.commands = 0
        self.books = Books()
        self.touched: dict[str, int] = {}  # by which block an account was touched last
        self.sent: dict[str, _Sent] = {}
        self.received: list[tuple[str, _Sent, str]] = []  # with the member that took a gift in
        self.sums: dict[int, int] = {}  # per block, over its records
        self._log = log
        self._views = views
        self._progress = progress
        self._hash = GENESIS
        self._at = 0
        self._ledger: defaultdict[Account, int] = defaultdict(int)
        self._pending: list[Block] = []
        self._undone: list[tuple[int, Cancel | Reverse]] = []

    async def forward(self, until: int | None = None) -> None:
        """Up to that block, or to the last."""
        while until is None or self.head < until:
            if not self._pending:
                self._pending = await self._log.read(self.partition, self.head + 1)
                if not self._pending:
                    if until is not None:
                        raise _Wrong(self._say(self.head + 1, "the read models are ahead of the log"))
                    break
                if self._progress:
                    await self._progress(self.partition, self.head)
            await self._block(self._pending.pop(0))
            await asyncio.sleep(0)
        if (mark := await self._views.watermark(self.partition)) > self.head and until is None:
            raise _Wrong(self._say(self.head + 1, f"the block is missing; the read models have been up to {mark}"))
        for account, balance in balances(self.books).items():
            if balance != self._ledger[account]:
                raise _Wrong(
                    self._say(self.head, f"{account.name}: {balance} in accounts, {self._ledger[account]} in the books")
                )

    async def _block(self, block: Block) -> None:
        if block.previous != self._hash:
            raise _Wrong(self._say(block.seq, "field previous: is not the hash of the block before"))
        if not block.intact:
            raise _Wrong(await self._which(block))
        if block.at < self._at:
            raise _Wrong(self._say(block.seq, "field at: is before the block before"))
        postings = self._read(block)
        self._replay(block, postings)
        self._undone += [(block.seq, p.command) for p in postings if isinstance(p.command, Cancel | Reverse)]
        self.head, self._hash, self._at = block.seq, block.hash, block.at
        self.commands += len(postings)
        self.sums[block.seq] = sum(_fingerprint(r) for r in records(block.seq, block.at, postings)) % 2**64
        if sum(self._ledger.values()) != 0:
            raise _Wrong(self._say(block.seq, "the books do not sum to zero"))

    def _read(self, block: Block) -> list[Posting]:
        try:
            postings = decode(block.payload)
        except ValueError as error:
            raise _Wrong(self._say(block.seq, f"field payload: {error}")) from error
        if encode(postings) != block.payload:
            raise _Wrong(self._say(block.seq, "field payload: is not written in the one way there is"))
        return postings

    def _replay(self, block: Block, postings: Sequence[Posting]) -> None:
        place = 0
        while place < len(postings):
            size = postings[place].chain or 1
            chain = postings[place : place + size]
            again: Sequence[Decision]
            if postings[place].chain:
                again = machine.decide_linked(self.books, [posting.command for posting in chain], block.at)
            else:
                again = [machine.decide(self.books, chain[0].command, block.at)]
            for number, (posting, decision) in enumerate(zip(chain, again, strict=True), place):
                if posting.decision != decision:
                    field = _difference(posting.decision, decision)
                    raise _Wrong(self._say(block.seq, f"entry {number}, field {field}: the rules say otherwise"))
                if not isinstance(decision, Refusal):
                    self._apply(block.seq, decision)
            place += size

    def _apply(self, seq: int, events: Events) -> None:
        apply(self.books, events)
        for event in events:
            for account, points in legs(event):
                self._ledger[account] += points
            member, partners, transit = touched(event)
            for name in (member, *partners, "transit" if transit else ""):
                self.touched[name] = seq
            if isinstance(event, Sent):
                self.sent[event.passage.id] = (event.passage.partner, event.passage.points, event.passage.to)
            elif isinstance(event, Given):
                self.sent[event.gift.id] = event.gift
            elif isinstance(event, Received):
                self.received.append((event.passage, (event.partner, event.points, self.partition), ""))
            elif isinstance(event, Taken):
                gift = Gift(event.gift, event.giver, event.member, event.lots)
                self.received.append((event.gift, gift, event.member))

    async def check_undone(self) -> None:
        """What is taken back has to be what was given, what is given back what was taken."""
        for seq, command in self._undone:
            id = command.issue if isinstance(command, Cancel) else command.id.removeprefix("reverse:")
            place = (await self._views.places(self.partition, [id])).get(id)
            block = await self._log.block(self.partition, place[0]) if place and place[0] <= seq else None
            done = decode(block.payload)[place[1]] if block and place else None
            if not done or not _undoes(command, done):
                raise _Wrong(self._say(seq, f"{command.id}: undoes what was not done so"))

    async def _which(self, block: Block) -> str:
        """The part of a block that does not go with its hash, as far as that can be told."""
        following = await self._log.block(self.partition, block.seq + 1)
        repaired = block._replace(hash=following.previous) if following else block
        if repaired.intact:
            return self._say(block.seq, "field hash: is not the hash of the content")
        try:
            postings = self._read(block)
            self._replay(block, postings)
        except _Wrong as wrong:
            return f"{wrong} (and the hash is not that of the content)"
        stored_records = await self._views.records(self.partition, [posting.command.id for posting in postings])
        for record in records(block.seq, block.at, postings):
            stored = stored_records.get(record.command)
            if stored is None or stored.place != record.place:
                return self._say(block.seq, f"entry {record.place}, field id: is not in the records")
            if stored.entries != record.entries:
                return self._say(block.seq, f"entry {record.place}, field lots: the records say otherwise")
            if record.entries and stored.at != record.at:
                return self._say(block.seq, "field at: the records say otherwise")
        # Whatever the records can tell is right; they do not have the time of a block without entries.
        return self._say(block.seq, "field hash (or at): is not the hash of the content")

    def _say(self, seq: int, what: str) -> str:
        return f"partition {self.partition}, block {seq}, {what}"


async def _check_passages(walks: Sequence[_Walk]) -> None:
    """Whatever came in anywhere has gone out somewhere, and just so, and came in once. A gift may come back."""
    seen: set[str] = set()
    sent = {id: passage for walk in walks for id, passage in walk.sent.items()}
    for walk in walks:
        for id, passage, member in list(walk.received):
            if id not in sent:
                # It may have been sent since the sender's log was walked.
                for other in walks:
                    await other.forward()
                sent = {id: passage for other in walks for id, passage in other.sent.items()}
            gone = sent.get(id)
            if isinstance(gone, Gift) and member == gone.giver:
                gone = gone._replace(to=member)
            if gone != passage or id in seen:
                raise _Wrong(f"partition {walk.partition}, passage {id}: was received and not sent so")
            seen.add(id)


def _undoes(command: Cancel | Reverse, done: Posting) -> bool:
    if isinstance(command, Cancel):
        issue = done.command
        return isinstance(issue, Issue) and (issue.member, issue.lots) == (command.member, command.lots)
    captured = [event for event in done.decision if isinstance(event, Captured)]
    return [tuple(event) for event in captured] == [(command.member, command.hold, command.partner, command.lots)]


async def _caught_up(walks: Sequence[_Walk], views: Views) -> None:
    for _ in range(_RETRIES):
        marks = [await views.watermark(walk.partition) for walk in walks]
        if all(mark >= walk.head for mark, walk in zip(marks, walks, strict=True)):
            return
        await asyncio.sleep(_RETRY_SECONDS)
    raise _Wrong("the read models do not catch up with the log")


async def _check_records(walks: Sequence[_Walk], views: Views) -> None:
    found: list[defaultdict[int, int]] = [defaultdict(int) for _ in walks]
    async for partition, record in views.all_records():
        if not 0 <= partition < len(walks):
            raise _Wrong(f"record {record.command}: its partition {partition} does not exist")
        found[partition][record.seq] = (found[partition][record.seq] + _fingerprint(record)) % 2**64
    for walk, sums in zip(walks, found, strict=True):
        for seq in sorted(seq for seq in sums.keys() | walk.sums.keys() if seq <= walk.head):
            if sums.get(seq, 0) != walk.sums.get(seq, 0):
                raise _Wrong(await _which_record(walk.partition, seq, walk._log, views))


async def _which_record(partition: int, seq: int, log: Log, views: Views) -> str:
    block = await log.block(partition, seq)
    if block is None:
        return f"partition {partition}, block {seq}: has records and does not exist"
    expected = records(block.seq, block.at, decode(block.payload))
    stored = await views.records(partition, [record.command for record in expected])
    for record in expected:
        if stored.get(record.command) != record:
            field = _difference(stored.get(record.command), record)
            return f"partition {partition}, block {seq}, entry {record.place}, record {record.command}, field {field}"
    return f"partition {partition}, block {seq}: has records that are not in the log"


async def _check_accounts(walks: Sequence[_Walk], views: Views, partition_of: Callable[[str], int]) -> None:
    missing = {id: walk.partition for walk in walks for id in walk.books.members}
    async for id, account, seq, due in views.all_members():
        walk = walks[partition_of(id)]
        if due != next_due(account):
            raise _Wrong(f"partition {walk.partition}, account {id}, field due: is {due}")
        await _check_account(walk, id, account, seq, partial(_member, views, id))
        missing.pop(id, None)
    for id, partition in missing.items():
        raise _Wrong(f"partition {partition}, account {id}: is not in the read models")
    for walk in walks:
        for id in list(walk.books.partners):
            sub, seq = (await views.partners(walk.partition, [id])).get(id, (NO_PARTNER, 0))
            await _check_account(walk, id, sub, seq, partial(_partner, views, walk.partition, id))


async def _check_account(
    walk: _Walk,
    id: str,
    account: Member | Partner,
    seq: int,
    again: Callable[[], Awaitable[tuple[Member | Partner, int]]],
) -> None:
    """Compares an account with the log at the block that the account is from."""
    for _ in range(_RETRIES):
        if seq > walk.head:
            await walk.forward(seq)
        if walk.touched.get(id, 0) == seq:
            break
        if walk.touched.get(id, 0) < seq:
            raise _Wrong(f"partition {walk.partition}, account {id}, field seq: no block {seq} touches it")
        await asyncio.sleep(_RETRY_SECONDS)  # the log is ahead; the read models follow
        account, seq = await again()
    expected = walk.books.members.get(id) or walk.books.partners.get(id) or NO_MEMBER
    if account != expected:
        field = _difference(account, expected)
        raise _Wrong(f"partition {walk.partition}, account {id}, field {field}: the log says otherwise")


async def _member(views: Views, id: str) -> tuple[Member, int]:
    return (await views.members([id])).get(id, (NO_MEMBER, 0))


async def _partner(views: Views, partition: int, id: str) -> tuple[Partner, int]:
    return (await views.partners(partition, [id])).get(id, (NO_PARTNER, 0))


def _fingerprint(record: Record) -> int:
    return int.from_bytes(hashlib.blake2b(repr(record).encode(), digest_size=8).digest())


def _difference(one: Any, other: Any) -> str:
    """The name of the first field in which two named tuples differ, as deep as names go."""
    if isinstance(one, tuple) and isinstance(other, tuple) and type(one) is type(other):
        names = getattr(one, "_fields", None) or [str(place) for place in range(max(len(one), len(other)))]
        for name, (left, right) in zip(names, zip(one, other, strict=False), strict=False):
            if left != right:
                deeper = _difference(left, right)
                return f"{name}.{deeper}" if deeper else name
    return ""
