"""Brings one partition's read models up to the log: in the background, and rarely.

Nothing that is acknowledged waits for it, and no read does: what is not written yet is at hand in memory, and after a
crash it is made again from the log. So it writes when the partition has nothing else to do, or when so much waits that
making it again would take long; then each bucket once, however many blocks have touched it.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import partial

from services.rewards.ledger.accounts import Accounts, Held
from services.rewards.ledger.dues import next_due
from services.rewards.ledger.store import MINUTE, Bucket, Checkpoint, Views, due_of, line
from services.shared.telemetry import log

_RETRY_SECONDS = (0.05, 2.0)
_IDLE_SECONDS = 1.0  # without a new block, before what waits is written
_ENOUGH = 25_000  # commands: so many wait at most before they are written, however busy the partition is
_LONGEST_SECONDS = 60.0  # that anything waits, with a block now and then
_AT_ONCE = 16  # buckets in one round
LARGEST_LAG = 50_000  # commands: to make the accounts again from so many takes seconds


class Projector:
    """The engine offers each block that it has taken in; `run` is a job, and `flush` may be called without it."""

    def __init__(self, partition: int, views: Views, accounts: Accounts) -> None:
        self.done = 0  # the block up to which, with it, everything is written
        self.lag = 0  # commands that are in the log and not in the read models yet
        self._partition = partition
        self._views = views
        self._accounts = accounts
        self._waiting: deque[tuple[int, int]] = deque()
        self._head = 0
        self._wanted = 0
        self._since = 0.0  # when what waits for longest was offered
        self._offered = asyncio.Event()
        self._progress = asyncio.Condition()
        self._writing = asyncio.Lock()

    def open(self, seq: int) -> None:
        """Begins behind that block."""
        self.done = self._head = seq

    def offer(self, seq: int, commands: int) -> None:
        """The accounts have a block more."""
        self._head = seq
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((seq, commands))
        self.lag += commands
        self._offered.set()

    async def reached(self, seq: int) -> None:
        """Waits until that block is in the read models, without waiting for idleness."""
        self._wanted = max(self._wanted, seq)
        self._offered.set()
        async with self._progress:
            await self._progress.wait_for(lambda: self.done >= seq)

    async def run(self) -> None:
        """Until cancelled. What is left then is made again from the log at the next start."""
        failures = 0
        while True:
            await self._due()
            try:
                await self.flush()
                failures = 0
            except Exception as error:
                first, most = _RETRY_SECONDS
                if failures == 0:
                    log.warning("ledger projection waits", partition=self._partition, error=repr(error))
                await asyncio.sleep(min(most, first * 2**failures))
                failures = min(failures + 1, 10)

    async def flush(self) -> None:
        """Writes everything up to the last block that was offered."""
        async with self._writing:
            if self.done < self._head:
                await self._write()
        async with self._progress:
            self._progress.notify_all()

    async def _due(self) -> None:
        """Waits until there is a reason to write."""
        while True:
            behind = self.done < self._head
            long = time.monotonic() - self._since >= _LONGEST_SECONDS
            if behind and (self._wanted > self.done or self.lag >= _ENOUGH or long):
                return
            self._offered.clear()
            try:
                async with asyncio.timeout(_IDLE_SECONDS if behind else None):
                    await self._offered.wait()
            except TimeoutError:
                return

    async def _write(self) -> None:
        seq = self._head
        rest = Checkpoint(seq, self._accounts.transit, dict(self._accounts.partners))
        leaving = self._accounts.leave()
        by_bucket: defaultdict[int, dict[str, Held]] = defaultdict(dict)
        for member, held in leaving.items():
            by_bucket[self._accounts.bucket_of(member)][member] = held
        numbers = sorted(by_bucket)
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            await self._write_buckets(seq, {number: by_bucket[number] for number in part})
        await self._views.write_checkpoint(self._partition, rest)
        self._accounts.left()
        self.done = seq
        while self._waiting and self._waiting[0][0] <= seq:
            self.lag -= self._waiting.popleft()[1]
        self._since = time.monotonic()

    async def _write_buckets(self, seq: int, changed: dict[int, dict[str, Held]]) -> None:
        fresh: dict[int, Bucket] = {}
        due: defaultdict[int, list[str]] = defaultdict(list)

        def write(accounts: Mapping[str, Held], member: str, before: bytes) -> bytes:
            account, last, _ = accounts[member]
            moment = next_due(account)
            if moment is not None and (not before or due_of(before) != moment):
                due[moment // MINUTE].append(member)
            return line(member, account, last, moment)

        for number, bucket in (await self._accounts.buckets(changed)).items():
            if bucket.seq >= seq:
                continue  # another replica is ahead, or a crash came behind this write
            fresh[number] = bucket.after(seq, changed[number], partial(write, changed[number]))
            await asyncio.sleep(0)
        # Lists first: an account that is stored has been noted.
        await self._views.note_due(self._partition, seq, min(changed), due)
        await self._views.write_buckets(self._partition, fresh)
        self._accounts.wrote(fresh)
