"""`python -m services.rewards.migrate`: makes the database ready for this release, before its processes start.

Settings are those of the service, from the same environment; keys are not needed.
"""

from services.rewards.config import Settings
from services.rewards.domain.moments import millis
from services.rewards.ledger.ledger import Ledger
from services.rewards.store import INDEXES
from services.shared import clock, migrate, outbox
from services.shared.config import database_only
from services.shared.mongo import Database


def ledger_of(settings: Settings, database: Database) -> Ledger:
    """The ledger that the settings describe, by the clock of this machine; not open yet."""
    return Ledger(
        database,
        settings.ledger_partitions,
        lambda: millis(clock.now()),
        buckets=settings.ledger_buckets,
        cached_members=settings.ledger_cached_members,
        cached_bytes=settings.ledger_cached_mb * 1_000_000,
    )


async def prepare(database: Database, ledger: Ledger) -> None:
    """What every process of the service does when it starts, too: indexes, and all that `Ledger.open` takes over."""
    await database.create_indexes({**INDEXES, **outbox.INDEXES})
    await ledger.open()


def _main() -> None:
    settings = database_only(Settings)
    migrate.main("rewards", settings, lambda database: prepare(database, ledger_of(settings, database)))


if __name__ == "__main__":
    _main()
