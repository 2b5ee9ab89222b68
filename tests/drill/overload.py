"""Three times as much as the alliance can do: it goes on doing what it can, and tells everybody else so at once."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson

from deploy.local.day import documents
from deploy.local.day.doors import Person
from tests.drill.caller import Caller
from tests.drill.load import Cast
from tests.support.alliance import Member, now

# Whoever has no answer by then has gone.
PATIENCE_SECONDS = 3.0
_CALLERS = 24
_REFUSED_SECONDS = 0.2
_TOLD = (429, 503)
_DAYS = 30


@dataclass
class Flood:
    """What came of the requests of some seconds."""

    seconds: float
    offered: int = 0
    good: int = 0
    # How long it took to be told that there is too much to do.
    told: list[float] = field(default_factory=list)
    # Had no answer in time, or lost the connection.
    silent: int = 0
    other: Counter[str] = field(default_factory=Counter)
    # By member, the acts that were acknowledged.
    acts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Requests answered in time, per second."""
        return self.good / self.seconds

    @property
    def told_p99_seconds(self) -> float:
        """Nearest rank; 0 if nobody had to be told."""
        return sorted(self.told)[int(0.99 * (len(self.told) - 1))] if self.told else 0.0


class Reports:
    """A brand that reports acts, each in a request of its own, without repeating any."""

    def __init__(self, url: str, cast: Cast, token: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._cast = cast
        self._head = (
            f"POST /graphql HTTP/1.1\r\nhost: {self._host}:{port}\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {token}\r\ncontent-length: "
        ).encode()
        # Those that were used last come first; the others end while nobody needs them.
        self._idle: list[Caller] = []
        self._sent = 0

    @classmethod
    async def of(cls, url: str, cast: Cast) -> "Reports":
        """With the brand's own token."""
        brand: Person = cast.brand.person
        return cls(url, cast, await cast.world.doors.token(brand))

    async def peak(self, seconds: float) -> Flood:
        """As much as is answered to callers each of whom waits for the answer before it asks again."""
        flood = Flood(seconds)
        until = time.monotonic() + seconds

        async def caller() -> None:
            while time.monotonic() < until:
                answered = flood.good
                await self._one(flood, *self._request())
                if flood.good == answered:
                    await asyncio.sleep(_REFUSED_SECONDS)

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        return flood

    async def flood(self, per_second: float, seconds: float, after_seconds: float = 0) -> Flood:
        """So many, whatever becomes of them: as those outside, who do not know of each other."""
        # Written beforehand: those outside have processors of their own for it.
        requests = [self._request() for _ in range(round(per_second * seconds))]
        await asyncio.sleep(after_seconds)
        flood = Flood(seconds)
        began, tasks = time.monotonic(), []
        for number, request in enumerate(requests):
            if (wait := began + number / per_second - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self._one(flood, *request)))
        await asyncio.gather(*tasks)
        flood.seconds = max(seconds, time.monotonic() - began - PATIENCE_SECONDS)
        return flood

    async def close(self) -> None:
        """Ends all connections."""
        for caller in self._idle:
            caller.close()

    async def _one(self, flood: Flood, member: Member, request: bytes) -> None:
        flood.offered += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, body = await self._send(request)
        except (TimeoutError, OSError):
            flood.silent += 1
            return
        outcome = _outcome(status, body)
        if isinstance(outcome, str):
            flood.good += 1
            flood.acts.append((member.id, outcome))
        elif outcome:
            flood.told.append(time.monotonic() - began)
        else:
            flood.other[f"{status} {body[:120]!r}"] += 1

    def _request(self) -> tuple[Member, bytes]:
        # On so many days that no day's cap is reached: each is credited and earns, and costs the alliance the same.
        turn, who = divmod(self._sent, len(self._cast.members))
        self._sent += 1
        member = self._cast.members[who]
        act = member.act(self._cast.brand, "METRO_TRIP", at=now() - timedelta(days=turn % _DAYS))
        variables = {"input": {"requestId": uuid4().hex, "reports": [act]}}
        body = json.dumps({"query": documents.REPORT_ACTS, "variables": variables}).encode()
        return member, self._head + b"%d\r\n\r\n" % len(body) + body

    async def _send(self, request: bytes) -> tuple[int, bytes]:
        while self._idle and not self._idle[-1].open:
            self._idle.pop()
        caller = self._idle.pop() if self._idle else await Caller.to(self._host, self._port)
        answer = await caller.ask(request)
        if caller.open:
            self._idle.append(caller)
        return answer


def _outcome(status: int, body: bytes) -> str | bool:
    """The id of the act; True if it was said that there is too much to do; False for anything else."""
    if status in _TOLD:
        return True
    answer: Any = orjson.loads(body)
    if answer.get("errors"):
        return answer["errors"][0].get("extensions", {}).get("code") == "SERVICE_UNAVAILABLE"
    acts = answer["data"]["reportActs"].get("acts")
    return str(acts[0]["id"]) if acts else False
