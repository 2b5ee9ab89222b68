"""The federation schema of all domains; `python -m gateway.schema` writes schema.graphql and what is made of it."""

import json
from pathlib import Path

import strawberry
from graphql import is_abstract_type

from gateway.accounts.mutations import AccountsMutation
from gateway.accounts.queries import AccountsQuery
from gateway.accounts.subscriptions import AccountsSubscription
from gateway.engine.resolve import bind
from gateway.logistics.mutations import LogisticsMutation
from gateway.logistics.queries import LogisticsQuery
from gateway.logistics.subscriptions import LogisticsSubscription
from gateway.partners.mutations import PartnersMutation
from gateway.partners.queries import PartnersQuery
from gateway.problems import problem_of
from gateway.report import AllianceQuery
from gateway.rewards.mutations import RewardsMutation
from gateway.rewards.queries import RewardsQuery
from gateway.rewards.subscriptions import RewardsSubscription
from gateway.rewards.types import Earning, Wallet
from gateway.scalars import SCALARS
from gateway.subgraphs.split import split

SDL_FILE = Path(__file__).with_name("schema.graphql")
SUBGRAPHS = Path(__file__).with_name("subgraphs")
POSSIBLE_TYPES = Path(__file__).with_name("possible_types.json")


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
        types=[Wallet, Earning],
        scalar_overrides=SCALARS,
        # The latest version that all widely used composition libraries accept.
        federation_version="2.9",
    )


def sdl() -> str:
    """The schema in GraphQL's own language, as `_service { sdl }` answers it."""
    return build().as_str() + "\n"


def subgraphs() -> dict[Path, str]:
    """The files of the subgraphs, one per domain, with their texts."""
    made = build()
    text = made.as_str()
    texts = split(bind(made, problem_of), text)
    return {SUBGRAPHS / f"{domain}.graphql": text for domain, text in texts.items()}


def possible_types() -> str:
    """Which types an interface or union may be, as JSON: what caches of clients need (Apollo's `possibleTypes`).

    Without it Apollo's InMemoryCache drops what `... on Problem` asks for.
    """
    schema = build()._schema
    abstract = [type for name, type in sorted(schema.type_map.items()) if is_abstract_type(type) and name[0] != "_"]
    found = {type.name: sorted(each.name for each in schema.get_possible_types(type)) for type in abstract}
    return json.dumps(found, indent=2) + "\n"


if __name__ == "__main__":
    SDL_FILE.write_text(sdl())
    POSSIBLE_TYPES.write_text(possible_types())
    for file, text in subgraphs().items():
        file.write_text(text)
