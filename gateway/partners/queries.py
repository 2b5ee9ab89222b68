"""The doors to partners."""

import strawberry

from gateway.access import PUBLIC
from gateway.connections import Connection
from gateway.engine.declare import argument, connection, lookup_by_id
from gateway.partners import sources
from gateway.partners.types import Partner, PartnerStatus


@strawberry.type
class PartnersQuery:
    """Queries of partners."""

    partner: Partner | None = lookup_by_id(sources.partners, "A partner.")
    partners: Connection[Partner] | None = connection(
        sources.all_partners,
        "All partners, by name.",
        filters=[argument("status", PartnerStatus | None, "Only those that are there in their life.")],
        rule=PUBLIC,
    )
