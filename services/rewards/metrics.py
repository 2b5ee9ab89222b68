"""What only the rewards service has to say of itself: how its ledger keeps up."""

import time
from collections import deque
from collections.abc import Iterator
from functools import partial

from services.rewards.ledger.engine import Engine
from services.rewards.ledger.ledger import Ledger
from services.rewards.service.sweeper import Sweeper
from services.shared.metrics.definition import SIZES, counter, gauge, histogram
from services.shared.metrics.instruments import Meter

_PARTITION = {"partition": "number of the ledger's partition"}

COMMIT = histogram(
    "alliance.ledger.commit.duration",
    "s",
    "Time from the moment a block's commands were gathered until they were in the log for good and answered.",
)
BLOCK = histogram(
    "alliance.ledger.block.size", "{command}", "Commands that were decided together, for one block.", boundaries=SIZES
)
BUSY = counter(
    "alliance.ledger.busy", "{command}", "Commands that were sent back, since too many waited for a block already."
)
HEAD = gauge("alliance.ledger.head", "{block}", "Number of the last block in the log.", attributes=_PARTITION)
PROJECTED = gauge(
    "alliance.ledger.projected",
    "{block}",
    "Number of the block up to which the read models have been written.",
    attributes=_PARTITION,
)
LAG = gauge(
    "alliance.ledger.lag",
    "{command}",
    "Commands that are in the log and not in the read models yet. New blocks wait from 50,000 on.",
    attributes=_PARTITION,
)
LAG_AGE = gauge(
    "alliance.ledger.lag.age",
    "s",
    "Age of the oldest block of this process that is not in the read models yet, 0 if there is none.",
    attributes=_PARTITION,
)
QUEUE = gauge(
    "alliance.ledger.queue",
    "{command}",
    "Commands that wait for a block. Beyond 20,000 they are sent back.",
    attributes=_PARTITION,
)
SWEPT = gauge(
    "alliance.rewards.swept.time",
    "s",
    "When the last sweep came to its end, in seconds since 1970: due points expire and due holds end in a sweep.",
)


class LedgerMetrics:
    """Is told of each commit by the engines, and reads the rest of them when somebody asks."""

    def __init__(self, meter: Meter, ledger: Ledger, sweeper: Sweeper) -> None:
        commit, block, busy = meter.histogram(COMMIT).at(), meter.histogram(BLOCK).at(), meter.counter(BUSY).at()
        engines = ledger.engines
        self._ages = [_Ages(engine) for engine in engines]

        def committed(ages: _Ages, commands: int, seconds: float) -> None:
            commit.record(seconds)
            block.record(commands)
            ages.committed()

        for engine, ages in zip(engines, self._ages, strict=True):
            engine.on_commit = partial(committed, ages)
            engine.on_busy = busy.add
        meter.observe(HEAD, lambda: [((str(each.partition),), float(each.head)) for each in engines])
        meter.observe(PROJECTED, lambda: [((str(each.partition),), float(each.projector.done)) for each in engines])
        meter.observe(LAG, lambda: [((str(each.partition),), float(each.projector.lag)) for each in engines])
        meter.observe(QUEUE, lambda: [((str(each.partition),), float(each.queued)) for each in engines])
        meter.observe(LAG_AGE, self._oldest)
        meter.observe(SWEPT, lambda: sweeper.swept_at)

    def _oldest(self) -> Iterator[tuple[tuple[str, ...], float]]:
        return (((str(each.partition),), each.oldest()) for each in self._ages)


class _Ages:
    """When the blocks that are not projected yet were committed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._blocks: deque[tuple[int, float]] = deque()

    @property
    def partition(self) -> int:
        return self._engine.partition

    def committed(self) -> None:
        self._forget()
        self._blocks.append((self._engine.head, time.monotonic()))

    def oldest(self) -> float:
        """In seconds. Called from another thread: it looks, and leaves the forgetting to the engine's."""
        done = self._engine.projector.done
        waiting = (at for seq, at in list(self._blocks) if seq > done)
        return max(time.monotonic() - next(waiting, time.monotonic()), 0.0)

    def _forget(self) -> None:
        while self._blocks and self._blocks[0][0] <= self._engine.projector.done:
            self._blocks.popleft()
