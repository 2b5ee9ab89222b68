"""What of accounts can be followed."""

import strawberry

from alliance.accounts.v1 import accounts_pb2 as pb
from gateway.access import INHERITED, PUBLIC
from gateway.accounts.types import ActKind
from gateway.engine.declare import federated, shape, subscription, value
from gateway.live.impact import TOPIC
from gateway.scalars import Long, Milligrams


@federated(pb.Impact.KindTotal, "What claims of a kind sum to.", rule=INHERITED)
class ImpactKindTotal:
    kind: ActKind | None = value("What was done.")
    claims: Long = value("How many acts were credited.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided.")


@federated(pb.Impact, "What the alliance has avoided in all; an act counts once, whoever reported it.", rule=INHERITED)
class Impact:
    claims: Long = value("How many acts were credited.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided.")
    kinds: list[ImpactKindTotal] = value("By kind of act, those of which there are any.", size=10)


@shape("What the alliance has avoided in all, as it is now.", rule=PUBLIC)
class AllianceImpact:
    cursor: str = value("Give it as `after` to go on from here: the sum comes again once it differs from this one.")
    impact: Impact | None = value("The sum.")


@strawberry.type
class AccountsSubscription:
    """Subscriptions of accounts."""

    alliance_impact: AllianceImpact | None = subscription(
        TOPIC,
        "What the alliance has avoided in all: at once, and whenever it changes, a few times a second at most. For "
        "everybody, without a token too.",
        key=lambda _, __: None,
    )
