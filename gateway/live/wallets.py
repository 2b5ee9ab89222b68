"""Wallets as they change: rewards says whose, and those that somebody follows are read, all together.

A wallet is a state: whenever the stream was lost, all that are followed are read again, and who has the state already
hears nothing. So nothing is missed and nothing comes twice, whichever process was killed.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from alliance.rewards.v1 import rewards_pb2 as pb
from gateway.backends import Backends
from gateway.live.mailbox import Latest, state_cursor
from gateway.live.measures import LiveMeasures
from gateway.live.upstream import Upstream, backoff
from gateway.rewards.sources import REWARDS
from services.shared.errors import DomainError

TOPIC = "wallets"
_AT_ONCE = 500


@dataclass(frozen=True)
class WalletKey:
    """Whose wallet is followed."""

    member_id: str


@dataclass(frozen=True, slots=True)
class WalletRow:
    """A wallet, as it is now. The cursor is a digest of it, the same in whichever process."""

    member_id: str
    wallet: Any
    cursor: str
    answers: ClassVar[None] = None


class Wallets:
    """The topic."""

    def __init__(self, backends: Backends, measures: LiveMeasures) -> None:
        self._backends = backends
        self._boxes: dict[str, set[Latest]] = {}
        self._stale: dict[str, None] = {}
        # Up to where reads have to go, so that none is older than what was told. None while we are told nothing.
        self._heads: dict[int, int] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._upstream = Upstream(TOPIC, self._follow, measures)

    async def open(self, key: WalletKey, after: str) -> Latest:
        """A mailbox that gets the wallet, now if it is not the one with the cursor `after`, and whenever it changes."""
        box = Latest(key, after)
        self._boxes.setdefault(key.member_id, set()).add(box)
        self._upstream.join()
        self._read([key.member_id])
        return box

    def shut(self, box: Latest) -> None:
        """The subscriber has gone."""
        boxes = self._boxes[box.key.member_id]
        boxes.discard(box)
        if not boxes:
            del self._boxes[box.key.member_id]
        self._upstream.leave()

    async def close(self) -> None:
        await self._upstream.close()
        if self._loading is not None:
            self._loading.cancel()

    async def _follow(self) -> None:
        try:
            async with aclosing(self._backends.stream(REWARDS, "WatchWallets", pb.WatchWalletsRequest())) as stream:
                async for told in stream:
                    self._upstream.alive()
                    self._heads = dict(told.heads)
                    self._read(self._boxes if told.any else [id for id in told.member_ids if id in self._boxes])
        finally:
            self._heads = None

    def _read(self, member_ids: Iterable[str]) -> None:
        self._stale.update(dict.fromkeys(member_ids))
        if self._stale and self._heads is not None and (self._loading is None or self._loading.done()):
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        failures = 0
        while self._stale and self._heads is not None:
            ids = list(islice(self._stale, _AT_ONCE))
            request = pb.BatchGetWalletsRequest(member_ids=ids, at_least=self._heads)
            for id in ids:
                del self._stale[id]
            try:
                answer = await self._backends.call(REWARDS, "BatchGetWallets", request)
            except DomainError:
                self._stale.update(dict.fromkeys(id for id in ids if id in self._boxes))
                await asyncio.sleep(backoff(failures))
                failures += 1
                continue
            failures = 0
            for wallet in answer.wallets:
                self._tell(wallet)

    def _tell(self, wallet: Any) -> None:
        boxes = self._boxes.get(wallet.member_id)
        if boxes:
            row = WalletRow(wallet.member_id, wallet, state_cursor(wallet))
            for box in boxes:
                box.offer(row)
