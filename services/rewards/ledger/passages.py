"""Points between partitions: a partner's allotment to where it is issued, a member's gift to its receiver.

A partner's prepaid points are allotted in the partner's home partition. Where they are needed elsewhere, a part of them
is sent there through the log: out of here, into in-transit, in there; each step is idempotent, and one that a crash
left half done is completed later. Near the end of a block even the last points are gathered from where they lie,
before an issue is refused. So a block is never overdrawn, and an issue is not refused while its points are on their
way, unless replicas take them away from each other on and on. A gift between members goes the same way.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from services.rewards.ledger.commands import Command, Issue, Receive, Send, Settle, Take
from services.rewards.ledger.engine import Engine
from services.rewards.ledger.events import Sent
from services.rewards.ledger.model import NO_PARTNER, Gift, Passage
from services.shared.ids import new_id

_OTHERS_SECONDS = (0.005, 0.05)


class Passages:
    """What goes from one of these partitions to another."""

    def __init__(self, engines: Sequence[Engine], partition: Callable[[str], int]) -> None:
        self._engines = engines
        self._partition = partition
        self._filling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._wanted: defaultdict[tuple[int, str], int] = defaultdict(int)

    async def complete_all(self) -> None:
        """Completes what a crash has left in transit."""
        for each in self._engines:
            for passage in each.accounts.transit.open:
                await self._complete(each.partition, passage)
            for gift in each.accounts.transit.gifts:
                await self.deliver(gift)

    async def fill(self, partition: int, commands: Sequence[Command]) -> bool:
        """Brings allotment to where issues need it; whether there is any to be had."""
        needs: defaultdict[str, list[int]] = defaultdict(list)
        for command in commands:
            if isinstance(command, Issue):
                needs[command.lots[0].issuer].append(sum(lot.points for lot in command.lots))
        return any([await self._fill_one(partition, partner, sum(n), min(n)) for partner, n in needs.items()])

    async def _fill_one(self, partition: int, partner: str, need: int, least: int) -> bool:
        key = (partition, partner)
        self._wanted[key] += need
        async with self._filling[partner]:
            wanted = self._wanted[key]  # what others wait for here comes with it
            self._wanted[key] -= need
            if self._left(partition, partner) >= need:
                return True  # another one has brought it meanwhile
            await asyncio.gather(*(engine.look() for engine in self._engines))
            await self.complete_all()
            parts = [engine.accounts.partners.get(partner, NO_PARTNER) for engine in self._engines]
            left = [part.left for part in parts]
            if sum(left) + sum(part.sent - part.received for part in parts) < least:
                return False
            wanted -= left[partition]
            home = self._partition(partner)
            brought = 0
            for source in sorted(range(len(left)), key=lambda number: number != home):
                if source == partition or brought >= wanted or not left[source]:
                    continue
                share = left[source] // len(left) if source == home else 0
                brought += await self._move(partner, source, partition, max(wanted - brought, share))
        if not brought and wanted > 0:
            await asyncio.sleep(random.uniform(*_OTHERS_SECONDS))  # another replica has them on their way
        return True

    def _left(self, partition: int, partner: str) -> int:
        return self._engines[partition].accounts.partners.get(partner, NO_PARTNER).left

    async def _move(self, partner: str, source: int, target: int, points: int) -> int:
        outcome = (await self._engines[source].post([Send(new_id("passage"), partner, points, target)]))[0]
        for event in outcome.decision:
            if isinstance(event, Sent):
                await self._complete(source, event.passage)
                return event.passage.points
        return 0  # there was nothing

    async def _complete(self, source: int, passage: Passage) -> None:
        receive = Receive(f"in:{passage.id}", passage.partner, passage.points, passage.id)
        await self._engines[passage.to].post([receive])
        await self._engines[source].post([Settle(f"done:{passage.id}", passage.id)])

    async def deliver(self, gift: Gift) -> bool:
        """Brings a gift to its receiver; whether it has stayed there, or came back as there is no room for it."""
        id, giver, to, lots = gift
        source = self._partition(giver)
        (outcome,) = await self._engines[self._partition(to)].post([Take(f"in:{id}", to, id, giver, lots)])
        if outcome.refusal:
            await self._engines[source].post([Take(f"back:{id}", giver, id, giver, lots)])
        await self._engines[source].post([Settle(f"done:{id}", id)])
        return outcome.refusal is None
