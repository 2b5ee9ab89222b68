"""Brings one partition's read models up to the log, block after block, some way behind the engine."""

import asyncio

from services.rewards.ledger.store import Changes, Views
from services.shared.telemetry import log

_RETRY_SECONDS = (0.05, 2.0)
_AT_ONCE = 8_000  # records in one round: more write a busy account less often, and let callers wait longer


class Projector:
    """What the engine hands over is written in order; several blocks at once when it falls behind."""

    def __init__(self, partition: int, views: Views) -> None:
        self._partition = partition
        self._views = views
        self._waiting: list[Changes] = []
        self._arrived = asyncio.Event()
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []
        self.done = 0  # the block up to which, with it, everything is written

    @property
    def lag(self) -> int:
        """Commands that are in the log and not in the read models yet."""
        return sum(len(changes.records) for changes in self._waiting)

    def offer(self, changes: Changes) -> None:
        """The next block's changes."""
        self._waiting.append(changes)
        self._arrived.set()

    async def reached(self, seq: int) -> None:
        """Waits until that block is in the read models."""
        if self.done >= seq:
            return
        future = asyncio.get_running_loop().create_future()
        self._watchers.append((seq, future))
        await future

    async def run(self) -> None:
        """Until cancelled. What is left then is projected from the log at the next start."""
        failures = 0
        while True:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            blocks = self._next()
            try:
                await self._views.write(self._partition, _merge(blocks))
            except Exception as error:
                first, most = _RETRY_SECONDS
                if failures == 0:
                    log.warning("ledger projection waits", partition=self._partition, error=str(error))
                await asyncio.sleep(min(most, first * 2**failures))
                failures = min(failures + 1, 10)
                continue
            failures = 0
            del self._waiting[: len(blocks)]
            self.done = blocks[-1].seq
            self._tell()

    def _next(self) -> list[Changes]:
        blocks: list[Changes] = []
        records = 0
        for changes in self._waiting:
            records += len(changes.records)
            if blocks and records > _AT_ONCE:
                break
            blocks.append(changes)
        return blocks

    def _tell(self) -> None:
        for seq, future in self._watchers:
            if seq <= self.done and not future.done():
                future.set_result(None)
        self._watchers = [(seq, future) for seq, future in self._watchers if seq > self.done]


def _merge(blocks: list[Changes]) -> Changes:
    """Of each account only the last state is written."""
    if len(blocks) == 1:
        return blocks[0]
    return Changes(
        seq=blocks[-1].seq,
        members={id: row for block in blocks for id, row in block.members.items()},
        partners={id: row for block in blocks for id, row in block.partners.items()},
        transit=next((block.transit for block in reversed(blocks) if block.transit), None),
        records=[record for block in blocks for record in block.records],
    )
