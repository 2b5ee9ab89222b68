"""The ledger as the rest of the service sees it: post commands, read accounts, entries and spends."""

import asyncio
import heapq
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

from services.rewards.ledger import log, store
from services.rewards.ledger.accounts import Accounts, Held
from services.rewards.ledger.block import LARGEST_BLOCK, Block
from services.rewards.ledger.commands import Cancel, Capture, Command, Give, Issue, Receive, Reverse, Send, Settle
from services.rewards.ledger.draft import Outcome
from services.rewards.ledger.dues import next_due
from services.rewards.ledger.engine import BlockTooLarge, Engine
from services.rewards.ledger.events import Captured, Given, Refusal
from services.rewards.ledger.model import NO_PARTNER, Member
from services.rewards.ledger.passages import Passages
from services.rewards.ledger.postings import Record, Spend, records_of, spends
from services.rewards.ledger.reversal import points_to_reverse
from services.rewards.ledger.totals import Totals, totals_of
from services.rewards.ledger.verify import Report, verify
from services.shared.mongo import Database, Indexes

INDEXES: Indexes = {**log.INDEXES, **store.INDEXES}
# How often an issue goes after allotment that others take before it; each time some of them are served.
_ATTEMPTS = 20
_DUE_LISTS = 20  # that one look for what is due goes through


class Cut(NamedTuple):
    """A moment in all logs: its time, and the last block of each partition (by its number as a string) up to it."""

    at: int
    heads: Mapping[str, int]


