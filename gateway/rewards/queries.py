"""The doors to rewards."""

import strawberry

from gateway.access import ALLIANCE, PUBLIC
from gateway.connections import Connection
from gateway.engine.declare import argument, connection, lookup_by_id
from gateway.rewards import sources
from gateway.rewards.types import Redemption, Reward, Settlement


@strawberry.type
class RewardsQuery:
    """Queries of rewards."""

    reward: Reward | None = lookup_by_id(sources.rewards, "A reward.")
    rewards: Connection[Reward] | None = connection(
        sources.all_rewards,
        "The catalogue, cheapest first.",
        filters=[argument("partner_id", strawberry.ID | None, "Only this partner's.")],
        rule=PUBLIC,
    )
    redemption: Redemption | None = lookup_by_id(sources.redemptions, "A redemption.")
    settlement: Settlement | None = lookup_by_id(sources.settlements, "A settlement.")
    settlements: Connection[Settlement] | None = connection(
        sources.all_settlements, "All settlements, newest first. For partners and operators.", rule=ALLIANCE
    )
