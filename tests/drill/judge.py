"""What the alliance holds after a drill, beside what it had acknowledged."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.drill.load import Acknowledged, Cast
from tests.support.alliance import Member

_SETTLED_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.2
_LISTS = {
    "dropOffs": "id act { id }",
    "acts": "id dropOff { id } claim { id earning { status points } }",
    "redemptions": "id status points",
}


@dataclass
class Verdict:
    """Counts of things acknowledged that are not there, and of things there more often than they were asked for."""

    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.findings)


async def judge(cast: Cast, told: Acknowledged) -> Verdict:
    """Reads everything of the drill's members, once all that was begun has come to its end; as they see it."""
    verdict = Verdict(told.requests)
    for member in cast.members:
        await _of_member(member, told, verdict)
    return verdict


async def verify(uri: str, database: str, environment: dict[str, str]) -> str:
    """What the ledger's own verification finds; empty if all is well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.rewards.ledger", "verify"),
        env={**environment, "MONGODB_URI": uri, "ALLIANCE_MONGODB_DATABASE": database},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return "" if process.returncode == 0 else f"verify: {output.decode().strip().splitlines()[-1]}"


async def _of_member(member: Member, told: Acknowledged, verdict: Verdict) -> None:
    held = await _settled(member, verdict)
    reported = [act["id"] for act in held["acts"] if act["dropOff"] is None]
    credited = [act["dropOff"]["id"] for act in held["acts"] if act["dropOff"] is not None]
    drop_offs = [drop_off["id"] for drop_off in held["dropOffs"]]
    redemptions = {redemption["id"]: redemption for redemption in held["redemptions"]}
    for expected, found in (
        (told.acts[member.id], reported),
        (told.drop_offs[member.id], drop_offs),
        # Each drop-off is credited: by one act, and one alone.
        (told.drop_offs[member.id], credited),
        (set(told.redemptions[member.id]), list(redemptions)),
    ):
        verdict.lost += len(expected - set(found))
        verdict.doubled += len(found) - len(expected & set(found))
    for id, status in told.redemptions[member.id].items():
        # One whose capture was never answered may be captured all the same.
        verdict.lost += id in redemptions and redemptions[id]["status"] not in (status, "CAPTURED")
    earned = sum(act["claim"]["earning"]["points"] for act in held["acts"] if act["claim"])
    spent = sum(r["points"] for r in redemptions.values() if r["status"] == "CAPTURED")
    balance = (await member.wallet())["balance"]
    if balance != earned - spent:
        verdict.findings.append(f"{member.id} has {balance} points, but earned {earned} and spent {spent}")


async def _settled(member: Member, verdict: Verdict) -> dict[str, list[Any]]:
    """The member's lists, once each drop-off is an act and each claim's points are decided."""
    until = time.monotonic() + _SETTLED_WITHIN_SECONDS
    while True:
        held = {name: [node async for node in _all(member, name, fields)] for name, fields in _LISTS.items()}
        waiting = sum(drop_off["act"] is None for drop_off in held["dropOffs"])
        waiting += sum(act["claim"] is not None and act["claim"]["earning"] is None for act in held["acts"])
        if not waiting:
            return held
        if time.monotonic() > until:
            verdict.findings.append(f"{waiting} things of {member.id} were never credited")
            return {**held, "acts": [act for act in held["acts"] if not act["claim"] or act["claim"]["earning"]]}
        await asyncio.sleep(_POLL_SECONDS)


async def _all(member: Member, name: str, fields: str) -> AsyncIterator[Any]:
    document = (
        f"query Held($id: ID!, $after: String) {{ member(id: $id) {{ {name}(first: 100, after: $after) "
        f"{{ edges {{ node {{ {fields} }} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"
    )
    after = None
    while True:
        page = (await member.world.query(member.person, document, id=member.id, after=after))["member"][name]
        for edge in page["edges"]:
            yield edge["node"]
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]