class Ledger:
    """All partitions of the ledger in this process. `open` it, then let `run` run beside its use."""

    def __init__(
        self,
        database: Database,
        partitions: int,
        clock: Callable[[], int],
        *,
        buckets: int = 128,
        cached_members: int = 20_000,
        cached_bytes: int = 200_000_000,
    ) -> None:
        self.log = log.Log(database)
        self.views = store.Views(database, store.Shape(partitions, buckets))
        bounds = {"cached_members": cached_members // partitions, "cached_bytes": cached_bytes // partitions}
        self.engines = [
            Engine(number, self.log, self.views, Accounts(number, self.views, **bounds), clock)
            for number in range(partitions)
        ]
        self._passages = Passages(self.engines, self.partition)

    async def open(self) -> None:
        """Takes in what is stored. PartitionCountChanged if the ledger was made with another number of partitions."""
        await self.log.ensure_partitions(len(self.engines))
        await self.log.note_buckets(self.views.shape.buckets)
        await asyncio.gather(*(engine.open() for engine in self.engines))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self.engines:
                group.create_task(each.run())
                group.create_task(each.remember())
                group.create_task(each.projector.run())

    def on_change(self, listener: Callable[[Iterable[str]], None]) -> None:
        """Calls it after each block with the members whose accounts that changed, whichever process wrote it."""
        for each in self.engines:
            each.on_change = listener

    def heads(self) -> dict[int, int]:
        """The last block of each partition that this process has taken in."""
        return {each.partition: each.head for each in self.engines}

    async def look(self, partitions: Iterable[int] | None = None) -> None:
        """Takes in what other replicas have written by now, in these partitions or all."""
        wanted = range(len(self.engines)) if partitions is None else partitions
        await asyncio.gather(*(self.engines[partition].look() for partition in wanted))

    async def refresh(self, members: Iterable[str] | None = None) -> None:
        """Before a read of these members' accounts, or of all partners': it then sees what was acknowledged before,
        whichever replica did. (The first block that another one wrote is seen within a second.)
        """
        wanted = range(len(self.engines)) if members is None else {self.partition(id) for id in members}
        await asyncio.gather(*(self.engines[partition].refresh() for partition in wanted))

    async def reach(self, heads: Mapping[int, int]) -> None:
        """Takes in these blocks, unless it has; ValueError if there is no such partition."""
        if any(not 0 <= partition < len(self.engines) for partition in heads):
            raise ValueError(f"this ledger has {len(self.engines)} partitions")
        await self.look([partition for partition, seq in heads.items() if self.engines[partition].head < seq])

    def partition(self, id: str) -> int:
        """The partition of a member's account, and the home of a partner's."""
        return zlib.crc32(id.encode()) % len(self.engines)

    async def post(self, commands: Sequence[Command]) -> list[Outcome]:
        """Each command's outcome, in the order of the commands, once it is in the log for good.

        A command has one outcome for ever: posting it again gives the same one. RequestIdReused if its id stands for
        another command.
        """
        by_partition: defaultdict[int, list[int]] = defaultdict(list)
        for place, command in enumerate(commands):
            by_partition[self._partition_of(command)].append(place)
        chunks = [
            (partition, places[start : start + LARGEST_BLOCK])
            for partition, places in by_partition.items()
            for start in range(0, len(places), LARGEST_BLOCK)
        ]
        answers = await asyncio.gather(
            *(self._post(partition, [commands[place] for place in places]) for partition, places in chunks)
        )
        outcomes = {
            place: outcome
            for (_, places), answer in zip(chunks, answers, strict=True)
            for place, outcome in zip(places, answer, strict=True)
        }
        return [outcomes[place] for place in range(len(commands))]

    async def post_one(self, command: Command) -> Outcome:
        """As `post`."""
        commands = (command,)
        partition = self._partition_of(command)
        (outcome,) = outcomes = await self.engines[partition].post(commands, final=False)
        if not outcome.seq:
            outcomes = await self._again(partition, commands, outcomes)
        return outcomes[0]

    async def post_linked(self, commands: Sequence[Command]) -> list[Outcome]:
        """As `post`, but all happen or none: then each is refused, one for its own reason, the others because of it.

        They have to be in one partition, as all commands on one member are; else ValueError.
        """
        partitions = {self._partition_of(command) for command in commands}
        if len(partitions) != 1 or not len({c.id for c in commands}) == len(commands) <= LARGEST_BLOCK:
            raise ValueError("linked commands have to be in one partition and one block, each with its own id")
        partition = partitions.pop()
        for _ in range(_ATTEMPTS):
            outcomes = await self.engines[partition].post(commands, linked=True, final=False)
            if all(outcome.seq for outcome in outcomes):
                return outcomes
            if not await self._passages.fill(partition, commands):
                break
        return await self.engines[partition].post(commands, linked=True)

    async def cancel(self, issue: str, member: str) -> Outcome | None:
        """Takes back an issue, once: asked again, the outcome is the same. None if it did not give anything."""
        given = await self._done(issue, member)
        if given is None or given.refusal or not isinstance(given.command, Issue) or given.command.member != member:
            return None
        return await self.post_one(Cancel(f"cancel:{issue}", member, issue, given.command.lots))

    async def reverse(self, capture: str, member: str, points: int) -> Outcome | None:
        """Gives back points of a capture, or with 0 all, once: asked again, the outcome is the same. None if it did not
        take anything. ReversalOutOfRange; RequestIdReused if another number of points has been given back.
        """
        taken = await self._done(capture, member)
        if taken is None or isinstance(taken.decision, Refusal) or not isinstance(taken.command, Capture):
            return None
        _, owner, hold, _, partner = taken.command
        if owner != member:
            return None
        lots = next(event.lots for event in taken.decision if isinstance(event, Captured))
        count = points_to_reverse(lots, points)
        return await self.post_one(Reverse(f"reverse:{capture}", member, hold, partner, lots, count))

    async def give(self, gift: Give) -> tuple[Outcome, bool]:
        """Sends a gift and brings it to its receiver; whether it has stayed there, or came back as the receiver has no
        room for so many points. Whoever does it again, after a crash perhaps, gets the same.
        """
        outcome = await self.post_one(gift)
        arrived = False
        for event in () if isinstance(outcome.decision, Refusal) else outcome.decision:
            if isinstance(event, Given):
                arrived = await self._passages.deliver(event.gift)
        return outcome, arrived

    async def members(self, ids: Sequence[str]) -> dict[str, Member]:
        """Accounts with everything that this process has acknowledged; an empty one for who has none."""
        by_partition: defaultdict[int, list[str]] = defaultdict(list)
        for id in dict.fromkeys(ids):
            by_partition[self.partition(id)].append(id)
        found = await asyncio.gather(
            *(self.engines[partition].accounts.members(part) for partition, part in by_partition.items())
        )
        return {id: held.account for part in found for id, held in part.items()}

    async def entries(self, member: str, before: tuple[int, int] | None, limit: int) -> list[Record]:
        """A member's records that moved points, newest first: so many, or a few more of the last block's. With `before`
        only those up to that place, a block and an index.
        """
        found: list[Record] = []
        seq = before[0] if before else (await self._held(member)).last
        async for block, theirs in self._history(member, seq):
            found += [r for r in theirs if before is None or (block.seq, r.place) <= before]
            if len(found) >= limit:
                break
        return found

    async def balance_at(self, member: str, at: int) -> int:
        """The member's balance as of a moment: what it is, less all that moved it after then (R11)."""
        held = await self._held(member)
        balance = held.account.balance
        async for block, theirs in self._history(member, held.last):
            if block.at <= at:
                break
            balance -= sum([entry.points for record in theirs for entry in record.entries])
        return balance

    async def partner_totals(self, ids: Iterable[str] | None = None) -> list[Totals]:
        """Partners' points over all partitions, by id; all partners' with None. Zeros for who has none."""
        known = [each.accounts.partners for each in self.engines]
        wanted = sorted(set(ids) if ids is not None else set().union(*known))
        return [totals_of(id, [part.get(id, NO_PARTNER) for part in known]) for id in wanted]

    async def cut(self, at: int) -> Cut:
        """Where the logs stand: whatever comes behind, through this process, is later than the cut's time.

        That is `at`, or the time of the last block if a clock has been ahead.
        """
        async with AsyncExitStack() as turns:
            for each in self.engines:
                await turns.enter_async_context(each.turn)
                await each.catch_up()
            until = max(at, *(each.at for each in self.engines))
            for each in self.engines:
                each.at = until + 1
            return Cut(until, {str(each.partition): each.head for each in self.engines})

    async def began(self) -> int | None:
        """The time of the first block; None if there is none."""
        first = [await self.log.block(each.partition, 1) for each in self.engines]
        return min((block.at for block in first if block), default=None)

    async def spends(self, after: Mapping[str, int], until: Mapping[str, int]) -> AsyncIterator[Spend]:
        """What was spent between two cuts' heads, by time and then by place in the log. The same for ever."""
        logs = [self._spends(n, after.get(str(n), 0) + 1, until[str(n)]) for n in range(len(self.engines))]
        waiting = [(spend, number) for number, log in enumerate(logs) if (spend := await anext(log, None))]
        heapq.heapify(waiting)
        while waiting:
            spend, number = waiting[0]
            yield spend
            if following := await anext(logs[number], None):
                heapq.heapreplace(waiting, (following, number))
            else:
                heapq.heappop(waiting)

    async def _spends(self, partition: int, seq: int, last: int) -> AsyncIterator[Spend]:
        while seq <= last:
            for block in await self.log.read(partition, seq):
                for spend in spends(block) if block.seq <= last else ():
                    yield spend
                seq = block.seq + 1
                await asyncio.sleep(0)

    async def due(self, at: int, limit: int) -> list[str]:
        """Members on whose accounts time has something to do that nobody has come across, longest overdue first; it
        may be a minute until a member is among them.
        """
        found = {id: moment for each in self.engines for id, moment in each.accounts.due(at).items()}
        for due_list in await self.views.due_lists(at // store.MINUTE, _DUE_LISTS):
            moments = {id: next_due(account) for id, account in (await self.members(due_list.members)).items()}
            overdue = {id: moment for id, moment in moments.items() if moment is not None and moment <= at}
            if not overdue and due_list.minute < at // store.MINUTE and self._has(due_list):
                await self.views.drop_due(due_list.id)
            found |= overdue
            if len(found) >= limit:
                break
        return sorted(found, key=found.__getitem__)[:limit]

    async def complete_passages(self) -> None:
        """Completes what a crash has left in transit."""
        await self._passages.complete_all()

    async def project(self) -> None:
        """Waits until the read models have everything that this process has in its logs. No read needs it."""
        await asyncio.gather(*(each.projector.reached(each.head) for each in self.engines))

    async def verify(self) -> Report:
        """Checks everything that is stored, and says what is wrong."""
        return await verify(self.log, self.views, self.partition)

    def _partition_of(self, command: Command) -> int:
        member: str = getattr(command, "member", "")
        if not member and isinstance(command, Send | Receive | Settle):
            raise ValueError("passages are the ledger's own business")
        return self.partition(member or command.partner)  # type: ignore[union-attr]

    async def _post(self, partition: int, commands: Sequence[Command]) -> list[Outcome]:
        """Refused for want of allotment is final only if there is none to be had from elsewhere."""
        try:
            outcomes = await self.engines[partition].post(commands, final=False)
        except BlockTooLarge:
            half = len(commands) // 2
            return await self._post(partition, commands[:half]) + await self._post(partition, commands[half:])
        if all(outcome.seq for outcome in outcomes):
            return outcomes
        return await self._again(partition, commands, outcomes)

    async def _again(self, partition: int, commands: Sequence[Command], outcomes: list[Outcome]) -> list[Outcome]:
        target = self.engines[partition]
        for attempt in range(1, _ATTEMPTS + 1):
            short = [place for place, outcome in enumerate(outcomes) if outcome.seq == 0]
            if not short:
                break
            wanted = [commands[place] for place in short]
            filled = await self._passages.fill(partition, wanted) and attempt < _ATTEMPTS
            for place, outcome in zip(short, await target.post(wanted, final=not filled), strict=True):
                outcomes[place] = outcome
        return outcomes

    async def _done(self, command: str, member: str) -> Outcome | None:
        """What became of a command on a member, also if another replica has decided it just now."""
        engine = self.engines[self.partition(member)]
        found = (await engine.outcomes([command])).get(command)
        if found is None:
            await engine.look()
            found = (await engine.outcomes([command])).get(command)
        return found

    async def _held(self, member: str) -> Held:
        return (await self.engines[self.partition(member)].accounts.members([member]))[member]

    async def _history(self, member: str, seq: int) -> AsyncIterator[tuple[Block, list[Record]]]:
        """The blocks that touch a member, from that one backwards, each with the member's records, newest first."""
        partition = self.partition(member)
        while seq and (block := await self.log.block(partition, seq)):
            yield block, [r for r in reversed(records_of(block, block.mentions(member))) if r.member == member]
            seq = block.before(member) or 0

    def _has(self, due_list: store.DueList) -> bool:
        """Whether the block that a list stems from has been taken in here."""
        return due_list.partition < len(self.engines) and self.engines[due_list.partition].head >= due_list.seq


async def as_stored(database: Database) -> Ledger | None:
    """The ledger in a database, not opened, for who only reads what is stored; None before its first start."""
    counts = await log.Log(database).counts()
    if "partitions" not in counts:
        return None
    return Ledger(database, counts["partitions"], lambda: 0, buckets=counts.get("buckets", 1))
