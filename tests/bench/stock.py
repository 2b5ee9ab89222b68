"""The stock executor: Strawberry with its parser and validation caches and dataloaders, as its documentation has it.

It has the types that the bench asks for, no rules and no cost check; it checks the token, as the others do.
"""

from typing import Any

import strawberry
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache

from alliance.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from alliance.rewards.v1 import rewards_pb2, rewards_pb2_grpc
from gateway.engine.project import moment
from gateway.logistics.types import Material
from services.shared.client import Client
from tests.bench.handwritten import signer_of_gateway, target_of, tokens


class Stubs:
    """Of the four services."""

    def __init__(self) -> None:
        signer = signer_of_gateway()
        self.accounts = Client(target_of("accounts"), accounts_pb2_grpc.AccountsServiceStub, signer)
        self.rewards = Client(target_of("rewards"), rewards_pb2_grpc.RewardsServiceStub, signer)
        self.logistics = Client(target_of("logistics"), logistics_pb2_grpc.LogisticsServiceStub, signer)
        self.partners = Client(target_of("partners"), partners_pb2_grpc.PartnersServiceStub, signer)

    def loaders(self) -> dict[str, Any]:
        """Of one request."""

        async def members(ids: list[str]) -> list[Any]:
            request = accounts_pb2.BatchGetMembersRequest(ids=ids)
            answer = await self.accounts.call(self.accounts.stub.BatchGetMembers, request)
            rows = {row.id: row for row in answer.members}
            return [rows.get(id) for id in ids]

        async def wallets(ids: list[str]) -> list[Any]:
            request = rewards_pb2.BatchGetWalletsRequest(member_ids=ids)
            answer = await self.rewards.call(self.rewards.stub.BatchGetWallets, request)
            rows = {row.member_id: row for row in answer.wallets}
            return [rows.get(id) for id in ids]

        async def drop_offs(keys: list[tuple[str, int]]) -> list[Any]:
            request = logistics_pb2.BatchListDropOffsRequest(member_ids=[id for id, _ in keys])
            request.page.first = keys[0][1]
            answer = await self.logistics.call(self.logistics.stub.BatchListDropOffs, request)
            rows = {row.member_id: row for row in answer.members}
            return [rows.get(id) for id, _ in keys]

        async def partners(ids: list[str]) -> list[Any]:
            request = partners_pb2.BatchGetPartnersRequest(ids=ids)
            answer = await self.partners.call(self.partners.stub.BatchGetPartners, request)
            rows = {row.id: row for row in answer.partners}
            return [rows.get(id) for id in ids]

        return {
            "stubs": self,
            "members": DataLoader(members),
            "wallets": DataLoader(wallets),
            "drop_offs": DataLoader(drop_offs),
            "partners": DataLoader(partners),
        }


class FromRow:
    """Rows are messages, not instances of the type."""

    @classmethod
    def is_type_of(cls, obj: Any, info: Any) -> bool:
        return True


@strawberry.type
class Partner(FromRow):
    id: strawberry.ID
    name: str
    logo_url: str


@strawberry.type
class DropOff(FromRow):
    id: strawberry.ID
    weight_grams: int
    material: Material

    @strawberry.field
    def occurred_at(self) -> str:
        return moment(self.occurred_at)

    @strawberry.field
    async def partner(self, info: strawberry.Info) -> Partner:
        return await info.context["partners"].load(self.partner_id)  # type: ignore[attr-defined, no-any-return]


@strawberry.type
class DropOffs(FromRow):
    @strawberry.field
    def nodes(self) -> list[DropOff]:
        return self.drop_offs  # type: ignore[attr-defined, no-any-return]


@strawberry.type
class Wallet(FromRow):
    balance: int
    held: int
    available: int


@strawberry.type
class Member(FromRow):
    id: strawberry.ID
    display_name: str

    @strawberry.field
    def enrolled_at(self) -> str:
        return moment(self.enrolled_at)

    @strawberry.field
    async def wallet(self, info: strawberry.Info) -> Wallet:
        return await info.context["wallets"].load(self.id)  # type: ignore[no-any-return]

    @strawberry.field
    async def drop_offs(self, info: strawberry.Info, first: int = 20) -> DropOffs:
        return await info.context["drop_offs"].load((self.id, first))  # type: ignore[no-any-return]


@strawberry.type
class Members(FromRow):
    @strawberry.field
    def nodes(self) -> list[Member]:
        return self.members  # type: ignore[attr-defined, no-any-return]


@strawberry.type
class Query:
    @strawberry.field
    async def member(self, info: strawberry.Info, id: strawberry.ID) -> Member:
        return await info.context["members"].load(id)  # type: ignore[no-any-return]

    @strawberry.field
    async def members(self, info: strawberry.Info, first: int = 20) -> Members:
        request = accounts_pb2.ListMembersRequest()
        request.page.first = first
        accounts = info.context["stubs"].accounts
        return await accounts.call(accounts.stub.ListMembers, request)  # type: ignore[no-any-return]


class Gateway(GraphQL):  # type: ignore[type-arg]
    """Checks the token, as its documentation has it in the context getter."""

    stubs: Stubs | None = None
    known = tokens()

    async def get_context(self, request: Any, response: Any = None) -> Any:
        self.known.viewer(request.headers["authorization"].removeprefix("Bearer "))
        if self.stubs is None:
            self.stubs = Stubs()
        return self.stubs.loaders()


app = Gateway(strawberry.Schema(Query, extensions=[ParserCache, ValidationCache]))
