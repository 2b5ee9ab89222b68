"""The day itself: machines upload what was handed in, brands report what they saw, and all of it is credited."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp

from alliance.logistics.v1 import logistics_pb2
from deploy.local.day import documents
from deploy.local.day.doors import PATIENCE_SECONDS, Doors, Person, Refused
from deploy.local.day.plan import Batch, Item, Report, ReportCall
from deploy.local.day.stage import Stage, iso

_POLL_SECONDS = 0.1


@dataclass
class Answers:
    """What the callers were told, in this run. The same in a second run, as requests answer again."""

    acts: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    forged_refused: int = 0


class Acts:
    """Step 3: every brand and every machine sends in its own order, all of them at the same time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.answers = Answers()

    async def play(self) -> Answers:
        plan = self._stage.plan
        lanes: dict[str, list[Batch | ReportCall]] = defaultdict(list)
        for batch in plan.batches:
            lanes[f"machine/{batch.machine}"].append(batch)
        for call in plan.calls:
            lanes[f"brand/{call.brand}"].append(call)
        await self._send("acts reported", list(lanes.values()))
        # Only now, so that it is certain who is first and who repeats.
        await self._send("acts reported again", [[call] for call in plan.repeats])
        return self.answers

    async def _send(self, title: str, lanes: Sequence[Sequence[Batch | ReportCall]]) -> None:
        with self._stage.show.step(title, sum(_size(thing) for lane in lanes for thing in lane)) as advance:
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(self._send_lane(lane, advance))

    async def _send_lane(self, lane: Sequence[Batch | ReportCall], advance: Callable[[], None]) -> None:
        for thing in lane:
            await (self._upload(thing) if isinstance(thing, Batch) else self._report(thing))
            for _ in range(_size(thing)):
                advance()

    async def _report(self, call: ReportCall) -> None:
        reports = [self._act_report(report) for report in call.reports]
        done = await self._stage.mutate(
            self._stage.brands[call.brand], documents.REPORT_ACTS, call.key, reports=reports
        )
        self.answers.acts.update(act["reason"] or act["status"] for act in done["acts"])

    def _act_report(self, report: Report) -> dict[str, Any]:
        return {
            "customerNumber": report.customer_number,
            "kind": report.kind,
            "quantity": report.quantity,
            "occurredAt": iso(report.occurred_at),
            "reference": report.reference,
        }

    async def _upload(self, batch: Batch) -> None:
        stage = self._stage
        machine_id = stage.machine_ids[batch.machine]
        content = logistics_pb2.ItemBatch(
            machine_id=machine_id,
            batch_id=stage.plan.request_id("batch", batch.key),
            mode=logistics_pb2.CaptureMode.Value(f"CAPTURE_MODE_{batch.mode}"),
            items=[self._item(item) for item in batch.items],
        )
        if batch.fate == "FORGED":
            try:
                await stage.doors.capture_items(machine_id, content, Ed25519PrivateKey.generate())
            except Refused as refusal:
                self.answers.forged_refused += refusal.reason == "SIGNATURE_INVALID"
            return
        key = stage.keepsakes.machine_key(batch.machine)
        answer = await stage.doors.capture_items(machine_id, content, key)
        if batch.fate == "TWICE":
            again = await stage.doors.capture_items(machine_id, content, key)
            self.answers.items["ANSWERED_AGAIN"] += sum(
                one == other for one, other in zip(answer.results, again.results, strict=True)
            )
        names = logistics_pb2.CaptureItemsResponse.ItemStatus
        self.answers.items.update(names.Name(result.status).removeprefix("ITEM_STATUS_") for result in answer.results)

    def _item(self, item: Item) -> logistics_pb2.Item:
        occurred_at = Timestamp()
        occurred_at.FromDatetime(item.occurred_at)
        return logistics_pb2.Item(
            member_id=self._stage.member_ids[item.member],
            material=logistics_pb2.Material.Value(f"MATERIAL_{item.material}"),
            weight_grams=item.weight_grams,
            code=item.code,
            occurred_at=occurred_at,
        )


async def wait_until_settled(doors: Doors, operator: Person) -> None:
    """Step 4: until every drop-off is an act and the points of every claim are decided."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        report = (await doors.execute(operator, documents.PROGRESS))["report"]
        waiting = _waiting(report)
        if waiting == 0:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"{waiting} acts or claims were still on their way after {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)


def _waiting(report: Any) -> int:
    drop_offs = sum(
        kind["acts"]
        for kind in report["acts"]["kinds"]
        if kind["kind"] in ("PET_RECYCLING", "CARDBOARD_RECYCLING", "BOX_REUSE")
    )
    decided = sum(part["earnings"] for what in ("kinds", "refusals") for part in report["earnings"][what])
    return int(abs(report["dropOffs"]["accepted"] - drop_offs) + abs(report["acts"]["claims"] - decided))


def _size(thing: Batch | ReportCall) -> int:
    return len(thing.items if isinstance(thing, Batch) else thing.reports)
