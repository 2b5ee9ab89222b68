"""A service's migration job: what each of its processes does to the database at its start, once before a roll-out.

So an index on a large collection is there before the first new process asks for it. Processes need no job before them:
they find done what is done, and do the rest. Until the roll-out is over the processes of the release before work on
the same database, so what a service prepares has to be good for them, too.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from services.shared import logs
from services.shared.config import ServiceSettings
from services.shared.errors import DomainError
from services.shared.failures import passing
from services.shared.invariants import database_of
from services.shared.mongo import Database

_WAIT_SECONDS = (0.1, 5.0)


def main(service: str, settings: ServiceSettings, prepare: Callable[[Database], Awaitable[None]]) -> None:
    """Runs the job as a process. Exit status 0 when the database is ready, 1 if this job cannot make it so."""
    logs.start(f"{service}-migrate", settings.log_level)
    sys.exit(asyncio.run(_run(settings, prepare)))


async def _run(settings: ServiceSettings, prepare: Callable[[Database], Awaitable[None]]) -> int:
    database = database_of(settings)
    try:
        return await until_done(lambda: prepare(database))
    finally:
        database.close()


async def until_done(prepare: Callable[[], Awaitable[None]]) -> int:
    """The exit status. It waits for a database that is away, and for an index that takes longer than a call may: the
    next call goes on waiting for the same. Whoever starts the job says how long that may last.
    """
    began = time.monotonic()
    delay, most = _WAIT_SECONDS
    while True:
        try:
            await prepare()
        except Exception as error:
            if not passing(error) and not isinstance(error, DomainError):
                logs.log.error("the database cannot be made ready", exc_info=error)
                return 1
            logs.log.warning("not ready yet", error=str(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, most)
        else:
            logs.log.info("the database is ready", seconds=round(time.monotonic() - began, 1))
            return 0
