"""`python -m services.rewards.ledger verify`: reads all that the ledger has stored, and says whether it is right.

Settings are those of the service, from the same environment; keys are not needed, and nothing is written. The last line
is "clean" with counts (exit status 0), or the first thing that is wrong (1), above it all that is. 2: it could not be
told.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from services.rewards.config import Settings
from services.rewards.ledger.ledger import as_stored
from services.rewards.ledger.verify import verify
from services.shared.mongo import Database

_EVERY_SECONDS = 1.0


class VerifySettings(Settings):
    """Those of the service; who only reads the database calls nobody."""

    identity_key_file: Path = Path()
    trust_file: Path = Path()
    plaintext: bool = True


class Progress:
    """Says now and then how far the walk is."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    async def __call__(self, partition: int, block: int) -> None:
        if time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            print(f"partition {partition}: {block:,} blocks so far", flush=True)


async def main(settings: VerifySettings) -> int:
    """The exit status."""
    name = settings.mongodb_database
    database = Database(settings.mongodb_uri.get_secret_value(), name)
    try:
        ledger = await as_stored(database)
        if ledger is None:
            print(f"clean: {name} has no ledger yet")
            return 0
        partitions = ledger.views.shape.partitions
        print(f"verifying the ledger of {name}, partitions 0 to {partitions - 1}", flush=True)
        report = await verify(ledger.log, ledger.views, ledger.partition, Progress())
    except Exception as error:
        print(f"cannot be told: {type(error).__name__}: {error}")
        return 2
    finally:
        database.close()
    if not report.clean:
        print("\n".join([*report.findings.lines(), report.finding]))
        return 1
    print(f"clean: {report.commands:,} commands and {report.members:,} members in {partitions} partitions")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.rewards.ledger", description=__doc__)
    parser.add_argument("command", choices=["verify"])
    parser.parse_args()
    sys.exit(asyncio.run(main(VerifySettings())))
