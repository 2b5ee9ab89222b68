"""What must hold at any time, checked on what is stored: by a job that says so and keeps the result in the service's
own database, where every process of the service reads it and tells Prometheus. So an alert goes by the last result
however long ago the job ended, and a job that did not run is an alert, too.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.shared.config import ServiceSettings
from services.shared.metrics import catalogue
from services.shared.metrics.instruments import Meter
from services.shared.mongo import Database
from services.shared.outbox import Outbox

# An event should be delivered in seconds. One that waits for so long is no longer only on its way.
_OLDEST_EVENT = timedelta(minutes=15)
_LOOK_SECONDS = 5.0
_COLLECTION = "invariants"
HOLDS, BROKEN, CANNOT_BE_TOLD = 0, 1, 2


@dataclass(frozen=True)
class Check:
    """Looks at some invariants together. `look` answers by invariant what is wrong first, "" if nothing is; it leaves
    out what it cannot tell.
    """

    names: tuple[str, ...]
    look: Callable[[], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True)
class Result:
    """What a job found last."""

    name: str
    finding: str
    at: datetime
    seconds: float


class Results:
    """The last result of each invariant of a service."""

    def __init__(self, database: Database) -> None:
        self._rows = database[_COLLECTION]

    async def put(self, result: Result) -> None:
        """Replaces the result before."""
        change = {"finding": result.finding, "at": result.at, "seconds": result.seconds}
        await self._rows.update_one({"_id": result.name}, {"$set": change}, upsert=True)

    async def get(self, names: Sequence[str]) -> list[Result]:
        """Those that there are."""
        rows = self._rows.find({"_id": {"$in": list(names)}})
        return [Result(row["_id"], row["finding"], row["at"], row["seconds"]) async for row in rows]


def one(name: str, look: Callable[[], Awaitable[str]]) -> Check:
    """A check of one invariant."""

    async def looked() -> Mapping[str, str]:
        return {name: await look()}

    return Check((name,), looked)


def outbox_flows(outbox: Outbox) -> Check:
    """Every service's: what others have to be told does not stay behind."""

    async def look() -> str:
        sample = await outbox.sample()
        if sample.parked:
            return f"{sample.parked} events were refused for good; an operator has to decide on them"
        age = datetime.now(UTC) - sample.oldest if sample.oldest else timedelta()
        if age > _OLDEST_EVENT:
            return f"{sample.waiting} events wait, the oldest for {age.total_seconds():,.0f} s"
        return ""

    return one(OUTBOX, look)


OUTBOX = "outbox"


async def check(service: str, checks: Sequence[Check], results: Results) -> int:
    """Looks at everything, prints a line for each invariant, and keeps the results. The exit status: 0 all hold, 1 one
    is broken, 2 none is known to be broken but one could not be told.
    """
    status = HOLDS
    for each in checks:
        began = time.perf_counter()
        try:
            found = await each.look()
        except Exception as error:
            # The next check may be able to tell something.
            found, problem = {}, f"{type(error).__name__}: {error}"
        else:
            problem = "something before it is broken"
        seconds = time.perf_counter() - began
        for name in each.names:
            if name not in found:
                print(f"{service}: {name} cannot be told: {problem}", flush=True)
                status = status or CANNOT_BE_TOLD
                continue
            finding = found[name]
            print(f"{service}: {name} {f'is BROKEN: {finding}' if finding else 'holds'} ({seconds:.1f} s)", flush=True)
            await results.put(Result(name, finding, datetime.now(UTC), seconds))
            if finding:
                status = BROKEN
    return status


def database_of(settings: ServiceSettings) -> Database:
    """The service's database, for a process that is none of the service's and takes nobody's place."""
    return Database(settings.mongodb_uri.get_secret_value(), settings.mongodb_database)


def main(run: Callable[[], Awaitable[int]]) -> None:
    """Runs a service's job as a process: exit status as `check` has it, 2 as well if the database is away."""

    async def guarded() -> int:
        try:
            return await run()
        except Exception as error:
            print(f"cannot be told: {type(error).__name__}: {error}", flush=True)
            return CANNOT_BE_TOLD

    sys.exit(asyncio.run(guarded()))


class Watch:
    """Tells Prometheus of the last results. `run` is a job of the server."""

    def __init__(self, results: Results, names: Sequence[str], meter: Meter) -> None:
        self._results = results
        self._names = names
        self._holds = meter.gauge(catalogue.INVARIANT_HOLDS)
        self._checked = meter.gauge(catalogue.INVARIANT_CHECKED)
        self._seconds = meter.gauge(catalogue.INVARIANT_DURATION)
        for name in names:
            # Until the job has run: never.
            self._checked.at(name).set(0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for result in await self._results.get(self._names):
                self._holds.at(result.name).set(int(not result.finding))
                self._checked.at(result.name).set(result.at.timestamp())
                self._seconds.at(result.name).set(result.seconds)
            await asyncio.sleep(_LOOK_SECONDS)
