"""Walks the whole log and all read models, and names the first thing that is wrong.

Of each partition: blocks without gaps, each with the hash of its content and of the block before it, times that never
go back, payloads written in the one way there is, every command deciding again what it decided then, no id twice, legs
and books that sum to zero, ids and links that follow from the payload. Between partitions: what is received was sent.
Of the read models: accounts as the log makes them at the block that they say they are from, none missing, none too
many; and each account's next moment in a due list. The ledger may be in use meanwhile.

It reads the log once, in order, and holds one partition at a time: what that takes of memory and disk, `scratch` says.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from services.rewards.ledger import machine
from services.rewards.ledger.block import GENESIS, Block, Posting, decode, encode, links
from services.rewards.ledger.commands import Cancel, Issue, Reverse
from services.rewards.ledger.dues import Events, next_due
from services.rewards.ledger.effects import apply, touched
from services.rewards.ledger.events import Captured, Decision, Event, Given, Received, Refusal, Sent, Taken
from services.rewards.ledger.log import BlockMalformed, Log
from services.rewards.ledger.model import NO_PARTNER, Books, Gift
from services.rewards.ledger.postings import Account, balances, legs
from services.rewards.ledger.scratch import Scratch
from services.rewards.ledger.store import (
    MINUTE,
    Bucket,
    Checkpoint,
    ViewMalformed,
    Views,
    body_of,
    line,
    stored,
)

_UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)
_READ_AT_ONCE = 16  # buckets
# On its way between partitions: partner, points, and to which; or a gift.
_Sent = tuple[str, int, int] | Gift


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
    partition_of: Callable[[str], int],
    progress: Callable[[int, int], Awaitable[None]] | None = None,
) -> Report:
    """Reads everything. `progress` is told partition and block now and then."""
    finding, commands, members = "", 0, 0
    sent: dict[str, _Sent] = {}
    received: list[tuple[int, str, _Sent, str]] = []
    try:
        partitions = views.shape.partitions
        for number in range(partitions):
            walk = _Walk(number, log, views, progress)
            try:
                await walk.all(partition_of)
            finally:
                commands += walk.commands
                members += sum(walk.members.values())
                walk.close()
            sent |= walk.sent
            received += walk.received
        await _check_passages(log, partitions, sent, received)
    except (_Wrong, BlockMalformed, ViewMalformed) as wrong:
        finding = str(wrong)
    return Report(finding, commands, members)


class _Walk:
    """A partition's log replayed from its first block, and its read models beside it."""

    def __init__(
        self,
        partition: int,
        log: Log,
        views: Views,
        progress: Callable[[int, int], Awaitable[None]] | None,
    ) -> None:
        self.partition = partition
        self.head = 0
        self.commands = 0
        self.members: Counter[int] = Counter()  # how many have an account, by bucket
        self.sent: dict[str, _Sent] = {}
        self.received: list[tuple[int, str, _Sent, str]] = []  # with the member that took a gift in
        self._log = log
        self._views = views
        self._progress = progress
        self._scratch = Scratch()
        self._books = Books()
        self._hash = GENESIS
        self._at = 0
        self._ledger: defaultdict[Account, int] = defaultdict(int)
        self._pending: list[tuple[Block, list[str] | None]] = []
        self._unlisted: list[tuple[str, int]] = []
        self._mark = 0

    def close(self) -> None:
        self._scratch.close()

    async def all(self, partition_of: Callable[[str], int]) -> None:
        """Checks everything in the partition."""
        async for due_list in self._views.all_due_lists(self.partition):
            self._scratch.add_due(due_list.minute, due_list.members)
        checkpoint = await self._views.checkpoint(self.partition)
        self._mark = checkpoint.seq
        await self._forward(checkpoint.seq)
        self._check_checkpoint(checkpoint)
        # Buckets up to the checkpoint are as they were then; one that is ahead of it, as of its own block.
        later: list[tuple[int, int, Bucket]] = []
        buckets = range(self._views.shape.buckets)
        for start in range(0, len(buckets), _READ_AT_ONCE):
            numbers = buckets[start : start + _READ_AT_ONCE]
            found = await self._views.buckets(self.partition, numbers)
            for number in numbers:
                bucket = found.get(number, Bucket(0, b""))
                if bucket.seq <= checkpoint.seq:
                    self._check_bucket(number, bucket, partition_of)
                else:
                    later.append((bucket.seq, number, bucket))
                await asyncio.sleep(0)
        for seq, number, bucket in sorted(later):
            await self._forward(seq)
            self._check_bucket(number, bucket, partition_of)
        await self._forward(None)
        await self._check_unlisted()
        self._check_books()

    async def _forward(self, until: int | None) -> None:
        """Up to that block, or to the last."""
        while until is None or self.head < until:
            if not self._pending:
                blocks = await self._log.read(self.partition, self.head + 1)
                if not blocks:
                    if until is not None:
                        what = f"the block is missing; the read models have been up to {until}"
                        raise _Wrong(self._say(self.head + 1, what))
                    break
                ids = await self._log.ids(self.partition, [block.seq for block in blocks])
                self._pending = [(block, ids.get(block.seq)) for block in blocks]
                if self._progress:
                    await self._progress(self.partition, self.head)
            await self._block(*self._pending.pop(0))
            await asyncio.sleep(0)

    async def _block(self, block: Block, ids: list[str] | None) -> None:
        if block.previous != self._hash:
            raise _Wrong(self._say(block.seq, "field previous: is not the hash of the block before"))
        if not block.intact:
            raise _Wrong(await self._which(block, ids))
        if block.at < self._at:
            raise _Wrong(self._say(block.seq, "field at: is before the block before"))
        postings = self._read(block)
        before = self._replay(block, postings)
        self._check_derived(block, ids, postings, before)
        for id in self._scratch.add_commands([posting.command.id for posting in postings]):
            await self._check_once(block, id)
        for posting in postings:
            if isinstance(posting.command, Cancel | Reverse):
                await self._check_undone(block, posting.command)
        self.head, self._hash, self._at = block.seq, block.hash, block.at
        self.commands += len(postings)
        if sum(self._ledger.values()) != 0:
            raise _Wrong(self._say(block.seq, "the books do not sum to zero"))

    def _read(self, block: Block) -> list[Posting]:
        try:
            postings = decode(block.payload)
        except ValueError as error:
            raise _Wrong(self._say(block.seq, f"field payload: {error}")) from error
        if not block.is_of_first_layout and encode(postings) != block.payload:
            raise _Wrong(self._say(block.seq, "field payload: is not written in the one way there is"))
        return postings

    def _replay(self, block: Block, postings: Sequence[Posting]) -> dict[str, int]:
        """Decides all again; the members that were touched, each with the block that touched it before."""
        before: dict[str, int] = {}
        place = 0
        while place < len(postings):
            try:
                size = postings[place].chain or 1
                chain = postings[place : place + size]
                self._load(chain)
                again: Sequence[Decision]
                if block.is_of_first_layout:
                    again = [posting.decision for posting in chain]  # the rules of then: its hash has to do
                elif postings[place].chain:
                    again = machine.decide_linked(self._books, [posting.command for posting in chain], block.at)
                else:
                    again = [machine.decide(self._books, chain[0].command, block.at)]
                for number, (posting, decision) in enumerate(zip(chain, again, strict=True), place):
                    if posting.decision != decision:
                        field = _difference(posting.decision, decision)
                        raise _Wrong(self._say(block.seq, f"entry {number}, field {field}: the rules say otherwise"))
                    if not isinstance(decision, Refusal):
                        self._apply(block, decision, before)
            except _UNREADABLE as error:
                raise _Wrong(self._say(block.seq, f"entry {place}, field payload: {error!r}")) from error
            place += size
        for member in before:
            self._scratch.put(member, self._books.members[member], block.seq)
        self._books.members.clear()
        self._scratch.trim()
        return before

    def _load(self, postings: Sequence[Posting]) -> None:
        names = {getattr(posting.command, "member", "") for posting in postings}
        for posting in postings:
            if not isinstance(posting.decision, Refusal):
                names.update(touched(event)[0] for event in posting.decision)
        for member in names - {""} - self._books.members.keys():
            self._books.members[member] = self._scratch.account(member)[0]

    def _apply(self, block: Block, events: Events, before: dict[str, int]) -> None:
        apply(self._books, events)
        for event in events:
            for account, points in legs(event):
                self._ledger[account] += points
            if (member := touched(event)[0]) and member not in before:
                before[member] = self._scratch.account(member)[1]
                if not before[member]:
                    self.members[self._views.shape.bucket_of(member)] += 1
            self.sent.update(_sent(event))
            if isinstance(event, Received):
                passage = (event.partner, event.points, self.partition)
                self.received.append((self.partition, event.passage, passage, ""))
            elif isinstance(event, Taken):
                gift = Gift(event.gift, event.giver, event.member, event.lots)
                self.received.append((self.partition, event.gift, gift, event.member))

    def _check_derived(
        self, block: Block, ids: list[str] | None, postings: Sequence[Posting], before: dict[str, int]
    ) -> None:
        """Ids and links. A block of the first layout has none until a service has taken it in."""
        if block.links is None and ids is None and block.seq > self._mark:
            return
        expected = [posting.command.id for posting in postings]
        if ids != expected:
            pairs = zip(ids if isinstance(ids, list) else (), expected, strict=False)
            place = next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
            raise _Wrong(self._say(block.seq, f"entry {place}, field ids: are not those of the payload"))
        if block.links != links(before):
            raise _Wrong(self._say(block.seq, f"field links: {_other_link(block, before)}"))

    async def _check_once(self, block: Block, id: str) -> None:
        """Looks closer at an id that seems to have been there before."""
        found = await self._log.holding(self.partition, [id])
        places = [
            (other.seq, place)
            for other in found
            for place, posting in other.mentions(id)
            if posting.command.id == id and other.seq <= block.seq
        ]
        if len(places) > 1:
            raise _Wrong(self._say(block.seq, f"entry {max(places)[1]}, field id: {id} was decided before"))

    async def _check_undone(self, block: Block, command: Cancel | Reverse) -> None:
        """What is taken back has to be what was given, what is given back what was taken."""
        id = command.issue if isinstance(command, Cancel) else command.id.removeprefix("reverse:")
        for other in await self._log.holding(self.partition, [id]):
            for _, done in other.mentions(id):
                if done.command.id == id and other.seq <= block.seq and _undoes(command, done):
                    return
        raise _Wrong(self._say(block.seq, f"{command.id}: undoes what was not done so"))

    async def _which(self, block: Block, ids: list[str] | None) -> str:
        """The part of a block that does not go with its hash, as far as that can be told."""
        following = await self._log.block(self.partition, block.seq + 1)
        repaired = block._replace(hash=following.previous) if following else block
        if repaired.intact:
            return self._say(block.seq, "field hash: is not the hash of the content")
        try:
            postings = self._read(block)
            self._check_derived(block, ids, postings, self._replay(block, postings))
        except _Wrong as wrong:
            return f"{wrong} (and the hash is not that of the content)"
        # Whatever can be told by itself is right; of the rest nothing is but the hash itself and the time.
        return self._say(block.seq, "field hash (or payload, or at): is not the hash of the content")

    def _check_checkpoint(self, checkpoint: Checkpoint) -> None:
        what = f"partition {self.partition}, checkpoint of block {checkpoint.seq}"
        if checkpoint.transit != self._books.transit:
            field = _difference(checkpoint.transit, self._books.transit)
            raise _Wrong(f"{what}, transit, field {field}: the log says otherwise")
        for id in sorted(checkpoint.partners.keys() | self._books.partners.keys()):
            account, expected = checkpoint.partners.get(id, NO_PARTNER), self._books.partners.get(id, NO_PARTNER)
            if account != expected:
                field = _difference(account, expected)
                raise _Wrong(f"{what}, account {id}, field {field}: the log says otherwise")

    def _check_bucket(self, number: int, bucket: Bucket, partition_of: Callable[[str], int]) -> None:
        what = f"partition {self.partition}, accounts {number}"
        count = 0
        for row in bucket.rows():
            try:
                member, (account, last, due) = stored(row)
                if not isinstance(member, str) or line(member, account, last, due) != row:
                    raise ViewMalformed("field body: is not written in the one way there is")
            except (ViewMalformed, *_UNREADABLE) as error:
                raise _Wrong(f"{what}, account {count}, {error}") from error
            count += 1
            if partition_of(member) != self.partition or self._views.shape.bucket_of(member) != number:
                raise _Wrong(f"{what}, account {member}, field id: does not belong here")
            expected, seq = self._scratch.account(member)
            if last != seq:
                raise _Wrong(f"{what}, account {member}, field last: is {last}, the log says {seq}")
            if account != expected:
                field = _difference(account, expected)
                raise _Wrong(f"{what}, account {member}, field {field}: the log says otherwise")
            if due != (moment := next_due(account)):
                raise _Wrong(f"{what}, account {member}, field due: is {due}, the account says {moment}")
            if due is not None and not self._scratch.is_due(due // MINUTE, member):
                self._unlisted.append((member, due))
            self._scratch.trim()
        if count != self.members[number]:
            raise _Wrong(
                f"{what}: has {count} accounts, the log makes {self.members[number]}{self._missing(number, bucket)}"
            )
        if bucket.body.split(b"\n", 1)[0] != (b"%d" % bucket.seq if bucket.seq else b""):
            raise _Wrong(f"{what}, field seq: is {bucket.seq}, the body says otherwise")
        if bucket.seq and bucket.body != body_of(bucket.seq, bucket.rows()):
            raise _Wrong(f"{what}, field body: is not written in the one way there is")

    def _missing(self, number: int, bucket: Bucket) -> str:
        for member, _ in self._scratch.accounts():
            if self._views.shape.bucket_of(member) == number and bucket.find(member) is None:
                return f"; account {member} is missing"
        return ""

    async def _check_unlisted(self) -> None:
        """Lists come and go while the ledger is in use: what was not in one may be by now, or not be due any more."""
        for member, due in self._unlisted:
            account, _ = self._scratch.account(member)
            if next_due(account) == due and member not in await self._views.listed(self.partition, due // MINUTE):
                what = f"account {member}, field due: {due} is in no due list"
                raise _Wrong(f"partition {self.partition}, accounts {self._views.shape.bucket_of(member)}, {what}")
            self._scratch.trim()

    def _check_books(self) -> None:
        found = balances(self._books)
        for _, account in self._scratch.accounts():
            found[Account.WALLETS] += account.balance
            found[Account.PENDING] += account.pending_points
        for book, balance in found.items():
            if balance != self._ledger[book]:
                what = f"{book.name}: {balance} in accounts, {self._ledger[book]} in the books"
                raise _Wrong(self._say(self.head, what))

    def _say(self, seq: int, what: str) -> str:
        return f"partition {self.partition}, block {seq}, {what}"


async def _check_passages(
    log: Log, partitions: int, sent: dict[str, _Sent], received: Sequence[tuple[int, str, _Sent, str]]
) -> None:
    """Whatever came in anywhere has gone out somewhere, and just so, and came in once. A gift may come back."""
    seen: set[str] = set()
    for partition, id, passage, member in received:
        gone = sent.get(id) or await _sent_since(log, partitions, id)
        if isinstance(gone, Gift) and member == gone.giver:
            gone = gone._replace(to=member)
        if gone != passage or id in seen:
            raise _Wrong(f"partition {partition}, passage {id}: was received and not sent so")
        seen.add(id)


async def _sent_since(log: Log, partitions: int, id: str) -> _Sent | None:
    """What has been sent since the sender's log was walked."""
    for partition in range(partitions):
        for block in await log.holding(partition, [id]):
            for _, (_, decision, _) in block.mentions(id):
                for event in () if isinstance(decision, Refusal) else decision:
                    if found := _sent(event).get(id):
                        return found
    return None


def _sent(event: Event) -> dict[str, _Sent]:
    if isinstance(event, Sent):
        return {event.passage.id: (event.passage.partner, event.passage.points, event.passage.to)}
    if isinstance(event, Given):
        return {event.gift.id: event.gift}
    return {}


def _undoes(command: Cancel | Reverse, done: Posting) -> bool:
    if isinstance(command, Cancel):
        issue = done.command
        return isinstance(issue, Issue) and (issue.member, issue.lots) == (command.member, command.lots)
    captured = [event for event in done.decision if isinstance(event, Captured)]
    return [tuple(event) for event in captured] == [(command.member, command.hold, command.partner, command.lots)]


def _other_link(block: Block, before: dict[str, int]) -> str:
    try:
        for member, seq in before.items():
            if block.before(member) != seq:
                return f"member {member}: the block before is {seq}"
    except _UNREADABLE as error:
        return f"cannot be read: {error}"
    return "are not those of the payload"


def _difference(one: Any, other: Any) -> str:
    """The name of the first field in which two named tuples differ, as deep as names go."""
    if isinstance(one, tuple) and isinstance(other, tuple) and type(one) is type(other):
        names = getattr(one, "_fields", None) or [str(place) for place in range(max(len(one), len(other)))]
        for name, (left, right) in zip(names, zip(one, other, strict=False), strict=False):
            if left != right:
                deeper = _difference(left, right)
                return f"{name}.{deeper}" if deeper else name
    return ""
