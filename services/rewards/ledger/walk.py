"""A partition's log, replayed from its first block."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn

from services.rewards.ledger import machine
from services.rewards.ledger.block import GENESIS, Block, Posting, decode, encode, links
from services.rewards.ledger.commands import Cancel, Reverse
from services.rewards.ledger.differences import UNREADABLE, difference, other_link, undoes
from services.rewards.ledger.dues import Events
from services.rewards.ledger.effects import apply, touched
from services.rewards.ledger.events import Decision, Event, Given, Received, Refusal, Sent, Taken
from services.rewards.ledger.findings import Findings, Subject
from services.rewards.ledger.log import BlockMalformed, Log
from services.rewards.ledger.model import Books, Gift
from services.rewards.ledger.postings import Account, balances, legs
from services.rewards.ledger.scratch import Scratch
from services.rewards.ledger.store import Shape

# Is told partition and block now and then.
Progress = Callable[[int, int], Awaitable[None]]
# On its way between partitions: partner, points, and to which; or a gift.
Sending = tuple[str, int, int] | Gift


class Receipt(NamedTuple):
    """What came in from another partition; of a gift, with the member that took it in."""

    partition: int
    id: str
    what: Sending
    member: str


_AND_HASH = " (and the hash is not that of the content)"
# A command in a block: the block's number, the place in it, and what is there.
_Mention = tuple[int, int, Posting]


class Stopped(Exception):
    """A block cannot be read: what it did is not known, nor what was built on it."""


class _Unreadable(Exception):
    """The payload of a block is nothing that can be replayed."""


class Walk:
    """The partition's books and accounts as they are after the block `head`; whatever is wrong on the way is noted."""

    def __init__(self, partition: int, log: Log, shape: Shape, findings: Findings, progress: Progress | None) -> None:
        self.partition = partition
        self.head = 0
        self.commands = 0
        self.members: Counter[int] = Counter()  # how many have an account, by bucket
        self.sent: dict[str, Sending] = {}
        self.received: list[Receipt] = []
        self.books = Books()
        self.scratch = Scratch()
        self.damaged = False  # the log, somewhere up to `head`
        # Blocks of the first layout have ids and links only up to here, where a service has taken them in.
        self.mark = 0
        self._log = log
        self._shape = shape
        self._findings = findings
        self._progress = progress
        # None behind a block that is not intact: what the next one says of it tells nothing new.
        self._hash: bytes | None = GENESIS
        self._at = 0
        self._ledger: defaultdict[Account, int] = defaultdict(int)
        self._sum = 0
        self._pending: list[tuple[Block, list[str] | None]] = []

    def close(self) -> None:
        self.scratch.close()

    async def forward(self, until: int | None) -> None:
        """Up to that block, or to the last. Stopped."""
        while until is None or self.head < until:
            if not self._pending:
                await self._fetch(until)
                if not self._pending:
                    break
                if self._progress:
                    await self._progress(self.partition, self.head)
            await self._block(*self._pending.pop(0))
            await asyncio.sleep(0)

    def check_books(self) -> None:
        """When everything has been replayed: the accounts add up to the books."""
        found = balances(self.books)
        for _, account in self.scratch.accounts():
            found[Account.WALLETS] += account.balance
            found[Account.PENDING] += account.pending_points
        for book, balance in found.items():
            if balance != self._ledger[book]:
                what = f"{book.name}: {balance} in accounts, {self._ledger[book]} in the books"
                self._findings.note(Subject.BOOKS, self._say(self.head, what))

    async def _fetch(self, until: int | None) -> None:
        try:
            blocks = await self._log.read(self.partition, self.head + 1)
        except BlockMalformed:
            blocks = await self._readable()
        if not blocks and until is not None:
            what = f"the block is missing; the read models have been up to {until}"
            self._stop(self._say(self.head + 1, what))
        ids = await self._log.ids(self.partition, [block.seq for block in blocks])
        self._pending = [(block, ids.get(block.seq)) for block in blocks]

    async def _readable(self) -> list[Block]:
        """The next block, where one of those behind it cannot be read."""
        try:
            block = await self._log.block(self.partition, self.head + 1)
        except BlockMalformed as error:
            self._stop(str(error))
        return [block] if block else []

    async def _block(self, block: Block, ids: list[str] | None) -> None:
        wrong = []
        if self._hash is not None and block.previous != self._hash:
            wrong.append("field previous: is not the hash of the block before")
        if block.at < self._at:
            wrong.append("field at: is before the block before")
        try:
            postings = self._read(block, wrong)
            before = self._replay(block, postings, wrong)
        except _Unreadable as error:
            self._stop(self._say(block.seq, f"{error}{'' if block.intact else _AND_HASH}"))
        self._check_derived(block, ids, postings, before, wrong)
        await self._check_commands(block, postings, wrong)
        if not block.intact:
            await self._name_what_changed(block, wrong)
        for what in wrong:
            self._findings.note(Subject.LOG, self._say(block.seq, what))
        self.damaged = self.damaged or bool(wrong)
        self.head = block.seq
        self.commands += len(postings)
        self._hash, self._at = (block.hash, block.at) if block.intact else (None, self._at)
        if (now := sum(self._ledger.values())) != self._sum:
            self._findings.note(Subject.BOOKS, self._say(block.seq, f"the books sum to {now}, not to zero"))
            self._sum = now

    def _read(self, block: Block, wrong: list[str]) -> list[Posting]:
        try:
            postings = decode(block.payload)
        except ValueError as error:
            raise _Unreadable(f"field payload: {error}") from error
        if not block.is_of_first_layout and encode(postings) != block.payload:
            wrong.append("field payload: is not written in the one way there is")
        return postings

    def _replay(self, block: Block, postings: Sequence[Posting], wrong: list[str]) -> dict[str, int]:
        """Decides all again, and goes on with what was decided then; the members that were touched, each with the block
        that touched it before.
        """
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
                    again = machine.decide_linked(self.books, [posting.command for posting in chain], block.at)
                else:
                    again = [machine.decide(self.books, chain[0].command, block.at)]
                for number, (posting, decision) in enumerate(zip(chain, again, strict=True), place):
                    was = posting.decision
                    if was != decision and was not in machine.decided_before(self.books, posting.command, block.at):
                        field = difference(was, decision)
                        wrong.append(f"entry {number}, field {field}: the rules say otherwise")
                    if not isinstance(posting.decision, Refusal):
                        self._apply(posting.decision, before)
            except UNREADABLE as error:
                raise _Unreadable(f"entry {place}, field payload: {error!r}") from error
            place += size
        for member in before:
            self.scratch.put(member, self.books.members[member], block.seq)
        self.books.members.clear()
        self.scratch.trim()
        return before

    def _load(self, postings: Sequence[Posting]) -> None:
        names = {getattr(posting.command, "member", "") for posting in postings}
        for posting in postings:
            if not isinstance(posting.decision, Refusal):
                names.update(touched(event)[0] for event in posting.decision)
        for member in names - {""} - self.books.members.keys():
            self.books.members[member] = self.scratch.account(member)[0]

    def _apply(self, events: Events, before: dict[str, int]) -> None:
        apply(self.books, events)
        for event in events:
            for account, points in legs(event):
                self._ledger[account] += points
            if (member := touched(event)[0]) and member not in before:
                before[member] = self.scratch.account(member)[1]
                if not before[member]:
                    self.members[self._shape.bucket_of(member)] += 1
            self.sent.update(sendings(event))
            if isinstance(event, Received):
                passage = (event.partner, event.points, self.partition)
                self.received.append(Receipt(self.partition, event.passage, passage, ""))
            elif isinstance(event, Taken):
                gift = Gift(event.gift, event.giver, event.member, event.lots)
                self.received.append(Receipt(self.partition, event.gift, gift, event.member))

    def _check_derived(
        self, block: Block, ids: list[str] | None, postings: Sequence[Posting], before: dict[str, int], wrong: list[str]
    ) -> None:
        """Ids and links. A block of the first layout has none until a service has taken it in."""
        if block.links is None and ids is None and block.seq > self.mark:
            return
        expected = [posting.command.id for posting in postings]
        if ids != expected:
            pairs = zip(ids if isinstance(ids, list) else (), expected, strict=False)
            place = next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
            wrong.append(f"entry {place}, field ids: are not those of the payload")
        if block.links != links(before):
            wrong.append(f"field links: {other_link(block, before)}")

    async def _check_commands(self, block: Block, postings: Sequence[Posting], wrong: list[str]) -> None:
        """No command is there twice, and what is taken back was given."""
        for id in self.scratch.add_commands([posting.command.id for posting in postings]):
            if place := await self._place_of_second(block, id):
                wrong.append(f"entry {place}, field id: {id} was decided before")
        for posting in postings:
            command = posting.command
            if isinstance(command, Cancel | Reverse) and not await self._was_done(block, command):
                wrong.append(f"{command.id}: undoes what was not done so")

    async def _place_of_second(self, block: Block, id: str) -> int | None:
        """Looks closer at an id that seems to have been there before."""
        places = [
            (seq, place)
            for seq, place, posting in await self._mentions(id) or ()
            if posting.command.id == id and seq <= block.seq
        ]
        return max(places)[1] if len(places) > 1 else None

    async def _was_done(self, block: Block, command: Cancel | Reverse) -> bool:
        """What is taken back has to be what was given, what is given back what was taken."""
        id = command.issue if isinstance(command, Cancel) else command.id.removeprefix("reverse:")
        found = await self._mentions(id)
        return found is None or any(
            seq <= block.seq and done.command.id == id and undoes(command, done) for seq, _, done in found
        )

    async def _mentions(self, id: str) -> list[_Mention] | None:
        """Where a command is; None if a block in which it may be cannot be read, which is said of that block."""
        try:
            found = await self._log.holding(self.partition, [id])
            return [(block.seq, place, posting) for block in found for place, posting in block.mentions(id)]
        except (BlockMalformed, *UNREADABLE):
            return None

    async def _name_what_changed(self, block: Block, wrong: list[str]) -> None:
        """The part of a block that does not go with its hash, as far as that can be told."""
        try:
            following = await self._log.block(self.partition, block.seq + 1)
        except BlockMalformed:
            following = None
        repaired = block._replace(hash=following.previous) if following else block
        if repaired.intact:
            wrong.insert(0, "field hash: is not the hash of the content")
        elif wrong:
            wrong[0] += _AND_HASH
        else:
            # Whatever can be told by itself is right; of the rest nothing is but the hash itself and the time.
            wrong.append("field hash (or payload, or at): is not the hash of the content")

    def _stop(self, what: str) -> NoReturn:
        self.damaged = True
        self._findings.note(Subject.LOG, what)
        raise Stopped(what)

    def _say(self, seq: int, what: str) -> str:
        return f"partition {self.partition}, block {seq}, {what}"


def sendings(event: Event) -> dict[str, Sending]:
    """What an event sends to another partition, by its id."""
    if isinstance(event, Sent):
        return {event.passage.id: (event.passage.partner, event.passage.points, event.passage.to)}
    if isinstance(event, Given):
        return {event.gift.id: event.gift}
    return {}
