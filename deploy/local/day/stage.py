"""What the scenes of the day share: the plan, the doors, who is who by now, and how work is spread and shown."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from deploy.local.day.doors import Doors, Person
from deploy.local.day.keepsakes import Keepsakes
from deploy.local.day.plan import Member, Plan

Thing = TypeVar("Thing")

_IN_FLIGHT = 16


class Show(Protocol):
    """Where progress is shown."""

    def step(self, title: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """A step of so many parts; the function that is given is called after each."""


@dataclass
class Stage:
    """One playing of a plan. Ids by the plan's keys are added as the alliance gives them."""

    plan: Plan
    doors: Doors
    keepsakes: Keepsakes
    operator: Person
    show: Show
    brands: dict[str, Person] = field(default_factory=dict)
    partner_ids: dict[str, str] = field(default_factory=dict)
    member_ids: dict[str, str] = field(default_factory=dict)
    machine_ids: dict[str, str] = field(default_factory=dict)
    reward_ids: dict[str, str] = field(default_factory=dict)
    frontends: dict[str, Person] = field(default_factory=dict)

    async def each(self, title: str, things: Sequence[Thing], do: Callable[[Thing], Awaitable[Any]]) -> None:
        """Does it for all of them, several at once; the first failure ends it all."""
        turn = asyncio.Semaphore(_IN_FLIGHT)
        with self.show.step(title, len(things)) as advance:

            async def one(thing: Thing) -> None:
                async with turn:
                    await do(thing)
                advance()

            async with asyncio.TaskGroup() as group:
                for thing in things:
                    group.create_task(one(thing))

    async def mutate(self, person: Person | None, document: str, *what: str, **fields: Any) -> Any:
        """A mutation whose request id follows from the plan and from `what` it is."""
        request_id = self.plan.request_id(document.split("(")[0].split()[-1], *what)
        return await self.doors.mutate(person, document, requestId=request_id, **fields)

    def frontend(self, member: Member) -> Person:
        """The member, at the frontend of the brand that enrolled them."""
        if member.key not in self.frontends:
            brand = self.brands[member.home]
            self.frontends[member.key] = brand.at(member.number_at(member.home))
        return self.frontends[member.key]


def iso(at: datetime) -> str:
    """A moment as GraphQL takes it: RFC 3339, UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
