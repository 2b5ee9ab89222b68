"""`python -m services.partners.migrate`: makes the database ready for this release, before its processes start.

Settings are those of the service, from the same environment; keys are not needed.
"""

from services.partners.config import Settings
from services.partners.store import INDEXES
from services.shared import migrate, outbox
from services.shared.config import database_only
from services.shared.mongo import Database


async def prepare(database: Database) -> None:
    """What every process of the service does when it starts, too: indexes."""
    await database.create_indexes({**INDEXES, **outbox.INDEXES})


if __name__ == "__main__":
    migrate.main("partners", database_only(Settings), prepare)
