"""The doors to logistics."""

import strawberry

from gateway.access import PUBLIC
from gateway.connections import Connection
from gateway.engine.declare import connection, lookup_by_id
from gateway.logistics import sources
from gateway.logistics.types import DropOff, RecyclingPoint


@strawberry.type
class LogisticsQuery:
    """Queries of logistics."""

    recycling_point: RecyclingPoint | None = lookup_by_id(sources.recycling_points, "A recycling point.")
    recycling_points: Connection[RecyclingPoint] | None = connection(
        sources.all_recycling_points, "All recycling points, by name.", rule=PUBLIC
    )
    drop_off: DropOff | None = lookup_by_id(sources.drop_offs, "A drop-off.")
