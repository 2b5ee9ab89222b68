# ruff: noqa: N802 - methods are named as in the proto
"""The four services with canned answers, in one process: cheap, so that the gateway is what is measured.

`python -m tests.bench.services <port>`
"""

import sys
from typing import Any

import uvloop
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from alliance.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from alliance.common.v1.page_pb2 import PageInfo
from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from alliance.rewards.v1 import rewards_pb2, rewards_pb2_grpc

NOW = Timestamp(seconds=1_772_353_800)
MEMBERS = [f"member_{number}" for number in range(10_000)]


def member(id: str) -> accounts_pb2.Member:
    return accounts_pb2.Member(id=id, display_name=f"Name {id}", enrolled_at=NOW, enrolled_by_partner_id="partner_0")


class Accounts(accounts_pb2_grpc.AccountsServiceServicer):
    """Members."""

    async def BatchGetMembers(self, request: Any, _: Any) -> Any:
        return accounts_pb2.BatchGetMembersResponse(members=[member(id) for id in request.ids])

    async def ListMembers(self, request: Any, _: Any) -> Any:
        found = MEMBERS[: request.page.first]
        info = PageInfo(cursors=found, has_next_page=True)
        return accounts_pb2.ListMembersResponse(members=[member(id) for id in found], page_info=info)


class Partners(partners_pb2_grpc.PartnersServiceServicer):
    """Brands."""

    async def BatchGetPartners(self, request: Any, _: Any) -> Any:
        return partners_pb2.BatchGetPartnersResponse(
            partners=[
                partners_pb2.Partner(id=id, name=f"Brand {id}", logo_url=f"https://example.org/{id}")
                for id in request.ids
            ]
        )


class Logistics(logistics_pb2_grpc.LogisticsServiceServicer):
    """Drop-offs, five brands in turn."""

    async def BatchListDropOffs(self, request: Any, _: Any) -> Any:
        answer = logistics_pb2.BatchListDropOffsResponse()
        numbers = range(request.page.first)
        for id in request.member_ids:
            drop_offs = [
                logistics_pb2.DropOff(
                    id=f"dropoff_{id}_{n}",
                    member_id=id,
                    partner_id=f"partner_{n % 5}",
                    material=logistics_pb2.MATERIAL_PET,
                    weight_grams=100 + n,
                    occurred_at=Timestamp(seconds=NOW.seconds + n),
                )
                for n in numbers
            ]
            info = PageInfo(cursors=[str(n) for n in numbers], has_next_page=True)
            answer.members.add(member_id=id, drop_offs=drop_offs, page_info=info)
        return answer


class Rewards(rewards_pb2_grpc.RewardsServiceServicer):
    """Wallets."""

    async def BatchGetWallets(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetWalletsResponse(
            wallets=[
                rewards_pb2.Wallet(member_id=id, balance=1_200, held=30, available=1_170) for id in request.member_ids
            ]
        )


async def main(port: str) -> None:
    server = aio.server()
    accounts_pb2_grpc.add_AccountsServiceServicer_to_server(Accounts(), server)
    partners_pb2_grpc.add_PartnersServiceServicer_to_server(Partners(), server)
    logistics_pb2_grpc.add_LogisticsServiceServicer_to_server(Logistics(), server)
    rewards_pb2_grpc.add_RewardsServiceServicer_to_server(Rewards(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
