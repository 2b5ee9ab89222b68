"""What only the rewards service has to say of itself: how its ledger keeps up."""

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

        def committed(commands: int, seconds: float) -> None:
            commit.record(seconds)
            block.record(commands)

        for engine in engines:
            engine.on_commit = committed
            engine.on_busy = busy.add
        meter.observe(HEAD, lambda: [((str(each.partition),), float(each.head)) for each in engines])
        meter.observe(PROJECTED, lambda: [((str(each.partition),), float(each.projector.done)) for each in engines])
        meter.observe(LAG, lambda: [((str(each.partition),), float(each.projector.lag)) for each in engines])
        meter.observe(QUEUE, lambda: [((str(each.partition),), float(each.queued)) for each in engines])
        meter.observe(SWEPT, lambda: sweeper.swept_at)
