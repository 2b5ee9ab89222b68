"""Group commit: gathers a partition's commands into blocks, decides them in memory, appends, answers.

While one block is being written, what arrives gathers for the next; a command that finds the engine idle waits for
nothing. Of two engines that append at the same place one is told that it is taken: it takes the other's block in,
decides its own commands again, and appends behind it. So no lock is needed to be right.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from services.rewards.ledger.accounts import Accounts
from services.rewards.ledger.block import GENESIS, LARGEST_BLOCK, Block, decode, links
from services.rewards.ledger.commands import Command
from services.rewards.ledger.draft import Draft, Outcome, RequestIdReused
from services.rewards.ledger.log import Log
from services.rewards.ledger.model import Books
from services.rewards.ledger.projector import LARGEST_LAG, Projector
from services.rewards.ledger.seen import Seen
from services.rewards.ledger.store import Views
from services.shared.errors import ResourceExhausted, Unavailable
from services.shared.telemetry import log

_LARGEST_QUEUE = 20_000  # commands that may wait for a block
_LOOK_SECONDS = 1.0  # how often an idle engine looks for blocks of other replicas
_READ_AT_ONCE = 20  # blocks
_REMEMBERED = 5_000  # outcomes kept at hand
_LARGEST_PAYLOAD = 4 << 20  # bytes; the database takes 16 MiB, with ids and links


class LedgerBusy(ResourceExhausted):
    """More commands wait than can be decided soon; send them again in a moment."""


class BlockTooLarge(ResourceExhausted):
    """What these commands do does not go into one block; post them in parts."""


class LedgerDamaged(RuntimeError):
    """A stored block is not what it was: nothing may be built on it."""


class _Submission(NamedTuple):
    commands: Sequence[Command]
    linked: bool
    final: bool
    answer: "asyncio.Future[list[Outcome]]"


class Engine:
    """One partition. `run` is its job; `post` may be called as soon as it has been opened."""

    def __init__(self, partition: int, log: Log, views: Views, accounts: Accounts, clock: Callable[[], int]) -> None:
        self.partition = partition
        self.accounts = accounts
        self.projector = Projector(partition, views, accounts)
        self.head = 0
        self.at = 0  # the next block is not earlier
        self.turn = asyncio.Lock()  # held by whoever moves the head
        self._log = log
        self._views = views
        self._clock = clock
        self._hash = GENESIS
        self._queue: deque[_Submission] = deque()
        self._queued = 0
        self._arrived = asyncio.Event()
        self._must_look = False
        self._outcomes: dict[str, Outcome] = {}
        self._seen = Seen()
        self._began = 0
        self._looks = 0
        self.largest_payload = _LARGEST_PAYLOAD
        self._opened = False
        self._shared = False  # others write to this partition, too
        # For whoever measures: commands and seconds of a commit; commands that were sent back.
        self.on_commit: Callable[[int, float], None] = lambda commands, seconds: None
        self.on_busy: Callable[[int], None] = lambda commands: None
        # Is told whose accounts a block has changed, as soon as they can be read so.
        self.on_change: Callable[[Iterable[str]], None] = lambda _: None

    @property
    def queued(self) -> int:
        """Commands that wait for a block."""
        return self._queued

    async def open(self) -> None:
        """Takes in what the log has behind the read models; with none of them, the whole log."""
        await self._views.widen(self.partition)
        checkpoint = await self._views.checkpoint(self.partition)
        if checkpoint.seq:
            block = await self._log.block(self.partition, checkpoint.seq)
            if block is None:
                raise LedgerDamaged(f"partition {self.partition} has lost its block {checkpoint.seq}")
            self.head, self._hash, self.at = block.seq, block.hash, block.at
        self._began = self.head
        self.projector.open(self.head)
        self.accounts.open(checkpoint)
        await self.catch_up()
        self._opened = True

    async def remember(self) -> None:
        """Learns the ids of all commands from before this process, so that new ones need not be looked for. A job;
        until it is done, they are.
        """
        seq = 1
        while seq <= self._began:
            try:
                found = await self._log.ids(self.partition, range(seq, min(seq + _READ_AT_ONCE, self._began + 1)))
            except Exception as error:
                log.warning("ledger reads ids again", partition=self.partition, error=repr(error))
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            for ids in found.values():
                for id in ids:
                    self._seen.add(id)
                await asyncio.sleep(0)
            seq += _READ_AT_ONCE
        self._seen.complete = True

    async def run(self) -> None:
        """Until cancelled; then who still waits is told that the fate of its commands is not known."""
        try:
            while True:
                if not self._queue:
                    self._arrived.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._arrived.wait(), _LOOK_SECONDS)
                batch = self._gather()
                async with self.turn:
                    await self._attempt(batch)
        finally:
            while self._queue:
                _fail(self._gather(), Unavailable("The ledger is stopping; send it again.", reason="LEDGER_STOPPING"))

    async def post(self, commands: Sequence[Command], *, linked: bool = False, final: bool = True) -> list[Outcome]:
        """The commands' outcomes, in their order, when they are in the log. Linked ones happen all or not at all.

        With `final` unset, a refusal for want of allotment is answered and not recorded. RequestIdReused if an id
        stands for another command; commands before it have happened nonetheless, unless linked.
        """
        if self._queued + len(commands) > _LARGEST_QUEUE:
            self.on_busy(len(commands))
            raise LedgerBusy("The ledger has more to do than it can do soon; send it again in a moment.")
        answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Submission(commands, linked, final, answer))
        self._queued += len(commands)
        self._arrived.set()
        return await answer

    async def outcomes(self, commands: Sequence[str]) -> dict[str, Outcome]:
        """What became of commands, by their ids; those known."""
        return await self._recorded(commands)

    async def look(self) -> None:
        """Takes in what other replicas have appended. Those who wait for their turn meanwhile share one look."""
        looks = self._looks
        async with self.turn:
            if looks == self._looks:
                await self.catch_up()

    async def refresh(self) -> None:
        """Before a read: so that it sees what other replicas have acknowledged, if there are any."""
        if self._shared:
            await self.look()

    def _gather(self) -> list[_Submission]:
        batch: list[_Submission] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].commands) <= LARGEST_BLOCK):
            submission = self._queue.popleft()
            size += len(submission.commands)
            batch.append(submission)
        self._queued -= size
        return batch

    async def _attempt(self, batch: list[_Submission]) -> None:
        try:
            if self._must_look or not batch:
                await self.catch_up()
            if batch:
                await self._commit(batch)
        except BaseException as error:
            # The block may be in the log all the same: look before the next one.
            self._must_look = True
            _fail(batch, error if isinstance(error, Exception) else Unavailable("The ledger stops; send it again."))
            if not isinstance(error, Exception):
                raise
            log.warning("ledger cannot go on", partition=self.partition, commands=len(batch), error=repr(error))

    async def _commit(self, batch: list[_Submission]) -> None:
        began = time.perf_counter()
        while self.projector.lag > LARGEST_LAG:
            await self.projector.reached(self.projector.done + 1)
        while True:
            commands = [command for submission in batch for command in submission.commands]
            old = await self._recorded([command.id for command in commands])
            at = max(self._clock(), self.at)
            draft = Draft(self.head + 1, at, await self.accounts.load(commands), old)
            answers = [_answer(draft, submission) for submission in batch]
            if not draft.postings:
                break
            changed = self.accounts.changed(draft.books)
            block = Block.build(self.partition, self.head + 1, at, self._hash, draft.postings, links(changed))
            if len(block.payload) > self.largest_payload and len(commands) > 1:
                if self._keep_half(batch):
                    continue
                _fail(batch, BlockTooLarge("This does too much at once for one block; send fewer commands at a time."))
                return
            if await self._log.append(block, list(draft.fresh)):
                self._install(block, draft.fresh, draft.books, changed)
                break
            await self.catch_up()
        for submission, answer in zip(batch, answers, strict=True):
            if submission.answer.done():
                continue  # its caller has gone
            if isinstance(answer, Exception):
                submission.answer.set_exception(answer)
            else:
                submission.answer.set_result(answer)
        self.on_commit(len(commands), time.perf_counter() - began)

    def _keep_half(self, batch: list[_Submission]) -> bool:
        """Puts the later half of a batch back, for the next block; False if there is but one submission."""
        half = len(batch) // 2
        if not half:
            return False
        later = batch[half:]
        del batch[half:]
        self._queue.extendleft(reversed(later))
        self._queued += sum(len(submission.commands) for submission in later)
        return True

    async def _recorded(self, ids: Sequence[str]) -> dict[str, Outcome]:
        """What became of those of the commands that were decided before, however long ago."""
        found = {id: outcome for id in ids if (outcome := self._outcomes.get(id))}
        wanted = self._seen.perhaps([id for id in ids if id not in found])
        if wanted:
            for block in await self._log.holding(self.partition, wanted):
                for id in wanted:
                    for place, (command, decision, _) in block.mentions(id):
                        if command.id == id:
                            found[id] = Outcome(command, decision, block.at, block.seq, place)
        return found

    async def catch_up(self) -> None:
        """Takes in the blocks that others have appended. For whoever holds the turn."""
        self._looks += 1
        while blocks := await self._log.read(self.partition, self.head + 1):
            for block in blocks:
                await self._take_in(block)
            if self.projector.lag > LARGEST_LAG:
                await self.projector.flush()
        self._must_look = False

    async def _take_in(self, block: Block) -> None:
        if block.previous != self._hash or not block.intact:
            raise LedgerDamaged(f"partition {self.partition}, block {block.seq}: the chain is broken")
        postings = decode(block.payload)
        books = await self.accounts.replay(block.seq, postings)
        outcomes = {
            command.id: Outcome(command, decision, block.at, block.seq, place)
            for place, (command, decision, _) in enumerate(postings)
        }
        changed = self.accounts.changed(books)
        if block.links is None:  # stored by the first version, which did not have them
            # Had another process done it, its read models might be ahead: then `changed` would not be whole.
            again = await self._log.block(self.partition, block.seq)
            if again is None or again.links is None:
                await self._log.complete(block._replace(links=links(changed)), list(outcomes))
        self._install(block, outcomes, books, changed)
        self._shared = self._opened

    def _install(self, block: Block, outcomes: Mapping[str, Outcome], books: Books, changed: Iterable[str]) -> None:
        self.head, self._hash, self.at = block.seq, block.hash, max(self.at, block.at)
        self._outcomes.update(outcomes)
        for id in outcomes:
            self._seen.add(id)
        for id in list(islice(self._outcomes, max(0, len(self._outcomes) - _REMEMBERED))):
            del self._outcomes[id]
        self.accounts.install(block.seq, books, changed)
        self.projector.offer(block.seq, len(outcomes))
        self.on_change(changed)


def _answer(draft: Draft, submission: _Submission) -> list[Outcome] | Exception:
    decide = draft.linked if submission.linked else draft.each
    try:
        return decide(submission.commands, final=submission.final)
    except RequestIdReused as error:
        return error


def _fail(batch: Iterable[_Submission], error: Exception) -> None:
    for submission in batch:
        if not submission.answer.done():
            submission.answer.set_exception(error)
