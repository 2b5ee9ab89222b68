"""The federation schema of all domains; `python -m gateway.schema` writes it to schema.graphql."""

from pathlib import Path

import strawberry

from gateway.accounts.mutations import AccountsMutation
from gateway.accounts.queries import AccountsQuery
from gateway.accounts.subscriptions import AccountsSubscription
from gateway.logistics.mutations import LogisticsMutation
from gateway.logistics.queries import LogisticsQuery
from gateway.logistics.subscriptions import LogisticsSubscription
from gateway.partners.mutations import PartnersMutation
from gateway.partners.queries import PartnersQuery
from gateway.report import AllianceQuery
from gateway.rewards.mutations import RewardsMutation
from gateway.rewards.queries import RewardsQuery
from gateway.rewards.subscriptions import RewardsSubscription
from gateway.rewards.types import Wallet
from gateway.scalars import SCALARS

SDL_FILE = Path(__file__).with_name("schema.graphql")


@strawberry.type(description="What can be read.")
class Query(AllianceQuery, AccountsQuery, PartnersQuery, LogisticsQuery, RewardsQuery):
    """All doors."""


@strawberry.type(description="What can be changed.")
class Mutation(PartnersMutation, AccountsMutation, LogisticsMutation, RewardsMutation):
    """All mutations."""


@strawberry.type(description="What can be followed, over graphql-transport-ws or as server-sent events.")
class Subscription(RewardsSubscription, LogisticsSubscription, AccountsSubscription):
    """All that is live."""


def build() -> strawberry.federation.Schema:
    """The schema as Strawberry makes it from the declarations."""
    return strawberry.federation.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        # Entities are looked for by walking from type to type, but not through lazy ones.
        types=[Wallet],
        scalar_overrides=SCALARS,
        # The latest version that all widely used composition libraries accept.
        federation_version="2.9",
    )


def sdl() -> str:
    """The schema in GraphQL's own language, as `_service { sdl }` answers it."""
    return build().as_str() + "\n"


if __name__ == "__main__":
    SDL_FILE.write_text(sdl())
