"""The doors to rewards."""

import strawberry

from gateway.access import A_PARTNER, ALLIANCE, PUBLIC
from gateway.connections import Connection
from gateway.engine.declare import argument, connection, lookup, lookup_by_id
from gateway.engine.reads import Join
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
    redemption_by_voucher_code: Redemption | None = lookup(
        sources.found_redemptions,
        "What a voucher is good for at the calling brand's till, before it is taken in; null if it is none of the "
        "brand's. For partners.",
        key=lambda request, given: (request.viewer.partner_id, given["voucher_code"]),
        arguments=[argument("voucher_code", str, "The code that the member shows, however it is typed.")],
        then=Join(sources.redemptions, on="redemption_id"),
        rule=A_PARTNER,
    )
    settlement: Settlement | None = lookup_by_id(sources.settlements, "A settlement.")
    settlements: Connection[Settlement] | None = connection(
        sources.all_settlements, "All settlements, newest first. For partners and operators.", rule=ALLIANCE
    )
