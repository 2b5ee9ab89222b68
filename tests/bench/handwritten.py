"""One query answered by a plan written by hand: what a gateway in Python can cost at the least.

Keys that requests in flight ask for at the same time share an rpc. It checks the token, and knows no other query.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from alliance.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from alliance.rewards.v1 import rewards_pb2, rewards_pb2_grpc
from gateway.engine.project import moment
from gateway.tokens import TokenKeys, Tokens
from services.shared.client import Client
from services.shared.identity import GATEWAY, Signer

_MATERIALS = {1: "PET", 2: "CARDBOARD", 3: "REUSABLE_BOX"}


class Batch:
    """Collects keys over a turn of the event loop, and loads them in one call."""

    def __init__(self, load_many: Callable[[list[str]], Awaitable[dict[str, Any]]]) -> None:
        self._load_many = load_many
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, key: str) -> asyncio.Future[Any]:
        future = self._waiting.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(loop.call_soon, self._flush)
            future = self._waiting[key] = loop.create_future()
        return future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        task = asyncio.create_task(self._run(waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, waiting: dict[str, asyncio.Future[Any]]) -> None:
        try:
            rows = await self._load_many(list(waiting))
            for key, future in waiting.items():
                future.set_result(rows.get(key))
        except Exception as error:
            for future in waiting.values():
                future.set_exception(error)


class Plan:
    """The one query."""

    def __init__(self) -> None:
        signer = signer_of_gateway()
        accounts = Client(target_of("accounts"), accounts_pb2_grpc.AccountsServiceStub, signer)
        rewards = Client(target_of("rewards"), rewards_pb2_grpc.RewardsServiceStub, signer)
        logistics = Client(target_of("logistics"), logistics_pb2_grpc.LogisticsServiceStub, signer)
        partners = Client(target_of("partners"), partners_pb2_grpc.PartnersServiceStub, signer)

        async def load_members(ids: list[str]) -> dict[str, Any]:
            request = accounts_pb2.BatchGetMembersRequest(ids=ids)
            answer = await accounts.call(accounts.stub.BatchGetMembers, request)
            return {row.id: row for row in answer.members}

        async def load_wallets(ids: list[str]) -> dict[str, Any]:
            request = rewards_pb2.BatchGetWalletsRequest(member_ids=ids)
            answer = await rewards.call(rewards.stub.BatchGetWallets, request)
            return {row.member_id: row for row in answer.wallets}

        async def load_drop_offs(ids: list[str]) -> dict[str, Any]:
            request = logistics_pb2.BatchListDropOffsRequest(member_ids=ids)
            request.page.first = 20
            answer = await logistics.call(logistics.stub.BatchListDropOffs, request)
            return {row.member_id: row.drop_offs for row in answer.members}

        async def load_partners(ids: list[str]) -> dict[str, Any]:
            request = partners_pb2.BatchGetPartnersRequest(ids=ids)
            answer = await partners.call(partners.stub.BatchGetPartners, request)
            return {row.id: row for row in answer.partners}

        self._members, self._wallets = Batch(load_members), Batch(load_wallets)
        self._drop_offs, self._partners = Batch(load_drop_offs), Batch(load_partners)

    async def answer(self, id: str) -> dict[str, Any]:
        member = await self._members.load(id)
        wallet, drop_offs = await asyncio.gather(self._wallets.load(id), self._drop_offs.load(id))
        ids = {row.partner_id for row in drop_offs}
        brands = dict(zip(ids, await asyncio.gather(*map(self._partners.load, ids)), strict=True))
        return {
            "data": {
                "member": {
                    "id": member.id,
                    "displayName": member.display_name,
                    "enrolledAt": moment(member.enrolled_at),
                    "wallet": {"balance": wallet.balance, "held": wallet.held, "available": wallet.available},
                    "dropOffs": {
                        "nodes": [
                            {
                                "id": row.id,
                                "weightGrams": row.weight_grams,
                                "material": _MATERIALS[row.material],
                                "occurredAt": moment(row.occurred_at),
                                "partner": {
                                    "id": (brand := brands[row.partner_id]).id,
                                    "name": brand.name,
                                    "logoUrl": brand.logo_url,
                                },
                            }
                            for row in drop_offs
                        ]
                    },
                }
            }
        }


def target_of(service: str) -> str:
    """Where a service answers."""
    return os.environ[f"ALLIANCE_{service.upper()}_TARGET"]


def signer_of_gateway() -> Signer:
    """Signs calls as the gateway does."""
    return Signer.from_file(GATEWAY, Path(os.environ["ALLIANCE_IDENTITY_KEY_FILE"]))


def tokens() -> Tokens:
    """Checks the same tokens as the gateway."""
    keys = TokenKeys.from_file(Path(os.environ["ALLIANCE_TOKEN_KEY_FILE"]))
    return Tokens(keys, os.environ["ALLIANCE_ISSUER"], partner_seconds=900, member_seconds=600)


class App:
    """The plan as an ASGI application, without anything that it does not need."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._tokens = tokens()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._plan is None:
            self._plan = Plan()
        self._tokens.viewer(dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer "))
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        out = orjson.dumps(await self._plan.answer(orjson.loads(body)["variables"]["id"]))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(out)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": out})


app = App()
