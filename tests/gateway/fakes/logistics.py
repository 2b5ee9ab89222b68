# ruff: noqa: N802 - methods are named as in the proto
"""The stand-in of logistics."""

from collections.abc import AsyncIterator
from typing import Any

from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from services.shared.errors import FailedPrecondition
from services.shared.ids import new_id
from tests.gateway.fakes.recording import Stream, found, page_of, within


class Logistics(logistics_pb2_grpc.LogisticsServiceServicer):
    def __init__(self) -> None:
        # Batches, each at the place of its number.
        self.accepted: list[logistics_pb2.AcceptedDropOffs] = []
        self.acceptances = Stream()
        self.points: dict[str, logistics_pb2.RecyclingPoint] = {}
        self.machines: dict[str, logistics_pb2.Machine] = {}
        self.drop_offs: dict[str, logistics_pb2.DropOff] = {}

    def accept(self, member_id: str, partner_id: str, *grams: int) -> None:
        """A batch with drop-offs of these weights."""
        batch = logistics_pb2.AcceptedDropOffs(
            place=len(self.accepted) + 1,
            drop_offs=[
                logistics_pb2.DropOff(
                    id=new_id("dropoff"), member_id=member_id, partner_id=partner_id, weight_grams=each, material=1
                )
                for each in grams
            ],
        )
        self.accepted.append(batch)
        self.acceptances.tell(logistics_pb2.WatchDropOffsResponse(accepted=batch))

    async def WatchDropOffs(self, request: Any, _: Any) -> AsyncIterator[Any]:
        place = request.after if request.HasField("after") else len(self.accepted)
        begin = [logistics_pb2.AcceptedDropOffs(place=place), *self.accepted[place:]]
        first = [logistics_pb2.WatchDropOffsResponse(accepted=batch) for batch in begin]
        async for message in self.acceptances.messages(first):
            yield message

    async def ListMissedDropOffs(self, request: Any, _: Any) -> Any:
        if request.after < len(self.accepted) - 1_000:
            raise FailedPrecondition("Too long ago.", reason="CURSOR_TOO_OLD")
        page = self.accepted[request.after : request.after + 2]
        last = len(self.accepted)
        return logistics_pb2.ListMissedDropOffsResponse(
            accepted=page, until=max(min(request.after + 2, last), 0), last=last
        )

    async def CreateRecyclingPoint(self, request: Any, _: Any) -> Any:
        point = logistics_pb2.RecyclingPoint(
            id=new_id("point"), name=request.name, location=request.location, materials=request.materials
        )
        return logistics_pb2.CreateRecyclingPointResponse(recycling_point=point)

    async def BatchGetRecyclingPoints(self, request: Any, _: Any) -> Any:
        return logistics_pb2.BatchGetRecyclingPointsResponse(recycling_points=found(self.points, request.ids))

    async def ListRecyclingPoints(self, request: Any, _: Any) -> Any:
        rows, info = page_of(list(self.points.values()), request.page)
        return logistics_pb2.ListRecyclingPointsResponse(recycling_points=rows, page_info=info)

    async def RegisterMachine(self, request: Any, _: Any) -> Any:
        machine = logistics_pb2.Machine(id=new_id("machine"), public_key=request.public_key)
        return logistics_pb2.RegisterMachineResponse(machine=machine)

    async def RetireMachine(self, request: Any, _: Any) -> Any:
        machine = logistics_pb2.Machine(id=request.machine_id, retired=True)
        return logistics_pb2.RetireMachineResponse(machine=machine)

    async def BatchGetMachines(self, request: Any, _: Any) -> Any:
        return logistics_pb2.BatchGetMachinesResponse(machines=found(self.machines, request.ids))

    async def BatchListMachines(self, request: Any, _: Any) -> Any:
        answer = logistics_pb2.BatchListMachinesResponse()
        for id in request.recycling_point_ids:
            machines = [row for row in self.machines.values() if row.recycling_point_id == id]
            answer.points.add(recycling_point_id=id, machines=machines)
        return answer

    async def BatchGetDropOffs(self, request: Any, _: Any) -> Any:
        return logistics_pb2.BatchGetDropOffsResponse(drop_offs=found(self.drop_offs, request.ids))

    async def BatchListDropOffs(self, request: Any, _: Any) -> Any:
        answer = logistics_pb2.BatchListDropOffsResponse()
        for id in request.member_ids:
            rows, info = page_of([row for row in self.drop_offs.values() if row.member_id == id], request.page)
            answer.members.add(member_id=id, drop_offs=rows, page_info=info)
        return answer

    async def BatchListPartnerDropOffs(self, request: Any, _: Any) -> Any:
        answer = logistics_pb2.BatchListPartnerDropOffsResponse()
        for id in request.partner_ids:
            owned = [row for row in self.drop_offs.values() if row.partner_id == id]
            wanted = [row for row in owned if request.machine_id in ("", row.machine_id)]
            happened = [row for row in wanted if within(request.period, row.occurred_at)]
            rows, info = page_of(happened, request.page)
            answer.partners.add(partner_id=id, drop_offs=rows, page_info=info)
        return answer

    async def SummarizeDropOffs(self, request: Any, _: Any) -> Any:
        return logistics_pb2.SummarizeDropOffsResponse(accepted=len(self.drop_offs))
