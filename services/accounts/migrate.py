"""`python -m services.accounts.migrate`: makes the database ready for this release, before its processes start.

Settings are those of the service, from the same environment; keys are not needed.
"""

from services.accounts.config import Settings
from services.accounts.factors import FACTORS
from services.accounts.store import INDEXES
from services.accounts.store.factors import FactorStore
from services.accounts.store.impact import ImpactStore
from services.shared import migrate, outbox
from services.shared.config import database_only
from services.shared.mongo import Database


async def prepare(database: Database) -> None:
    """What every process of the service does when it starts, too: indexes, the factors, the alliance's counters."""
    await database.create_indexes({**INDEXES, **outbox.INDEXES})
    await FactorStore(database).seed(FACTORS)
    await ImpactStore(database).prepare()


if __name__ == "__main__":
    migrate.main("accounts", database_only(Settings), prepare)
