"""The four services' own answers, replayed from memory: `python -m tests.bench.recorded <port>... <file>`.

So cheap that the gateway is what is measured, and to the byte what the services answer. An answer to several keys is
the answers to each of them, one behind the other: so protobuf encodes what is repeated.
"""

import asyncio
import gc
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from alliance.accounts.v1 import accounts_pb2
from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceStub
from alliance.logistics.v1 import logistics_pb2
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from alliance.partners.v1 import partners_pb2
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from alliance.rewards.v1 import rewards_pb2
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from services.shared.client import Client
from services.shared.identity import Signer
from tests.bench.http2 import Server

# What is asked for: drop-offs of a member, members of the list.
PAGES = (5, 20)
LISTS = (1, 10, 50, 100)
_AT_ONCE = 50

# By method, then by page size (0 for what has no pages) and key (empty for what has none).
Answers = dict[str, dict[tuple[int, str], bytes]]


async def record(targets: Mapping[str, str], signer: Signer, members: Sequence[str]) -> Answers:
    """Asks the services for all that the bench asks for, with the gateway's identity."""
    recorder = _Recorder(targets, signer)
    try:
        return await recorder.all(members)
    finally:
        await recorder.close()


class _Recorder:
    def __init__(self, targets: Mapping[str, str], signer: Signer) -> None:
        self._accounts = Client(targets["accounts"], AccountsServiceStub, signer)
        self._partners = Client(targets["partners"], PartnersServiceStub, signer)
        self._logistics = Client(targets["logistics"], LogisticsServiceStub, signer)
        self._rewards = Client(targets["rewards"], RewardsServiceStub, signer)

    async def close(self) -> None:
        for client in (self._accounts, self._partners, self._logistics, self._rewards):
            await client.close()

    async def all(self, members: Sequence[str]) -> Answers:
        answers: Answers = {
            name: {}
            for name in ("BatchGetMembers", "ListMembers", "BatchGetWallets", "BatchListDropOffs", "BatchGetPartners")
        }
        for first in LISTS:
            request = accounts_pb2.ListMembersRequest()
            request.page.first = first
            page = await self._accounts.call(self._accounts.stub.ListMembers, request)
            answers["ListMembers"][first, ""] = page.SerializeToString()
        partners: set[str] = set()
        for ids in _parts(members):
            partners |= await self._members(ids, answers)
        found = await self._partners.call(
            self._partners.stub.BatchGetPartners, partners_pb2.BatchGetPartnersRequest(ids=sorted(partners))
        )
        _keep(answers, "BatchGetPartners", found, "partners", "id")
        return answers

    async def _members(self, ids: Sequence[str], answers: Answers) -> set[str]:
        """What there is of some members; the partners that they lead to."""
        members, wallets = await asyncio.gather(
            self._accounts.call(self._accounts.stub.BatchGetMembers, accounts_pb2.BatchGetMembersRequest(ids=ids)),
            self._rewards.call(self._rewards.stub.BatchGetWallets, rewards_pb2.BatchGetWalletsRequest(member_ids=ids)),
        )
        _keep(answers, "BatchGetMembers", members, "members", "id")
        _keep(answers, "BatchGetWallets", wallets, "wallets", "member_id")
        partners: set[str] = set()
        for first in PAGES:
            request = logistics_pb2.BatchListDropOffsRequest(member_ids=ids)
            request.page.first = first
            pages = await self._logistics.call(self._logistics.stub.BatchListDropOffs, request)
            _keep(answers, "BatchListDropOffs", pages, "members", "member_id", first)
            partners.update(row.partner_id for page in pages.members for row in page.drop_offs)
        return partners


def _keep(answers: Answers, method: str, response: Any, rows: str, key: str, first: int = 0) -> None:
    for row in getattr(response, rows):
        answers[method][first, getattr(row, key)] = type(response)(**{rows: [row]}).SerializeToString()


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


_KEYS: Mapping[str, tuple[Any, str]] = {
    "BatchGetMembers": (accounts_pb2.BatchGetMembersRequest, "ids"),
    "ListMembers": (accounts_pb2.ListMembersRequest, ""),
    "BatchGetWallets": (rewards_pb2.BatchGetWalletsRequest, "member_ids"),
    "BatchListDropOffs": (logistics_pb2.BatchListDropOffsRequest, "member_ids"),
    "BatchGetPartners": (partners_pb2.BatchGetPartnersRequest, "ids"),
}


class Replay:
    """Answers what was recorded; None for any other method."""

    def __init__(self, answers: Answers) -> None:
        self._methods = {name: self._method(*_KEYS[name], answers[name]) for name in answers}

    def __call__(self, path: str, message: bytes) -> bytes | None:
        """The answer of a method to a request."""
        method = self._methods.get(path.rpartition("/")[2])
        return None if method is None else method(message)

    def _method(
        self, request_type: Any, keys: str, answers: Mapping[tuple[int, str], bytes]
    ) -> Callable[[bytes], bytes]:
        paged = "page" in request_type.DESCRIPTOR.fields_by_name

        def answer(message: bytes) -> bytes:
            request = request_type.FromString(message)
            first = request.page.first if paged else 0
            if not keys:
                return answers[first, ""]
            return b"".join([answers[first, key] for key in getattr(request, keys)])

        return answer


async def main(ports: Sequence[str], answers: Answers) -> None:
    """Each port is a service with connections of its own, as they are in life; any of them answers everything."""
    loop = asyncio.get_running_loop()
    replay = Replay(answers)
    for port in ports:
        await loop.create_server(lambda: Server(replay), "127.0.0.1", int(port))
    await loop.create_future()


if __name__ == "__main__":
    *listening, file = sys.argv[1:]
    recorded = pickle.loads(Path(file).read_bytes())  # noqa: S301 - rig wrote it
    gc.freeze()
    uvloop.run(main(listening, recorded))
