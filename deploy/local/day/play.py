"""Plays a plan from morning to evening and gives an account of it."""

import time
from dataclasses import dataclass
from typing import Any

from deploy.local.day import documents
from deploy.local.day.acting import Acts, Answers, wait_until_settled
from deploy.local.day.doors import Traffic
from deploy.local.day.joining import BrandsJoin, MembersJoin, open_places
from deploy.local.day.plan import Plan
from deploy.local.day.spending import Evening, Spent, settle
from deploy.local.day.stage import Stage


@dataclass(frozen=True)
class Outcome:
    """What was seen of a day from outside. `report` and `settlement` are as GraphQL gave them, except that partners are
    named by the plan's keys."""

    plan: Plan
    answers: Answers
    spent: Spent
    settlement: dict[str, Any]
    report: dict[str, Any]
    traffic: Traffic
    seconds: float
    startup_seconds: float = 0.0

    @property
    def operations_per_second(self) -> float:
        """Requests answered per second of the day, over all doors."""
        return self.traffic.answered / self.seconds


async def play(stage: Stage, startup_seconds: float = 0.0) -> Outcome:
    """The whole day, through the public doors only."""
    began = time.monotonic()
    await BrandsJoin(stage).play()
    await open_places(stage)
    await MembersJoin(stage).play()
    answers = await Acts(stage).play()
    with stage.show.step("everything credited", 1) as advance:
        await wait_until_settled(stage.doors, stage.operator)
        advance()
    spent = await Evening(stage).play()
    settlement = await settle(stage)
    with stage.show.step("report, ledger check", 1) as advance:
        report = (await stage.doors.execute(stage.operator, documents.REPORT))["report"]
        advance()
    keys = {id: key for key, id in stage.partner_ids.items()}
    return Outcome(
        plan=stage.plan,
        answers=answers,
        spent=spent,
        settlement=_by_key(settlement, keys),
        report=_by_key(report, keys),
        traffic=stage.doors.traffic,
        seconds=time.monotonic() - began,
        startup_seconds=startup_seconds,
    )


def _by_key(value: Any, keys: dict[str, str]) -> Any:
    """The value with each `partner: {id ...}` replaced by the plan's key of that brand (the id, if it has none)."""
    if isinstance(value, list):
        return [_by_key(part, keys) for part in value]
    if isinstance(value, dict):
        return {
            name: keys.get(part["id"], part["id"]) if name == "partner" and part else _by_key(part, keys)
            for name, part in value.items()
        }
    return value
