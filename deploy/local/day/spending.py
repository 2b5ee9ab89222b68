"""Evening: members look at what they have and spend it elsewhere, and the brands settle."""

from dataclasses import dataclass
from typing import Any

from deploy.local.day import documents
from deploy.local.day.doors import Refused
from deploy.local.day.plan import Member, Spend
from deploy.local.day.stage import Stage

_LOOKS = 20


@dataclass
class Spent:
    """What came of the spends, and of looking at members."""

    captured: int = 0
    voided: int = 0
    refused: int = 0
    members_looked: int = 0
    brands_let_in: int = 0
    brands_kept_out: int = 0


class Evening:
    """Step 5: looking and spending."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.spent = Spent()

    async def play(self) -> Spent:
        stage = self._stage
        members = stage.plan.members[:: max(1, len(stage.plan.members) // _LOOKS)]
        await stage.each("members look at their account", members, self._look)
        pairs = [(member, brand) for member in members for brand, _ in member.numbers]
        await stage.each("brands look at members", pairs, lambda pair: self._look_from_outside(*pair))
        await stage.each("members spend at other brands", stage.plan.spends, self._spend)
        return self.spent

    async def _look(self, member: Member) -> None:
        answer = await self._stage.doors.execute(
            self._stage.frontend(member), documents.LOOK, {"id": self._stage.member_ids[member.key]}
        )
        if answer["member"]["displayName"] == member.name and len(answer["member"]["identities"]) == len(
            member.numbers
        ):
            self.spent.members_looked += 1

    async def _look_from_outside(self, member: Member, brand: str) -> None:
        stage = self._stage
        try:
            await stage.doors.execute(stage.brands[brand], documents.WALLET, {"id": stage.member_ids[member.key]})
        except Refused as refusal:
            if refusal.code != "CONSENT_REQUIRED" or member.sees(brand):
                raise
            self.spent.brands_kept_out += 1
        else:
            if not member.sees(brand):
                raise RuntimeError(f"{brand} saw {member.key} without consent")
            self.spent.brands_let_in += 1

    async def _spend(self, spend: Spend) -> None:
        stage = self._stage
        reward = stage.plan.reward(spend.reward)
        person = stage.frontend(stage.plan.member(spend.member))
        try:
            redeemed = await stage.mutate(person, documents.REDEEM, spend.key, rewardId=stage.reward_ids[spend.reward])
        except Refused as refusal:
            if refusal.reason != "INSUFFICIENT_POINTS" or not spend.refused:
                raise
            self.spent.refused += 1
            return
        redemption: dict[str, Any] = redeemed["redemption"]
        if spend.captured is None:
            await stage.mutate(person, documents.VOID_REDEMPTION, spend.key, redemptionId=redemption["id"])
            self.spent.voided += 1
            return
        await stage.mutate(
            stage.brands[reward.brand],
            documents.CAPTURE_REDEMPTION,
            spend.key,
            voucherCode=redemption["voucherCode"],
            points=spend.captured if spend.captured < reward.points else 0,
        )
        self.spent.captured += 1


async def settle(stage: Stage) -> dict[str, Any]:
    """Step 6: the operator nets what the brands owe each other."""
    with stage.show.step("settlement", 1) as advance:
        done = await stage.mutate(stage.operator, documents.RUN_SETTLEMENT, "day")
        advance()
    settlement: dict[str, Any] = done["settlement"]
    return settlement
