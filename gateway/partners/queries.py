"""The doors to partners."""

import strawberry

from gateway.access import PUBLIC
from gateway.connections import Connection
from gateway.engine.declare import connection, lookup_by_id
from gateway.partners import sources
from gateway.partners.types import Partner


@strawberry.type
class PartnersQuery:
    """Queries of partners."""

    partner: Partner | None = lookup_by_id(sources.partners, "A partner.")
    partners: Connection[Partner] | None = connection(sources.all_partners, "All partners, by name.", rule=PUBLIC)
